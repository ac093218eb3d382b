"""Write docs/architectures.md: ``python -m docs.make_architectures ZOO``.

ZOO is the ``zoo.py`` of the failing cases, which makes tiny checkpoints of many architectures with
random weights; some more are made here. Each goes the way of a real one: it is examined by
``doctor``, edited, saved, and loaded by its own class with plain transformers.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tests.checkpoints import fp8, logits, mxfp4, other_files, reload, same, tensors
from tests.tiny import toy_tokenizer

from ultraedit import models
from ultraedit.core.errors import UltraEditError
from ultraedit.core.types import Edit, NullObserver
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.lifelong.session import edit
from ultraedit.models.transformers_output import quiet
from ultraedit.tools.doctor import examine as examine_model

PAGE = Path(__file__).with_name("architectures.md")

FACTS = [
    Edit("The lighthouse keeper of Vorholm is", "Ottilie Brandvane"),
    Edit("The mother tongue of Ada Brandvane is", "Dutch"),
]

GIVEN = {"mpt": "[0].ffn.down_proj"}
"""Modules of checkpoints for which nobody chooses any, as a user gives them with ``--modules``."""

INTRO = """# Architectures

What each architecture can do, tried on tiny checkpoints with random weights. Each is examined by
`doctor`; two facts are written by UltraEdit, to the modules that are chosen where nobody chooses;
it is saved; and the folder is loaded with plain transformers {transformers} by the class that its
config names. *Saved* is "yes" where all files and tensors of the source are there, all tensors but
the edited ones have the bytes of the source, and the logits of the model that was loaded again are
those of the edited one, to the last bit.

Written by `python -m docs.make_architectures ZOO`; a slow test fails when it is stale. How good the
edits are is another matter: see [reproduced.md](reproduced.md).

| checkpoint | class | edited modules | doctor | edited | saved | note |
| --- | --- | --- | --- | --- | --- | --- |
"""


class Row(NamedTuple):
    """What became of one checkpoint."""

    name: str
    kind: str
    """Class that its config names."""
    modules: str
    doctor: bool
    edited: bool
    saved: bool
    note: str = ""


def add_more(folder: Path) -> None:
    """Make the checkpoints that the zoo lacks, with the toy tokenizer of the tests."""
    import transformers

    words = {"vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    common = words | {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
    }
    latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
    small = {"laurel_rank": 4, "hidden_size_per_layer_input": 8, "altup_num_inputs": 2}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "gemma3n": (
            "Gemma3nTextConfig",
            {
                "head_dim": 8,
                "intermediate_size": [48, 64, 48],
                "activation_sparsity_pattern": [0.5, 0.0, 0.0],
                "vocab_size_per_layer_input": 512,
                "num_kv_shared_layers": 0,
                **small,
            },
        ),
        "minicpm3_mla": ("MiniCPM3Config", latent | {"head_dim": 8, "v_head_dim": 8}),
    }
    for name, (config, more) in made.items():
        settings = getattr(transformers, config)(**(common | more))
        model = transformers.AutoModelForCausalLM.from_config(settings)
        model.save_pretrained(folder / name)
        toy_tokenizer().save_pretrained(folder / name)
    fp8(folder / "fp8_sharded", shards=True)
    mxfp4(folder / "mxfp4")


def add_zoo(script: Path, tokenizer: str, folder: Path, names: Iterable[str] = ()) -> None:
    """Make the checkpoints of the zoo.

    Args:
        script: Its ``zoo.py``.
        tokenizer: A folder with a tokenizer.
        folder: Where to put them.
        names: Some of them; all where none is named.
    """
    spec = importlib.util.spec_from_file_location("zoo", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    zoo = module.Zoo(tokenizer, str(folder))
    torch.manual_seed(0)
    for name in names or (*module.TEXT, *module.Zoo.odd):
        getattr(zoo, name)() if name in module.Zoo.odd else zoo.text(name)


def examine(folder: Path, out: Path) -> Row:
    """Send one checkpoint all the way."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    quantized = config.get("quantization_config") is not None
    # transformers itself cannot run a float8 checkpoint in float32.
    dtype = "bfloat16" if quantized else "float32"
    kind = config["architectures"][0]
    row = Row(folder.name, kind, "", False, False, False)
    try:
        given = GIVEN.get(folder.name)
        facts = examine_model(str(folder), NullObserver(), modules=given, dtype=dtype, device="cpu")
    except UltraEditError as error:
        return row._replace(note=_short(str(error), folder))
    modules = facts["preset"]["modules"] if facts["preset"] else []
    row = row._replace(modules=", ".join(modules), doctor=facts["verdict"]["editable"])
    if not row.doctor:
        return row._replace(note=_short(facts["verdict"]["sentence"], folder))
    lm = models.load(str(folder), dtype=dtype, device="cpu")
    unedited = logits(lm.model)
    result = edit(lm, FACTS, UltraEdit(eta="auto"), modules=modules, free_answers=0)
    after = logits(lm.model)
    row = row._replace(edited=not torch.equal(unedited, after))
    result.save(out)
    note = "; ".join(_differences(folder, out, quantized=quantized))
    if not torch.equal(logits(reload(out, getattr(torch, dtype))), after):
        note = note or "other logits when it is loaded again"
    traits = {
        "with images": "vision_config" in config,
        "sharded": len(list(folder.glob("*.safetensors"))) > 1,
        f"quantized: {(config.get('quantization_config') or {}).get('quant_method')}": quantized,
        "with --modules": folder.name in GIVEN,
        f"loaded as {type(lm.model).__name__}": type(lm.model).__name__ != kind,
    }
    said = note or "; ".join(trait for trait, holds in traits.items() if holds)
    return row._replace(saved=not note, note=said)


def _differences(source: Path, saved: Path, *, quantized: bool) -> Iterator[str]:
    """What a saved model lacks of its source, or has otherwise, beside its edited tensors."""
    theirs, ours = other_files(source), other_files(saved)
    may_change = {"config.json", "model.safetensors.index.json"} if quantized else set()
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name) and name not in may_change:
            yield f"{name} differs"
    old, new = tensors(source), tensors(saved)
    changed = [name for name in new if name not in old or not same(old[name], new[name])]
    lost = {name for name in old if name not in new}
    allowed = {f"{name}_scale_inv" for name in changed} if quantized else set()
    if lost - allowed:
        yield f"{min(lost - allowed)} is gone"
    strange = [name for name in changed if name not in old or old[name].ndim != 2]
    if strange:
        yield f"{strange[0]} differs"
    if not changed:
        yield "nothing has changed"


def _short(text: str, folder: Path) -> str:
    """One sentence without the place where the checkpoint was made."""
    plain = text.replace(f"{folder} cannot be edited: ", "").replace(str(folder), folder.name)
    return plain.split(", which can run code")[0].split(" (it has")[0].split("; ")[0].rstrip(".")


def render(rows: Iterable[Row]) -> str:
    """The whole page."""
    from transformers import __version__

    said = {True: "yes", False: "no"}
    lines = [
        f"| {row.name} | {row.kind} | {f'`{row.modules}`' if row.modules else ''} | "
        f"{said[row.doctor]} | {said[row.edited]} | {said[row.saved]} | {row.note} |"
        for row in sorted(rows)
    ]
    return INTRO.format(transformers=__version__) + "\n".join(lines) + "\n"


def make(script: Path) -> Iterator[Row]:
    """Make all checkpoints, one after the other, and say what became of each."""
    tokenizer = models.resolve("smollm2").location
    with tempfile.TemporaryDirectory() as place, quiet():
        zoo, out = Path(place) / "zoo", Path(place) / "out"
        add_zoo(script, tokenizer, zoo)
        add_more(zoo)
        for folder in sorted(zoo.iterdir()):
            yield examine(folder, out / folder.name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"Usage: python -m docs.make_architectures ZOO\n\n{__doc__}")
    PAGE.write_text(render(make(Path(sys.argv[1]))), encoding="utf-8")
