"""The package's anchors and control questions: complete, apart, and read from a user's file too."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from importlib.resources import files

import pytest

from ultraedit.core.errors import DataError
from ultraedit.data import read
from ultraedit.data.general_questions import KINDS, LANGUAGES, GeneralPrompt, anchors, controls

WORD = re.compile(r"[^\W_]+")

SMALL_FILES = ("general/mmlu.json", "general/sst2.json", "general/mrpc.json", "general/rte.json")


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def runs(text: str, length: int = 5) -> set[tuple[str, ...]]:
    """All runs of `length` words, or the whole text where it is shorter."""
    split = words(text)
    return {tuple(split[i : i + length]) for i in range(max(1, len(split) - length + 1))}


def named(prompt: str, length: int = 8) -> set[str]:
    """Every stretch of whole words in a prompt that could be a name, as it is written."""
    spans = [(match.start(), match.end()) for match in WORD.finditer(prompt)]
    stretches = {
        prompt[spans[i][0] : spans[j][1]]
        for i in range(len(spans))
        for j in range(i, min(i + length, len(spans)))
    }
    return {text for text in stretches if any(letter.isupper() for letter in text)}


class Benchmark:
    """Everything that a benchmark asks and answers."""

    def __init__(self) -> None:
        self.runs: set[tuple[str, ...]] = set()
        self.answers: set[str] = set()
        self.subjects: set[str] = set()

    def asks(self, *prompts: str) -> None:
        for prompt in prompts:
            self.runs |= runs(prompt)

    def answered_by(self, *answers: str | None) -> None:
        self.answers |= {" ".join(words(answer)) for answer in answers if answer}

    def overlaps(self, prompts: tuple[GeneralPrompt, ...]) -> list[tuple[str, object]]:
        faults: list[tuple[str, object]] = []
        for prompt in prompts:
            shared = runs(prompt.prompt) & self.runs
            about = named(prompt.prompt) & self.subjects
            answer = " ".join(words(prompt.target or ""))
            if shared or about or (answer and answer in self.answers):
                faults.append((prompt.prompt, shared or about or answer))
        return faults


def edits_of(spec: str) -> Benchmark:
    content = Benchmark()
    for edit in read(spec):
        asked = [*edit.locality, *(question for some in edit.probes.values() for question in some)]
        content.asks(edit.prompt, *edit.rephrases, *(question.prompt for question in asked))
        content.answered_by(edit.target, *edit.aliases, *(question.target for question in asked))
        if edit.subject:
            content.subjects.add(edit.subject.strip())
    return content


def test_there_are_300_anchors_and_200_controls_of_eight_kinds_in_five_languages():
    assert (len(anchors()), len(controls())) == (300, 200)
    for prompts in (anchors(), controls()):
        kinds = Counter(prompt.kind for prompt in prompts)
        languages = Counter(prompt.language for prompt in prompts)
        assert set(kinds) == set(KINDS) and max(kinds.values()) <= 1.1 * min(kinds.values())
        assert set(languages) == set(LANGUAGES)
        assert 0.65 <= languages["en"] / len(prompts) <= 0.75
        assert min(languages.values()) >= 0.06 * len(prompts)


@pytest.mark.parametrize("length", [40, 100, 150])
def test_the_start_of_each_list_covers_every_kind_and_language(length):
    for prompts in (anchors()[:length], controls()[:length]):
        assert {prompt.kind for prompt in prompts} == set(KINDS)
        assert {prompt.language for prompt in prompts} == set(LANGUAGES)


def test_the_texts_carry_no_stray_blanks_and_every_row_has_the_same_fields():
    for name in ("anchors.jsonl", "controls.jsonl"):
        for line in (files("ultraedit") / "data" / name).read_text("utf-8").splitlines():
            row = json.loads(line)
            assert [*row][:3] == ["prompt", "kind", "language"] and [*row][3:] in ([], ["target"])
            assert all(
                text == " ".join(text.split()) and text.isprintable() for text in row.values()
            )


def test_no_control_is_an_anchor_or_shares_four_words_or_an_answer_with_one():
    held = set().union(*(runs(anchor.prompt, 4) for anchor in anchors()))
    answers = {anchor.target.casefold() for anchor in anchors() if anchor.target}
    for control in controls():
        assert not runs(control.prompt, 4) & held, control
        assert not control.target or control.target.casefold() not in answers, control
    assert len({p.prompt.casefold() for p in (*anchors(), *controls())}) == 500


def test_nothing_overlaps_with_the_facts_of_the_demo():
    demo = edits_of(f"jsonl:{files('ultraedit') / 'data' / 'demo_facts.jsonl'}")
    assert len(demo.runs) > 1000
    assert demo.overlaps((*anchors(), *controls())) == []


@pytest.mark.parametrize(
    "spec",
    [
        "zsre:zsre/zsre_10k.json",
        "counterfact:counterfact/counterfact_20k.json",
        "fever:fever/fever_1.9k.json",
        "hallueditbench:hallueditbench/hallueditbench_4.6k.json",
    ],
)
def test_nothing_overlaps_with_a_benchmark_of_edits(real, spec):
    name, _, path = spec.partition(":")
    benchmark = edits_of(f"{name}:{real(path)}")
    assert len(benchmark.runs) > 1000
    assert benchmark.overlaps((*anchors(), *controls())) == []


@pytest.mark.slow
def test_nothing_overlaps_with_the_questions_and_answers_of_triples(real):
    benchmark = Benchmark()
    for edit in read(f"entityquestions:{real('triples/entityquestions_220k.tsv.gz')}"):
        benchmark.asks(edit.prompt)
        benchmark.answered_by(edit.target, *edit.aliases)
    patterns = json.loads(real("triples/pararel_patterns.json").read_text("utf-8"))
    benchmark.asks(*(pattern for some in patterns.values() for pattern in some))
    with gzip.open(real("triples/pararel_29k.tsv.gz"), "rt", encoding="utf-8") as lines:
        benchmark.answered_by(*(line.rstrip("\n").split("\t")[2] for line in lines))
    assert len(benchmark.answers) > 10_000
    assert benchmark.overlaps((*anchors(), *controls())) == []


def test_nothing_overlaps_with_the_probes_of_general_ability(real):
    benchmark = Benchmark()
    for name in SMALL_FILES:
        for row in json.loads(real(name).read_text("utf-8")):
            benchmark.asks(*(value for value in row.values() if isinstance(value, str)))
    for path in real("general/mmlu_csv").glob("*/*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            benchmark.asks(*(row[0] for row in csv.reader(lines)))
    assert len(benchmark.runs) > 100_000
    assert benchmark.overlaps((*anchors(), *controls())) == []


def test_an_overlap_would_be_seen():
    benchmark = Benchmark()
    benchmark.asks("In which city would you find the tallest clock?")
    benchmark.answered_by("Velm Harbour")
    benchmark.subjects.add("Ina Koll")
    rows = [
        GeneralPrompt("Tell me: would you find the tallest one?"),
        GeneralPrompt("What did Ina Koll paint?"),
        GeneralPrompt("Where do ships rest?", target="velm harbour"),
        GeneralPrompt("Where would you look?"),
    ]
    assert [prompt for prompt, _ in benchmark.overlaps(tuple(rows))] == [r.prompt for r in rows[:3]]


def test_a_file_of_ones_own_is_lines_of_json_an_array_or_plain_text(write):
    rows = [{"prompt": "Who are you?", "kind": "talk"}, {"prompt": " How far? "}]
    expected = (GeneralPrompt("Who are you?", "talk"), GeneralPrompt("How far?"))
    assert anchors(write("rows.jsonl", "\n\n".join(map(json.dumps, rows)))) == expected
    assert anchors(write("rows.json", rows)) == expected
    assert anchors(str(write("rows.json.gz", rows, packed=True))) == expected
    text = "﻿Who are you?\n\n  How far? \r\nWho are you?\n"
    plain = tuple(GeneralPrompt(prompt.prompt) for prompt in expected)
    assert anchors(write("rows.txt", text)) == controls(write("rows.txt", text)) == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "holds no prompt"),
        ('{"question": "Who?"}', "line 1: no 'prompt' in a row with question"),
        ('{"prompt": "Who?"}\n{"prompt": ""}', "line 2: 'prompt' must be a text that is not empty"),
        (
            '{"prompt": "Who?", "kind": 3}',
            "'kind' must be a text that is not empty, got the number",
        ),
        ('{"prompt": "Who?"', "malformed JSON"),
        (b"Who?\nCaf\xe9?\n", "line 2: not UTF-8: byte 0xe9"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(write, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        anchors(write("rows.txt", content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"No such file: .*none\.txt"):
        anchors(tmp_path / "none.txt")
