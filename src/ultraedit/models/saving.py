"""`save`: the checkpoint that a model was loaded from, with the edited weights and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import is_run, staged
from ultraedit.models.checkpoint import read_header, read_tensor, weight_files
from ultraedit.models.checkpoint_writer import changes_of, other_files, same_bytes, write_changed
from ultraedit.models.gguf import complete_config
from ultraedit.models.language_model import LanguageModel
from ultraedit.models.overlays.fact_folder import FACTS
from ultraedit.models.overlays.folders import has_beside, is_more, write_beside
from ultraedit.models.overlays.memory_folder import BASE, CARD
from ultraedit.models.quantized import refuse_quantized
from ultraedit.models.transformers_output import quiet

_MODEL_FILES = {".json", ".safetensors", ".jinja", ".model", ".txt"}
"""Endings of the files that a saved model consists of."""


def save(lm: LanguageModel, folder: str | Path, *, card: str | None = None) -> None:
    """Write the model as the checkpoint that it was loaded from, with the edited tensors changed.

    All else is as it was: the names, the files and the precision of the tensors, the config, the
    tokenizer, and what this program does not read, such as an image encoder or a license. A model
    that was made in memory is written as transformers writes it, with a config that version 4 of
    it reads too. The result is read back and
    compared before it takes the place of anything. It loads with plain transformers, in the
    precision of the run to the same logits; that of a model with memories or facts, which no plain
    model has room for, loads with `load`.

    An edited tensor keeps the precision that it was stored in, unless that cannot hold the values:
    what a run in float32 makes of a weight in bfloat16 is stored in float32.

    Args:
        lm: The model.
        folder: Where to write it. It may be new, be empty, or hold a saved model.
        card: Text of its ``README.md``, in place of the source's.

    Raises:
        ConfigError: If `folder` holds anything but a saved model, or a weight was changed that is
            nowhere in the checkpoint.
        StorageError: If writing fails, for example on a full disk, or the checkpoint is no longer
            what was loaded. What was there stays whole.
    """
    target = Path(folder).expanduser().resolve()
    more = is_more(lm.model)
    _refuse_to_destroy(target, _names(lm, target))
    with staged(target) as stage, quiet():
        inside = stage / BASE if more else stage
        if lm.checkpoint is None:
            _write_anew(lm, inside)
        else:
            lm.checkpoint.check_unchanged()
            changes = changes_of(lm.checkpoint, lm.model)
            write_changed(lm.checkpoint, lm.model, changes, inside, target)
        if more:
            write_beside(lm.model, stage)
        if card is not None:
            (stage / CARD).write_text(card, encoding="utf-8")
    if lm.checkpoint is not None and not more and target == lm.checkpoint.folder.resolve():
        lm.checkpoint.reread(lm.model)


def require_savable(lm: LanguageModel, paths: Iterable[str]) -> None:
    """Check that edited modules of a model can be saved, before anything is edited.

    Args:
        lm: The model.
        paths: Paths of the modules.

    Raises:
        ConfigError: If the checkpoint of the model has no place for one of them.
    """
    paths = list(paths)
    if paths:
        refuse_quantized(lm.model.config, lm.name)
    if lm.checkpoint is not None:
        for path in paths:
            lm.checkpoint.locate(f"{path}.weight")


def _write_anew(lm: LanguageModel, folder: Path) -> None:
    """Write a model that has no checkpoint, and check that its weights can be read again.

    Raises:
        StorageError: If one of them is another when it is read back.
    """
    lm.model.save_pretrained(folder)
    complete_config(folder / "config.json")
    lm.tokenizer.save_pretrained(folder)
    mode = (folder / "config.json").stat().st_mode
    weights = dict(lm.model.named_parameters(remove_duplicate=False))
    for file in weight_files(folder):
        # safetensors lets nobody but the owner read its files; the rest of the folder does.
        (folder / file).chmod(mode)
        for name in read_header(folder / file)[0]:
            weight = weights.get(name)  # transformers stores some weights under other names
            if weight is None or weight.is_meta:
                continue
            if not same_bytes(read_tensor(folder / file, name), weight.detach().cpu()):
                raise StorageError(
                    f"{name} was written to {folder} and is another one when it is read back. "
                    "Check the disk, and try again."
                )


def _names(lm: LanguageModel, target: Path) -> set[Path]:
    """Files that the saved model will have, by their path within it."""
    if lm.checkpoint is None:
        return set()
    folder, files = lm.checkpoint.folder, lm.checkpoint.files
    if not folder.is_dir():
        return set()
    return {Path(file) for file in files} | set(other_files(folder, files, target))


def _refuse_to_destroy(target: Path, names: set[Path]) -> None:
    """Check that nothing but an older model would be lost by replacing `target`.

    Args:
        target: The folder to be replaced.
        names: Files that the new model has, and an older one of the same source had.

    Raises:
        ConfigError: If something else would.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is a file. Give the name of a folder to save the model in.")
    if is_run(target):
        raise ConfigError(
            f"The folder {target} is that of a run, and more than a saved model. Give a new "
            "folder, such as edited-model; the model in memory is as it was."
        )
    files = sorted(target.iterdir())
    known = has_beside(target)
    folders = {name.parts[0] for name in names if len(name.parts) > 1}
    foreign = [
        file.name
        for file in files
        if (
            (file.name != BASE or not known) and file.name not in folders
            if file.is_dir()
            else file.suffix not in _MODEL_FILES and Path(file.name) not in names
        )
        and not (known and file.name in (CARD, FACTS))
    ]
    if files and (foreign or not (known or (target / "config.json").is_file())):
        raise ConfigError(
            f"The folder {target} holds {(foreign or [files[0].name])[0]}, which is no part of a "
            "saved model. Give a new folder, or an older model's to replace it."
        )
