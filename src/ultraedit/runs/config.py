"""The settings of a run: what the user chose, checked. Each is one field of `RunConfig`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from ultraedit.core.errors import ConfigError
from ultraedit.core.settings import (
    EDITOR,
    EVALUATION,
    FACTS,
    MACHINE,
    MONITORS,
    OUTPUT,
    SPLIT,
    TRAINING,
    Names,
    SettingsModel,
    shown,
)
from ultraedit.evaluation.metrics.registry import GUARDED, METRICS
from ultraedit.lifelong.settings import CORPUS_HELP, JobSettings

if TYPE_CHECKING:
    from ultraedit.runs.store.entries import Job

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]


def _thresholds(value: Any) -> Any:
    """Read ``NAME=X``, as the command line has them."""
    if not isinstance(value, list | tuple):
        return value
    thresholds = {}
    for text in value:
        name, equals, number = str(text).partition("=")
        try:
            thresholds[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--guard takes NAME=X, such as norm=0.5, got {text!r}.")
    return thresholds


def _guarded(*, most: bool) -> str:
    """The metrics that a guard takes a largest, or a smallest, value of."""
    return "".join(f", {name}" for name in GUARDED if METRICS[name].lower_is_better == most)


class RunConfig(JobSettings):
    """Everything that decides what a run does. Written into its folder as ``config.json``.

    A field is the setting everywhere: in a config file by its name, on the command line as the
    option that `shown` describes, in help and docs/cli.md by its description and default.
    """

    separator: ClassVar[str] = "-"
    if_missing: ClassVar[str] = "Give it, or a --config file with it."

    model: str = Field(
        description="Folder, .gguf file, alias such as smollm2, or Hugging Face id.",
        json_schema_extra=shown(FACTS, "MODEL", in_edit=True),
    )
    data: str = Field(
        description="File of facts as FORMAT:PATH; a .jsonl, .csv or .tsv file needs no format.",
        json_schema_extra=shown(FACTS, "FORMAT:PATH", in_append=True),
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Take the first N rows of the file.",
        json_schema_extra=shown(FACTS, default="all", in_edit=True, in_append=True),
    )
    turns: int | None = Field(
        default=None,
        ge=1,
        description="Stop after N turns.",
        json_schema_extra=shown(FACTS, default="as many as the facts need"),
    )
    editor: str = Field(
        default="ultraedit",
        description="Editing method, one of `ultraedit editors list`.",
        json_schema_extra=shown(EDITOR, "NAME", in_edit=True),
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the editor that the user set, such as {eta = 1e-3}.",
    )
    modules: tuple[str, ...] | None = Field(
        default=None,
        description="Linear layers to edit, such as 'layers.[25-28].mlp.down_proj'; several "
        "patterns are separated by commas.",
        json_schema_extra=shown(EDITOR, "PATTERNS", default="those of the preset", in_edit=True),
    )
    preset: str | None = Field(
        default=None,
        description="Preset that gives modules, eta and ridge, by name or as a .toml file.",
        json_schema_extra=shown(EDITOR, "FILE|NAME", default="that of the model and the data"),
    )
    use_rephrases: int = Field(
        default=0,
        ge=0,
        description="Also edit on the first N rephrases of each fact, which are then not scored.",
        json_schema_extra=shown(EDITOR, in_edit=True, in_append=True),
    )
    corpus: str | None = Field(
        default=None,
        description=f"For editors that need second moments. {CORPUS_HELP} imported takes those of "
        "`ultraedit stats import`.",
        json_schema_extra=shown(EDITOR, "CORPUS", default="the prompts of the edits"),
    )
    corpus_samples: int = Field(
        default=1_000,
        ge=1,
        description="Passages of the corpus to read.",
        json_schema_extra=shown(EDITOR),
    )
    score_sample: int | None = Field(
        default=None,
        ge=1,
        description="Score the same sample of N edits each time instead of all, so that memory "
        "does not grow with the file.",
        json_schema_extra=shown(EVALUATION, default="all edits"),
    )
    trunk: bool = Field(
        default=False,
        description="Compute what lies below the edited layers once per question, for runs that "
        "are scored many times. Scores may differ in the last digits.",
        json_schema_extra=shown(EVALUATION),
    )
    monitor: Annotated[tuple[Literal["spectrum", "locality"], ...], SPLIT] = Field(
        default=(),
        description="spectrum: norm, leading singular value and effective rank of each weight "
        "change; locality: KL divergence and top-1 agreement with the unedited model on unrelated "
        "prompts; or both, with a comma.",
        json_schema_extra=shown(MONITORS, "NAMES", default="none"),
    )
    control: int = Field(
        default=0,
        ge=0,
        description="Also score the N rows after the edited ones, which are never edited: how much "
        "of the gain is generic.",
        json_schema_extra=shown(MONITORS),
    )
    ability: Names = Field(
        default=(),
        description="Also measure these tasks of `ultraedit ability`.",
        json_schema_extra=shown(MONITORS, "NAMES", default="none"),
    )
    ability_limit: int | None = Field(
        default=None,
        ge=1,
        description="First N questions of each of these tasks.",
        json_schema_extra=shown(MONITORS, default="all"),
    )
    ability_data: str | None = Field(
        default=None,
        description="Data folder with the rows of these tasks in its folder general; without one "
        "they come from the network.",
        json_schema_extra=shown(
            MONITORS, "DIR", option="--data-root", default="ULTRAEDIT_DATA, or ../shared/data"
        ),
    )
    guard: Annotated[dict[str, float], BeforeValidator(_thresholds)] = Field(
        default_factory=dict,
        description="End the run when a value passes its limit: norm, perplexity (divided by the "
        f"unedited model's), kl{_guarded(most=True)} at most; agreement, control"
        f"{_guarded(most=False)} at least, such as norm=0.5. May be repeated.",
        json_schema_extra=shown(MONITORS, "NAME=X", default="none", multiple=True),
    )
    guard_action: Literal["stop", "back"] = Field(
        default="stop",
        description="When the guard ends the run: stop, or also take the last turn back.",
        json_schema_extra=shown(MONITORS),
    )
    dtype: str = Field(
        default="auto",
        description="Precision of the model; auto is bfloat16 where the hardware computes it, else "
        "float32.",
        json_schema_extra=shown(MACHINE, "auto|float32|bfloat16|float16", in_edit=True),
    )
    device: str = Field(
        default="auto",
        description="Where to compute; auto takes a GPU if there is one.",
        json_schema_extra=shown(MACHINE, "auto|cpu|cuda|cuda:N|mps", in_edit=True),
    )
    device_map: Literal["auto", "stream"] | None = Field(
        default=None,
        description="For a model that does not fit: auto spreads it over all devices; stream "
        "leaves the layers below the edited ones in their file and reads them one at a time.",
        json_schema_extra=shown(MACHINE, default="all on --device"),
    )
    snapshot_every: int = Field(
        default=100,
        ge=1,
        description="Keep the state of every N-th turn, from which `rollback` gets to the turns "
        "after it. Each takes the size of the edited weights in float32.",
        json_schema_extra=shown(OUTPUT),
    )
    save_model: bool = Field(
        default=True,
        description="Keep the scores and records, not the edited model.",
        json_schema_extra=shown(OUTPUT, option="--no-save-model"),
    )

    @field_validator("modules", mode="before")
    @classmethod
    def _split_patterns(cls, value: Any) -> Any:
        from ultraedit.models import split_patterns

        return tuple(split_patterns(value)) if isinstance(value, str) else value

    @property
    def edit_limit(self) -> int | None:
        """Most edits that the run will make, by either limit."""
        by_turns = None if self.turns is None else self.turns * self.edits_per_turn
        limits = [limit for limit in (self.limit, by_turns) if limit is not None]
        return min(limits) if limits else None

    @classmethod
    def of_job(cls, job: Job) -> RunConfig:
        """The settings that a job has on record."""
        return cls(**job.settings)

    @classmethod
    def of_added(cls, first: Job, changes: Mapping[str, Any]) -> RunConfig:
        """The settings of facts that are added to a run.

        Args:
            first: The job that the run was begun with.
            changes: What differs, of the settings that are `shown` with ``in_append``.
        """
        return cls(**{**first.settings, "limit": None, "turns": None, **changes})


class TrainingPlan(SettingsModel):
    """What a training has beside the settings that it shares with a run."""

    edited: int | None = Field(
        default=None,
        ge=0,
        description="Rows at the start of the file that will be edited, and are never trained on.",
        json_schema_extra=shown(
            FACTS,
            default="as many as the paper edits, 20000 or 17000 of WikiBigEdit, or half the file",
        ),
    )
    validation: int = Field(
        default=20,
        ge=0,
        description="Rows at the end of the training rows that are only validated on, turn after "
        "turn as in a run: a net that is good for one turn may be bad for ten; 0 for none.",
        json_schema_extra=shown(TRAINING),
    )
    epochs: int = Field(
        default=1,
        ge=1,
        description="Passes over the training rows.",
        json_schema_extra=shown(TRAINING),
    )
    check_every: int = Field(
        default=10,
        ge=1,
        description="Turns between two validations.",
        json_schema_extra=shown(TRAINING),
    )
    patience: int = Field(
        default=10,
        ge=1,
        description="Stop after N validations without a better net.",
        json_schema_extra=shown(TRAINING),
    )


def make_config(values: dict[str, Any]) -> RunConfig:
    """Check settings as a file or the command line gives them.

    Raises:
        ConfigError: If a setting is unknown, missing, or has a value that it cannot have.
    """
    return RunConfig(**values)


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
