"""A card says where a model comes from, in a form that the hub and a shell can read."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import torch
import yaml

from tests.changes import make_delta, random_change
from tests.tiny import tiny_model
from ultraedit.export.model_card import Provenance, adapter_card, applied_card, hub_id, model_card
from ultraedit.export.peft_adapter import compress
from ultraedit.report.markdown import code
from ultraedit.runs.config import RunConfig

SCORES = {"efficacy": 0.9, "generalization": 0.5, "specificity": 0.25, "agreement": 0.75}


def provenance(base: str = "org/tiny", **more) -> Provenance:
    model = tiny_model("llama")
    settings = RunConfig(model=base, data="zsre:facts|1.json", options={"eta": 0.5})
    return Provenance(
        delta=make_delta(model, random_change(model), base=base),
        settings=settings.model_dump(mode="json"),
        options={"eta": 0.5, "ridge": 1.0},
        **more,
    )


def header(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def cards(run: Provenance) -> list[str]:
    modules = compress(run.delta.changes)
    return [
        model_card(run),
        adapter_card(run, modules),
        applied_card(run.delta.base, [run.delta, run.delta], [1, -1]),
    ]


def test_the_header_is_what_the_hub_reads():
    run = provenance()
    whole, adapter, applied = (header(card) for card in cards(run))
    for each in (whole, adapter, applied):
        assert each["base_model"] == "org/tiny"
        assert each["pipeline_tag"] == "text-generation"
        assert "knowledge-editing" in each["tags"]
    assert (whole["library_name"], applied["library_name"]) == ("transformers", "transformers")
    assert adapter["library_name"] == "peft"
    assert "lora" in adapter["tags"]


def test_a_model_that_is_not_on_the_hub_is_not_claimed_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    assert hub_id("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert hub_id("org/some-model_1.5") == "org/some-model_1.5"
    for local in ("runs/one", "./org/x", "/abs/x", "model", "a/b/c", "../x", "x.gguf"):
        assert hub_id(local) is None, local
    for card in cards(provenance(base='./here: it\'s "mine"')):
        assert "base_model" not in header(card)


def test_the_card_names_what_was_done_and_how_to_do_it_again():
    run = provenance(before={**SCORES, "efficacy": 0.1}, after=SCORES)
    for card in (model_card(run), adapter_card(run, compress(run.delta.changes))):
        assert run.delta.fingerprint in card
        assert "5 edits in 2 turns" in card
        assert code("zsre:facts|1.json") in card
        assert "| efficacy | 10.0% | 90.0% |" in card
        assert "| eta | `0.5` |" in card
        for path in run.delta.changes:
            assert f"`{path}`" in card
        (shell,) = re.findall(r"```sh\n(.*?)```", card, flags=re.DOTALL)
        words = shlex.split(shell.replace("\\\n", " "))
        assert words[:2] == ["ultraedit", "run"]
        assert words[words.index("--model") + 1] == "org/tiny"
        assert words[words.index("--data") + 1] == "zsre:facts|1.json"


def test_a_run_without_scores_gets_a_card_without_them():
    assert "## Scores" not in model_card(provenance())


def test_the_adapters_card_tells_energy_ranks_and_what_they_cost():
    run = provenance()
    modules = compress(run.delta.changes, 8)
    card = adapter_card(run, modules, SCORES, {**SCORES, "efficacy": 0.8, "agreement": None})
    for path, module in modules.items():
        assert f"| `{path}` | 8 | 32 | {100 * module.energy:.2f}% |" in card
    assert "| efficacy | 90.0% | 80.0% | -10.0 |" in card
    assert "| agreement | 75.0% | n/a | n/a |" in card
    assert "What that costs" not in adapter_card(run, modules)


def test_the_card_of_applied_deltas_lists_each_with_its_sign():
    delta = provenance().delta
    other = make_delta(tiny_model("llama"), {}, edits=3, source="some/folder/old|one.safetensors")
    card = applied_card("org/tiny", [delta, other], [1, -1])
    assert "| added | `the delta` | 5 |" in card
    assert "| subtracted | `old\\|one.safetensors` | 3 |" in card
    assert delta.fingerprint in card
    assert "was not scored" in card


@pytest.mark.parametrize("base", ['quo"te/../mod el', "smollm2", "org/tiny", "x.gguf"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_python_of_a_card_is_python(which, base):
    card = cards(provenance(base=base))[which]
    (snippet,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(compile("\n".join(_imports(snippet)), "card", "exec"), {})
    compile(snippet, "card", "exec")
    if which == 1:
        assert json.dumps(base) in snippet
        assert ("ue.load" in snippet) == (base in ("smollm2", "x.gguf"))


def _imports(snippet):
    """The lines that import, but for peft's, which is no part of every installation."""
    lines = [line for line in snippet.splitlines() if "import" in line and "peft" not in line]
    for line in lines:
        assert f"{line.split()[-1]}." in snippet, "what is imported is used"
    return lines


def test_no_line_of_a_table_is_broken_by_a_name():
    run = provenance(base="a|b\n# not a heading")
    for card in cards(run):
        text = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
        assert "\n# not a heading" not in text
        for line in text.splitlines():
            if line.startswith("|"):
                assert line.endswith("|")


def test_changes_are_counted_in_words():
    model = tiny_model("llama")
    delta = make_delta(model, {"layer": torch.ones(2, 2)}, edits=1, turns=1)
    run = Provenance(delta=delta, settings=provenance().settings)
    assert "1 edit in 1 turn by" in model_card(run)
    assert "1 linear layer;" in model_card(run)
