"""Characters that do something are shown as symbols, wherever a text meets a reader."""

from __future__ import annotations

import json
import logging
import re

import pytest
from jinja2 import DictLoader

from ultraedit.cli import _output
from ultraedit.cli._errors import _say
from ultraedit.cli._progress import Lines
from ultraedit.core.errors import ConfigError, DataError, StorageError
from ultraedit.core.symbols import visible, visible_json
from ultraedit.report.figures import shorten, sketch
from ultraedit.report.html import Page, to_html
from ultraedit.report.markdown import environment, literal, table

HARMFUL = "a\0b\x1b[31mc\rd\x9be\u202ef\u2066g\u2028h\ufeffi\x7fj\U000e0041k\x85l"
"""NUL, escape, return, the one-byte escape, override, isolate, line separator, and more."""

HARMLESS = [
    "Lyon\tand\nParis",
    "小明。他是作家。",
    "\u200f\u05e1\u05d0\u05e8\u05df\u200f, سارن\u061c",
    "می\u200cشود",
    "👩\u200d🚀 ❤\ufe0f 👩🏽 🇫🇷",
    "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",  # Wales
    "co\u00adop \u00a0 \u3000",
]

ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
SHOWN = "a␀b␛[31mc␍d[U+009B]e[U+202E]f[U+2066]g[U+2028]h[U+FEFF]i␡j[U+E0041]k[U+0085]l"


def test_what_acts_is_a_symbol_and_what_is_read_stays():
    assert visible(HARMFUL) == SHOWN
    assert visible(SHOWN) == SHOWN
    assert not ACTING.search(visible("".join(map(chr, range(0x3000)))))
    for text in HARMLESS:
        assert visible(text) == text
    assert visible("one\r\ntwo") == "one\ntwo"
    assert visible("\ud800\ufffe") == "[U+D800][U+FFFE]"


def test_json_is_escaped_and_read_back_as_it_was():
    value = {HARMFUL: [HARMFUL, *HARMLESS, "\ud800"], "n": 1.5}
    text = visible_json(value)
    assert not ACTING.search(text)
    assert json.loads(text) == value
    assert "小明" in text


def test_errors_show_them_in_python_as_on_the_command_line(capsys):
    for kind in (ConfigError, DataError, StorageError):
        assert str(kind(f"There is no {HARMFUL}.")) == f"There is no {SHOWN}."
    _say(f"There is no {HARMFUL}.")
    assert SHOWN in capsys.readouterr().err


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


def test_the_terminal_is_shown_symbols_by_every_way_to_it(capsys, wide):
    _output.line(HARMFUL)
    _output.table([HARMFUL], [[HARMFUL], [None]], title=HARMFUL)
    _output.pairs({HARMFUL: HARMFUL})
    _output.message(HARMFUL)
    Lines().stage(HARMFUL)
    record = logging.LogRecord("ultraedit", logging.INFO, "", 0, "%s", (HARMFUL,), None)
    _output._PlainHandler().emit(record)
    _output.write_json([HARMFUL])
    out, err = capsys.readouterr()
    assert not ACTING.search(out + err)
    assert out.count(SHOWN) == 6
    assert err.count(SHOWN) == 3


EVERYTHING = """\
# {{ x }}

**{{ x }}** {{ x }} {{ x|code }} *{{ x }}*

> **Warning:** {{ x }}

- {{ x }}

{{ table }}

{% if html %}
{{ tile|listing("tiles") }}
{% else %}
{{ x }}
{% endif %}

{{ x|listing("text") }}

![{{ x }}](plot.png)
"""


def test_pages_show_symbols_in_every_kind_of_block(monkeypatch):
    def paint(figure):
        panel = figure.subplots()
        panel.bar([0], [1], label=HARMFUL)
        panel.set_xticks([0], [shorten(HARMFUL, 99)])
        panel.set_title(HARMFUL)
        panel.annotate(HARMFUL, (0, 0))
        panel.legend()

    monkeypatch.setattr(environment(), "loader", DictLoader({"everything": EVERYTHING}))
    values = {
        "x": HARMFUL,
        "table": table([HARMFUL], [[HARMFUL]], "l"),
        "tile": "\t".join([HARMFUL] * 3),
    }
    page = Page("everything", values, {"plot.png": lambda: sketch(14, 6, paint)})
    html, markdown = page.html, page.markdown
    assert not ACTING.search(html)
    assert not ACTING.search(markdown)
    # In the title, once in each place above, and in the plot's tick, title, note and legend.
    assert html.count("a␀b␛[31mc␍d[U+009B]e[U+202E]f") == 1 + 14 + 1 + 4
    assert markdown.count("␀b␛") == 12
    for text in HARMLESS[1:]:
        assert text in to_html(f"{literal(text)}.", {})
        assert text in literal(text)
