"""`ultraedit doctor` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_model
from tests.tools.doctor.test_doctor import mixture
from ultraedit.models import save


def found(cli, *args, code=0):
    return json.loads(cli("doctor", *args, "--json", code=code).stdout)


@pytest.mark.parametrize("arch", ["llama", "phi3", "gpt2", "mixtral"])
def test_a_tiny_model_is_examined_and_the_next_command_works(cli, folder, arch):
    save(mixture(arch) if arch == "mixtral" else tiny_model(arch), folder / "m")
    facts = found(cli, "m", "--data", "facts.jsonl")
    assert facts["verdict"]["editable"] and facts["edit"]["fault"] is None
    assert facts["edit"]["loss_after"] < facts["edit"]["loss_before"]
    assert facts["plan"]["peak_bytes"] > 0 and facts["preset"]["from"] == "auto: relative depth"
    assert facts["model"]["experts"] == (4 if arch == "mixtral" else None)
    page = cli("doctor", "m").stdout
    assert "m can be edited" in page
    command = page.splitlines()[-1].removeprefix("Try next: ")
    assert command == "ultraedit demo --model m"


def test_what_is_special_stands_on_the_page(cli, folder):
    save(tiny_model("phi3"), folder / "phi")
    page = cli("doctor", "phi").stdout
    assert "fused: gate and up" in " ".join(page.split())
    save(mixture("mixtral"), folder / "moe")
    page = " ".join(cli("doctor", "moe").stdout.split())
    assert "packed: 4 experts" in page and "self_attn.o_proj" in page


def test_a_model_that_cannot_be_edited_ends_with_exit_code_2(cli, folder):
    lm = tiny_model("llama")
    save(lm, folder / "m")
    lm.model.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))
    save(lm, folder / "broken")
    result = cli("doctor", "broken", code=2)
    assert "logits are not finite" in result.stderr
    assert "Try next: ultraedit models show broken" in result.stdout


def test_a_config_alone_is_examined_as_far_as_it_goes(cli, folder):
    save(tiny_model("llama"), folder / "m")
    Path("m/model.safetensors").unlink()
    facts = found(cli, "m", code=2)
    assert facts["edit"] is None and not facts["verdict"]["editable"]
    assert facts["modules"] and facts["tokenizer"]


def test_a_name_that_is_no_model_is_refused(refused):
    assert "no file or folder ./nowhere" in refused("doctor", "./nowhere")
