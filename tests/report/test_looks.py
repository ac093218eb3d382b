"""The pages in a real browser: wide and narrow, light and dark, everything can be read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import Browser, find_chromium
from tests.report.runs import write_run
from ultraedit.report import write
from ultraedit.report.html import to_html
from ultraedit.report.markdown import table
from ultraedit.tools.comparison import compare_runs, write_comparison

pytestmark = pytest.mark.skipif(
    find_chromium() is None,
    reason="there is no Chromium here to look at pages with; Debian has it as `chromium`",
)

LOOK = Path(__file__).with_name("looking.js").read_text(encoding="utf-8")

BAD = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<p style="width: 3000px">wide</p>
<p style="color: #999">pale</p>
<p style="font-size: 9px">tiny</p>
<p style="position: absolute; top: 300px; left: 20px; margin: 0">below</p>
<p style="position: absolute; top: 304px; left: 24px; margin: 0">above</p>
<p style="position: absolute; top: 400px; left: 5000px">gone</p>
<p style="width: 30px; overflow: hidden; white-space: nowrap">much too long</p>
<img src="missing.png">"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run, and that of a comparison of which one run is left out."""
    place = tmp_path_factory.mktemp("pages")
    folders = [
        write_run(place / name, gain=gain, **more)
        for name, gain, more in (
            ("ultraedit-run", 0.2, {}),
            ("memit", 0.1, {"editor": "memit", "turns": 3, "resolved": {"options": {"ridge": 9}}}),
            ("other-facts", 0.1, {"data": "zsre:others.json"}),
        )
    ]
    write(folders[0])
    write_comparison(compare_runs(folders), place / "compared.html")
    return {"report": folders[0] / "report.html", "compare": place / "compared.html"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("page", ["report", "compare"])
def test_everything_on_a_page_can_be_read(browser, pages, page, width, theme):
    browser.open(pages[page], width, theme)
    assert browser.evaluate(LOOK) == []
    assert browser.requests() == [pages[page].resolve().as_uri()]
    with Image.open(BytesIO(browser.screenshot())) as image:
        assert image.width == width
        pixels = np.asarray(image.convert("L")).astype(int)
    # Mostly paper: that of the theme, with letters and lines on it.
    paper = np.median(pixels)
    assert paper > 240 if theme == "light" else paper < 40
    inked = (abs(pixels - paper) > 60).mean()
    assert 0.02 < inked < 0.4
    rows = (abs(pixels - paper) > 60).any(axis=1)
    assert np.diff(np.flatnonzero(rows)).max() < 200  # no gap that nothing fills


def test_no_column_of_long_answers_is_off_the_screen(browser, tmp_path):
    long = "an answer of a dozen words, as a small model gives it when asked"
    cells = ["few-shot generalization", long, "Philadelphia", long, long, "wrong"]
    header = ["kind", "question", "wanted", "before", "after", ""]
    page = tmp_path / "page.html"
    page.write_text(to_html(table(header, [cells], "l" * 6), {}), encoding="utf-8")
    width = "document.querySelector('{}').getBoundingClientRect().width"
    for screen in (1920, 1200, 1000):
        browser.open(page, screen, "light")
        assert browser.evaluate(width.format("table")) <= browser.evaluate(width.format(".scroll"))
        assert browser.evaluate(width.format("td:nth-child(4)")) >= 140
    browser.open(page, 400, "light")  # a telephone scrolls, and has no columns of a word a line
    assert browser.evaluate(width.format("td:nth-child(4)")) >= 200


def test_a_page_that_is_badly_laid_out_is_found_out(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(BAD)
    browser.open(page, 400, "light")
    found = "\n".join(browser.evaluate(LOOK))
    for fault in (
        "px wide",
        "contrast of 2.8: pale",
        "tiny text: tiny",
        'text over "below": above',
        "text beyond the window: gone",
        "text cut off: much too long",
    ):
        assert fault in found
    assert any(url.endswith("missing.png") for url in browser.requests())
