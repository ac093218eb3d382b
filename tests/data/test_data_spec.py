"""``FORMAT:PATH`` is read as the user means it."""

from pathlib import Path

import pytest

from ultraedit.core.errors import ConfigError
from ultraedit.data import DataSpec, parse_spec, read, stream


@pytest.mark.parametrize(
    ("text", "format", "path"),
    [
        ("zsre:zsre_10k.json", "zsre", "zsre_10k.json"),
        ("zsre:a:b.json", "zsre", "a:b.json"),
        (r"zsre:C:\data\z.json", "zsre", r"C:\data\z.json"),
        ("facts.jsonl", "jsonl", "facts.jsonl"),
        ("facts.JSONL.gz", "jsonl", "facts.JSONL.gz"),
        (r"C:\data\facts.jsonl", "jsonl", r"C:\data\facts.jsonl"),
        ("./a:b/facts.jsonl", "jsonl", "./a:b/facts.jsonl"),
        ("my.data:v2.jsonl", "jsonl", "my.data:v2.jsonl"),
        ("jsonl:facts.txt", "jsonl", "facts.txt"),
    ],
)
def test_the_first_colon_counts_if_a_format_could_stand_before_it(text, format, path):
    assert parse_spec(text) == DataSpec(format, Path(path))


def test_a_file_that_exists_is_a_path_whatever_stands_before_its_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("facts:v2.jsonl").write_text('{"prompt": "p", "target": "t"}')
    assert parse_spec("facts:v2.jsonl") == DataSpec("jsonl", Path("facts:v2.jsonl"))
    assert len(read("facts:v2.jsonl")) == 1
    with pytest.raises(ConfigError, match="Unknown data format 'facts'"):
        parse_spec("facts:v3.jsonl")


def test_the_home_folder_is_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert parse_spec("zsre:~/z.json").path == Path("/somewhere/z.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zrse:z.json", r"Unknown data format 'zrse'\. Did you mean: zsre\?"),
        ("ZSRE:z.json", r"Unknown data format 'ZSRE'\. Did you mean: zsre\?"),
        ("ultra-edit-bench:z.json", r"Did you mean: ultraeditbench"),
        ("qqqq:z.json", r"Known: counterfact, .*\. Run `ultraedit data list`"),
        ("z.json", r"'z\.json' does not say its format\. Write FORMAT:PATH, such as zsre:z\.json"),
        (r"C:\z.json", r"does not say its format.* with one of jsonl, zsre, counterfact"),
        ("zsre:", r"No file is named\. Write FORMAT:PATH, such as zsre:facts\.json"),
        ("", "No file is named"),
    ],
)
def test_what_cannot_be_read_is_refused_with_advice(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_spec(text)


def test_a_spec_made_by_hand_is_checked_too():
    with pytest.raises(ConfigError, match=r"Unknown data format 'zrse'\. Did you mean: zsre\?"):
        stream(DataSpec("zrse", Path("z.json")))


def test_a_spec_prints_as_it_was_typed():
    assert str(parse_spec("zsre:z.json")) == "zsre:z.json"
    assert str(parse_spec("facts.jsonl")) == "jsonl:facts.jsonl"
