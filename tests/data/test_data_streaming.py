"""Files are read as far as is needed, in memory that does not grow with them."""

import json
import subprocess
import sys
import tracemalloc

import pytest

from ultraedit.core.errors import DataError
from ultraedit.data import check, read, stream

ROW = {"prompt": "Where was Ann born?", "rephrase_prompt": "r", "ans": "Ulm", "loc_ans": "Rome"}


def _many(count, *, lines):
    rows = (json.dumps(ROW | {"loc": f"é{n}" * (n % 50 + 1)}) for n in range(count))
    return "\n".join(rows) if lines else f"[{', '.join(rows)}]"


@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_first_rows_are_had_without_reading_the_rest(write, lines, packed):
    text = _many(3000, lines=lines) + "\nthis is no JSON"
    path = write("rows.json", text, packed=packed)
    edits = stream(f"ultraeditbench:{path}")
    assert [next(edits).id for _ in range(10)] == [str(n) for n in range(1, 11)]
    assert len(read(f"ultraeditbench:{path}", limit=3000)) == 3000
    with pytest.raises(DataError):
        read(f"ultraeditbench:{path}")


@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_memory_does_not_grow_with_the_file(write, lines):
    path = write("rows.json", _many(20_000, lines=lines))
    assert path.stat().st_size > 6e6
    edits = stream(f"ultraeditbench:{path}")
    next(edits)
    tracemalloc.start()
    try:
        assert sum(1 for _ in edits) == 19_999
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e6


def test_an_array_with_a_row_without_end_is_not_pulled_into_memory(write, monkeypatch):
    monkeypatch.setattr("ultraedit.data._json.MAX_ROW", 2**18)
    path = write("rows.json", '[{"prompt": "' + "x" * 2**23)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="Unterminated string"):
            read(f"ultraeditbench:{path}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1000])
def test_rows_do_not_depend_on_where_the_chunks_end(write, monkeypatch, chunk):
    rows = [ROW | {"loc": 'é\U0001f600\\"[]{}' * n + "x"} for n in range(6)]
    path = write("rows.json", json.dumps(rows, indent=1, ensure_ascii=False).replace("\n", "\r\n"))
    whole = read(f"ultraeditbench:{path}")
    assert [edit.locality[0].prompt for edit in whole] == [row["loc"] for row in rows]
    monkeypatch.setattr("ultraedit.data._json._CHUNK", chunk)
    assert read(f"ultraeditbench:{path}") == whole


@pytest.mark.parametrize("chunk", [1, 3, 2**16])
def test_a_number_that_goes_on_in_the_next_chunk_is_read_whole(write, monkeypatch, chunk):
    monkeypatch.setattr("ultraedit.data._json._CHUNK", chunk)
    with pytest.raises(DataError, match="got the number 1234567"):
        read(f"ultraeditbench:{write('rows.json', '[1234567, 8]')}")


@pytest.mark.parametrize("chunk", [1, 5, 2**16])
def test_lines_are_counted_across_chunks(write, monkeypatch, chunk):
    monkeypatch.setattr("ultraedit.data._json._CHUNK", chunk)
    text = json.dumps([ROW | {"loc": "l"}] * 3 + [{}], indent=1)
    with pytest.raises(
        DataError, match=rf"row 4 \(line {text.split('{}')[0].count(chr(10)) + 1}\)"
    ):
        read(f"ultraeditbench:{write('rows.json', text)}")


def test_a_check_keeps_digests_and_no_texts(write):
    rows = [ROW | {"prompt": f"{n} " + "x" * 1000, "loc": "l"} for n in range(5000)]
    path = write("rows.json", rows)
    tracemalloc.start()
    try:
        report = check(f"ultraeditbench:{path}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.ok
    assert peak < path.stat().st_size / 3


def test_importing_the_room_loads_no_reader_and_no_model_library():
    code = (
        "import sys, ultraedit.data;"
        "assert 'ultraedit.data.formats.zsre' not in sys.modules;"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
