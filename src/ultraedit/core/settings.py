"""Settings as pydantic models: one field holds the default, the check, the option and its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from ultraedit.core.errors import ConfigError, did_you_mean, expected_value

FACTS = "Model and facts"
EDITOR = "Editor"
EVALUATION = "Evaluation"
MONITORS = "Measured at every evaluation, and the guard"
MACHINE = "Machine"
OUTPUT = "Output"
TRAINING = "Training"

PANELS = (FACTS, EDITOR, TRAINING, EVALUATION, MONITORS, MACHINE, OUTPUT)
"""The panels of a help page, in their order."""


@dataclass(frozen=True)
class Shown:
    """How a field appears on the command line."""

    panel: str
    """The panel of the help page, of `PANELS`."""
    metavar: str | None = None
    """What stands for the value. None takes the words of a `Literal`, or N for a number."""
    default: str | None = None
    """What help calls the default. None takes the value itself."""
    option: str | None = None
    """The option, where its name is not the field's."""
    multiple: bool = False
    """Whether the option may be repeated."""
    in_edit: bool = False
    """Whether `ultraedit edit` has it too."""
    in_append: bool = False
    """Whether facts that are added to a run may have another value than the run."""


def shown(panel: str, metavar: str | None = None, **more: Any) -> dict[str, Any]:
    """The ``json_schema_extra`` of a field that is an option; arguments as of `Shown`."""
    return {"cli": Shown(panel, metavar, **more)}


def shown_of(field: FieldInfo) -> Shown | None:
    """How a field appears on the command line; None for one that does not."""
    extra = field.json_schema_extra
    how = extra.get("cli") if isinstance(extra, dict) else None
    return how if isinstance(how, Shown) else None


def default_of(field: FieldInfo) -> str | None:
    """What help says of a default; None for a field that needs a value, and for a switch."""
    how = shown_of(field)
    text = None if how is None else how.default
    if text is not None or field.is_required() or isinstance(field.default, bool):
        return text
    return None if field.default is None else str(field.default)


def _split(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


SPLIT = BeforeValidator(_split)
"""Lets a text with commas or blanks stand for a list."""

Names = Annotated[tuple[str, ...], SPLIT]


class SettingsModel(BaseModel):
    """Settings that are checked as they are made.

    Raises:
        ConfigError: If a setting is unknown, missing, or has a value that it cannot have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    separator: ClassVar[str] = "-"
    """What stands between the words of a name in an error."""

    if_missing: ClassVar[str] = "Give it."
    """What to do where a setting has no value."""

    def __init__(self, /, **values: Any) -> None:
        """Check the settings."""
        known = type(self).model_fields
        for key in values:
            if key not in known:
                raise ConfigError(f"Unknown setting {key!r}. {did_you_mean(key, known)}")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._explained(error) from None

    @classmethod
    def _explained(cls, error: ValidationError) -> ConfigError:
        """The first error of pydantic, in the words of this program."""
        first = error.errors()[0]
        raised = first.get("ctx", {}).get("error")
        if isinstance(raised, ConfigError):
            return raised
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            return ConfigError(f"--{name} is missing. {cls.if_missing}")
        name = name.replace("_", cls.separator)
        return ConfigError(f"{name} must be {expected_value(first)}, got {first['input']!r}.")
