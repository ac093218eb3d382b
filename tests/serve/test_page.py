"""The page in headless Chromium: teach, ask, undo, upload; hostile texts; narrow, dark, accessible.

For the accessibility check run `npm install axe-core` and set ULTRAEDIT_AXE to its axe.min.js.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.browser import Browser, find_chromium
from tests.serve.test_edits import FACT, _teach

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here")

VIEWS = ("chat", "teach", "facts", "history", "health")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def _wait(browser, condition: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not browser.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


def _open(browser, live, view: str = "chat", width: int = 1280, theme: str = "light") -> None:
    browser.visit("about:blank", width, theme)  # Another fragment alone would load nothing.
    browser.visit(f"{live.url}/#{view}", width, theme)
    _wait(browser, "document.getElementById('state').textContent.includes('turn')")


def _fill(browser, **values: str) -> None:
    for name, value in values.items():
        browser.evaluate(f"document.getElementById('{name}').value = {json.dumps(value)}; 1")


def _click(browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click(); 1")


def _text(browser, selector: str) -> str:
    script = f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"
    return browser.evaluate(script)


def test_a_fact_is_taught_asked_about_and_undone_on_the_page(live, browser):
    _open(browser, live, "teach")
    _fill(browser, prompt=FACT["prompt"], target=FACT["target"], author="Mia")
    _click(browser, "#preview")
    _wait(browser, "document.querySelector('#teach-result .card')")
    assert "Nothing is written yet" in _text(browser, "#teach-result")
    _click(browser, "#write")
    _wait(browser, "document.querySelector('#teach-result h3').innerText.startsWith('Written')")
    assert "holds" in _text(browser, "#teach-result")
    _click(browser, "#tab-chat")
    _fill(browser, question=FACT["prompt"], tokens="8")
    _click(browser, "#ask button.primary")
    _wait(browser, "document.querySelector('#talk .badge')")
    assert _text(browser, "#talk .answer.now p").strip().startswith("Ada")
    assert _text(browser, "#talk .badge") == "differs"
    assert browser.evaluate("document.querySelectorAll('#talk mark').length") > 0
    _click(browser, "#tab-facts")
    _wait(browser, "document.querySelector('#facts-table .badge')")
    assert "Mia" in _text(browser, "#facts-table")
    _click(browser, "#facts-table button")
    _wait(browser, "document.getElementById('confirm').open")
    _click(browser, "#confirm-yes")
    _wait(browser, "document.querySelector('#facts-table .badge').innerText === 'reverted'")
    _click(browser, "#tab-history")
    _wait(browser, "document.querySelectorAll('#line li').length === 3")
    _click(browser, "#line li:nth-child(2) button")
    assert "by Mia" in _text(browser, "#turn")
    _click(browser, "#turn button.danger")
    _wait(browser, "document.getElementById('confirm').open")
    _click(browser, "#confirm-yes")
    _wait(browser, "document.querySelectorAll('#line li').length === 2")
    _click(browser, "#tab-health")
    _wait(browser, "document.querySelectorAll('#curves svg').length === 3")


def test_a_file_is_reviewed_and_its_ticked_rows_are_written(live, browser):
    with live.client() as client:
        _teach(client, FACT)
    _open(browser, live, "teach")
    table = "prompt,target\nWho leads town 4?,Bo\nWho leads town 5?,Cy\n"
    browser.evaluate(
        "(() => { const data = new DataTransfer();"
        f"data.items.add(new File([{json.dumps(table)}], 'facts.csv'));"
        "const input = document.getElementById('file'); input.files = data.files;"
        "input.dispatchEvent(new Event('change')); return 1; })()"
    )
    _wait(browser, "document.querySelectorAll('#review tbody tr').length === 2")
    ticked = "[...document.querySelectorAll('#review input')].map((box) => box.checked).join()"
    assert browser.evaluate(ticked) == "false,true"  # the first would overrule a fact
    _click(browser, "#review button.primary")
    _wait(browser, "document.querySelector('#review h3').innerText.startsWith('Written')")
    with live.client() as client:
        targets = [edit["target"] for edit in client.get("/v1/edits").json()["edits"]]
    assert targets == ["Cy", "Ada"]


def test_hostile_texts_are_text_on_the_page(live, browser):
    hostile = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\x1b[31m\u202eabc'
    with live.client() as client:
        _teach(client, {"prompt": f"Who is {hostile}?", "target": "Ada"}, author=hostile)
        _teach(client, FACT)
        client.post("/v1/rollback", json={"turn": 1, "author": hostile})
    for view in ("facts", "history", "health"):
        _open(browser, live, view)
        time.sleep(0.5)
        assert browser.evaluate("window.hit") is None
        assert browser.evaluate("document.querySelectorAll('main script, main img').length") == 0
    _open(browser, live, "facts")
    _wait(browser, "document.querySelector('#facts-table .badge')")
    shown = _text(browser, "#facts-table")
    assert "<img src=x" in shown and "[U+202E]" in shown and "\u241b[31m" in shown


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (768, "dark"), (1600, "dark")])
def test_the_page_fits_and_is_accessible(live, browser, width, theme):
    with live.client() as client:
        _teach(client, FACT)
    axe = os.environ.get("ULTRAEDIT_AXE")
    for view in VIEWS:
        _open(browser, live, view, width, theme)
        time.sleep(0.5)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, view
        assert all(live.url in each for each in browser.requests())
        if axe is None:
            continue
        browser.evaluate(f"{Path(axe).read_text('utf-8')}; 1")
        found = json.loads(
            browser.evaluate("axe.run().then((result) => JSON.stringify(result.violations))")
        )
        serious = [(each["id"], each["impact"]) for each in found if each["impact"] in SERIOUS]
        assert serious == [], (view, width, theme)


def test_tabs_are_walked_by_the_keyboard(live, browser):
    _open(browser, live)

    def press(key: str) -> str:
        event = f"new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }})"
        browser.evaluate(f"document.activeElement.dispatchEvent({event}); 1")
        return browser.evaluate("document.activeElement.id")

    browser.evaluate("document.getElementById('tab-chat').focus(); 1")
    assert press("ArrowRight") == "tab-teach"
    assert press("End") == "tab-health"
    assert press("ArrowRight") == "tab-chat"
    assert browser.evaluate("document.getElementById('tab-teach').tabIndex") == -1


def test_a_page_without_its_token_asks_for_it(run, serve, browser):
    from ultraedit.serve.security import Policy

    live = serve(run, Policy(tokens={"mia": "mia-has-a-long-token"}))
    browser.visit(f"{live.url}/", 1280, "light")
    _wait(browser, "document.getElementById('login').open")
    _fill(browser, token="mia-has-a-long-token")
    _click(browser, "#login button")
    _wait(browser, "document.getElementById('state').textContent.includes('turn')")
