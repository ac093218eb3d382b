"""Facts are proposed out of a document, and each rests on its passage."""

from __future__ import annotations

import json

import pytest

from tests.tools.bench_builder.fake import Answer, served
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data import check
from ultraedit.data.enrichment import write_rows
from ultraedit.tools.bench_builder.writers.openai import Endpoint, OpenAIWriter
from ultraedit.tools.drafting.document import (
    LONGEST,
    AskingDrafter,
    CompletingDrafter,
    draft,
    read_passages,
)

PASSAGE = "The observatory on Mount Orrin was built in 1911 by **Ines Okafor**, says [a page](x)."
PLAIN = "The observatory on Mount Orrin was built in 1911 by Ines Okafor, says a page."


class _Fixed:
    def __init__(self, *pairs):
        self._pairs = list(pairs)

    def propose(self, passages):
        for _ in passages:
            yield self._pairs


def test_a_fact_whose_answer_is_not_in_its_passage_is_dropped_and_counted():
    writer = _Fixed(
        ("Who built the observatory on Mount Orrin?", "Ines Okafor."),
        ("When was it built?", "1912"),
        ("Who is Ines Okafor?", "Ines Okafor"),
        ("What is said?", PLAIN.rstrip(".")),
        ("", "1911"),
        ("When was this observatory built?", "1911"),
        ("Who is named in the passage?", "Ines Okafor"),
    )
    first, second = draft([PLAIN, PLAIN], writer)
    assert [(fact.prompt, fact.target) for fact in first.facts] == [
        ("Who built the observatory on Mount Orrin?", "Ines Okafor")
    ]
    assert first.facts[0].passage == PLAIN
    assert first.dropped == 6
    assert second.facts == ()


def test_what_is_drafted_can_be_edited_with_and_keeps_its_passage(tmp_path):
    (drafted,) = draft([PLAIN], _Fixed(("Who built it?", "Ines Okafor")))
    write_rows(tmp_path / "facts.jsonl", [fact.to_row() for fact in drafted.facts])
    assert json.loads((tmp_path / "facts.jsonl").read_text())["passage"] == PLAIN
    assert check(str(tmp_path / "facts.jsonl")).ok


MARKDOWN = f"""# A heading that is long enough to be taken for a passage

{PASSAGE}

```python
code = "that is long enough to be taken for a passage, and is none"
```

| a table | with cells that are long enough to be taken for a passage |

- `snake_case_name` is the first point of a list that is long enough for one
- short
"""


def test_markdown_is_cut_into_its_paragraphs(tmp_path):
    (tmp_path / "a.md").write_text(MARKDOWN)
    assert read_passages(tmp_path / "a.md") == [
        PLAIN,
        "snake_case_name is the first point of a list that is long enough for one",
    ]


def test_a_page_is_read_without_its_scripts_and_menus(tmp_path):
    page = (
        "<html><head><title>no passage, though it is long enough for one</title></head><body>"
        "<nav>no passage either, though it is long enough to be one</nav>"
        "<p>The observatory on Mount Orrin was built in <b>1911</b> by Ines Okafor,\n says a "
        "page.</p><script>var x = 'no passage, though it is long enough for one'</script></body>"
    )
    (tmp_path / "a.html").write_text(page)
    assert read_passages(tmp_path / "a.html") == [PLAIN]


def test_a_long_paragraph_is_cut_between_sentences(tmp_path):
    sentence = "This is the sentence number {} of a paragraph that is long."
    text = " ".join(sentence.format(number) for number in range(60))
    (tmp_path / "a.txt").write_bytes(text.encode("utf-16"))
    passages = read_passages(tmp_path / "a.txt")
    assert " ".join(passages) == text
    assert all(len(passage) <= LONGEST and passage.endswith(".") for passage in passages)


def test_a_document_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text("short")
    with pytest.raises(DataError, match="has no passage of 40 letters or more"):
        read_passages(tmp_path / "a.md")
    with pytest.raises(DataError, match="No such file"):
        read_passages(tmp_path / "gone.md")
    (tmp_path / "a.pdf").write_bytes(b"no pdf")
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    with pytest.raises(ConfigError, match=r"takes pypdf to read: pip install 'ultraedit\[doc"):
        read_passages(tmp_path / "a.pdf")


def test_what_is_no_pdf_is_refused(tmp_path):
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(b"no pdf")
    with pytest.raises(DataError, match="cannot be read as PDF"):
        read_passages(tmp_path / "a.pdf")


def test_an_endpoint_proposes_facts(tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "word")
    reply = json.dumps([{"question": "Who built it?", "answer": "Ines Okafor"}, {"x": 1}])
    with served(lambda number, again: Answer(text=f"Facts: {reply}")) as endpoint:
        made = Endpoint(model="fake", base_url=endpoint.url)
        writer = AskingDrafter(OpenAIWriter(made, tmp_path / "r.sqlite"))
        (drafted,) = draft([PLAIN], writer)
        writer.close()
    assert [(fact.prompt, fact.target) for fact in drafted.facts] == [
        ("Who built it?", "Ines Okafor")
    ]


def test_a_model_of_ours_proposes_one_fact_of_a_passage():
    class Local:
        def go_on(self, texts):
            assert all(text.endswith(f"Text: {PLAIN}\nQuestion:") for text in texts)
            return ["Who built it?"]

        def complete(self, texts):
            assert all(text.endswith("Question: Who built it?\nAnswer:") for text in texts)
            return ["Ines Okafor"]

    (drafted,) = draft([PLAIN], CompletingDrafter(Local()))
    assert [fact.target for fact in drafted.facts] == ["Ines Okafor"]
