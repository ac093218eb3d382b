"""Bad files get one plain message with the place, the field, the value and what to do."""

import gzip
import json
import os
import re

import pytest

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data import read, stream

GOOD = '{"prompt": "p", "target": "t"}\n'
ZSRE = {"src": "p", "rephrase": "r", "ans": "t", "loc": "l", "loc_ans": "a"}
HEADER_OF_ANOTHER = "a\tb\n"
HEADER = "split\tpid\tsubject\tquestion\tanswers_json\n"

BAD_LINES = [
    ("{'prompt': 1}", "malformed JSON: Expecting property name"),
    ('{"prompt": "p", "target": "t"', "Expecting ',' delimiter at the end"),
    ('{"prompt": "p" "target": "t"}', """Expecting ',' delimiter near '{"prompt": "p" "targ"""),
    ('{"prompt": "p", "target": "t"} x', "Extra data near"),
    ("[" * 100_000, "nested too deeply"),
    ("3", "a row must be an object of keys and values, got the number 3"),
    ('["p", "t"]', "a row must be an object of keys and values, got the list ['p', 't']"),
    ("null", "a row must be an object of keys and values, got null"),
    ('{"prompt": "p"}', "target is missing, the row has prompt"),
    ("{}", "prompt is missing, the row has no keys"),
    ('{"prompt": "p", "target": null}', "target is null"),
    ('{"prompt": "p", "target": "  "}', "target is empty, got '  '"),
    ('{"prompt": "", "target": "t"}', "prompt is empty, got ''"),
    ('{"prompt": "p", "target": 1980}', "target must be a text in quotes, got the number 1980"),
    ('{"prompt": "p", "target": ["t"]}', "target must be a text in quotes, got the list ['t']"),
    ('{"prompt": "p", "target": true}', "target must be a text in quotes, got true"),
    ('{"prompt": "p", "target": "\\ud83d"}', "target holds half a character"),
    ('{"promt": "p", "target": "t"}', "unknown key 'promt'. Did you mean: prompt?"),
    ('{"prompt": "p", "target": "t", "xyz": 1}', "unknown key 'xyz'. Known: aliases, id,"),
    ('{"prompt": "p", "target": "t", "subject": ""}', "subject is empty, got ''"),
    ('{"prompt": "p", "target": "t", "id": true}', "id must be a text or a whole number, got true"),
    (
        '{"prompt": "p", "target": "t", "rephrases": 3}',
        "rephrases must be a list of texts, got the number 3",
    ),
    ('{"prompt": "p", "target": "t", "rephrases": ["r", ""]}', "rephrases[1] is empty, got ''"),
    (
        '{"prompt": "p", "target": "t", "locality": {"prompt": "q"}}',
        'locality must be a list of {"prompt", "target"}, got the object',
    ),
    (
        '{"prompt": "p", "target": "t", "locality": [{"prompt": "q"}, {"target": "a"}]}',
        "locality[1].prompt is missing",
    ),
    (
        '{"prompt": "p", "target": "t", "locality": [{"prompt": "q", "target": 3}]}',
        "locality[0].target must be a text in quotes, got the number 3",
    ),
    (
        '{"prompt": "p", "target": "t", "locality": [{"prompt": "q", "targt": "a"}]}',
        "locality[0]: unknown key 'targt'. Did you mean: target?",
    ),
    ('{"prompt": "p", "target": "t", "locality": ["q"]}', 'locality[0] must be a {"prompt"'),
    ('{"prompt": "p", "target": "t", "probes": []}', "probes must be an object of lists"),
    (
        '{"prompt": "p", "target": "t", "probes": {"hop": [{"prompt": ""}]}}',
        "probes['hop'][0].prompt is empty",
    ),
    ('{"prompt": "p", "target": "t", "probes": {" ": []}}', "probes[' '] has no name"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[line[:60] for line, _ in BAD_LINES])
def test_a_bad_line_is_refused_with_its_number_and_reason(write, line, message):
    path = write("facts.jsonl", GOOD + GOOD + line + "\n" + GOOD)
    edits = stream(f"jsonl:{path}")
    assert next(edits).id == "1"
    assert next(edits).id == "2"
    with pytest.raises(DataError) as caught:
        next(edits)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(
        f"Run `ultraedit data check jsonl:{path}` to see every bad row."
    )


def test_the_line_number_counts_blank_lines_and_the_row_number_does_not(write):
    path = write("facts.jsonl", GOOD + "\n\n" + "oops\n")
    with pytest.raises(DataError, match=r"facts\.jsonl, row 2 \(line 4\): malformed JSON"):
        read(f"jsonl:{path}")


@pytest.mark.parametrize("key", ["src", "rephrase", "ans", "loc", "loc_ans"])
def test_a_published_row_needs_every_published_key(write, key):
    rows = [ZSRE, {name: value for name, value in ZSRE.items() if name != key}]
    with pytest.raises(DataError, match=rf"row 2 \(line 1\): {key} is missing, the row has "):
        read(f"zsre:{write('z.json', rows)}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ZSRE | {"ans": ""}, "ans is empty, got ''"),
        (ZSRE | {"loc": None}, "loc is null"),
        (ZSRE | {"subject": 3}, "subject must be a text in quotes, got the number 3"),
        (ZSRE | {"id": [1]}, "id must be a text or a whole number, got the list [1]"),
        ("text", "a row must be an object of keys and values, got the text 'text'"),
        (12345, "a row must be an object of keys and values, got the number 12345"),
    ],
)
def test_a_bad_row_of_an_array_is_refused_with_its_number_and_line(write, row, message):
    path = write("z.json", json.dumps([ZSRE, row, ZSRE], indent=1))
    with pytest.raises(DataError, match=re.escape(f"z.json, row 2 (line 9): {message}")):
        read(f"zsre:{path}")


def test_fever_needs_at_least_one_rephrase(write):
    row = {"prompt": "p", "equiv_prompt": [], "alt": "no", "unrel_prompt": "q", "unrel_ans": "a"}
    with pytest.raises(DataError, match="equiv_prompt is an empty list"):
        read(f"fever:{write('f.json', [row])}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{}\n {}]", "line 2: expected ',' or ']' after row 1, got '{'"),
        ("[{}\n", "line 2: expected ',' or ']' after row 1, but the file ends; it may be cut"),
        ('[{},\n{"src": "p"\n "ans": 2}]', "row 2 (line 3): malformed JSON: Expecting ','"),
        ('[{},\n{"src": "p', "row 2 (line 2): malformed JSON: Unterminated string"),
        ("[", "row 1 (line 1): malformed JSON: Expecting value at the end. The file may be cut"),
        ("[{},]", "row 2 (line 1): malformed JSON: Expecting value near"),
        ("[{}]\n\n[{}]", "line 3: more text after the end of the array of 1 rows"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_a_malformed_array_is_refused_with_its_line(write, text, message):
    text = text.replace("{}", json.dumps(ZSRE))
    with pytest.raises(DataError, match=re.escape(message)):
        read(f"zsre:{write('z.json', text)}")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b" [ ]\n"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_without_rows_is_refused(write, content, packed):
    with pytest.raises(DataError, match=r"facts\.jsonl has no rows, expected at least one edit"):
        read(f"jsonl:{write('facts.jsonl', content, packed=packed)}")


def test_a_table_with_nothing_but_its_header_has_no_rows(write):
    with pytest.raises(DataError, match="has no rows"):
        read(f"entityquestions:{write('e.tsv', HEADER)}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("dev\tP1\tAnn\tWho?\n", "row 1 (line 2): 4 columns, expected 5."),
        ("dev\tP1\tAnn\tWho?\t[]\n", "row 1 (line 2): answers_json is an empty list."),
        ("dev\tP1\tAnn\tWho?\tBob\n", "answers_json must be a JSON list of texts, got 'Bob'."),
        ('dev\tP1\tAnn\tWho?\t["a", 3]\n', "answers_json[1] must be a text in quotes, got the"),
        ("dev\tP1\tAnn\t\t[]\n", "question is empty, got ''."),
        ('dev\tP1\t"Ann\tWho?\t[]\n', "row 1 (line 2): malformed row: unexpected end of data."),
    ],
)
def test_a_bad_row_of_a_table_is_refused(write, row, message):
    with pytest.raises(DataError, match=re.escape(message)):
        read(f"entityquestions:{write('e.tsv', HEADER + row)}")


def test_a_table_with_another_header_is_refused(write):
    with pytest.raises(DataError, match=r"line 1: got the header \['a', 'b'\], expected the col"):
        read(f"entityquestions:{write('e.tsv', HEADER_OF_ANOTHER)}")


def test_text_that_is_not_utf8_is_refused_with_line_and_offset(write):
    bad = b'{"prompt": "caf\xe9", "target": "t"}\n'
    at = len(GOOD) + bad.index(b"\xe9")
    message = f"line 2: not UTF-8: byte 0xe9 at offset {at}. Save the file as UTF-8."
    with pytest.raises(DataError, match=re.escape(message)):
        read(f"jsonl:{write('facts.jsonl', GOOD.encode() + bad)}")


@pytest.mark.parametrize("before", [10, 2**16 - 1, 2**16, 3 * 2**16 + 5])
def test_an_array_that_is_not_utf8_is_refused_with_line_and_offset(write, before):
    # "\xc3" alone asks for one more byte, which may stand in the next chunk that is read.
    row = json.dumps(ZSRE | {"src": "x" * before + "é" * 2}, ensure_ascii=False).encode()
    data = b"[\n" + row + b",\n" + row[: -len(b"}")] + b', "x": "\xc3("}]'
    at = data.index(b"\xc3(")
    message = f"line 3: not UTF-8: byte 0xc3 at offset {at}."
    with pytest.raises(DataError, match=re.escape(message)):
        read(f"zsre:{write('z.json', data)}")


def test_offsets_count_the_byte_order_mark(write):
    for after, offset in [(b"\xff", 3), (b"[\xff", 4)]:
        path = write("facts.jsonl", b"\xef\xbb\xbf" + after)
        with pytest.raises(DataError, match=f"at offset {offset}\\."):
            read(f"jsonl:{path}")


def test_a_table_that_is_not_utf8_is_refused(write):
    with pytest.raises(DataError, match=f"line 2: not UTF-8: byte 0xff at offset {len(HEADER)}"):
        read(f"entityquestions:{write('e.tsv', HEADER.encode() + bytes([255]))}")


def test_utf16_is_refused_as_not_utf8(write):
    with pytest.raises(DataError, match="line 1: not UTF-8: byte 0xff at offset 0"):
        read(f"jsonl:{write('facts.jsonl', GOOD.encode('utf-16'))}")


def test_a_gzip_file_that_is_cut_short_is_refused(write):
    whole = gzip.compress((GOOD * 50).encode())
    with pytest.raises(DataError, match="is cut short: its gzip stream has no end"):
        read(f"jsonl:{write('facts.jsonl.gz', whole[:-12])}")


def test_a_broken_gzip_file_is_refused(write):
    whole = bytearray(gzip.compress((GOOD * 50).encode()))
    whole[20] ^= 0xFF
    with pytest.raises(DataError, match="is not a whole gzip file"):
        read(f"jsonl:{write('facts.jsonl.gz', bytes(whole))}")


def test_a_plain_file_that_is_called_gz_is_refused(write):
    with pytest.raises(DataError, match=r"is not a whole gzip file .* drop \.gz from the name"):
        read(f"jsonl:{write('facts.jsonl.gz', GOOD)}")


def test_a_missing_file_and_a_folder_are_refused_before_the_first_row(tmp_path):
    with pytest.raises(DataError, match=r"No such file: .*gone\.json\. Check the spelling"):
        stream(f"zsre:{tmp_path / 'gone.json'}")
    with pytest.raises(DataError, match="is a folder, expected one file of edits"):
        stream(f"zsre:{tmp_path}")
    with pytest.raises(DataError, match="No such file"):
        stream(f"zsre:{tmp_path / ('x' * 5000)}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_that_may_not_be_read_is_refused(write):
    path = write("facts.jsonl", GOOD)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(f"jsonl:{path}")


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_must_be_positive(write, limit):
    with pytest.raises(ConfigError, match=f"limit must be at least 1, got {limit}"):
        stream(f"jsonl:{write('facts.jsonl', GOOD)}", limit=limit)


def test_a_row_without_end_does_not_pull_the_whole_file_into_memory(write, monkeypatch):
    monkeypatch.setattr("ultraedit.data._files.MAX_ROW", 2**20)
    with pytest.raises(DataError, match="line 2: longer than 1 MiB"):
        read(f"jsonl:{write('facts.jsonl', GOOD + 'x' * 2**21)}")
