"""`save`: write a model folder that any program of the ecosystem loads."""

from __future__ import annotations

from pathlib import Path

from ultraedit.errors import ConfigError
from ultraedit.files import staged
from ultraedit.models.beside import has_beside, is_more, write_beside
from ultraedit.models.language_model import LanguageModel
from ultraedit.models.memories import BASE, CARD
from ultraedit.models.quiet import quiet
from ultraedit.models.recalled import FACTS

_MODEL_FILES = {".json", ".safetensors", ".jinja", ".model", ".txt"}
"""Endings of the files that a saved model consists of."""


def save(lm: LanguageModel, folder: str | Path, *, card: str | None = None) -> None:
    """Write the model as safetensors, with its config and tokenizer, whole or not at all.

    The folder loads with plain transformers, in the dtype that the model has now and to the
    same logits; that of a model with memories or facts, which no plain model has room for, loads
    with `load`. A model that is there already is replaced once the new one is complete.

    Args:
        lm: The model.
        folder: Where to write it. It may be new, be empty, or hold a saved model.
        card: Text of its ``README.md``; none is written if None.

    Raises:
        ConfigError: If `folder` holds anything but a saved model.
        StorageError: If writing fails, for example on a full disk. What was there stays whole.
    """
    target = Path(folder).expanduser().resolve()
    _refuse_to_destroy(target)
    more = is_more(lm.model)
    with staged(target) as stage, quiet():
        inside = stage / BASE if more else stage
        lm.model.save_pretrained(inside)
        lm.tokenizer.save_pretrained(inside)
        if more:
            write_beside(lm.model, stage)
        for file in stage.rglob("*.safetensors"):
            # safetensors lets nobody but the owner read its files; the rest of the folder does.
            file.chmod((inside / "config.json").stat().st_mode)
        if card is not None:
            (stage / "README.md").write_text(card, encoding="utf-8")


def _refuse_to_destroy(target: Path) -> None:
    """Check that nothing but an older model would be lost by replacing `target`.

    Raises:
        ConfigError: If something else would.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is a file. Give the name of a folder to save the model in.")
    files = sorted(target.iterdir())
    known = has_beside(target)
    foreign = [
        file.name
        for file in files
        if (file.name != BASE or not known if file.is_dir() else file.suffix not in _MODEL_FILES)
        and not (known and file.name in (CARD, FACTS))
    ]
    if files and (foreign or not (known or (target / "config.json").is_file())):
        raise ConfigError(
            f"The folder {target} holds {(foreign or [files[0].name])[0]}, which is no part of a "
            "saved model. Give a new folder, or an older model's to replace it."
        )
