"""Moments over a corpus: right, kept, told apart, and the same after a kill."""

from __future__ import annotations

import json

import pytest
import torch

from tests.host.second_moments.conftest import MODULES
from tests.host.trace.test_moments import written_out
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError, StorageError
from ultraedit.core.types import NullObserver
from ultraedit.host import trace
from ultraedit.host.second_moments import (
    Imported,
    OfCorpus,
    OfPrompts,
    entries,
    find_entry,
    provider,
    read_corpus,
)
from ultraedit.host.second_moments import (
    cache as moment_cache,
)
from ultraedit.host.second_moments import (
    collection as collecting,
)
from ultraedit.models import find_modules


@pytest.fixture
def computed(monkeypatch):
    """How many windows were computed."""
    calls = []
    original = trace.add_moments

    def counted(*args):
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(trace, "add_moments", counted)
    return calls


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[p][0], other[p][0]) for p in one)


def test_moments_over_a_corpus_equal_those_written_out(tiny, modules, corpus):
    found = OfCorpus(str(corpus), 70).moments(tiny, modules)
    texts = read_corpus(str(corpus), 70).passages
    for path, module in modules.items():
        expected, tokens = written_out(tiny, module, texts)
        assert found[path].tokens == tokens
        assert found[path].source == "wiki.jsonl, 70 samples"
        torch.testing.assert_close(found[path].moment.double(), expected, rtol=1e-4, atol=1e-6)


def test_what_was_computed_is_read_the_next_time(tiny, modules, corpus, computed):
    statistics = OfCorpus(str(corpus), 70)
    first = statistics.moments(tiny, modules)
    assert len(computed) > 1
    computed.clear()
    assert same(statistics.moments(tiny_model("llama"), modules), first)
    assert not computed


def test_only_the_missing_modules_are_computed(tiny, modules, corpus, computed):
    statistics = OfCorpus(str(corpus), 70)
    one = dict(list(modules.items())[:1])
    alone = statistics.moments(tiny, one)
    computed.clear()
    both = statistics.moments(tiny, modules)
    assert {path for call in computed for path in call[1]} == modules.keys() - one.keys()
    assert same({path: both[path] for path in one}, alone)


@pytest.mark.parametrize("what", ["weights", "corpus", "samples"])
def test_other_weights_corpus_or_samples_are_computed_anew(what, tiny, modules, corpus, computed):
    OfCorpus(str(corpus), 70).moments(tiny, modules)
    computed.clear()
    if what == "weights":
        tiny.model.get_input_embeddings().weight.data[7, 7] += 1e-3
    elif what == "corpus":
        corpus.write_text(corpus.read_text().replace("Vienna", "Zwolle"))
    OfCorpus(str(corpus), 80 if what == "samples" else 70).moments(tiny, modules)
    assert computed
    assert len(list(entries())) == 4


class Killed(Exception):
    pass


class Killer(NullObserver):
    """An observer that ends the program after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def advance(self, steps=1):
        self.steps -= steps
        if self.steps < 0:
            raise Killed


def test_a_killed_collection_goes_on_to_the_same_bits(
    tiny, modules, corpus, cache, computed, monkeypatch
):
    monkeypatch.setattr(collecting, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(collecting, "SAVE_SHARE", float("inf"))
    whole = OfCorpus(str(corpus), 200).moments(tiny, modules)
    facts = [entry.doublings for entry in entries()]
    windows = len(computed)
    for entry in list(entries()):
        entry.file.unlink()
    computed.clear()
    with pytest.raises(Killed):
        OfCorpus(str(corpus), 200, Killer(120)).moments(tiny, modules)
    left = list(cache.rglob(".unfinished*"))
    assert len(left) == 1
    assert not list(entries())
    resumed = OfCorpus(str(corpus), 200).moments(tiny, modules)
    assert windows <= len(computed) <= windows + 1  # The window it was killed in is done again.
    assert same(resumed, whole)
    assert [entry.doublings for entry in entries()] == facts
    assert not list(cache.rglob(".unfinished*"))


def test_a_damaged_place_to_go_on_from_means_starting_over(
    tiny, modules, corpus, cache, monkeypatch
):
    monkeypatch.setattr(collecting, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(collecting, "SAVE_SHARE", float("inf"))
    with pytest.raises(Killed):
        OfCorpus(str(corpus), 200, Killer(120)).moments(tiny, modules)
    (left,) = cache.rglob(".unfinished*")
    left.write_bytes(left.read_bytes()[:1000])
    found = OfCorpus(str(corpus), 200).moments(tiny, modules)
    for entry in entries():
        entry.file.unlink()
    assert same(found, OfCorpus(str(corpus), 200).moments(tiny, modules))


def test_the_convergence_report_is_the_change_since_half_the_sample(tiny, modules, corpus):
    found = OfCorpus(str(corpus), 160).moments(tiny, modules)
    half = OfCorpus(str(corpus), 80).moments(tiny, modules)
    for entry in entries():
        if "160" not in entry.source:
            continue
        assert [size for size, _ in entry.doublings] == [40, 80, 160]
        matrix, earlier = found[entry.module].moment, half[entry.module].moment
        expected = (matrix - earlier).norm() / matrix.norm()
        assert entry.doublings[-1][1] == pytest.approx(float(expected), rel=1e-3)


def test_windows_cover_the_sample_and_end_at_its_doublings():
    for samples in (1, 2, 63, 64, 65, 1000):
        marks = collecting.doubling_sizes(samples)
        found = collecting.windows(samples, marks)
        assert [n for start, stop in found for n in range(start, stop)] == list(range(samples))
        assert set(marks) <= {stop for _, stop in found}
        assert marks[-1] == samples


def test_an_entry_is_found_by_its_id(tiny, modules, corpus):
    OfCorpus(str(corpus), 20).moments(tiny, modules)
    listed = list(entries())
    assert {entry.module for entry in listed} == set(modules)
    for entry in listed:
        assert find_entry(entry.id) == entry
        assert find_entry(entry.id[:6]).load().tokens == entry.tokens
    with pytest.raises(ConfigError, match="'zz': no second moment begins so"):
        find_entry("zz")


def test_a_damaged_file_is_named(tiny, modules, corpus, caplog):
    statistics = OfCorpus(str(corpus), 20)
    statistics.moments(tiny, modules)
    file = next(entries()).file
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StorageError, match=r"cannot be read .* Delete the file"):
        statistics.moments(tiny, modules)
    assert len(list(entries())) == len(modules) - 1
    assert str(file) in caplog.text


def test_a_file_of_another_format_is_refused(tiny, modules, corpus):
    from safetensors.torch import save_file

    OfCorpus(str(corpus), 20).moments(tiny, modules)
    file = next(entries()).file
    save_file({"moment": torch.zeros(2, 2)}, file, metadata={"format": "other"})
    with pytest.raises(StorageError, match="its format is 'other'"):
        OfCorpus(str(corpus), 20).moments(tiny, modules)


def test_a_bfloat16_model_is_summed_in_float32(corpus):
    tiny = tiny_model("llama", dtype=torch.bfloat16)
    modules = find_modules(tiny.model, [MODULES])
    for moment in OfCorpus(str(corpus), 20).moments(tiny, modules).values():
        assert moment.moment.dtype == torch.float32
        values = torch.linalg.eigvalsh(moment.moment.double())
        assert values.min() > -1e-5 * values.max()


def test_the_provider_is_what_the_setting_says(corpus):
    assert provider(None, prompts=["a"] * 2000) == OfPrompts(("a",) * 1000)
    assert provider("imported") == Imported()
    chosen = provider(str(corpus), 30)
    assert (chosen.corpus, chosen.samples) == (str(corpus), 30)
    assert chosen.source == "wiki.jsonl, 30 samples"


def test_no_prompts_and_no_imports_are_explained(tiny, modules):
    with pytest.raises(DataError, match="no prompt to take second-moment statistics from"):
        provider(None).moments(tiny, modules)
    with pytest.raises(ConfigError, match="stats import FILE --model tiny-llama"):
        provider("imported").moments(tiny, modules)


def test_the_header_says_what_it_is_without_the_matrix(tiny, modules, corpus, cache):
    from safetensors import safe_open

    OfCorpus(str(corpus), 20).moments(tiny, modules)
    assert moment_cache.folder() == cache / "second-moments"
    for entry in entries():
        with safe_open(entry.file, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        assert (facts["model"], facts["module"]) == ("tiny-llama", entry.module)
        assert facts["fingerprint"].startswith("sha256:")
