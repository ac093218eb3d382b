"""The table of editors: read without torch, and every row of it can be built."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Editor
from ultraedit.editors import EDITORS, find_editor, make_editor


def test_listing_the_editors_does_not_import_torch():
    code = (
        "import sys; from ultraedit.editors import EDITORS; assert EDITORS; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", EDITORS)
def test_every_row_leads_to_an_editor_whose_fields_are_its_options(name):
    row = EDITORS[name]
    cls = row.load()
    editor = make_editor(name, {})
    assert row.name == name
    assert type(editor) is cls
    assert isinstance(editor, Editor)
    assert dataclasses.is_dataclass(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(editor, dataclasses.fields(cls)[0].name, None)


@pytest.mark.parametrize("name", EDITORS)
def test_every_row_says_where_the_method_is_from(name):
    row = EDITORS[name]
    assert row.title
    assert row.summary
    assert row.family
    assert row.paper
    assert row.year > 2000
    assert row.url.startswith("https://")


def test_an_unknown_editor_gets_a_suggestion_and_the_command_that_lists_them():
    with pytest.raises(ConfigError, match=r"Unknown editor 'ultraedt'\. Did you mean: ultraedit\?"):
        find_editor("ultraedt")
    with pytest.raises(ConfigError, match=r"Known: .*ultraedit.*`ultraedit editors list`"):
        make_editor("qqq", {})


def test_an_unknown_option_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"ultraedit has no option 'rigde'.*mean: ridge\?"):
        make_editor("ultraedit", {"rigde": 1})


def test_options_come_as_text_or_numbers():
    assert make_editor("ultraedit", {"eta": "1e-3"}) == make_editor("ultraedit", {"eta": 1e-3})
    with pytest.raises(ConfigError, match=r"^ridge must be a positive number, got 0\.0\.$"):
        make_editor("ultraedit", {"ridge": "0"})
    with pytest.raises(ConfigError, match=r"^ridge must be a number, got 'much'\.$"):
        make_editor("ultraedit", {"ridge": "much"})


@pytest.mark.parametrize("name", [row for row in EDITORS if not EDITORS[row].wraps])
def test_every_number_among_the_options_can_be_given_as_text(name):
    editor = make_editor(name, {})
    numbers = {
        option: value
        for option, value in vars(editor).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    again = make_editor(name, {option: str(value) for option, value in numbers.items()})
    assert {option: getattr(again, option) for option in numbers} == numbers
