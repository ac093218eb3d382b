"""Models: loading them by any name, choosing the layers to edit, and saving the result.

Importing this package does not import transformers: its modules do so inside the functions
that need it.
"""

from ultraedit.models.aliases import ALIASES, Alias, list_models
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.language_model import LanguageModel, empty_model
from ultraedit.models.loading import load, load_config, load_tokenizer
from ultraedit.models.model_names import resolve
from ultraedit.models.modules import ModuleGroup, describe_modules, find_modules
from ultraedit.models.overlays.memory_folder import load_wise
from ultraedit.models.patterns import split_patterns
from ultraedit.models.preset import (
    Preset,
    choose_preset,
    find_preset,
    has_presets,
    list_presets,
    load_preset,
)
from ultraedit.models.saving import save
from ultraedit.models.streaming import load_streamed

__all__ = [
    "ALIASES",
    "Alias",
    "LanguageModel",
    "ModuleGroup",
    "Preset",
    "choose_preset",
    "describe_modules",
    "empty_model",
    "find_modules",
    "find_preset",
    "fingerprint",
    "has_presets",
    "list_models",
    "list_presets",
    "load",
    "load_config",
    "load_preset",
    "load_streamed",
    "load_tokenizer",
    "load_wise",
    "resolve",
    "save",
    "split_patterns",
]
