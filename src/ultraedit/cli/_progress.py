"""How far a long job is, on the standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ultraedit.cli._output import console, message
from ultraedit.core.symbols import visible

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

    from ultraedit.core.types import Observer


AT_ONCE = 8
"""Bars that are drawn again and again. Those before them scroll away with the other output: the
newest would be off the screen if a hundred checkpoints all kept theirs."""


@contextmanager
def progress() -> Iterator[Observer]:
    """Watch a job: bars in a terminal, elsewhere a line as each stage begins."""
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield Lines()
        return
    with _bars() as drawn:
        observer = ProgressBars(drawn)
        yield observer
        observer.finish()


@contextmanager
def paused(observer: Observer) -> Iterator[None]:
    """Take the bars away while the user is asked something."""
    if not isinstance(observer, ProgressBars):
        yield
        return
    observer.stop()
    try:
        yield
    finally:
        observer.start()


class Lines:
    """An observer for files and pipes: a line a stage."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Say what begins."""
        message(name if total is None else f"{name}: {total:,}")

    def advance(self, steps: int = 1) -> None:
        """Say nothing: a log has no use for a thousand lines."""


class ProgressBars:
    """An observer that draws a bar a stage."""

    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._current: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        """End the bar before and begin another."""
        self.finish()
        self._let_go()
        self._current = self._drawn.add_task(visible(name), total=total, counted=total is not None)

    def advance(self, steps: int = 1) -> None:
        """Move the bar on."""
        if self._current is not None:
            self._drawn.advance(self._current, steps)

    def stop(self) -> None:
        """Draw no more, until `start`."""
        self._drawn.stop()

    def start(self) -> None:
        """Draw again."""
        self._drawn.start()

    def finish(self) -> None:
        """Fill the last bar: its stage is over, whatever it was thought to take."""
        if self._current is None:
            return
        total = self._drawn.tasks[-1].total or 1
        self._drawn.update(self._current, total=total, completed=total)

    def _let_go(self) -> None:
        """Print the oldest bar a last time, if there are many."""
        tasks = self._drawn.tasks
        if len(tasks) >= AT_ONCE:
            self._drawn.console.print(self._drawn.make_tasks_table(tasks[:1]))
            self._drawn.remove_task(tasks[0].id)


class Named:
    """An observer of one part of a job that names its stages itself."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._name = name

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage under the name given before."""
        self._observer.stage(self._name, total)

    def advance(self, steps: int = 1) -> None:
        """Pass it on."""
        self._observer.advance(steps)


def _bars() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class CountColumn(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            return super().render(task) if task.fields["counted"] else Text()

    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        CountColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        redirect_stdout=False,
    )
