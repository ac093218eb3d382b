"""How far a job is: bars in a terminal, lines elsewhere, nothing on the standard output."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from ultraedit.cli import _progress
from ultraedit.cli._output import show_log
from ultraedit.cli._progress import AT_ONCE, Lines, ProgressBars, progress


def stages(observer):
    observer.stage("Loading")
    observer.stage("Editing", 1500)
    for _ in range(3):
        observer.advance(500)
    observer.stage("Saving")


def test_a_file_gets_a_line_a_stage(capsys):
    with progress() as observer:
        assert isinstance(observer, Lines)
        stages(observer)
    captured = capsys.readouterr()
    assert captured.err == "Loading\nEditing: 1,500\nSaving\n"
    assert captured.out == ""


def test_a_terminal_gets_a_bar_a_stage_and_each_ends_full(monkeypatch, capsys):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(_progress, "console", lambda **_: terminal)
    with progress() as observer:
        assert isinstance(observer, ProgressBars)
        stages(observer)
    last = "".join(screen.getvalue().splitlines()[-4:])
    assert all(f"✓ {name}" in last for name in ("Loading", "Editing", "Saving"))
    assert "1500/1500" in screen.getvalue()
    assert screen.getvalue().count("✓ Saving") == 1
    assert capsys.readouterr().out == ""


def test_the_newest_bar_is_on_the_screen_however_many_were_before_it(monkeypatch):
    screen = io.StringIO()
    terminal = Console(
        file=screen, force_terminal=True, width=100, height=AT_ONCE + 2, color_system=None
    )
    monkeypatch.setattr(_progress, "console", lambda **_: terminal)
    with progress() as observer:
        for number in range(40):
            observer.stage(f"Stage {number}.", 2)
            observer.advance(1)
        assert len(observer._drawn.tasks) == AT_ONCE
        observer._drawn.refresh()
        last = "".join(screen.getvalue().splitlines()[-AT_ONCE:])
    assert "Stage 39." in last
    assert "Stage 1." not in last
    assert "✓ Stage 1." in screen.getvalue()  # it has scrolled away, full


def test_messages_of_the_library_are_plain_lines_on_the_standard_error(capsys):
    show_log()
    show_log()
    logging.getLogger("ultraedit.models").info("Converting [once] of %d%%", 100)
    captured = capsys.readouterr()
    assert captured.err == "Converting [once] of 100%\n"
    assert captured.out == ""
