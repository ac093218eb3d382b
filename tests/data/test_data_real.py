"""The real files, where they are present, are read whole and hold what they should."""

import tracemalloc

import pytest

from ultraedit.core.types import Question
from ultraedit.data import check, read, stream

FILES = [
    ("zsre", "zsre/zsre_10k.json", 10_000),
    ("counterfact", "counterfact/counterfact_20k.json", 20_000),
    ("fever", "fever/fever_1.9k.json", 1_926),
    ("hallueditbench", "hallueditbench/hallueditbench_4.6k.json", 4_607),
]


@pytest.mark.parametrize(("name", "file", "rows"), FILES, ids=[row[0] for row in FILES])
def test_a_real_file_is_in_order(real, name, file, rows):
    report = check(f"{name}:{real(file)}")
    assert report.ok
    assert report.rows == rows
    assert report.coverage["rephrases"] == report.coverage["locality"] == rows


def test_the_first_zsre_edit_is_read_as_the_released_loader_reads_it(real):
    (edit,) = read(f"zsre:{real('zsre/zsre_10k.json')}", limit=1)
    assert edit.prompt == "What is the native language of Christiane Cohendy?"
    assert edit.target == "French"
    assert edit.subject == "Christiane Cohendy"
    assert edit.rephrases == ("What's Christiane Cohendy's mother tongue?",)
    assert edit.locality == (
        Question(
            "nq question: what is the most current season of the walking dead?",
            "The eighth season",
        ),
    )


def test_counterfact_has_prompts_that_are_edited_twice(real):
    report = check(f"counterfact:{real('counterfact/counterfact_20k.json')}")
    assert report.conflicts.count == 258
    first = report.conflicts.examples[0]
    edits = read(f"counterfact:{real('counterfact/counterfact_20k.json')}", limit=first.row)
    assert edits[first.row - 1].prompt == edits[first.earlier_row - 1].prompt == first.prompt
    assert edits[first.row - 1].target != edits[first.earlier_row - 1].target


@pytest.mark.slow
def test_entityquestions_streams_220703_facts_in_small_memory(real):
    edits = stream(f"entityquestions:{real('triples/entityquestions_220k.tsv.gz')}")
    first = next(edits)
    assert (first.prompt, first.target) == ("What kind of work does Vidar Kleppe do?", "politician")
    # Tracing triples the time, so the bound is taken over the first part of the file.
    tracemalloc.start()
    try:
        for _ in range(20_000):
            next(edits)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    rest = [bool(edit.aliases) for edit in edits]
    assert len(rest) == 220_703 - 20_001
