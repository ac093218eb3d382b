"""The options that several commands share: those of settings, and those of the program itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli._settings import FIELDS, option
from ultraedit.core.settings import EDITOR, FACTS, MACHINE, OUTPUT


def _option(
    name: str, panel: str | None, text: str, metavar: str | None = None, **more: Any
) -> Any:
    return typer.Option(
        name,
        help=text,
        rich_help_panel=panel,
        metavar=metavar,
        show_envvar=False,
        show_default=False,
        **more,
    )


MODEL_HELP = str(FIELDS["model"].description)
DATA_HELP = str(FIELDS["data"].description)

RunArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The --out folder of a run.", show_default=False)
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]

Data = Annotated[str | None, option("data")]
Limit = Annotated[int | None, option("limit")]
EditsPerTurn = Annotated[int | None, option("edits_per_turn")]
Editor = Annotated[str | None, option("editor")]
Modules = Annotated[str | None, option("modules")]
Dtype = Annotated[str | None, option("dtype")]
Device = Annotated[str | None, option("device")]
DeviceMap = Annotated[str | None, option("device_map")]
Seed = Annotated[int | None, option("seed")]
FreeAnswers = Annotated[int | None, option("free_answers")]
Probes = Annotated[list[str] | None, option("probe")]

Columns = Annotated[
    str | None,
    _option(
        "--columns",
        FACTS,
        "Columns of a table whose names do not say what they hold, such as "
        "prompt=Question,target=Answer. \\[default: found by name]",
        "PART=COLUMN,...",
    ),
]
Yes = Annotated[
    bool,
    _option("--yes", FACTS, "Do not show the first facts of a table before they are written.", ""),
]
Strict = Annotated[
    bool,
    _option(
        "--strict",
        FACTS,
        "Refuse facts that `ultraedit data check` warns of, such as two that contradict each "
        "other.",
        "",
    ),
]
Assignments = Annotated[
    list[str] | None,
    _option(
        "--set",
        EDITOR,
        "Any other option of the editor, as `ultraedit editors show` lists them, such as "
        "variance=released. May be repeated.",
        "NAME=VALUE",
    ),
]
Config = Annotated[
    Path | None,
    _option(
        "--config",
        FACTS,
        "Take settings from a .toml file, or repeat a run from its config.json. Options given "
        "here win.",
        "FILE",
    ),
]
Engine = Annotated[
    str | None,
    _option(
        "--engine",
        MACHINE,
        "What runs the model. llama.cpp, for .gguf files, is what Ollama and LM Studio run them "
        "with; it needs the extra gguf. \\[default: transformers]",
        "transformers|llama.cpp",
    ),
]
Out = Annotated[
    Path | None,
    _option(
        "--out",
        OUTPUT,
        "Folder for the results, new or empty. \\[default: runs/EDITOR-MODEL-FORMAT-N]",
        "DIR",
    ),
]
DryRun = Annotated[
    bool,
    _option("--dry-run", OUTPUT, "Print what would be done, and where each choice is from.", ""),
]
Json = Annotated[bool, _option("--json", OUTPUT, "Print the result as JSON.", "")]
