"""Tables are read as people's programs write them."""

from __future__ import annotations

import codecs
import datetime
import logging
import re

import pytest

import ultraedit as ue
from ultraedit.data import FORMATS, check, parse_spec, read, stream
from ultraedit.data._columns import NAMES, parse_columns, part_of
from ultraedit.data._table import text_of, texts_of
from ultraedit.errors import ConfigError, DataError
from ultraedit.types import Edit, Question

GERMAN = (
    "Frage;Antwort;Umformulierung 1;Umformulierung 2;Nr.\r\n"
    '"Wer baute die Brücke; und wann?";Ines Okafor;Von wem ist die Brücke?;;7\r\n'
    "Wo liegt Lüd?; am Rhein ;;;8\r\n"
    ";;;;\r\n"
)
GERMAN_EDITS = [
    Edit(
        "Wer baute die Brücke; und wann?",
        "Ines Okafor",
        rephrases=("Von wem ist die Brücke?",),
        id="7",
    ),
    Edit("Wo liegt Lüd?", "am Rhein", id="8"),
]


@pytest.mark.parametrize(
    "data",
    [
        GERMAN.encode(),
        codecs.BOM_UTF8 + GERMAN.encode(),
        GERMAN.encode("utf-16"),
        codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be"),
        GERMAN.encode("utf-16-le"),
        GERMAN.encode("utf-16-be"),
        GERMAN.encode("cp1252"),
        b"sep=;\r\n" + GERMAN.encode(),
        GERMAN.replace("\r\n", "\n").encode(),
        GERMAN.replace("\r\n", "\r").encode(),
    ],
    ids=["utf8", "mark", "utf16", "utf16-be", "le-bare", "be-bare", "cp1252", "sep", "lf", "cr"],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_german_spreadsheet_is_read_in_every_encoding(write, data, packed):
    path = write("fakten.csv.gz" if packed else "fakten.csv", data, packed=packed)
    assert ue.read(path) == GERMAN_EDITS
    assert ue.read(str(path)) == GERMAN_EDITS


def test_a_code_page_is_named_when_it_is_guessed(write, caplog):
    with caplog.at_level(logging.WARNING):
        read(write("fakten.csv", GERMAN.encode("cp1252")))
    assert "is not UTF-8 and is read as Windows-1252" in caplog.text
    caplog.clear()
    read(write("fakten.csv", GERMAN.encode()))
    assert not caplog.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_shows_the_separator(write, delimiter):
    text = f"Question{delimiter}Answer\nWho?{delimiter}Bob\n"
    assert read(write("facts.csv", text)) == [Edit("Who?", "Bob", id="1")]


def test_a_tsv_file_has_tabs_whatever_else_its_header_holds(write):
    path = write("facts.tsv", "Question, short; or long\tAnswer\nWho?\tBob\n")
    assert read(path, columns={"prompt": "Question, short; or long"}) == [
        Edit("Who?", "Bob", id="1")
    ]


def test_the_parts_of_a_fact_come_from_their_columns(write):
    path = write(
        "facts.csv",
        "ID,Subject,Prompt,Completion,Aliases,Control question,Control answer,Notes\n"
        'b-1,Lyon,Which river is in Lyon?,Rhône,"the Rhône|Rhone","Which is in Vienna?",Danube,x\n'
        'b-2,,Where is Lyon?,France,"[""La France"", ""FR""]",,,\n',
    )
    assert read(path) == [
        Edit(
            "Which river is in Lyon?",
            "Rhône",
            subject="Lyon",
            aliases=("the Rhône", "Rhone"),
            locality=(Question("Which is in Vienna?", "Danube"),),
            id="b-1",
        ),
        Edit("Where is Lyon?", "France", aliases=("La France", "FR"), id="b-2"),
    ]


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("Question", "Answer"),
        ("PROMPT", "Completion"),
        ("Frage", "ANTWORT"),
        ("question", "Réponse"),
        ("Pregunta", "Respuesta"),
        ("Pergunta", "Resposta"),
        ("Domanda", "Risposta"),
        ("Вопрос", "Ответ"),
        ("问题", "答案"),
        ("質問", "回答"),
        ("질문", "정답"),
        ("سؤال", "جواب"),
        ("प्रश्न", "उत्तर"),
        ("Question:", "target_new"),
        ("Re\u0301ponse ".strip(), "Question"),
    ],
)
def test_columns_are_found_in_many_languages(write, prompt, target):
    parts = [part_of(prompt), part_of(target)]
    path = write("facts.csv", f"{prompt},{target}\nA?,B\n")
    expected = Edit("A?", "B", id="1") if parts[0] == "prompt" else Edit("B", "A?", id="1")
    assert sorted(parts) == ["prompt", "target"]
    assert read(path) == [expected]


def test_no_name_of_a_column_stands_for_two_parts():
    everything = [name for names in NAMES.values() for name in names]
    assert len(everything) == len(set(everything))
    assert all(part_of(name) == part for part, names in NAMES.items() for name in names)


def test_columns_that_are_named_beat_those_that_are_found(write):
    path = write("facts.csv", "Question,Answer,Old answer\nWho?,Bob,Ann\n")
    spec = parse_spec(str(path)).with_columns(parse_columns("target=old ANSWER"))
    assert read(spec) == [Edit("Who?", "Ann", id="1")]
    assert read(str(spec)) == read(spec)


@pytest.mark.parametrize("name", ["a,b", "a=b", "a]:b", "a b", "50 %", "Antwort (kurz)", "答案"])
def test_a_spec_keeps_its_columns_whatever_they_are_called(name):
    spec = parse_spec("facts.csv").with_columns((("prompt", name), ("target", "t")))
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows, expected at least one edit in the format csv."),
        ("Question,Answer\n", "has no rows"),
        (
            "Question,Reply to it\nWho?,Bob\n",
            "line 1: no column is known to hold the target; the columns are 'Question', "
            "'Reply to it'. Name it, such as --columns prompt=COLUMN,target=COLUMN; "
            "the first row must hold the names of the columns.",
        ),
        ("\n\nWho?,Bob\n", "line 3: no column is known to hold the prompt"),
        (
            "Question,Answer,Output\nWho?,Bob,x\n",
            "the columns 'Answer' and 'Output' could each be the target. "
            "Say which: --columns target=Answer.",
        ),
        ("Question,Answer\nWho?,\n", "row 1 (line 2): target is missing, the row has prompt."),
        ("Question,Answer\n,Bob\n", "row 1 (line 2): prompt is missing, the row has target."),
        (
            "Question,Answer\nWho, then?,Bob\n",
            "row 1 (line 2): 3 columns, expected 2. Quote a text with separators.",
        ),
        ('Question,Answer\n"Who?,Bob\n', "row 1 (line 2): malformed row: unexpected end of data."),
        ('Question,"Answer\nWho?,Bob\n', "line 1: unexpected end of data. Check its quotes."),
        (
            "Fräge,Antwort\n".encode() + b"Wer?,B\xf6b\n",
            "line 2: not UTF-8: byte 0xf6 at offset 21. Save the file as UTF-8.",
        ),
        (b"Question,Answer\nWho?,\x81\n", "is neither UTF-8 nor Windows-1252 (byte 0x81)."),
        ((GERMAN + "x").encode("utf-16")[:-1], "is not utf-16 to its end"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(write, text, message):
    with pytest.raises(DataError, match=re.escape(message)):
        read(write("facts.csv", text))


def test_rows_behind_a_bad_one_are_checked_too(write):
    text = 'Question,Answer\nWho?,Bob,x\nWhere?,"Li"on"\nWhy?,\nWhen?,1911\n'
    report = check(str(write("facts.csv", text)))
    assert [(bad.row, bad.line) for bad in report.bad] == [(1, 2), (2, 3), (3, 4)]
    assert report.rows == 4
    assert report.columns == {"prompt": ["Question"], "target": ["Answer"]}


def test_lines_are_counted_through_cells_of_several_lines(write):
    text = 'Question,Answer\n"Who\nis it?",Bob\nWhy?,\n'
    edits = stream(write("facts.csv", text))
    assert next(edits).prompt == "Who\nis it?"
    with pytest.raises(DataError, match=r"row 2 \(line 4\): target is missing"):
        next(edits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Question", "--columns takes PART=COLUMN pairs such as prompt=Question,target=Answer"),
        ("promt=Question", r"No part of a fact is called 'promt'\. Did you mean: prompt\?"),
        ("prompt=A,prompt=B", "prompt takes one column, and 'B' is a second one"),
    ],
)
def test_a_choice_of_columns_that_says_nothing_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_columns(text)


def test_a_column_that_is_not_there_is_refused_with_a_suggestion(write):
    path = write("facts.csv", "Frage,Antwort\nWer?,Bob\n")
    with pytest.raises(DataError, match=r"there is no column 'Frag'\. Did you mean: Frage\?"):
        read(path, columns={"prompt": "Frag"})


def test_columns_are_refused_for_a_file_with_keys_of_its_own(write):
    path = write("facts.jsonl", '{"prompt": "p", "target": "t"}')
    with pytest.raises(ConfigError, match=r"jsonl has keys of its own, .* name one of csv, tsv"):
        read(path, columns={"prompt": "p"})


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" Lyon ", "Lyon"),
        ("  ", None),
        (None, None),
        (float("nan"), None),
        (1911, "1911"),
        (1911.0, "1911"),
        (0.5, "0.5"),
        (True, "TRUE"),
        (datetime.datetime(1911, 3, 2), "1911-03-02"),
        (datetime.datetime(1911, 3, 2, 12, 30), "1911-03-02 12:30:00"),
        (datetime.date(1911, 3, 2), "1911-03-02"),
    ],
)
def test_a_cell_of_any_kind_is_its_text(cell, text):
    assert text_of(cell) == text


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("a|b | c", ["a", "b", "c"]),
        ('["a", "b|c"]', ["a", "b|c"]),
        ("[a", ["[a"]),
        (["a", None, " "], ["a"]),
        ({"text": ["a", "b"], "answer_start": [1, 2]}, ["a", "b"]),
        (None, []),
    ],
)
def test_a_cell_may_hold_several_texts(cell, texts):
    assert texts_of(cell) == texts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("facts.xls", r"facts\.xls is a \.xls file, which is not read\. Save it as \.xlsx or"),
        ("facts.docx", r"Save its facts as a table in a \.csv file"),
    ],
)
def test_a_file_of_another_program_is_refused_with_what_to_save(name, message):
    with pytest.raises(ConfigError, match=message):
        parse_spec(name)


def test_the_ends_of_names_belong_to_one_format_each():
    suffixes = [suffix for row in FORMATS.values() for suffix in row.suffixes]
    assert len(suffixes) == len(set(suffixes))
