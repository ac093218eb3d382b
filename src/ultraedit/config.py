"""The settings of a run: what the user chose, checked, and where each default came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ultraedit.errors import ConfigError, did_you_mean, expected_value

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]


class RunConfig(BaseModel):
    """Everything that decides what a run does. Written into its folder as ``config.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """Folder, Hugging Face id, GGUF file or alias."""

    data: str
    """``FORMAT:PATH``."""

    editor: str = "ultraedit"

    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the editor that the user set, such as ``{"eta": 1e-3}``."""

    modules: tuple[str, ...] | None = None
    """Module patterns. None takes those of the preset."""

    preset: str | None = None
    """Name or file of a preset. None finds the one of the model and the data set."""

    corpus: str | None = None
    """Text for the second moments that some editors need; None takes the edits' own prompts."""

    corpus_samples: int = Field(default=1_000, ge=1)
    """Passages of the corpus."""

    edits_per_turn: int = Field(default=100, ge=1)
    turns: int | None = Field(default=None, ge=1)
    """Stop after this many turns."""

    limit: int | None = Field(default=None, ge=1)
    """Take this many rows of the data."""

    use_rephrases: int = Field(default=0, ge=0)
    """How many rephrases of each fact are edited on too, and then not scored."""

    free_answers: int | None = Field(default=None, ge=0)
    """How many edits are also asked freely, evenly spaced. None for all, 0 for none."""

    chat_answers: bool = False
    """Also ask these edits, and their rephrases, inside the model's chat template."""

    free_always: bool = False
    """Ask freely whenever the run is scored, not before and after it alone."""

    control_questions: int = Field(default=100, ge=0, le=200)
    """So many of the package's control questions are asked before and after. 0 for none."""

    evaluate_every: int | None = Field(default=None, ge=1)
    """Score all edits so far after every so many turns. None for the end alone."""

    evaluate_at: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Score all edits so far after these turns."""

    perplexity: str | None = None
    """Text whose perplexity is measured whenever the model is scored. None for none."""

    probe: tuple[str, ...] = ()
    """Probes of real use that are asked whenever the run is scored."""

    score_sample: int | None = Field(default=None, ge=1)
    """Score a sample of so many edits in the place of all, and hold no others than these."""

    score_newest: int | None = Field(default=None, ge=1)
    """Whenever the run is scored, also score so many edits that were made last."""

    monitor: tuple[Literal["spectrum", "locality"], ...] = ()
    """What is watched whenever the run is scored: the spectra of the weight changes, the divergence
    on locality prompts."""

    control: int = Field(default=0, ge=0)
    """Watch so many rows behind those that are edited."""

    ability: tuple[str, ...] = ()
    """Watch these tasks of general ability."""

    ability_limit: int | None = Field(default=None, ge=1)
    """Questions of each; None for all."""

    ability_data: str | None = None
    """Data folder with their rows; None takes them from the network."""

    guard: dict[str, float] = Field(default_factory=dict)
    """Thresholds at which the run is ended, such as ``{"norm": 0.5}``."""

    guard_action: Literal["stop", "back"] = "stop"
    """What ends it: nothing more, or the last turn is taken back."""

    trunk: bool = False
    """Keep what lies below the edited layers for every question that is asked: scoring on the way
    then costs the layers above alone, and its figures may differ in the last digits."""

    snapshot_every: int = Field(default=100, ge=1)
    """Keep all that the run carries on after every so many turns, for quick ways back."""

    dtype: str = "auto"
    device: str = "auto"
    device_map: Literal["auto", "stream"] | None = None
    """``auto`` spreads the model over all devices, ``stream`` leaves the layers below the edited
    ones in their file. None puts all of it on `device`."""

    seed: int = 0
    save_model: bool = True

    @field_validator("modules", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        from ultraedit.models import split_patterns

        return tuple(split_patterns(value)) if isinstance(value, str) else value

    @field_validator("ability", "monitor", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("probe", mode="before")
    @classmethod
    def _choose_probes(cls, value: Any) -> Any:
        from ultraedit.probes import chosen

        names = [value] if isinstance(value, str) else value
        is_list = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
        return chosen(names) if is_list else value

    @field_validator("evaluate_at", mode="before")
    @classmethod
    def _split_turns(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @property
    def edit_limit(self) -> int | None:
        """Most edits that the run will make, by either limit."""
        by_turns = None if self.turns is None else self.turns * self.edits_per_turn
        limits = [limit for limit in (self.limit, by_turns) if limit is not None]
        return min(limits) if limits else None


def of_editor(name: str) -> str:
    """What an editor's option is called beside a setting of the run of the same name."""
    return f"editor.{name}"


def option_source(sources: Mapping[str, str], name: str) -> str | None:
    """Where the value of an editor's option came from; None in records that do not say."""
    return sources.get(of_editor(name), sources.get(name))


def make_config(values: dict[str, Any]) -> RunConfig:
    """Check settings as a file or the command line gives them.

    Raises:
        ConfigError: If a setting is unknown, missing, or has a value that it cannot have.
    """
    for key in values:
        if key not in RunConfig.model_fields:
            raise ConfigError(
                f"Unknown setting {key!r}. {did_you_mean(key, RunConfig.model_fields)}"
            )
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raised = first.get("ctx", {}).get("error")
        if isinstance(raised, ConfigError):
            raise raised from None
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ConfigError(
                f"--{name} is missing. Give it, or a --config file with it."
            ) from None
        raise ConfigError(
            f"{name.replace('_', '-')} must be {expected_value(first)}, got {first['input']!r}."
        ) from None


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, or from the ``config.json`` of an earlier run.

    Raises:
        ConfigError: If the file is missing or malformed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot read the config file {path}: {cause}.") from None
    try:
        if path.suffix == ".json":
            values = json.loads(text)
            values = values.get("settings", values) if isinstance(values, dict) else values
        else:
            values = tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not well-formed: {error}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a table of settings, not a {type(values).__name__}.")
    return values
