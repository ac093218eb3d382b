"""Whole sets from small inputs: what is in them, what is left out, and what stays on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.tools.bench_builder.conftest import files_of, people, read_lines, tsv
from ultraedit.core.errors import ConfigError, DataError, StorageError
from ultraedit.data import check, read
from ultraedit.tools.bench_builder import (
    REASONS,
    BuildSettings,
    Questions,
    TemplateQuestionWriter,
    Unwritten,
    build,
)
from ultraedit.tools.bench_builder import output as outputs

FIELDS = ["subject", "prompt", "rephrase_prompt", "ans", "loc", "loc_ans"]


def test_a_row_has_the_published_keys_and_three_good_questions(make):
    found = make()
    assert len(found.rows) == 160 - found.card["counts"]["held_out"]
    truth = {(subject, answer) for subject, _, answer in people()}
    for row in found.rows:
        assert list(row) == FIELDS
        assert (row["subject"], row["ans"]) in truth
        assert row["subject"] in row["prompt"]
        assert row["prompt"] != row["rephrase_prompt"]
        for name in ("prompt", "rephrase_prompt"):
            assert row["ans"].casefold() not in row[name].casefold()
        assert row["loc_ans"].casefold() not in row["loc"].casefold()


def test_the_unrelated_question_is_of_another_subject_and_is_never_edited(make):
    found = make()
    edited = {(row["subject"], row["ans"]) for row in found.rows}
    subjects = {answer: subject for subject, _, answer in people()}
    for row in found.rows:
        about = subjects[row["loc_ans"]]
        assert about in row["loc"]
        assert about != row["subject"]
        assert row["loc_ans"] != row["ans"]
        assert (about, row["loc_ans"]) not in edited


def test_our_own_reader_takes_every_row(make):
    found = make()
    for name in ("ultraeditbench.jsonl", "ultraeditbench.json"):
        report = check(f"ultraeditbench:{found.folder / name}")
        assert report.ok
        assert report.rows == len(found.rows)
        assert report.bad_rows == report.duplicates.count == report.conflicts.count == 0
        assert report.target_in_prompt.count == 0
    edits = read(f"ultraeditbench:{found.folder / 'ultraeditbench.json'}")
    assert [edit.subject for edit in edits] == [row["subject"] for row in found.rows]
    assert all(edit.subject in edit.prompt for edit in edits)


def test_the_array_and_the_splits_hold_the_same_rows(make):
    found = make()
    assert json.loads((found.folder / "ultraeditbench.json").read_text("utf-8")) == found.rows
    splits = {n: read_lines(found.folder / "splits" / f"{n}.jsonl") for n in outputs.SPLITS}
    assert sum(map(len, splits.values())) == len(found.rows)
    assert {json.dumps(r) for rows in splits.values() for r in rows} == {
        json.dumps(row) for row in found.rows
    }
    subjects = [{row["subject"] for row in rows} for rows in splits.values()]
    assert sum(map(len, subjects)) == len(set().union(*subjects))
    assert found.card["splits"] == {name: len(rows) for name, rows in splits.items()}


def test_a_tenth_of_the_subjects_is_in_each_small_split():
    counts = Counter(outputs.split_of(f"Person {n}") for n in range(5000))
    assert counts["train"] == pytest.approx(4000, abs=150)
    assert counts["validation"] == pytest.approx(500, abs=100)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_set(make):
    first, second, other = make(name="a", seed=3), make(name="b", seed=3), make(name="c", seed=4)
    assert files_of(first.folder) == files_of(second.folder)
    assert "set.card" not in files_of(first.folder)
    assert [row["prompt"] for row in first.rows] != [row["prompt"] for row in other.rows]


def test_the_rows_do_not_depend_on_the_order_of_the_file(make):
    rows = people()
    assert make(rows, name="a", size=50).rows == make(rows[::-1], name="b", size=50).rows


def test_every_triple_is_accounted_for(make):
    rows = [
        *people(),
        ("Ada Veltra", "taste of", "salt"),
        ("Veltra Town Hall", "P131", "Veltra"),
        ("Ada Veltra", "P19", "Lyon"),
        ("ADA VELTRA", "birthplace", "lyon"),
        ("Ada Veltra", "P19", "Graz"),
        ("Ada Veltra", "P106", "x" * 200),
        ("Q17", "P106", "painter"),
        ("", "P106", "painter"),
    ]
    found = make(rows, size=60)
    counts = found.card["counts"]
    assert counts["triples"] == len(rows)
    assert counts["kept"] == len(found.rows) == 60
    assert counts["rejected"] == len(found.rejected)
    assert sum(counts[name] for name in counts if name != "triples") == len(rows)


def test_every_reject_says_why_and_where_it_stood(make):
    rows = [
        *people(),
        ("Ada", "taste of", "salt"),
        ("Town Hall of Veltra", "P131", "Veltra"),
        ("Ines", "P106", "x" * 200),
        ("Q17", "P106", "painter"),
        ("", "P106", "painter"),
        ("Tomas", "P26", "Olga"),
        ("Tomas", "spouse", "Vera"),
        ("TOMAS", "married to", "olga"),
    ]
    found = make(rows)
    reasons = found.reasons()
    assert reasons["Ada"] == ["no-wording"]
    assert reasons["Town Hall of Veltra"] == ["answer-in-subject"]
    assert reasons["Ines"] == ["long-name"]
    assert reasons["Q17"] == ["no-name"]
    assert reasons[""] == ["unreadable"]
    assert reasons["Tomas"] == ["conflicting-answer"]
    assert reasons["TOMAS"] == ["duplicate"]
    assert len(found.rejected) == 7
    by_line = {row["line"]: row for row in found.rejected}
    assert by_line[162]["text"] == "the relation 'taste of' is not in the table"
    assert {row["source"] for row in found.rejected} == {"triples.tsv"}
    assert found.card["rejected"] == dict(
        Counter(r for row in found.rejected for r in row["reasons"])
    )
    assert set(found.card["rejected"]) <= set(REASONS)


def test_a_rejected_row_is_replaced_until_the_set_has_its_size(make):
    found = make(size=80, writer=Careless())
    assert len(found.rows) == 80
    assert found.card["rejected"]["answer-in-rephrase"] > 5
    assert found.card["rejected"]["unusable-reply"] > 5
    rejected = next(row for row in found.rejected if "rephrase_prompt" in row)
    assert rejected["ans"] in rejected["rephrase_prompt"]


class Careless(TemplateQuestionWriter):
    """A writer that gives one answer in eight away, and leaves out one in eight."""

    batch = 7

    def write(self, pairs):
        for pair, written in zip(pairs, super().write(pairs), strict=True):
            draw = int(pair.fact.place[-1], 16) % 8
            if draw == 0:
                yield written._replace(rephrase=f"Is it {pair.fact.answer}?")
            elif draw == 1:
                yield Unwritten("unusable-reply", "Sorry")
            else:
                yield written


class Counting(TemplateQuestionWriter):
    """A writer that notes how many pairs it was given."""

    batch = 30

    def __init__(self):
        self.given = 0

    def write(self, pairs):
        self.given += len(pairs)
        return super().write(pairs)


def test_a_writer_is_never_given_more_than_is_missing(make):
    writer = Counting()
    assert len(make(size=50, writer=writer).rows) == 50
    assert writer.given == 50


class Same(TemplateQuestionWriter):
    """A writer that asks everything alike."""

    def write(self, pairs):
        for pair in pairs:
            yield Questions(
                f"What is known of {pair.fact.subject}?",
                f"What do they say of {pair.fact.subject}?",
                f"What is said about {pair.unrelated.subject}?",
            )


def test_one_question_never_gets_two_answers(make):
    found = make(writer=Same())
    prompts = [row["prompt"] for row in found.rows]
    assert len(set(prompts)) == len(prompts)
    assert found.card["rejected"]["conflicting-answer"] > 40


def test_a_question_that_is_asked_as_unrelated_is_never_edited(make):
    class Crossed(TemplateQuestionWriter):
        """A writer whose unrelated question is the editing question of the row before."""

        before = "What is left of Nobody?"

        def write(self, pairs):
            for _pair, written in zip(pairs, super().write(pairs), strict=True):
                yield written._replace(unrelated=self.before)
                self.before = written.prompt

    found = make(writer=Crossed())
    assert found.card["rejected"]["unrelated-is-edited"] > 10
    assert not {row["loc"] for row in found.rows} & {row["prompt"] for row in found.rows}


def test_rows_bring_their_own_wordings(make, write):
    rows = [
        {
            "subject": f"Dish {n}",
            "relation": "taste of",
            "object": f"Spice-{n}",
            "patterns": ["What does [X] taste of?", "Which taste does [X] have?"],
        }
        for n in range(20)
    ]
    path = write("dishes.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = make(path)
    assert len(found.rows) == 15
    assert {row["prompt"].split()[0] for row in found.rows} == {"What", "Which"}
    rows[0]["patterns"][0] = "[X] tastes of [Y]."
    found = make(write("dishes.jsonl", "".join(json.dumps(row) + "\n" for row in rows)), name="b")
    assert found.reasons()["Dish 0"] == ["unreadable"]


def test_wikidata5m_becomes_a_set_with_its_names(make, write):
    count = 60
    entities = [f"Q{n}\tPerson {n}\n" for n in range(count)]
    entities += [f"Q{1000 + n}\tTown-{n}\tTown of {n}\n" for n in range(count)]
    write("w/wikidata5m_entity.txt", "".join(reversed(entities)))
    write("w/wikidata5m_relation.txt", "P19\tplace of birth\n")
    triplets = [f"Q{n}\tP19\tQ{1000 + n}\n" for n in range(count)]
    path = write("w/wikidata5m_all_triplet.txt", "".join([*triplets, "Q1\tP20\tQ99999\n"]))
    found = make(path.parent)
    assert len(found.rows) == 45
    for row in found.rows:
        assert row["ans"] == row["subject"].replace("Person ", "Town-")
    assert any(row["reasons"] == ["no-name"] for row in found.rejected) or (
        found.card["counts"]["held_out"] + 45 == 60
    )


def test_the_card_tells_what_the_set_is_made_of(make):
    found = make(seed=5, license="CC0 1.0", size=40)
    card = found.card
    assert card["seed"] == 5
    assert card["license"] == "CC0 1.0"
    assert card["writer"] == {"writer": "template"}
    assert card["sources"][0]["file"] == "triples.tsv"
    assert card["sources"][0]["triples"] == 160
    assert sum(each["rows"] for each in card["relations"]) == 40
    lengths = sorted(len(row["prompt"]) for row in found.rows)
    assert card["lengths"]["prompt"] == {
        "min": lengths[0],
        "median": lengths[19],
        "mean": round(sum(lengths) / 40, 1),
        "max": lengths[-1],
    }
    page = (found.folder / "README.md").read_text("utf-8")
    for text in ("40 editing pairs", "CC0 1.0", "P19", "place of birth", "| seed | 5 |"):
        assert text in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_the_sample_is_of_the_set_and_random(tmp_path, write):
    path = write("triples.tsv", tsv(people()))
    settings = BuildSettings(triples=(path,), out=tmp_path / "a", sample=20)
    built = build(settings, TemplateQuestionWriter())
    rows = read_lines(tmp_path / "a" / "ultraeditbench.jsonl")
    assert len(built.sample) == 20
    assert all(row in rows for row in built.sample)
    assert built.sample != rows[:20]


def test_nothing_unfinished_stays(make, tmp_path):
    assert set(files_of(make().folder)) == {
        "README.md",
        "card.json",
        "rejected.jsonl",
        "splits/test.jsonl",
        "splits/train.jsonl",
        "splits/validation.jsonl",
        "ultraeditbench.json",
        "ultraeditbench.jsonl",
    }


class Broken(TemplateQuestionWriter):
    """A writer that fails in the middle."""

    batch = 10

    def write(self, pairs):
        yield from list(super().write(pairs))[:5]
        raise ConfigError("The endpoint is gone.")


def test_an_earlier_set_stays_until_the_new_one_is_whole(make):
    before = files_of(make(seed=1).folder)
    with pytest.raises(ConfigError, match="gone"):
        make(seed=2, writer=Broken())
    with pytest.raises(DataError):
        make([("a", "taste of", "b")])
    assert files_of(make(seed=1).folder) == before
    assert files_of(make(seed=2).folder) != before


def test_the_rest_of_a_killed_build_is_cleared_away(make, tmp_path):
    rest = tmp_path / "set" / outputs.SCRATCH / "shuffled"
    rest.mkdir(parents=True)
    (rest / "00").write_text("nonsense\n")
    assert len(make().rows) > 100
    assert not rest.exists()


def test_a_folder_with_anything_else_in_it_is_left_alone(make, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds README\.md, which is not of an earlier build"):
        make()
    assert files_of(folder) == {"README.md": b"mine"}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        make(name="file")
    with pytest.raises(StorageError, match="Not a directory"):
        make(name="file/set")


def test_a_full_disk_is_said_in_a_sentence(make, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.Output, "keep", full)
    with pytest.raises(StorageError, match=r"No space left on device\. Free some space"):
        make()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"sample": -1}, "sample must be at least 0, got -1"),
        ({"language": "de"}, "language must be en or any, got 'de'"),
    ],
)
def test_settings_out_of_range_are_refused(make, settings, expected):
    with pytest.raises(ConfigError, match=expected):
        make(**settings)


def test_triples_that_make_no_row_say_why(make):
    with pytest.raises(
        DataError, match=r"No usable triple in triples\.tsv: 1 read; rejected: 1 no-w"
    ):
        make([("a", "taste of", "b")])
    with pytest.raises(
        DataError, match=r"No row could be built .*: 2 read; rejected: 1 no-unrelat"
    ):
        make([("Ada", "P19", "Lyon"), ("Ada", "P20", "Graz")])
    with pytest.raises(DataError, match=r"No usable triple in triples\.tsv: 0 read"):
        make([])


def test_asking_before_paying_can_end_a_build_before_it_begins(tmp_path, write):
    class Paid(Counting):
        def estimate(self, pairs, rows):
            from ultraedit.tools.bench_builder import Estimate

            return Estimate(rows, 0, 100 * rows, 10 * rows, None)

    def refuse(estimate):
        assert estimate.requests == 30
        raise KeyboardInterrupt

    writer = Paid()
    settings = BuildSettings(
        triples=(write("triples.tsv", tsv(people())),), out=tmp_path / "a", size=30
    )
    with pytest.raises(KeyboardInterrupt):
        build(settings, writer, confirm=refuse)
    assert writer.given == 0
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("pararel_29k.tsv.gz", 2_000),
        pytest.param("entityquestions_220k.tsv.gz", 20_000, marks=pytest.mark.slow),
    ],
)
def test_real_triples_become_a_set_without_a_single_leak(shared_data, make, name, size):
    path = shared_data / "triples" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    found = make(path, size=size, seed=1)
    assert len(found.rows) == size
    for row in found.rows:
        assert row["subject"] in row["prompt"]
        assert row["ans"].casefold() not in row["prompt"].casefold()
        assert row["ans"].casefold() not in row["rephrase_prompt"].casefold()
        assert row["loc_ans"].casefold() not in row["loc"].casefold()
        assert row["ans"] != row["loc_ans"]
    often = Counter(row["loc"] for row in found.rows).most_common(1)[0][1]
    assert often <= 3, "there are enough triples to ask each unrelated one once or so"
    assert files_of(make(path, name="again", size=size, seed=1).folder) == files_of(found.folder)


BUILD = """
import resource, sys
from pathlib import Path
from ultraedit.tools.bench_builder import BuildSettings, TemplateWriter, build, shuffle
shuffle.BUFFER = 2**20
settings = BuildSettings(triples=(Path(sys.argv[1]),), out=Path(sys.argv[2]))
build(settings, TemplateWriter())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_triples(write, tmp_path):
    peaks = []
    for count in (3_000, 24_000):
        rows = [(f"Person {n}", "P19", f"Town-{n}") for n in range(count)]
        path = write(f"{count}.tsv", tsv(rows))
        command = [sys.executable, "-c", BUILD, str(path), str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / (2**20 if sys.platform == "darwin" else 2**10))
        assert len(read_lines(tmp_path / str(count) / "ultraeditbench.jsonl")) > count * 0.9
    small, large = peaks
    # 21,000 more rows in memory would take 20 MiB and more; the pages of SQLite take a few.
    assert large - small < 8, f"{small:.0f} MiB for 3,000 triples, {large:.0f} MiB for 24,000"
