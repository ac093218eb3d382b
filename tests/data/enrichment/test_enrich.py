"""Facts get other words, and what could not be made is said."""

from __future__ import annotations

import json
import sys

import pytest

from tests.tools.bench_builder.fake import Answer, served
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit, Question
from ultraedit.data import check, read
from ultraedit.data.enrichment import TemplateWriter, Wording, enrich, to_row, write_rows
from ultraedit.data.enrichment.controls import _CONTROLS
from ultraedit.data.relations.facts import SLOT, relations
from ultraedit.tools.bench_builder.writers.openai import Endpoint, OpenAIWriter
from ultraedit.tools.drafting.rephrasing import AskingWriter, CompletingWriter
from ultraedit.tools.drafting.review import review


def _made(prompt, target="Qqq", subject=None, **more):
    (made,) = enrich([Edit(prompt, target, subject, **more)], TemplateWriter())
    return made


def test_a_fact_of_a_known_relation_gets_all_that_it_lacks():
    made = _made("Where was Jane Austen born?", "Lund", id="a")
    assert made.reason is None
    assert made.edit.subject == "Jane Austen"
    assert set(made.edit.rephrases) == {
        "What is the birthplace of Jane Austen?",
        "In which place was Jane Austen born?",
        "Jane Austen was born in",
        "Please answer briefly: Where was Jane Austen born?",
    }
    assert Question("Where was Albert Einstein born?", "Ulm") in made.edit.locality
    assert made.edit.probes == {"reversed": (Question("Who was born in Lund?", "Jane Austen"),)}
    assert made.added == {
        "rephrases": 4,
        "subject": 1,
        "control questions": 3,
        "reverse question": 1,
    }
    assert made.edit.id == "a"


@pytest.mark.parametrize(
    ("prompt", "target", "subject", "some"),
    [
        ("Who designed Veltra Hall?", "Ann", "Veltra Hall", "By whom was Veltra Hall designed?"),
        ("Veltra Hall was designed by", "Ann", "Veltra Hall", "Who designed Veltra Hall?"),
        ("Ada's shoe size is", "38", "Ada", "What is the shoe size of Ada?"),
        ("The shoe size of Ada Lang is", "38", "Ada Lang", "What is Ada Lang's shoe size?"),
        ("What is the motto of Norden?", "Go", "Norden", "The motto of Norden is"),
        ("The head gardener of Orrin is", "Jo", "Orrin", "Who is the head gardener of Orrin?"),
        ("The gardens' owners of Orrin are", "Jo", "Orrin", "Who are Orrin's gardens' owners?"),
        ("When was the tower built?", "1911", "the tower", "In which year was the tower built?"),
        ("The tower was built in", "1911", "The tower", "In which year was the tower built?"),
    ],
)
def test_a_prompt_of_a_general_form_is_said_again(prompt, target, subject, some):
    made = _made(prompt, target)
    if "'" in prompt and "owners" in prompt:
        assert made.reason is not None  # two possessives are more than a pattern takes apart
        return
    assert made.reason is None
    assert made.edit.subject == subject
    assert some in made.edit.rephrases


@pytest.mark.parametrize(
    "prompt",
    [
        "Wer baute die Brücke?",
        "Which river flows through Vienna?",
        "Tell me something.",
        "When was the tower built?",  # a day, so that "in" would not go with it
        "谁建造了这座桥",
        "It is",
    ],
)
def test_a_prompt_that_no_pattern_fits_is_left_alone_and_said(prompt):
    made = _made(prompt, "3 May 1911")
    assert made.reason == "no English pattern fits the prompt"
    assert made.edit == Edit(prompt, "3 May 1911")


def test_every_known_wording_gives_rephrases_that_name_the_subject_and_hide_the_answer():
    wordings = [
        (templates.key, wording) for templates in relations() for wording in templates.wordings
    ]
    edits = [
        Edit(wording.replace(SLOT, "Veltra Orin"), "Qqq", "Veltra Orin") for _, wording in wordings
    ]
    few = 0
    for edit, made in zip(edits, enrich(edits, TemplateWriter()), strict=True):
        few += made.reason is not None
        assert 1 <= len(made.edit.rephrases) <= 5
        assert edit.prompt not in made.edit.rephrases
        assert all("Veltra Orin" in text for text in made.edit.rephrases)
        assert not any("Qqq" in text or SLOT in text for text in made.edit.rephrases)
        assert len(set(made.edit.rephrases)) == len(made.edit.rephrases)
    assert few < 0.2 * len(edits)


def test_control_questions_are_of_relations_of_the_table_and_of_no_edited_subject():
    assert set(_CONTROLS) <= {templates.key for templates in relations()}
    prompts = ["What is the capital of Japan?", "What is the capital of Norden?"]
    made = list(enrich([Edit(prompt, "Lund") for prompt in prompts], TemplateWriter()))
    asked = {question.prompt for each in made for question in each.edit.locality}
    assert asked == {"What is the capital of Kenya?", "What is the capital of Peru?"}


def test_what_a_fact_has_is_kept():
    locality = (Question("q", "a"),)
    made = _made(
        "Where was Jane Austen born?",
        "Lund",
        "Austen",
        rephrases=("Jane Austen's birthplace?",),
        locality=locality,
        probes={"hop": locality},
    )
    assert made.edit.subject == "Austen"
    assert made.edit.rephrases[0] == "Jane Austen's birthplace?"
    assert made.edit.locality == locality
    assert made.edit.probes["hop"] == locality


class _Fixed:
    """A writer that always says the same."""

    batch = 2

    def __init__(self, *rephrases, subject=None):
        self._wording = Wording(rephrases, subject)

    def write(self, edits):
        for _ in edits:
            yield self._wording


def test_rephrases_that_give_the_answer_or_repeat_the_prompt_are_left_out():
    edits = [Edit("Who?", "Bob", aliases=("Rob",)), Edit("Who is Bob?", "Bob")]
    writer = _Fixed("who ?", "Is it Bob?", "Is it rob?", " Name  him ", "Name him", subject="X")
    first, second = enrich(edits, writer)
    assert first.edit.rephrases == ("Name him",)
    assert first.reason.startswith("too few wordings")
    assert first.edit.subject is None
    assert second.edit.rephrases[:2] == ("who ?", "Is it Bob?")


def test_rows_are_read_back_as_they_were(tmp_path):
    edits = [
        _made("Where was Jane Austen born?", "Lund", id="a", aliases=("in Lund",)).edit,
        Edit("p", "t", id="2", locality=(Question("q"),)),
    ]
    write_rows(tmp_path / "facts.jsonl", map(to_row, edits))
    assert read(tmp_path / "facts.jsonl") == edits
    assert check(str(tmp_path / "facts.jsonl")).ok


REPLY = {
    "rephrases": ["Who made Veltra Hall?", "Who is it?", "Veltra Hall is the work of"],
    "subject": "Veltra Hall",
    "controls": [{"prompt": "Who designed the Louvre Pyramid?", "target": "I. M. Pei"}, {"x": 1}],
    "reverse": "What did Ann design?",
}


@pytest.fixture
def asking(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "word")

    def make(endpoint, **more):
        made = Endpoint(model="fake", base_url=endpoint.url, first_wait=0.01, **more)
        return AskingWriter(OpenAIWriter(made, tmp_path / "replies.sqlite"))

    return make


def test_an_endpoint_writes_and_nothing_is_asked_twice(asking):
    pytest.importorskip("openai")
    edits = [Edit("Who designed Veltra Hall?", "Ann"), Edit("Who designed Orrin Hall?", "Bo")]
    with served(lambda number, again: Answer(text=f"Here: {json.dumps(REPLY)}")) as endpoint:
        for _ in range(2):
            writer = asking(endpoint)
            first, second = enrich(edits, writer)
            writer.close()
        assert sum(endpoint.asked.values()) == 2
    assert first.edit.subject == "Veltra Hall"
    assert first.edit.rephrases == ("Who made Veltra Hall?", "Veltra Hall is the work of")
    assert first.edit.locality == (Question("Who designed the Louvre Pyramid?", "I. M. Pei"),)
    assert first.edit.probes["reversed"] == (Question("What did Ann design?", "Veltra Hall"),)
    assert second.edit.subject is None
    assert "reversed" not in second.edit.probes


def test_a_reply_of_another_form_is_asked_for_again_and_then_said(asking):
    pytest.importorskip("openai")
    with served(lambda number, again: Answer(text="no")) as endpoint:
        writer = asking(endpoint, repeats=2)
        (made,) = enrich([Edit("Who?", "Ann")], writer)
        writer.close()
        assert sum(endpoint.asked.values()) == 2
    assert made.reason == "the reply has not the form asked for"


def test_a_model_of_ours_words_questions_again():
    class Local:
        def go_on(self, texts):
            last = [text.rpartition("Question: ")[2].partition("\n")[0] for text in texts]
            return [f"Say, {text}" if "Veltra" in text else "No" for text in last]

    writer = CompletingWriter(Local())
    first, second = enrich([Edit("Who made Veltra?", "Ann"), Edit("Who?", "Bo")], writer)
    assert first.edit.rephrases == ("Say, Who made Veltra?", "Say, Say, Who made Veltra?")
    assert second.reason == "the model wrote no question about it"


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """An editor that does to its file what some Python says."""

    def use(code):
        script = tmp_path / "editor.py"
        script.write_text(f"import sys\npath = sys.argv[1]\ntext = open(path).read()\n{code}\n")
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")

    return use


ROWS = [{"prompt": "a?", "target": "x # no comment"}, {"prompt": "b?", "target": "y"}]


def test_facts_are_accepted_changed_or_dropped_in_an_editor(editor):
    editor("pass")
    assert review(ROWS) == ROWS
    editor("open(path, 'w').write(text.replace('b?', 'c?'))")
    assert review(ROWS) == [ROWS[0], ROWS[1] | {"prompt": "c?"}]
    editor("open(path, 'w').write(text[text.index('{') :].split('}')[0] + '}')")
    assert review(ROWS) == ROWS[:1]
    editor("open(path, 'w')")
    assert review(ROWS) == []


def test_a_review_that_fails_keeps_what_was_changed(editor, monkeypatch):
    editor("open(path, 'w').write('{\"prompt\": ')")
    with pytest.raises(DataError, match=r"line 1: Expecting value\. Nothing was written: your"):
        review(ROWS)
    editor("sys.exit(3)")
    with pytest.raises(ConfigError, match="ended with exit code 3: nothing was written"):
        review(ROWS)
    monkeypatch.setenv("EDITOR", "no-such-editor")
    with pytest.raises(ConfigError, match=r"cannot be run: No such file .* Set \$EDITOR"):
        review(ROWS)
    monkeypatch.delenv("EDITOR")
    with pytest.raises(ConfigError, match="it is not set"):
        review(ROWS)
