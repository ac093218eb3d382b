"""The seed of a run reaches every draw, and nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from tests.editors.cases import CASES
from tests.editors.test_contract import EDITS, host_of, run
from tests.editors.test_malmen import FACTS
from ultraedit.core.sources import option_source
from ultraedit.editors import EDITORS, make_editor
from ultraedit.editors.families.fit import Schedule, fit
from ultraedit.editors.seeds import derived
from ultraedit.runs.config import make_config
from ultraedit.runs.resolution import SEEDED, resolve

HALF = {"normalise": 0.5}
DRAWING = {
    "wise": {"n_iter": 2},
    "ft-bf": {},
    "lora": {},
    "ft-m": {"shuffle": True},
    "ultraedit": HALF,
    "stableedit": HALF,
    "simie": {"base.normalise": 0.5},
    "rect": {"base": "ft-bf", "keep": 0.9},
    "prune": {"base": "ultraedit", "base.normalise": 0.5, "base.eta": "auto"},
}
"""Options under which an editor draws something. Only WISE, FT-BF and LoRA do so without any."""

TRAINED = ("mend", "mend-original", "malmen", "rledit", "stableedit")
CASES_OF_SEEDS = [
    *((name, options, True) for name, options in DRAWING.items()),
    *((name, {}, False) for name in EDITORS if name not in ("wise", "ft-bf", "lora")),
]


def weights(name, options, seed):
    """What a run of tiny turns with a seed makes of the weights, and of the editor's state."""
    host = host_of(name)
    own = {} if "base" in options else CASES[name]
    config = make_config(
        {
            "model": "m",
            "data": "facts.jsonl",
            "editor": name,
            "modules": tuple(host.modules),
            "options": own | options,
            "seed": seed,
        }
    )
    editor = resolve(config, host.language_model).editor
    random.seed(seed)
    torch.manual_seed(seed % 2**64)
    state = run(host, editor, EDITS[:6], per_turn=3).state
    return host.weights.snapshot() | state


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(t, second[n]) for n, t in first.items()
    )


@pytest.mark.parametrize(("name", "options", "draws"), CASES_OF_SEEDS)
def test_two_seeds_differ_where_something_is_drawn_and_nowhere_else(name, options, draws):
    # With 1 and 5 another half of two modules is drawn, too.
    first, again, other = (weights(name, options, seed) for seed in (1, 1, 5))
    assert same(first, again)
    assert same(first, other) == (not draws)


@pytest.mark.parametrize("name", TRAINED)
def test_a_net_that_is_trained_with_another_seed_is_another_one(name):
    options = {"warm_up": 2} if name == "stableedit" else {"rank": 4, "blocks": 1, "meta_lr": 1e-3}

    def train(seed):
        host = host_of(name)
        editor = make_editor(name, CASES[name] | options)
        schedule = replace(editor.schedule(Schedule(edits_per_turn=3)), seed=seed)
        return fit(editor.learner(host, seed), FACTS[:5], schedule).net.tensors

    first, again, other = train(1), train(1), train(2)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    ("given", "seed", "of_run", "of_editor"),
    [
        ({}, 0, "default", "default"),
        ({"seed": 5}, 5, "user", SEEDED),
        ({"options": {"seed": 7}}, 7, "default", "user"),
        ({"seed": 5, "options": {"seed": 7}}, 7, "user", "user"),
    ],
)
def test_the_users_own_word_on_an_editors_seed_wins_and_the_record_says_so(
    given, seed, of_run, of_editor
):
    host = host_of("wise")
    values = {"model": "m", "data": "facts.jsonl", "editor": "wise", "modules": tuple(host.modules)}
    settings = resolve(make_config(values | given), host.language_model)
    assert settings.editor.seed == seed
    assert (settings.sources["seed"], settings.sources["editor.seed"]) == (of_run, of_editor)
    assert option_source(settings.sources, "seed") == of_editor
    if "options" not in given:
        settings = resolve(
            make_config(values | given | {"editor": "ultraedit"}), host.language_model
        )
        assert settings.editor.normalise_seed == seed
        assert option_source(settings.sources, "normalise_seed") == of_editor


@pytest.mark.parametrize("seed", [-1, 2**63 + 5, 1 - 2**70, 10**30 + 1])
def test_any_whole_number_is_a_seed(seed):
    for number in (0, 7):
        drawn = derived(seed, number)
        assert drawn != derived(-seed, number)
        torch.Generator().manual_seed(drawn)
        assert 0 <= drawn < 2**63
    weights("wise", {"n_iter": 1}, seed=seed)
