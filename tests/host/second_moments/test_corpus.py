"""A sample does not depend on how the corpus is stored, and faults are named."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from tests.host.second_moments.conftest import passages
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.host.second_moments import corpus as hub
from ultraedit.host.second_moments import read_corpus
from ultraedit.host.second_moments.corpus import draw


def written(path, texts, kind):
    lines = [json.dumps({"text": text}) if "jsonl" in kind else text for text in texts]
    content = ("\n\n".join(lines) + "\n").encode()
    path = path / f"corpus{kind}"
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz", ".txt", ".txt.gz", ".raw"])
def test_the_sample_is_the_same_in_every_kind_of_file(kind, tmp_path):
    found = read_corpus(str(written(tmp_path, passages(60), kind)), 20)
    assert list(found.passages) == draw(passages(60), 20)
    assert found.source == f"corpus{kind}, 20 samples"
    assert found.sha256 == read_corpus(str(written(tmp_path, passages(60), ".txt")), 20).sha256


def test_the_sample_does_not_depend_on_the_order_and_takes_nothing_twice():
    shuffled = passages(60) * 2
    random.Random(0).shuffle(shuffled)
    assert draw(shuffled, 20) == draw(passages(60), 20)
    assert sorted(draw(shuffled, 1_000)) == sorted(passages(60))


def test_a_larger_sample_begins_with_the_smaller_one():
    assert draw(passages(60), 40)[:20] == draw(passages(60), 20)
    assert draw(passages(60), 20) != passages(20)


def test_another_text_is_another_corpus(tmp_path):
    one, other = (
        read_corpus(str(written(tmp_path, [*passages(9), text], ".txt")), 10).sha256
        for text in ("Bonn", "Bern")
    )
    assert one != other


def test_a_column_of_a_parquet_file_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    file = tmp_path / "wiki.parquet"
    parquet.write_table(pyarrow.table({"id": [*range(9)], "text": passages(9)}), file)
    assert list(read_corpus(str(file), 5).passages) == draw(passages(9), 5)
    parquet.write_table(pyarrow.table({"id": [1]}), file)
    with pytest.raises(DataError, match="has no column `text`"):
        read_corpus(str(file), 5)


def test_a_parquet_file_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        read_corpus(str(tmp_path / "a.parquet"), 5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text"', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n{"txt": "y"}', 'a.jsonl, line 2: expected {"text": "..."}'),
        ("a.jsonl", b'["text"]', "a.jsonl, line 1: expected"),
        ("a.txt", b"\n \n", "a.txt has no text"),
        ("a.txt", b"\xff\xfe", "a.txt cannot be read: .*utf-8"),
        ("a.jsonl.gz", b"text", "a.jsonl.gz cannot be read: Not a gzipped file"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_explained(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_corpus(str(tmp_path / name), 5)


def test_a_corpus_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"no corpus 'wiki\.jsonl': give a file"):
        read_corpus("wiki.jsonl", 5)
    with pytest.raises(ConfigError, match="is a folder"):
        read_corpus(str(tmp_path), 5)


@pytest.fixture
def a_hub(tmp_path, monkeypatch):
    """A hub with one data set, whose files are passages of their own names."""
    import huggingface_hub

    listed = ["README.md", "a/test.jsonl", "a/train-1.txt", "a/train-0.txt"]

    def fetch(name, file, repo_type):
        assert (name, repo_type) == ("org/wiki", "dataset")
        if file not in listed:
            raise FileNotFoundError(f"no {file}")
        path = tmp_path / file.replace("/", "-")
        path.write_text(f"text of {file}", encoding="utf-8")
        return str(path)

    class Api:
        def list_repo_files(self, name, repo_type):
            return listed

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    return listed


def test_a_data_set_on_the_hub_is_its_first_training_file_or_the_named_one(a_hub):
    first = read_corpus("org/wiki", 5)
    assert first.passages == ("text of a/train-0.txt",)
    assert first.source == "org/wiki, 1 samples"
    named = read_corpus("org/wiki:a/train-1.txt", 5)
    assert named.passages == ("text of a/train-1.txt",)


def test_what_the_hub_does_not_have_is_explained(a_hub):
    with pytest.raises(ConfigError, match=r"cannot be had from the Hugging Face Hub: no b\.txt"):
        read_corpus("org/wiki:b.txt", 5)
    del a_hub[1:]
    with pytest.raises(ConfigError, match="org/wiki has no file of the kinds"):
        read_corpus("org/wiki", 5)


def test_a_path_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "wiki").write_text("text")
    assert not hub.is_hub_id("org/wiki")
    assert hub.is_hub_id("org/wiki2")
    assert not any(map(hub.is_hub_id, ("./wiki", "../wiki", "wiki", "a/b/c", "/wiki")))
