"""What flows through a model: the signals of its edited layers, batch after batch."""

from ultraedit.trace.blocks import Blocks
from ultraedit.trace.signals import batches, head_at, layer_signals, passes, supervised_logits
from ultraedit.trace.trunk import BUDGET_BYTES, Trunk, trunk_of

__all__ = [
    "BUDGET_BYTES",
    "Blocks",
    "Trunk",
    "batches",
    "head_at",
    "layer_signals",
    "passes",
    "supervised_logits",
    "trunk_of",
]
