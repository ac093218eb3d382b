"""Triples out of every kind of file, and what is said of the files that hold none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.tools.bench_builder.conftest import people, tsv
from ultraedit.core.errors import DataError
from ultraedit.tools.bench_builder.labels import Labels
from ultraedit.tools.bench_builder.sources import find_sources
from ultraedit.tools.bench_builder.triples import Triple, Unreadable


@pytest.fixture
def read(tmp_path):
    """Read all rows of files or folders, with names for their ids."""

    def _read(*paths: Path) -> list:
        found = []
        for source in find_sources(paths, tmp_path):
            for row in source.rows(source.path):
                named = source.names and isinstance(row, Triple)
                found.append(source.names.resolved(row) if named else row)
        return found

    return _read


def parts(row: Triple):
    return row.subject, row.relation, row.objects


def test_columns_are_found_by_their_names_in_any_order(write, read):
    path = write("a.tsv", "object\tnote\tsubject\trelation\nBonn\tx\tBeethoven\tplace of birth\n")
    assert read(path) == [Triple(2, "Beethoven", "place of birth", ("Bonn",))]


def test_three_columns_need_no_header(write, read):
    path = write("a.tsv", "Beethoven\tP19\tBonn\nBach\tP19\tEisenach\n")
    assert [parts(row) for row in read(path)] == [
        ("Beethoven", "P19", ("Bonn",)),
        ("Bach", "P19", ("Eisenach",)),
    ]


def test_the_layout_of_entityquestions_is_read_with_its_quotes_and_all_answers(write, read):
    header = "split\tpid\tsubject\tquestion\tanswers_json\n"
    row = 'dev\tP112\t"""Weird Al"" Yankovic"\tWho?\t"[""A"", ""B"", ""A""]"\n'
    assert read(write("a.tsv", header + row)) == [
        Triple(2, '"Weird Al" Yankovic', "P112", ("A", "B"))
    ]


def test_a_quote_inside_a_name_does_not_swallow_the_next_line(write, read):
    rows = read(write("a.tsv", tsv([('"Heroes', "P175", "David Bowie"), ("Low", "P175", "Bowie")])))
    assert [row.subject for row in rows] == ['"Heroes', "Low"]


def test_commas_and_line_breaks_inside_quotes_belong_to_a_name(write, read):
    text = 'subject,relation,object\n"Chaffey\nDam",country,"Australia, Commonwealth of"\n'
    (row,) = read(write("a.csv", text))
    assert parts(row) == ("Chaffey Dam", "country", ("Australia, Commonwealth of",))


def test_json_lines_bring_ids_aliases_and_wordings(write, read):
    row = {
        "subject": "Emma",
        "relation": "author",
        "relation_id": "P50",
        "object": ["Jane Austen"],
        "subject_id": "Q1",
        "object_id": "Q2",
        "aliases": ["Austen"],
        "subject_aliases": ["Emma: A Novel"],
        "patterns": ["Who wrote [X]?", "Whose novel is [X]?"],
    }
    assert read(write("a.jsonl", json.dumps(row) + "\n\n")) == [
        Triple(
            1,
            "Emma",
            "P50",
            ("Jane Austen",),
            "Q1",
            "Q2",
            ("Emma: A Novel",),
            ("Austen",),
            ("Who wrote [X]?", "Whose novel is [X]?"),
        )
    ]


@pytest.mark.parametrize("ending", [".tsv.gz", ".tsv"])
def test_packed_files_are_read_like_plain_ones(write, read, ending):
    path = write(f"a{ending}", tsv(people(3)), packed=True)
    assert len(read(path)) == 12


def test_a_folder_is_read_in_the_order_of_its_names_without_what_is_no_table(write, read):
    write("in/b.csv", "s,P19,o\n")
    write("in/a.tsv", "S\tP19\tO\n")
    folder = write("in/patterns.json", "{}").parent
    assert [row.subject for row in read(folder)] == ["S", "s"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("subject\trelation\tobject\na\tP19\n", "2 columns, expected 3"),
        ("subject\trelation\tobject\na\tP19\t\n", "no object"),
        ("subject\trelation\tobject\n\tP19\tb\n", "no subject"),
        ("subject\trelation\tobject\na\t \tb\n", "no relation"),
    ],
)
def test_a_row_of_a_table_that_cannot_be_used_is_told_apart(write, read, text, expected):
    assert read(write("a.tsv", text)) == [Unreadable(2, expected)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nonsense", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ('{"subject": "a", "relation": "P19"}', "no object"),
        ('{"subject": 3, "relation": "P19", "object": "b"}', "subject is 3, expected a text"),
    ],
)
def test_a_json_line_that_cannot_be_used_is_told_apart(write, read, text, expected):
    assert read(write("a.jsonl", text + "\n")) == [Unreadable(1, expected)]


def test_a_line_that_is_not_utf_8_is_told_apart_and_the_rest_is_read(tmp_path, read):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"subject\trelation\tobject\n\xff\tP19\tb\na\tP19\tb\n")
    bad, good = read(path)
    assert bad.line == 2
    assert "not UTF-8: byte 0xff at offset 24" in bad.text
    assert good.subject == "a"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.tsv", "subject\tverb\tobject\n", "Expected a header with subject, relation"),
        ("a.tsv", "one\ttwo\n", "the columns of the first line are 'one', 'two'"),
        ("a.parquet", "PAR1", "must end in one of .tsv"),
    ],
)
def test_a_file_of_something_else_is_refused(write, read, name, text, expected):
    with pytest.raises(DataError, match=expected):
        read(write(name, text))


def test_a_path_that_is_not_there_or_holds_nothing_is_refused(write, read, tmp_path):
    with pytest.raises(DataError, match="No such file or folder"):
        read(tmp_path / "missing.tsv")
    folder = write("in/notes.md", "x").parent
    with pytest.raises(DataError, match="holds no file of triples"):
        read(folder)


def test_a_file_that_is_named_twice_is_refused(write, read):
    path = write("in/a.tsv", "s\tP19\to\n")
    with pytest.raises(DataError, match="named twice"):
        read(path, path.parent)


ENTITIES = "Q7259\tAda Lovelace\tCountess of Lovelace\nQ84\tLondon\tLondres\tLondon \n"
RELATIONS = "P19\tplace of birth\tborn in\nP999\tseen by\n"


def wikidata5m(write, *names: str, packed: bool = False) -> Path:
    ending = ".gz" if packed else ""
    write(f"w/wikidata5m_entity.txt{ending}", ENTITIES, packed=packed)
    write(f"w/wikidata5m_relation.txt{ending}", RELATIONS, packed=packed)
    write("w/wikidata5m_text.txt", "Q84\tLondon is a city.\n")
    for name in names:
        text = "Q7259\tP19\tQ84\nQ84\tP17\tQ145\nQ84 P17\n"
        path = write(f"w/wikidata5m_{name}.txt{ending}", text, packed=packed)
    return path.parent


@pytest.mark.parametrize("packed", [False, True])
def test_wikidata5m_is_read_as_it_is_published(write, read, packed):
    rows = read(wikidata5m(write, "all_triplet", packed=packed))
    assert rows[0] == Triple(
        1,
        "Ada Lovelace",
        "P19",
        ("London",),
        "Q7259",
        "Q84",
        ("Countess of Lovelace",),
        ("Londres",),
    )
    assert (rows[1].subject, rows[1].objects) == ("London", ())  # Q145 has no name
    assert rows[2] == Unreadable(3, "2 columns, expected 3 ids")


def test_a_triplet_file_of_wikidata5m_finds_the_names_beside_it(write, read):
    folder = wikidata5m(write, "transductive_train")
    assert read(folder / "wikidata5m_transductive_train.txt")[0].subject == "Ada Lovelace"


def test_no_triple_of_wikidata5m_is_read_twice(write, tmp_path):
    names = ("inductive_train", "transductive_train", "transductive_test", "all_triplet")
    folder = wikidata5m(write, *names)
    assert [s.path.name for s in find_sources([folder], tmp_path)] == ["wikidata5m_all_triplet.txt"]
    (folder / "wikidata5m_all_triplet.txt").unlink()
    assert [s.path.name for s in find_sources([folder], tmp_path)] == [
        "wikidata5m_transductive_test.txt",
        "wikidata5m_transductive_train.txt",
    ]


def test_wikidata5m_without_its_names_says_which_file_is_missing(write, read):
    folder = wikidata5m(write, "all_triplet")
    (folder / "wikidata5m_entity.txt").unlink()
    with pytest.raises(DataError, match=r"no wikidata5m_entity\.txt"):
        read(folder)


def test_names_are_found_in_a_file_in_any_order(tmp_path):
    ids = [(n * 7919) % 10_007 for n in range(1, 2000)]
    path = tmp_path / "names.gz"
    path.write_bytes(gzip.compress("".join(f"Q{n}\tname {n}\tü{n}\n" for n in ids).encode()))
    labels = Labels(path, tmp_path)
    assert len(labels) == len(ids)
    for number in ids[::37]:
        assert labels.names(f"Q{number}") == [f"name {number}", f"ü{number}"]
    missing = next(n for n in range(1, 10_007) if n not in set(ids))
    assert labels.names(f"Q{missing}") == []
    assert labels.names("Q99999999") == []
    assert labels.names("nonsense") == []


def test_a_file_of_names_that_is_none_is_refused(write, tmp_path):
    with pytest.raises(DataError, match=r"line 2: expected an id such as Q42"):
        Labels(write("names.txt", "Q1\ta\nuniverse\tb\n"), tmp_path)
    with pytest.raises(DataError, match="is empty"):
        Labels(write("empty.txt", ""), tmp_path)
