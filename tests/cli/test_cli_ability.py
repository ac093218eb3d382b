"""``ultraedit ability`` where the harness is, and where it is not."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.evaluation.ability.test_tasks import claims, write


def test_without_the_harness_one_sentence_says_how_to_get_it(refused, monkeypatch):
    import importlib.util

    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, find=find_spec: None if name == "lm_eval" else find(name),
    )
    assert "pip install 'ultraedit[ability]'" in refused("ability", "smollm2")


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_model_is_measured_beside_another(cli, tiny):
    write(Path("data"), "sst2.json", claims(8))
    options = ("--tasks", "sst2", "--data-root", "data", "--limit", "3", "--dtype", "float32")
    done = json.loads(cli("ability", tiny, *options, "--out", "a.json", "--json").stdout)
    assert done["tasks"]["sst2"]["questions"] == 3
    assert json.loads(Path("a.json").read_text()) == done
    shown = cli("ability", tiny, *options, "--beside", tiny).stdout
    assert "±" in shown
    assert "sst2 3" in shown
