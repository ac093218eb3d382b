"""Tables are read as people's programs write them."""

from __future__ import annotations

import codecs
import datetime
import json
import logging
import re
import sys
import warnings
from pathlib import Path

import pytest

import ultraedit as ue
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit, Question
from ultraedit.data import FORMATS, check, digest, is_there, located, parse_spec, read, stream
from ultraedit.data._columns import NAMES, parse_columns, part_of
from ultraedit.data._table import text_of, texts_of
from ultraedit.data.formats.huggingface import parse_name

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
        ("Question,Answer\nWho?,\n", "row 1 (line 2): target (column 'Answer') has an empty cell."),
        ("Question,Answer\n,B\n", "row 1 (line 2): prompt (column 'Question') has an empty cell."),
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


def test_a_line_without_end_is_refused(write, monkeypatch):
    monkeypatch.setattr("ultraedit.data.formats.delimited.MAX_ROW", 2**10)
    path = write("facts.csv", "Question,Answer\nWho?,Bob\n" + "x" * 2**11)
    with pytest.raises(DataError, match="line 3: longer than"):
        read(path)


def test_what_is_said_of_a_file_is_said_once(write, caplog):
    path = write("fakten.csv", GERMAN.encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        read(path)
        read(path)
    assert caplog.text.count("is read as Windows-1252") == 1


def test_lines_are_counted_through_cells_of_several_lines(write):
    text = 'Question,Answer\n"Who\nis it?",Bob\nWhy?,\n'
    edits = stream(write("facts.csv", text))
    assert next(edits).prompt == "Who\nis it?"
    with pytest.raises(DataError, match=r"row 2 \(line 4\): target .* empty cell"):
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


FACTS = [Edit("Who?", "Bob", id="1"), Edit("When?", "1911", rephrases=("Which year?",), id="2")]
ROWS = [
    {"Question": "Who?", "Answer": "Bob", "Rephrase": None},
    {"Question": "When?", "Answer": 1911, "Rephrase": ["Which year?"]},
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": "1.1 ü", "count": 2, "data": ROWS, "note": "x"}, indent=1),
        "\n".join(map(json.dumps, ROWS)),
    ],
    ids=["array", "data", "wrapped", "lines"],
)
def test_json_with_keys_of_any_kind_is_read(write, text):
    assert read(write("facts.json", text)) == FACTS
    assert read(f"json:{write('facts.txt', text)}") == FACTS


def test_two_arrays_in_one_object_are_refused(write):
    text = json.dumps({"train": ROWS, "test": ROWS})
    with pytest.raises(DataError, match="a second array of rows, 'test'"):
        read(write("facts.json", text))


def test_a_wrapped_array_that_is_cut_short_is_refused(write):
    text = json.dumps({"data": ROWS})
    with pytest.raises(DataError, match=r"expected ',' or '\]' after row 2, but the file ends"):
        read(write("facts.json", text[:-2]))


def test_rows_need_not_all_have_the_same_keys(write):
    rows = [{"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d", "alias": "e"}]
    assert read(write("facts.json", rows))[1] == Edit("c?", "d", aliases=("e",), id="2")
    rows = [rows[0]] * 1000 + [rows[1]]
    with pytest.raises(
        DataError, match=r"row 1001 .* the key 'alias' is in none of the first 1,000"
    ):
        read(write("facts.json", rows))


def test_the_first_of_several_answers_is_written_and_the_others_are_aliases(write):
    rows = [
        {"question": "Where?", "answers": {"text": ["Lund", "in Lund"], "answer_start": [1, 2]}},
        {"question": "Who?", "answers": ["Ann", "Ann Roe"]},
    ]
    assert read(write("facts.json", {"data": rows})) == [
        Edit("Where?", "Lund", aliases=("in Lund",), id="1"),
        Edit("Who?", "Ann", aliases=("Ann Roe",), id="2"),
    ]


@pytest.mark.parametrize(
    ("row", "edit"),
    [
        ({"instruction": "Who?", "input": "", "output": "Bob"}, Edit("Who?", "Bob", id="1")),
        (
            {"instruction": "Name its author.", "input": "Dune", "output": "Herbert"},
            Edit("Name its author.\n\nDune", "Herbert", id="1"),
        ),
        ({"input": "Who?", "output": "Bob"}, Edit("Who?", "Bob", id="1")),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Who?"},
                    {"role": "assistant", "content": [{"type": "text", "text": "Bob"}]},
                ]
            },
            Edit("Who?", "Bob", id="1"),
        ),
        (
            {
                "id": "identity_0",
                "conversations": [
                    {"from": "human", "value": "Who?"},
                    {"from": "gpt", "value": "Bob"},
                ],
            },
            Edit("Who?", "Bob", id="identity_0"),
        ),
    ],
    ids=["alpaca", "alpaca-input", "input-output", "messages", "sharegpt"],
)
def test_instruction_sets_and_conversations_are_read(write, row, edit):
    assert read(write("facts.json", [row])) == [edit]
    assert read(f"json:{write('facts.jsonl', json.dumps(row))}") == [edit]
    for name in ("alpaca", "sharegpt", "messages"):
        assert parse_spec(f"{name}:facts.json").format == "json"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages holds messages of nobody, expected one of a user and the answer to it."),
        (
            [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")],
            "messages holds messages of user, assistant, user, assistant, expected one",
        ),
        ([{"role": "assistant", "content": "x"}] * 2, "messages of assistant, assistant"),
        (["x"], "messages[0] must be a message, got the text 'x'"),
        ([{"role": "user"}], "messages[0] must have a role and a text"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "messages[0] holds something else than text",
        ),
    ],
)
def test_conversations_that_are_no_fact_are_refused(write, messages, message):
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    path = write("facts.json", [good, {"messages": messages}])
    with pytest.raises(DataError, match=re.escape(message)):
        read(path)


def test_a_key_of_another_name_in_json_lines_is_refused_with_the_right_one(write):
    path = write("facts.jsonl", '{"question": "Who?", "answer": "Bob"}')
    with pytest.raises(DataError, match=r"unknown key 'question'\. Did you mean: prompt\?"):
        read(path)
    report = check(str(path))
    assert {fault.field for fault in report.fields} == {"question", "answer", "prompt", "target"}


def _workbook(path, *sheets):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"Blatt {number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_is_read(tmp_path, caplog):
    rows = [
        [None, None, None, None],
        ["Frage", "Antwort", "Umformulierung", "Nr."],
        ["Wer?", "Bob ", None, 1],
        ["Wann?", 1911, "Welches Jahr?", 2.0],
        [None, None, None, None],
        ["Tag?", datetime.datetime(1911, 3, 2), None, None],
    ]
    path = _workbook(tmp_path / "fakten.xlsx", rows, [["x"]])
    with caplog.at_level(logging.INFO, logger="ultraedit"):
        edits = read(path)
    assert edits == [
        Edit("Wer?", "Bob", id="1"),
        Edit("Wann?", "1911", rephrases=("Welches Jahr?",), id="2"),
        Edit("Tag?", "1911-03-02", id="3"),
    ]
    assert "the sheet 'Blatt 1' is read, 'Blatt 2' not." in caplog.text


def test_a_workbook_with_an_error_in_a_cell_is_refused(tmp_path):
    path = _workbook(tmp_path / "f.xlsx", [["Frage", "Antwort"], ["a", "b"], ["c", "#N/A"]])
    with pytest.raises(DataError, match=r"row 2 \(line 3\): column 2 holds the error #N/A\. Corr"):
        read(path)


def test_what_openpyxl_warns_of_is_not_passed_on(tmp_path, monkeypatch):
    path = _workbook(tmp_path / "f.xlsx", [["Frage", "Antwort"], ["a", "b"]])
    openpyxl = pytest.importorskip("openpyxl")
    load = openpyxl.load_workbook

    def warn(*args, **options):
        warnings.warn("Workbook contains no default style", UserWarning, stacklevel=2)
        return load(*args, **options)

    monkeypatch.setattr(openpyxl, "load_workbook", warn)
    assert len(read(path)) == 1


@pytest.mark.parametrize("content", [b"no workbook", b"", b"PK\x03\x04 cut short"])
def test_what_is_no_workbook_is_refused(write, content):
    pytest.importorskip("openpyxl")
    with pytest.raises(DataError, match=r"is no \.xlsx workbook that can be read"):
        read(write("facts.xlsx", content))


def test_a_workbook_without_openpyxl_is_refused_with_what_to_install(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigError, match=r"pip install 'ultraedit\[tables\]', or save it as CSV"):
        read(write("facts.xlsx", b""))


def _parquet(path, rows=ROWS):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {key: [row[key] for row in rows] for key in rows[0]}
    columns = {k: list(map(str, v)) if k == "Answer" else v for k, v in columns.items()}
    pq.write_table(pa.table(columns), path)
    return path


def test_a_parquet_file_is_read(tmp_path):
    assert read(_parquet(tmp_path / "facts.parquet")) == FACTS


def test_what_is_no_parquet_is_refused(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"facts\.parquet cannot be read as parquet: "):
        read(write("facts.parquet", b"no parquet at all"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The package datasets with a cache of the test's own."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return datasets


def test_a_folder_of_a_data_set_is_read(tmp_path, offline):
    folder = tmp_path / "set"
    folder.mkdir()
    _parquet(folder / "train.parquet")
    assert read(folder) == FACTS
    assert read(f"hf:{folder}") == FACTS
    assert read(f"hf:{folder}#train", limit=1) == FACTS[:1]
    with pytest.raises(DataError, match=r"has no split 'test', only train"):
        read(f"hf:{folder}#test")


def test_a_data_set_that_was_saved_is_read(tmp_path, offline):
    rows = [{"question": "Who?", "answer": "Bob"}]
    saved = offline.Dataset.from_list(rows)
    saved.save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one") == [Edit("Who?", "Bob", id="1")]
    offline.DatasetDict(a=saved, b=saved).save_to_disk(tmp_path / "two")
    with pytest.raises(DataError, match=r"has the splits a, b\. Say which, such as hf:.*#a"):
        read(tmp_path / "two")
    assert read(f"hf:{tmp_path / 'two'}#b") == [Edit("Who?", "Bob", id="1")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("org/set", ("org/set", None, None)),
        ("org/set#test", ("org/set", None, "test")),
        ("org/set/main#test", ("org/set", "main", "test")),
        ("squad", ("squad", None, None)),
        ("./set#x", ("set", None, "x")),
    ],
)
def test_a_name_of_the_hub_is_taken_apart(text, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    assert parse_name(Path(text)) == name


def test_a_data_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such folder"):
        stream(f"hf:{tmp_path / 'gone'}")
    (tmp_path / "f.csv").write_text("a")
    with pytest.raises(DataError, match="is a file, and hf takes a folder or a name of the hub"):
        stream(f"hf:{tmp_path / 'f.csv'}")


def test_a_folder_of_facts_is_known_again_by_its_files(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.csv").write_text("x")
    spec = parse_spec(str(tmp_path / "set"))
    before = digest(spec)
    assert located(spec) == spec
    assert digest(parse_spec(f"hf:{tmp_path / 'set'}#train")) == before
    (tmp_path / "set" / "a.csv").write_text("y")
    assert digest(spec) != before
    assert is_there(spec)
    assert is_there(parse_spec("hf:org/set"))
    assert not is_there(parse_spec(f"hf:{tmp_path / 'gone'}"))
