"""The page for a browser says what the Markdown page says, in one file that obeys nobody."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.report.runs import NASTY, write_run
from ultraedit.report import write
from ultraedit.report.figures import INK, sketch
from ultraedit.report.html import embedded, to_html
from ultraedit.report.markdown import code, environment, link, literal, table
from ultraedit.report.run_page import ABILITY, CURVES, PLOTS, RETENTION

VOID = {"meta", "br", "path", "use"}


class Reader(HTMLParser):
    """Collects the elements and the text of a page, and checks that all are closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text, self.places = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        self.places.append(set(self.open))

    def within(self, tag):
        return "".join(
            text for text, place in zip(self.text, self.places, strict=True) if tag in place
        ).strip()

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def pages(tmp_path):
    """Both pages of a run that has everything."""
    folder = write_run(tmp_path / "run")
    write(folder)
    names = ("report.html", "report.md")
    return folder, *(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def test_both_pages_have_the_same_headings_and_numbers(pages):
    _, page, markdown = pages
    headings = re.findall(r"<h[123]>(.*?)</h[123]>", page)
    assert headings == re.findall(r"^#+ (.*)$", markdown, flags=re.MULTILINE)
    for heading in ("Over the run", "Retention", "Monitors", "Cases", "Best", "Settings"):
        assert heading in headings
    cells = re.findall(r'<td class="number">(.*?)</td>', page)
    assert len(cells) > 100
    table_cells = set(re.findall(r"(?<=\| )[^|]+(?= \|)", markdown))
    assert set(cells) <= table_cells


def test_the_first_figures_are_those_of_free_answers(pages):
    _, page, _ = pages
    tiles = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    assert tiles[0] == ("efficacy, free generation", "50.0%")
    assert ("efficacy, teacher-forced", "50.0%") in tiles
    assert ("perplexity on the text", "24") in tiles
    assert tiles[-1] == ("peak memory", "1 GiB")


def test_a_run_that_its_guard_ended_says_so_in_a_warning(tmp_path):
    remarks = {"guard": "ended after turn 4: too much", "reverse": "of 3 edits"}
    folder = write_run(tmp_path / "run", remarks=remarks)
    write(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    (warned,) = re.findall(r'<p class="warned">(.*?)</p>', page)
    assert warned.endswith("the guard has ended this run: ended after turn 4: too much.")
    assert page.count("too much") == 1
    assert "Note: reverse: of 3 edits." in page


def test_every_plot_is_in_the_page_and_beside_it(pages):
    folder, page, _ = pages
    found = Reader(page)
    names = {*PLOTS, CURVES, RETENTION, ABILITY}
    assert {path.name for path in folder.glob("*.png")} == names
    assert len(found.all("svg")) == len(names)
    assert not found.all("img")
    words = " ".join(found.text)
    for title in (
        "Edits per second",
        "Efficacy by turn, %",
        "General ability",
        "Perplexity on the",
    ):
        assert title in words


def test_a_page_asks_for_no_other_file(pages):
    _, page, _ = pages
    found = Reader(page)
    for tag in ("script", "link", "iframe", "object"):
        assert not found.all(tag)
    for _, attributes in found.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:"))
    assert not re.search(r"@import|url\((?!#)", page)


def test_texts_of_models_and_data_are_shown_and_not_obeyed(pages):
    _, page, _ = pages
    found = Reader(page)
    assert not found.all("b")
    assert NASTY in " ".join("".join(found.text).split())


def test_names_inside_of_one_plot_are_apart_from_those_of_another(pages):
    _, page, _ = pages
    names = [attrs["id"] for _, attrs in Reader(page).elements if "id" in attrs]
    assert len(names) == len(set(names)) > 50
    for target in re.findall(r'url\(#(.*?)\)|href="#(.*?)"', page):
        assert "".join(target) in names


def test_letters_of_a_plot_are_text_in_the_colours_of_the_page():
    drawing = sketch(4, 3, lambda figure: figure.subplots().set_title("Speed & <memory>"))
    assert drawing.png.startswith(b"\x89PNG")
    assert INK.lower() in drawing.svg.lower()
    svg = embedded("a plot.png", drawing.svg)
    assert INK.lower() not in svg.lower()
    assert "var(--ink)" in svg
    root = ElementTree.fromstring(svg)
    assert "width" not in root.attrib
    assert "viewBox" in root.attrib
    assert "Speed & <memory>" in "".join(root.itertext())
    assert all(
        each.attrib["id"].startswith("a-plot-") for each in root.iter() if "id" in each.attrib
    )


def test_both_pages_are_the_same_when_they_are_written_again(pages):
    folder, page, markdown = pages
    write(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == page
    assert (folder / "report.md").read_text(encoding="utf-8") == markdown


def test_a_warning_stands_out_on_both_pages():
    markdown = f"# {literal('A & B')}\n\n> **Warning:** {literal('They *differ*.')}\n\n**Look:**\n"
    page = to_html(markdown, {})
    assert "<title>A &amp; B</title>" in page
    assert '<p class="warned"><strong>Warning:</strong> They *differ*.</p>' in page
    assert r"> **Warning:** They \*differ\*." in markdown


def test_a_picture_that_was_not_drawn_is_an_error_and_not_a_gap():
    with pytest.raises(Exception, match=r"plot\.png"):
        to_html("![A plot](plot.png)", {})


def test_a_cell_may_have_lines_on_both_pages():
    markdown = table(["what"], [["one\ntwo"]], "l")
    assert "<td><div>one<br>two</div></td>" in to_html(markdown, {})
    assert "| one<br>two |" in markdown


def test_only_our_own_line_ends_are_html():
    page = to_html("one<br>two <b>three</b> <br/> <script>four</script>\n\n<p>five</p>", {})
    shown = "one<br>two &lt;b&gt;three&lt;/b&gt; &lt;br/&gt; &lt;script&gt;four&lt;/script&gt;"
    assert f"<p>{shown}</p>" in page
    assert "<p>&lt;p&gt;five&lt;/p&gt;</p>" in page


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "23) a", "a #", "#", "> a", "`a`"])
def test_a_text_at_the_start_of_a_line_makes_no_list_and_no_title(text):
    shown = environment().from_string("- {{ text }}\n\n{{ text }}\n\n# {{ text }}\n")
    page = to_html(shown.render(text=text), {})
    for tag in ("li", "p", "h1", "title"):
        assert Reader(page).within(tag) == text
    assert len(Reader(page).all("li")) == 1


def test_a_pipe_in_code_is_a_pipe_within_a_table_and_without():
    page = to_html(f"{code('a|b', in_table=False)}\n\n{table(['x'], [[code('a|b')]], 'l')}", {})
    assert page.count("<code>a|b</code>") == 2


def test_a_plot_may_have_any_name():
    name = "a (b) <c> & d_e [f]%20.png"
    drawing = sketch(1, 1, lambda figure: None)
    assert "<figure>" in to_html(f"![A plot]({link(name)})", {name: drawing})
