"""Runs of WISE, whose edits are in memories: gone on with, gone back in, reverted, carried away."""

from __future__ import annotations

import pytest
import torch

from tests.runs.conftest import NAMES
from ultraedit import load_wise
from ultraedit.core.errors import ConfigError
from ultraedit.export.delta import export_delta
from ultraedit.export.difference import compare
from ultraedit.export.lora import export_lora
from ultraedit.export.model import export_model
from ultraedit.export.overlays import export_beside
from ultraedit.models import fingerprint, load
from ultraedit.models.generation import generate
from ultraedit.models.overlays.routing import router_of
from ultraedit.runs import workflow
from ultraedit.runs.revert import revert
from ultraedit.runs.rollback import rollback
from ultraedit.runs.scores import score
from ultraedit.runs.verify import verify

OPTIONS = {"edit_lr": 4.0, "n_iter": 6, "contexts": 1, "beta": 2.0, "alpha": 0.5, "gamma": 1.0}
SETTINGS = {
    "editor": "wise",
    "modules": ["layers.1.mlp.down_proj"],
    "options": OPTIONS | {"save_freq": 4, "merge_freq": 8},
}


@pytest.fixture
def wise(run):
    def make(name="run", **changes):
        return run(name, **(SETTINGS | changes))

    return make


def saved(folder):
    """The saved model of a run, whose memories count."""
    return load(str(folder / "model"), dtype="float32", device="cpu").model


def named(folder):
    return fingerprint(saved(folder))


def test_a_run_leaves_a_model_with_its_memories_that_knows_its_edits(wise):
    folder = wise()
    lm = load(str(folder / "model"), dtype="float32", device="cpu")
    router = router_of(lm.model)
    assert len(router.memories) == 3  # the side memory, and shards of 8 merged and of 4
    prompts = [f"Who leads town {n}?" for n in range(len(NAMES))]
    together = generate(lm, prompts, max_new_tokens=[6] * len(prompts))
    assert together == [generate(lm, [p], max_new_tokens=[6])[0] for p in prompts]
    plain = load(str(folder / "model" / "base"), dtype="float32", device="cpu")
    assert together != generate(plain, prompts, max_new_tokens=[6] * len(prompts))
    assert verify(folder).is_whole


def test_a_run_can_be_gone_back_in_and_on_from_there(wise):
    whole, short = wise(snapshot_every=2), wise("short", turns=3)
    wanted = named(whole)
    rolled = rollback(whole, 3)
    assert rolled.edits == 6
    assert named(whole) == named(short)
    assert named(whole) != wanted
    assert verify(whole).is_whole
    assert rollback(whole, 0).edits == 0
    assert not any(memory.threshold < float("inf") for memory in router_of(saved(whole)).memories)


def test_an_interrupted_run_ends_where_an_unbroken_one_does(wise, settings, tmp_path, monkeypatch):
    whole = wise()
    from ultraedit.editors.wise import WISE

    made = WISE.step

    def until_four(self, host, turn, state):
        if turn.number == 4:
            raise KeyboardInterrupt
        return made(self, host, turn, state)

    monkeypatch.setattr(WISE, "step", until_four)
    with pytest.raises(KeyboardInterrupt):
        wise("broken")
    monkeypatch.setattr(WISE, "step", made)
    assert workflow.resume(tmp_path / "broken") is not None
    assert named(tmp_path / "broken") == named(whole)


def test_edits_that_are_taken_out_leave_a_run_as_if_they_had_never_been_made(wise, place, tmp_path):
    from tests.runs.conftest import write_facts

    folder = wise()
    revert(folder, ["9"])
    revert(folder, ["2", "5"])
    left = [n for n in range(len(NAMES)) if n not in (2, 5, 9)]
    # The same turns, so that the mask and the unrelated texts of each edit are the same.
    facts = write_facts(tmp_path / "left.jsonl", left)
    other = wise("other", data=str(facts), edits_per_turn=3)
    ours, theirs = (router_of(saved(each)) for each in (folder, other))
    assert [m.threshold for m in ours.memories] == pytest.approx(
        [m.threshold for m in theirs.memories]
    )
    for one, two in zip(ours.memories, theirs.memories, strict=True):
        torch.testing.assert_close(one.weight, two.weight, rtol=1e-4, atol=1e-5)
    assert verify(folder).is_whole
    rollback(folder, 6)
    assert verify(folder).is_whole


def test_weights_a_delta_and_an_adapter_are_refused_and_memories_are_written(wise, tmp_path):
    folder = wise()
    for form, export in (("m", export_model), ("d.safetensors", export_delta), ("l", export_lora)):
        with pytest.raises(ConfigError, match="a router chooses between them") as raised:
            export(folder, tmp_path / form)
        assert f"ultraedit export {folder} --as wise" in str(raised.value)
        assert not (tmp_path / form).exists()
    export_beside(folder, tmp_path / "away")
    assert fingerprint(load_wise(tmp_path / "away", dtype=torch.float32)) == named(folder)


def test_memories_are_not_compared_as_weights_nor_written_of_another_editor(wise, run, tmp_path):
    folder = wise()
    with pytest.raises(ConfigError, match="cannot be compared weight by weight"):
        compare(str(folder / "model"), str(folder / "model" / "base"))
    with pytest.raises(ConfigError, match="was edited by ultraedit, which has no memories"):
        export_beside(run("plain"), tmp_path / "away")


def test_scores_of_a_run_are_those_of_its_model(wise, place):
    from ultraedit import data
    from ultraedit.evaluation.scoring import evaluate
    from ultraedit.host.host import ModelHost

    folder = wise()
    found = score(folder, 0).evaluation
    edits = data.read(str(place / "facts.jsonl"))
    loaded = load(str(folder / "model"), dtype="float32", device="cpu")
    again = evaluate(ModelHost(loaded, None), edits, free_answers=0)
    for name in ("efficacy", "generalization", "specificity"):
        assert getattr(found.scores, name) == getattr(again.scores, name)
    tiny = load(str(place / "tiny"), dtype="float32", device="cpu")
    before = evaluate(ModelHost(tiny, None), edits, free_answers=0)
    assert found.scores.efficacy > before.scores.efficacy
