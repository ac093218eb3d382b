"""The table of commands. Each is imported when it is called: ``ultraedit --help`` needs none."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.main import get_group

from ultraedit.cli._errors import Guarded
from ultraedit.cli._help import HelpPage, add


class Command(NamedTuple):
    """A command, as the page of the program has it."""

    panel: str
    target: str
    """Module of this package and what to take from it: a function, or a group of commands."""
    summary: str
    """What it does, on one line of a narrow terminal."""


EDIT = "Edit a model"
EVALUATE = "Evaluate"
RUNS = "Inspect and change a run"
EXPORT = "Export"
DATA = "Build data"
INFORMATION = "Information"

COMMANDS = {
    "demo": Command(EDIT, "demo:demo", "Edit a small model with the facts of this package."),
    "edit": Command(EDIT, "edit:edit", "Write a file of facts into a model."),
    "init": Command(EDIT, "init:init", "Write a file of settings, with comments."),
    "run": Command(EDIT, "run:run", "Edit a model with every setting at hand, and score it."),
    "train": Command(EDIT, "train:train", "Train the net of an editor that has one."),
    "tune": Command(EDIT, "tune:tune", "Find which layers to edit, and how strongly."),
    "serve": Command(EDIT, "serve:serve", "Serve a model that is taught while it answers."),
    "ask": Command(EVALUATE, "ask:ask", "Ask a model a question."),
    "eval": Command(EVALUATE, "eval:evaluate", "Score a model on a file of facts."),
    "ability": Command(EVALUATE, "ability:ability", "Measure the general ability of a model."),
    "report": Command(EVALUATE, "report:report", "Write the report of a run again."),
    "compare": Command(EVALUATE, "compare:compare", "Compare finished runs side by side."),
    "reproduce": Command(EVALUATE, "reproduce:app", "Reproduce the tables of the paper."),
    "history": Command(RUNS, "history:history", "List the turns of a run."),
    "show": Command(RUNS, "show:show", "Show a turn of a run, or an edit."),
    "find": Command(RUNS, "find:find", "Find edits by a text in them, or by their id."),
    "rollback": Command(RUNS, "rollback:rollback", "Bring a run back to an earlier turn."),
    "revert": Command(RUNS, "revert:revert", "Take single edits out of a run."),
    "prune": Command(RUNS, "prune:prune", "Forget the turns that were rolled back."),
    "verify": Command(RUNS, "verify:verify", "Check every file of a run, and its model."),
    "export": Command(EXPORT, "export:export", "Export the edits of a run to share or serve."),
    "apply": Command(EXPORT, "apply:apply", "Put the changes of runs on their model."),
    "diff": Command(EXPORT, "diff:diff", "Show how far apart two models are."),
    "inspect": Command(EXPORT, "inspect:inspect", "Show where an exported file comes from."),
    "push": Command(EXPORT, "push:push", "Upload the edited model to the Hugging Face Hub."),
    "build-bench": Command(DATA, "build_bench:build_bench", "Build editing pairs from triples."),
    "data": Command(DATA, "data:app", "List formats, check and complete files of facts."),
    "doctor": Command(INFORMATION, "doctor:doctor", "Examine a model before it is edited."),
    "plan": Command(INFORMATION, "plan:plan", "Predict memory and time of an edit."),
    "editors": Command(INFORMATION, "editors:app", "List the editors and their options."),
    "models": Command(INFORMATION, "models:app", "List models, and what can be edited in one."),
    "stats": Command(INFORMATION, "stats:app", "Compute and import second moments."),
}
"""The commands in their order, by name."""


class Loaded(MutableMapping[str, Any]):
    """The commands as click has them, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _load(name, COMMANDS[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS  # without making it, as the inherited method would

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(Guarded):
    """All commands of the program."""

    def __init__(self, **values: Any) -> None:
        """Take the commands from the table."""
        super().__init__(**values)
        self.commands = Loaded()
        self._is_listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; where commands are listed, its line alone."""
        if not self._is_listing:
            return super().get_command(ctx, cmd_name)
        row = COMMANDS[cmd_name]
        return HelpPage(cmd_name, help=row.summary, rich_help_panel=row.panel)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The page of the program."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False


def _load(name: str, row: Command) -> Any:
    module, attribute = row.target.split(":")
    target = getattr(import_module(f"ultraedit.cli.{module}"), attribute)
    app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=name)
    else:
        add(app, name, target)
    return get_group(app).commands[name]
