"""The writer that uses a model of ours."""

from __future__ import annotations

import itertools

import pytest

from tests.tiny import tiny_model
from tests.tools.bench_builder.conftest import people, tsv
from tests.tools.bench_builder.test_bench_pieces import PAIR
from ultraedit.models import generation
from ultraedit.tools.bench_builder import (
    BuildSettings,
    Pair,
    TemplateQuestionWriter,
    TripleFact,
    build,
)
from ultraedit.tools.bench_builder.writers.local import LocalWriter


@pytest.fixture
def writer():
    return LocalWriter(tiny_model("llama", layers=1))


@pytest.fixture
def told(monkeypatch):
    """Let the model go on with what a good one would write, and note what it was told."""
    seen = []

    def go_on(model, texts, *, max_new_tokens, observer=None):
        assert len(max_new_tokens) == len(texts)
        seen.append(list(texts))
        return [good(text) for text in texts]

    monkeypatch.setattr(generation, "generate", go_on)
    return seen


def good(text: str) -> str:
    if text.endswith("In other words:"):
        asked = text.splitlines()[-2].removeprefix("Question: What is the ")
        return f"Which {asked.rstrip('?')} is known? Question: Who"
    subject, relation = (line.split(": ", 1)[1] for line in text.splitlines()[-3:-1])
    return f"What is the {relation} of {subject}? And then"


def test_each_pair_gets_its_own_three_questions(writer, told):
    facts = [TripleFact("00", f"Person {n}", PAIR.fact.relation, f"Town {n}") for n in range(5)]
    pairs = [Pair(a, b) for a, b in itertools.pairwise(facts)]
    written = list(writer.write(pairs))
    for number, found in enumerate(written):
        assert found.prompt == f"What is the place of birth of Person {number}?"
        assert found.rephrase == f"Which place of birth of Person {number} is known?"
        assert found.unrelated == f"What is the place of birth of Person {number + 1}?"
    assert [len(texts) for texts in told] == [8, 4], "two batches, not a call a question"


def test_the_answer_is_never_shown_to_the_model(writer, told):
    list(writer.write([PAIR]))
    assert all(PAIR.fact.answer not in text for texts in told for text in texts)


def test_a_set_can_be_built_with_it(writer, told, make):
    found = make(size=60, writer=writer)
    assert len(found.rows) == 60
    assert found.card["writer"] == {"writer": "local", "model": "tiny-llama"}
    assert all(row["rephrase_prompt"].endswith("is known?") for row in found.rows)


def test_what_a_poor_model_writes_is_rejected_not_kept(writer, tmp_path, write):
    from ultraedit.core.errors import DataError

    path = write("triples.tsv", tsv(people(4)))
    settings = BuildSettings(triples=(path,), out=tmp_path / "set")
    with pytest.raises(DataError, match=r"No row could be built .* subject-missing"):
        build(settings, writer)


def test_a_relation_without_wordings_is_enough_for_a_model_but_not_for_the_template(
    writer, told, make
):
    from ultraedit.core.errors import DataError

    rows = [(f"Dish {n}", "taste", f"Spice-{n}") for n in range(20)]
    assert len(make(rows, writer=writer).rows) == 15
    with pytest.raises(DataError, match="no-wording"):
        make(rows, name="b", writer=TemplateQuestionWriter())
