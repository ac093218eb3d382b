"""Options made from settings: what `RunConfig` has as a field is an option of the commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import Field
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from ultraedit.core.settings import (
    EDITOR,
    PANELS,
    SettingsModel,
    Shown,
    default_of,
    shown,
    shown_of,
)
from ultraedit.runs.config import RunConfig, TrainingPlan


class EditorFlags(SettingsModel):
    """Options of editors that have a flag of their own. All others are given with ``--set``."""

    eta: str | None = Field(
        default=None,
        description="Size of the step: a positive number, or auto.",
        json_schema_extra=shown(EDITOR, "X|auto", default="that of the preset", in_edit=True),
    )
    ridge: str | None = Field(
        default=None,
        description="Penalty on the size of the update; larger writes less.",
        json_schema_extra=shown(EDITOR, "X", default="that of the preset"),
    )
    protocol: str | None = Field(
        default=None,
        description="Follow the paper, or the released code where the two differ.",
        json_schema_extra=shown(EDITOR, "paper|official", default="paper"),
    )
    net: str | None = Field(
        default=None,
        description="Trained net of the editor, from `ultraedit train`.",
        json_schema_extra=shown(EDITOR, "FILE", default="untrained"),
    )
    form: str | None = Field(
        default=None,
        description="How the editor anchored puts each fact: as the bare prompt, as a user's "
        "question in the model's chat template, or both.",
        json_schema_extra=shown(EDITOR, "plain|chat|both", default="both", in_edit=True),
    )
    anchors: str | None = Field(
        default=None,
        description="General prompts whose answers the editor anchored keeps as they are: general "
        "for the package's own 300, a file with a prompt on each line, or none.",
        json_schema_extra=shown(EDITOR, "FILE|general|none", default="general", in_edit=True),
    )


FIELDS: Mapping[str, FieldInfo] = {
    name: field
    for model in (RunConfig, EditorFlags, TrainingPlan)
    for name, field in model.model_fields.items()
    if shown_of(field) is not None
}
"""Every setting that is an option of some command, by its name."""

OF_RUN = tuple(name for name in FIELDS if name not in TrainingPlan.model_fields)
OF_EDIT = tuple(name for name in OF_RUN if shown_of(FIELDS[name]).in_edit)  # type: ignore[union-attr]
OF_APPEND = tuple(name for name in OF_RUN if shown_of(FIELDS[name]).in_append)  # type: ignore[union-attr]


def option(name: str, panel: str | None = None, *, help: str = "", default: str = "") -> Any:
    """The option of a setting.

    Args:
        name: The setting.
        panel: The panel of the help page. None takes the setting's.
        help: What it does in this command. Empty takes the setting's description.
        default: What help calls the default. Empty takes the setting's.
    """
    field, how = FIELDS[name], _how(name)
    text = help or str(field.description)
    default = default or default_of(field) or ""
    return typer.Option(
        _flag(name),
        help=f"{text} \\[default: {default}]" if default else text,
        metavar=_metavar(field, how),
        rich_help_panel=panel or how.panel,
        show_default=False,
        show_envvar=False,
    )


def with_settings(
    names: Sequence[str],
    *,
    first: Sequence[str] = (),
    help: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some settings, and what the user gave of them as ``given``.

    Args:
        names: The settings.
        first: Options that people use first, of the settings and of the function itself, by the
            names of their parameters. They stand in the main panel, in this order; all others
            stand in the panels that follow.
        help: What some of them do in this command, where that is not their description.
        defaults: What help calls some of the defaults, where it is not the setting's.
    """
    helps, called = help or {}, defaults or {}
    parameters = {_parameter(name): name for name in names}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            chosen = {name: values.pop(parameter) for parameter, name in parameters.items()}
            function(given=_given(chosen), **values)

        options = [
            inspect.Parameter(
                parameter,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if FIELDS[name].annotation is bool else None,
                annotation=Annotated[
                    _type(FIELDS[name]),
                    option(name, help=helps.get(name, ""), default=called.get(name, "")),
                ],
            )
            for parameter, name in parameters.items()
        ]
        own = inspect.signature(function, eval_str=True).parameters.values()
        options += [each.replace(kind=each.KEYWORD_ONLY) for each in own if each.name != "given"]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature(_in_panels(options, first))  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in options}
        return command

    return decorate


def _in_panels(
    parameters: Sequence[inspect.Parameter], first: Sequence[str]
) -> list[inspect.Parameter]:
    """Parameters in the order of a help page: arguments, the main panel, the other panels."""

    def place(parameter: inspect.Parameter) -> tuple[int, int]:
        info = parameter.annotation.__metadata__[0]
        if not isinstance(info, OptionInfo):
            return -2, 0
        if parameter.name in first:
            info.rich_help_panel = None
            return -1, first.index(parameter.name)
        panel = info.rich_help_panel
        return PANELS.index(panel) if panel in PANELS else len(PANELS), 0

    return sorted(map(_copied, parameters), key=place)


def _copied(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with an option of its own: that of an alias belongs to other commands too."""
    kind, info = get_args(parameter.annotation)
    return parameter.replace(annotation=Annotated[kind, copy(info)])


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the user gave, of all settings of a command."""
    given = {}
    for name, value in values.items():
        if value is None or value is False or value == []:
            continue
        # A switch says the opposite of its default.
        given[name] = not FIELDS[name].default if FIELDS[name].annotation is bool else value
    return given


def _how(name: str) -> Shown:
    how = shown_of(FIELDS[name])
    assert how is not None
    return how


def _flag(name: str) -> str:
    return _how(name).option or f"--{name.replace('_', '-')}"


def _parameter(name: str) -> str:
    return _flag(name).removeprefix("--").replace("-", "_")


def _type(field: FieldInfo) -> Any:
    """What typer reads; whether the value will do is left to the model."""
    how = shown_of(field)
    if field.annotation is bool:
        return bool
    if how is not None and how.multiple:
        return list[str] | None
    return int | None if _is_number(field) else str | None


def _metavar(field: FieldInfo, how: Shown) -> str:
    if how.metavar is not None or field.annotation is bool:
        return how.metavar or ""
    if _is_number(field):
        return "N"
    hints = [field.annotation, *get_args(field.annotation)]
    words = next((get_args(hint) for hint in hints if get_origin(hint) is Literal), ())
    return "|".join(map(str, words)) or "TEXT"


def _is_number(field: FieldInfo) -> bool:
    return field.annotation is int or int in get_args(field.annotation)
