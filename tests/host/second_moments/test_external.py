"""Moments in ROME's layout are imported, and those of another model or module refused."""

from __future__ import annotations

import numpy
import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.host.second_moments import Imported, OfCorpus, entries, import_moments
from ultraedit.host.second_moments.external import LIKENESS, likeness
from ultraedit.models import find_modules

SUFFIX = "_float32_mom2_100000.npz"


@pytest.fixture
def moments(tiny, modules, corpus):
    found = OfCorpus(str(corpus), 100).moments(tiny, modules)
    for entry in list(entries()):
        entry.file.unlink()
    return found


def rome(folder, name, moment, **changes):
    """A file as ROME's code saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "mom2.constructor": numpy.array("util.runningstats.SecondMoment()"),
        "mom2.count": numpy.array(moment.tokens),
        "mom2.mom2": (moment.moment.double() * moment.tokens).float().numpy(),
        "sample_size": numpy.array(100000),
    }
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    numpy.savez(folder / f"{name}{SUFFIX}", **arrays)
    return folder / f"{name}{SUFFIX}"


def test_a_folder_in_romes_layout_is_imported(tiny, modules, moments, tmp_path):
    folder = tmp_path / "tiny" / "wikipedia_stats"
    for path, moment in moments.items():
        rome(folder, path, moment)
    found = import_moments(tmp_path / "tiny", tiny)
    assert {entry.module for entry in found} == set(modules)
    assert {entry.corpus for entry in found} == {"imported"}
    read = Imported().moments(tiny_model("llama"), modules)
    for path, moment in moments.items():
        torch.testing.assert_close(read[path].moment, moment.moment)
        assert read[path].tokens == moment.tokens
        assert read[path].source == f"imported from {path}{SUFFIX}"


def test_a_later_import_takes_the_place_of_an_earlier_one(tiny, modules, moments, tmp_path):
    path, moment = next(iter(moments.items()))
    file = rome(tmp_path / "npz", path, moment)
    import_moments(file, tiny)
    rome(tmp_path / "npz", path, moment._replace(moment=2 * moment.moment))
    import_moments(file, tiny)
    (entry,) = entries()
    torch.testing.assert_close(entry.load().moment, 2 * moment.moment)


def test_those_of_another_module_are_refused_and_nothing_is_kept(tiny, modules, moments, tmp_path):
    first, second = moments
    rome(tmp_path / "npz", first, moments[first])
    rome(tmp_path / "npz", second, moments[first])
    with pytest.raises(DataError, match=f"another model or module than {second}"):
        import_moments(tmp_path / "npz", tiny)
    assert not list(entries())


def test_those_of_another_model_are_refused(modules, moments, tmp_path):
    path, moment = next(iter(moments.items()))
    file = rome(tmp_path / "npz", path, moment)
    other = tiny_model("llama", seed=1)
    with pytest.raises(DataError, match="is of another model or module"):
        import_moments(file, other)
    with pytest.raises(ConfigError, match="is not of this model"):
        import_moments(file, tiny_model("gpt2"))


def test_those_of_another_size_are_refused(tiny, moments, tmp_path):
    path, moment = next(iter(moments.items()))
    cut = moment._replace(moment=moment.moment[:40, :40])
    with pytest.raises(DataError, match=r"shape \(40, 40\), the inputs of .* need \(48, 48\)"):
        import_moments(rome(tmp_path / "npz", path, cut), tiny)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mom2.mom2": None}, "expected mom2.mom2"),
        ({"mom2.count": None}, "holds no mom2.count"),
        ({"mom2.count": numpy.array(0)}, "holds no second moment"),
        ({"mom2.mom2": numpy.full((48, 48), numpy.nan, "f4")}, "holds no second moment"),
        ({"mom2.mom2": numpy.triu(numpy.ones((48, 48), "f4"))}, "holds no second moment"),
        ({"mom2.mom2": numpy.array({}, dtype=object)}, "cannot be read as an .npz file of numbers"),
    ],
)
def test_a_file_that_holds_no_moment_is_explained(changes, message, tiny, moments, tmp_path):
    path, moment = next(iter(moments.items()))
    file = rome(tmp_path / "npz", path, moment, **changes)
    with pytest.raises(DataError, match=message):
        import_moments(file, tiny)


def test_files_that_say_nothing_are_explained(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"There is no \.npz file"):
        import_moments(tmp_path / "nowhere.npz", tiny)
    with pytest.raises(ConfigError, match=r"There is no \.npz file"):
        import_moments(tmp_path, tiny)
    (tmp_path / "moments.npz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"The name of .*moments\.npz says no module"):
        import_moments(tmp_path, tiny)
    (tmp_path / "moments.npz").rename(tmp_path / f"model.layers.0.mlp.down_proj{SUFFIX}")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        import_moments(tmp_path, tiny)


def test_likeness_is_one_for_scaled_moments_and_zero_for_constant_ones():
    moment = torch.diag(torch.rand(64) + 0.1)
    assert likeness(moment, 3 * moment) == pytest.approx(1)
    assert likeness(moment, torch.eye(64)) == 0


@pytest.mark.slow
@pytest.mark.real
def test_on_a_real_model_modules_are_told_apart(smollm2, shared_data):
    from ultraedit.host.second_moments import OfPrompts, read_corpus
    from ultraedit.host.second_moments.external import _texts

    modules = find_modules(smollm2.model, ["layers.[10,11,20].mlp.down_proj"])
    wiki = read_corpus(str(shared_data / "text" / "wikipedia_paragraphs.jsonl.gz"), 40)
    one = OfPrompts(wiki.passages).moments(smollm2, modules)
    other = OfPrompts(_texts()).moments(smollm2, modules)
    for path in modules:
        for measured in modules:
            found = likeness(one[path].moment, other[measured].moment)
            assert (found > LIKENESS + 0.2) if path == measured else (found < LIKENESS - 0.2)
