"""The drawing of the workflow: well-formed, self-contained, nothing outside its boxes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

PATH = Path(__file__).parent.parent / "docs" / "workflow.svg"
SVG = "{http://www.w3.org/2000/svg}"

WIDTH = {"head": 8.6, None: 8.0, "quiet": 6.4}
"""Width of a letter in units of the drawing, of each class of text; more than any font needs."""


def boxes(drawing):
    for each in drawing.iter(f"{SVG}rect"):
        if each.get("class") in ("box", "kept"):
            yield tuple(float(each.get(name)) for name in ("x", "y", "width", "height"))


def test_it_loads_nothing_and_follows_light_and_dark():
    text = PATH.read_text(encoding="utf-8")
    drawing = ElementTree.fromstring(text)
    assert not re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)", text.replace("url(#", ""))
    assert "prefers-color-scheme: dark" in text
    assert drawing.find(f"{SVG}title").text
    assert drawing.find(f"{SVG}desc").text


def test_boxes_do_not_overlap_and_their_words_stay_inside():
    drawing = ElementTree.parse(PATH).getroot()
    found = list(boxes(drawing))
    assert len(found) == 10
    for number, (x, y, w, h) in enumerate(found):
        for ox, oy, ow, oh in found[number + 1 :]:
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y
    inside = 0
    for word in drawing.iter(f"{SVG}text"):
        at = float(word.get("x")), float(word.get("y"))
        for x, y, w, h in found:
            if x < at[0] < x + w and y < at[1] < y + h:
                half = len(word.text) * WIDTH[word.get("class")] / 2
                assert word.get("text-anchor") == "middle"
                assert x <= at[0] - half and at[0] + half <= x + w, word.text
                inside += 1
    assert inside >= 20
