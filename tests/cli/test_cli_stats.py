"""``ultraedit stats``, and ``--corpus`` of a run, from the outside."""

from __future__ import annotations

import json

import numpy
import pytest
import torch

from tests.host.second_moments.conftest import passages
from tests.tiny import tiny_model
from ultraedit.core.types import Additive, NullObserver
from ultraedit.editors import EDITORS
from ultraedit.models import save
from ultraedit.runs.base_model import open_host
from ultraedit.runs.store import RunFolder
from ultraedit.runs.workflow import append


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "wiki.txt"
    file.write_text("\n".join(passages(40)), encoding="utf-8")
    return file


def test_moments_are_computed_listed_and_shown(cli, tiny, corpus):
    command = ("stats", "compute", "--model", tiny, "--corpus", corpus, "--samples", 16)
    done = json.loads(cli(*command, "--json").stdout)
    assert done["seconds"] > 0
    for row in done["moments"]:
        assert row["source"] == "wiki.txt, 16 samples"
        assert row["module"].endswith("mlp.down_proj")
        assert [size for size, _ in row["doublings"]] == [4, 8, 16]
    listed = json.loads(cli("stats", "list", "--json").stdout)
    assert sorted(row["id"] for row in listed) == sorted(row["id"] for row in done["moments"])
    page = cli("stats", "list").stdout
    assert all(row["id"] in page for row in listed)
    row = listed[0]
    shown = json.loads(cli("stats", "show", row["id"], "--json").stdout)
    assert shown["tokens"] == row["tokens"]
    assert 1 <= shown["ranks"]["0.5"] <= shown["ranks"]["0.9"] <= shown["ranks"]["0.99"] <= 48
    assert 0 < shown["largest_eigenvalue"] <= shown["trace"]
    page = cli("stats", "show", row["id"]).stdout
    assert "Convergence" in page
    assert row["module"] in page


def test_modules_are_those_given_or_those_of_the_editors_preset(cli, corpus, tmp_path):
    save(tiny_model("llama", layers=12), tmp_path / "model")
    command = ("stats", "compute", "--model", tmp_path / "model", "--corpus", corpus, "--json")

    def measured(*options):
        done = json.loads(cli(*command, *options).stdout)
        return [row["module"] for row in done["moments"]]

    assert measured("--modules", "layers.0.mlp.up_proj") == ["model.layers.0.mlp.up_proj"]
    assert measured("--editor", "ft-l") == ["model.layers.8.mlp.down_proj"]
    assert measured() == [f"model.layers.{n}.mlp.down_proj" for n in (9, 10)]


def test_moments_are_imported_and_refused(cli, tiny, corpus, tmp_path):
    from ultraedit.host.second_moments import find_entry

    modules = "layers.[0-1].mlp.down_proj"
    options = ("--model", tiny, "--corpus", corpus, "--modules", modules, "--json")
    done = json.loads(cli("stats", "compute", *options).stdout)
    row = done["moments"][0]
    moment = find_entry(row["id"]).load()
    file = tmp_path / f"{row['module']}_float32_mom2_100.npz"
    total = moment.moment.numpy() * moment.tokens
    numpy.savez(file, **{"mom2.mom2": total, "mom2.count": moment.tokens})
    found = json.loads(cli("stats", "import", file, "--model", tiny, "--json").stdout)
    assert [each["module"] for each in found] == [row["module"]]
    other = tmp_path / f"{done['moments'][1]['module']}_float32_mom2_100.npz"
    file.rename(other)
    refused = cli("stats", "import", other, "--model", tiny, code=2)
    assert "is of another model or module" in refused.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["compute", "--model", "smollm2", "--corpus", "no.jsonl"],
            "There is no corpus 'no.jsonl'",
        ),
        (["compute", "--model", "smollm2", "--corpus", "imported"], "is no corpus to compute from"),
        (["show", "abc"], "'abc': no second moment begins so"),
    ],
)
def test_slips_are_explained(args, message, cli):
    assert message in cli("stats", *args, code=2).stderr


@pytest.fixture
def whitener(monkeypatch):
    """An editor that asks for second moments."""
    from dataclasses import dataclass, replace

    import ultraedit.editors.ft as home

    asked = []

    @dataclass(frozen=True, kw_only=True)
    class Whitener:
        def init(self, host):
            return {}

        def step(self, host, turn, state):
            asked.extend(host.second_moment(path) for path in host.modules)
            return Additive({}), state

    monkeypatch.setattr(home, "Whitener", Whitener, raising=False)
    row = replace(
        EDITORS["ft-m"],
        name="whitener",
        target="ultraedit.editors.ft:Whitener",
        needs_statistics=True,
    )
    monkeypatch.setitem(EDITORS, "whitener", row)
    return asked


@pytest.mark.parametrize("given", [True, False])
def test_a_run_takes_its_moments_from_the_corpus_or_the_prompts(
    given, cli, tiny, corpus, tmp_path, whitener
):
    out = tmp_path / "out"
    options = ("--corpus", corpus, "--corpus-samples", 20) if given else ()
    args = ("--model", tiny, "--data", "facts.jsonl", "--editor", "whitener", "--no-save-model")
    cli("run", *args, "--out", out, "--free-answers", 0, *options)
    source = "wiki.txt, 20 samples" if given else "prompts of the edits"
    assert {moment.source for moment in whitener} == {source}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["resolved"]["statistics"] == source


def test_a_run_refuses_a_corpus_that_is_not_there_before_the_model(cli, tmp_path):
    args = ("--model", "smollm2", "--data", "facts.jsonl", "--corpus", "no.jsonl")
    refused = cli("run", *args, "--out", tmp_path / "out", code=2)
    assert "There is no corpus 'no.jsonl'" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [True, False])
def test_a_run_that_is_opened_again_has_the_moments_of_its_beginning(
    given, cli, tiny, corpus, tmp_path, whitener, monkeypatch
):
    options = ("--corpus", corpus.name, "--corpus-samples", 20) if given else ()
    args = ("--model", tiny, "--data", "facts.jsonl", "--editor", "whitener", "--no-save-model")
    cli("run", *args, "--out", "out", "--free-answers", 0, "--turns", 1, "--limit", 3, *options)
    append(tmp_path / "out", {"data": "facts.jsonl"})
    monkeypatch.chdir("/")
    folder = RunFolder.open(tmp_path / "out")
    try:
        host, _ = open_host(folder.journal, NullObserver())
    finally:
        folder.close()
    again = [host.second_moment(path) for path in host.modules]
    assert len(whitener) == 2 * len(again)
    for turn in (whitener[: len(again)], whitener[len(again) :]):
        for before, now in zip(turn, again, strict=True):
            assert torch.equal(before.moment, now.moment)
            assert before.tokens == now.tokens
