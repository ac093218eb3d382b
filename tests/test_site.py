"""The site: built without a warning, read without a network, in light, in dark and on a phone."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.browser import Browser, find_chromium

ROOT = Path(__file__).parent.parent

if importlib.util.find_spec("material") is None or importlib.util.find_spec("latex2mathml") is None:
    pytest.skip("the extra docs is not installed: make install", allow_module_level=True)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_name_on_a_page_becomes_its_code_with_its_file_and_line(hooks):
    block = hooks._code("UltraEdit.targets")
    number = int(re.search(r'linenums="(\d+)"', block)[1])
    path = ROOT / re.search(r'title="([^"]+)"', block)[1]
    first = block.splitlines()[1]
    assert first.startswith("def targets(self")
    assert path.read_text("utf-8").splitlines()[number - 1].strip() == first


def test_a_name_that_is_nowhere_stops_the_build(hooks):
    with pytest.raises(LookupError, match=r"0 definitions of UltraEdit\.no_such in src"):
        hooks._code("UltraEdit.no_such")


def test_a_notebook_becomes_a_page_with_its_outputs(hooks, tmp_path):
    path = tmp_path / "small.ipynb"
    path.write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["# Sums"]},'
        ' {"cell_type": "code", "source": ["1 + 1"],'
        ' "outputs": [{"data": {"text/plain": ["2"]}}]}]}',
        encoding="utf-8",
    )
    page = hooks.notebook(path)
    assert page == "# Sums\n\n```python\n1 + 1\n```\n\n```{ .text .output }\n2\n```\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_no_page_of_the_site_asks_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text("utf-8")
        assert not re.findall(r'(?:src|<link[^>]*href)="?https?:', text), page


@pytest.mark.slow
def test_the_public_names_are_all_in_the_reference(site):
    import ultraedit

    pages = (site / "reference" / name for name in ("python.html", "contract.html"))
    text = "".join(page.read_text("utf-8") for page in pages)
    for name in ultraedit.__all__:
        assert f'id="ultraedit.{name}"' in text, name


@pytest.mark.slow
def test_the_pages_fit_a_phone_and_the_search_works_from_a_disk(site, tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium to look at the pages with")
    with Browser(tmp_path / "profile") as browser:
        for name in ("index.html", "method.html", "comparison.html", "reference/python.html"):
            for theme in ("light", "dark"):
                browser.open(site / name, 390, theme)
                assert browser.evaluate("document.documentElement.scrollWidth") <= 390, name
                scheme = browser.evaluate("document.body.dataset.mdColorScheme")
                assert scheme == {"light": "default", "dark": "slate"}[theme]
                assert all(url.startswith(("file:", "blob:")) for url in browser.requests())
        browser.open(site / "index.html", 1280, "light")
        browser.evaluate("document.querySelector('#__search').click(); 1")
        type_it = (
            "field = document.querySelector('.md-search__input'); field.focus();"
            "field.value = 'rollback'; field.dispatchEvent(new Event('input', {bubbles: true}));"
            "field.dispatchEvent(new Event('keyup', {bubbles: true})); 1"
        )
        count = "document.querySelectorAll('.md-search-result__item').length"
        end = time.monotonic() + 60
        while not (results := browser.evaluate(count)) and time.monotonic() < end:
            browser.evaluate(type_it)
            time.sleep(1)
        assert results > 0
