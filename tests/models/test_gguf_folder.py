"""The folder that a GGUF file is unpacked to is read rightly by older versions of transformers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_gguf import gguf_model, write_gguf
from ultraedit.models import save
from ultraedit.models.gguf import complete_config, older_rope, unpacked

IDS = [[5, 90, 300, 17, 44, 260, 8, 501]]


@pytest.mark.parametrize(
    ("parameters", "older"),
    [
        ({"rope_theta": 1e5, "rope_type": "default"}, {"rope_theta": 1e5}),
        (
            {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0},
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        ),
        (
            {
                "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
            },
            {
                "rope_theta": 1e6,
                "rope_local_base_freq": 1e4,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
        ),
        ({}, {}),
    ],
)
def test_every_setting_has_its_older_key(parameters, older):
    assert older_rope(parameters) == older


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_the_version_at_work_reads_the_same_with_both_keys(arch, tmp_path):
    from transformers import AutoConfig

    from tests.tiny import ARCHITECTURES

    config = ARCHITECTURES[arch](2)
    theta = config.rope_parameters.get("full_attention", config.rope_parameters)
    theta["rope_theta"] = 54321.0
    config.save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).rope_parameters
    complete_config(tmp_path / "config.json")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["rope_theta"] == 54321.0
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == before
    again = (tmp_path / "config.json").stat().st_mtime_ns
    complete_config(tmp_path / "config.json")
    assert (tmp_path / "config.json").stat().st_mtime_ns == again


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a model whose base of the rotary embedding is not the usual one."""
    monkeypatch.setenv("ULTRAEDIT_CACHE", str(tmp_path / "cache"))
    lm = gguf_model()
    path = write_gguf(tmp_path / "base.gguf", lm, rope=123456.0)
    return unpacked(path)[0]


@pytest.fixture
def saved(tmp_path):
    """The folder of a model that was made in memory, with such a base."""
    lm = gguf_model()
    parameters = lm.model.config.rope_parameters | {"rope_theta": 123456.0}
    config = type(lm.model.config)(**lm.model.config.to_dict() | {"rope_parameters": parameters})
    model = type(lm.model)(config).eval()
    save(dataclasses.replace(lm, model=model), tmp_path / "saved")
    return tmp_path / "saved"


def test_an_unpacked_folder_says_its_rope_base_in_both_ways(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 123456.0


def test_a_model_made_in_memory_is_saved_with_its_rope_base_in_both_ways(saved):
    config = json.loads((saved / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 123456.0


@pytest.mark.parametrize("kind", ["folder", "saved"])
def test_an_older_transformers_gives_the_same_logits(kind, request, tmp_path):
    """ULTRAEDIT_OLD_TRANSFORMERS is a folder that pip put transformers 4 in with --target."""
    older = os.environ.get("ULTRAEDIT_OLD_TRANSFORMERS")
    if not older or not Path(older).is_dir():
        pytest.skip("no older transformers: set ULTRAEDIT_OLD_TRANSFORMERS to a folder with one")
    from transformers import AutoModelForCausalLM

    folder = request.getfixturevalue(kind)
    program = (
        "import sys, torch, transformers\n"
        "from safetensors.torch import save_file\n"
        "assert transformers.__version__.startswith('4.'), transformers.__version__\n"
        "model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()\n"
        f"logits = model(torch.tensor({IDS})).logits.detach()\n"
        "save_file({'logits': logits.contiguous()}, sys.argv[2])\n"
    )
    out = tmp_path / "logits.safetensors"
    command = [sys.executable, "-c", program, str(folder), str(out)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": older})
    with torch.no_grad():
        ours = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor(IDS)).logits
    torch.testing.assert_close(load_file(out)["logits"], ours, rtol=1e-4, atol=1e-4)
