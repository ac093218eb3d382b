"""Older name of what is in `ultraedit.export` now; kept for programs that import it."""

from ultraedit.export.change import edited_model, read_delta
from ultraedit.export.delta import export_delta
from ultraedit.export.lora import Adapter, export_lora
from ultraedit.export.model import export_model
from ultraedit.export.overlays import export_beside

__all__ = [
    "Adapter",
    "edited_model",
    "export_beside",
    "export_delta",
    "export_lora",
    "export_model",
    "read_delta",
]
