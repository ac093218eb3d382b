"""The exported folder in the hands of other programs of the field."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from ultraedit.models import load


@pytest.fixture
def edited(cli, run) -> Path:
    cli("export", run, "--as", "model", "--out", "edited")
    return Path("edited")


def weights(folder) -> dict[str, torch.Tensor]:
    return load(str(folder), dtype="float32").model.state_dict()


def test_mergekit_merges_it_with_its_base(edited, made):
    pytest.importorskip("mergekit", reason="the package mergekit is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mergekit's own imports
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge

        from ultraedit.models import save

        save(load(str(made / "base.gguf"), dtype="float32"), "base")
        config = MergeConfiguration.model_validate(
            {
                "merge_method": "linear",
                "dtype": "float32",
                "models": [
                    {"model": str(Path(name).resolve()), "parameters": {"weight": 0.5}}
                    for name in ("base", "edited")
                ],
            }
        )
        run_merge(config, "merged", options=MergeOptions(quiet=True, device="cpu"))
    ours, theirs, merged = (weights(name) for name in ("edited", "base", "merged"))
    changed = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert len(changed) == 2
    for name, weight in merged.items():
        torch.testing.assert_close(weight, (ours[name] + theirs[name]) / 2)


def test_lm_eval_reads_it_and_measures_its_likelihoods(edited):
    pytest.importorskip("lm_eval", reason="the extra ability is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lm-eval's own imports
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        harness = HFLM(pretrained=str(edited), device="cpu", dtype="float32", batch_size=1)
        asked = Instance(
            request_type="loglikelihood",
            doc={},
            arguments=("Which river flows through Vienna?", " The Danube"),
            idx=0,
        )
        ((value, _),) = harness.loglikelihood([asked], disable_tqdm=True)
    lm = load(str(edited), dtype="float32")
    prompt = lm.tokenizer("Which river flows through Vienna?")["input_ids"]
    whole = lm.tokenizer("Which river flows through Vienna? The Danube")["input_ids"]
    with torch.no_grad():
        logits = lm.model(torch.tensor([whole[:-1]])).logits[0]
    chosen = logits.log_softmax(-1)[range(len(whole) - 1), whole[1:]]
    assert value == pytest.approx(float(chosen[len(prompt) - 1 :].sum()), rel=1e-4)
