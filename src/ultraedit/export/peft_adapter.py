"""The change of a run as a PEFT adapter: of each module the nearest change of a low rank.

Layout of the folder: Hugging Face PEFT, ``LoraConfig`` and ``PeftModel.from_pretrained``. The
adapter adds ``lora_alpha / r`` times ``B A`` to a weight of shape (d_out, d_in), with A of shape
(r, d_in) and B of shape (d_out, r). Every alpha here is its r, so that the factor is 1, also for a
server that reads the ranks off the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor, nn

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.files import refuse_existing, staged
from ultraedit.core.spectrum import nearest, numerical_rank, rank_for, spectrum
from ultraedit.core.tensor_files import read_tensors, write_tensors
from ultraedit.core.types import LowRank
from ultraedit.models.delta import Delta, about_of

Rank = int | Literal["auto"]
"""One rank for every module, or for each the smallest that keeps `KEPT` of its energy."""

KEPT = 0.99
"""Share of ``||change||^2`` that ``auto`` keeps in every module."""


MARK = "ultraedit_adapter"
"""Key in the header of an adapter's tensors that says that this package wrote them."""

_START, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
"""What PEFT puts around the path of a module in the names of its factors."""


class Compressed(NamedTuple):
    """The nearest change of a low rank to that of one module."""

    factors: LowRank
    """float32, shapes (d_in, rank) and (rank, d_out)."""

    rank: int

    energy: float
    """Share of ``||change||^2`` that is kept; 1 for a module without a change."""

    exact_rank: int
    """Rank at which nothing but rounding would be lost."""


def compress(
    changes: Mapping[str, Tensor], rank: Rank = "auto", kept: float = KEPT
) -> dict[str, Compressed]:
    """Find the nearest change of a low rank for each module.

    Args:
        changes: Per module path the accumulated change. Shape (d_in, d_out).
        rank: Larger keeps more. A module takes at most the length of its shorter side.
        kept: Share of the energy that ``auto`` keeps, above 0 and at most 1.

    Raises:
        ConfigError: If the rank is no positive number, or the share is out of its range.
    """
    if rank != "auto" and rank < 1:
        raise ConfigError(f"rank must be auto or at least 1, got {rank}.")
    if not 0 < kept <= 1:
        raise ConfigError(f"The share of energy to keep must be above 0 and at most 1, got {kept}.")
    return {path: _compress(change, rank, kept) for path, change in changes.items()}


def _compress(change: Tensor, rank: Rank, kept: float) -> Compressed:
    svd = spectrum(change)
    chosen = rank_for(svd, kept) if rank == "auto" else min(rank, len(svd.values))
    return Compressed(
        factors=nearest(change, svd, chosen),
        rank=chosen,
        energy=float(svd.energy[chosen - 1]),
        exact_rank=numerical_rank(svd, tuple(change.shape)),
    )


def of_one_rank(modules: Mapping[str, Compressed], rank: int) -> dict[str, Compressed]:
    """Pad the factors of modules that are too narrow for a rank with zeros, up to it.

    Servers that take one rank for all modules need it: vLLM reads one ``r`` for an adapter. Where
    all modules have the same rank, that one stays.
    """
    if len({module.rank for module in modules.values()}) < 2:
        return dict(modules)
    padded = {}
    for path, module in modules.items():
        more = rank - module.rank
        left = nn.functional.pad(module.factors.left, (0, more))
        right = nn.functional.pad(module.factors.right, (0, 0, 0, more))
        padded[path] = module._replace(factors=LowRank(left, right), rank=rank)
    return padded


def merged(modules: Mapping[str, Compressed]) -> dict[str, Tensor]:
    """What the adapter adds to each weight. float32, shape (d_in, d_out)."""
    return {path: module.factors.dense() for path, module in modules.items()}


def size_bytes(modules: Mapping[str, Compressed]) -> int:
    """Size of the adapter's tensors, in bytes."""
    return sum(factor.nbytes for module in modules.values() for factor in module.factors)


ADAPTER = "adapter_model.safetensors"
"""The tensors in the folder of an adapter."""


def load_lora(folder: Path) -> Delta:
    """Read an adapter that this package wrote as the change that it adds.

    Raises:
        DataError: If it is another program's, whose scale may differ, or does not say where it
            comes from.
        StorageError: If it is damaged.
    """
    tensors, header = read_tensors(folder / ADAPTER)
    if MARK not in header:
        raise DataError(
            f"The adapter {folder} was not exported by ultraedit, or by a version before adapters "
            "said where they come from. Export it again with `ultraedit export DIR --as lora`."
        )
    changes = {}
    for name in sorted(name for name in tensors if name.endswith(_DOWN)):
        path = name.removesuffix(_DOWN)
        factors = LowRank(tensors[name].T, tensors[f"{path}{_UP}"].T)
        changes[path.removeprefix(_START)] = factors.dense()
    return Delta(changes=changes, source=str(folder), **about_of(header, str(folder)))


def save_lora(
    folder: Path,
    modules: Mapping[str, Compressed],
    *,
    base: str,
    transposed: bool,
    card: str | None = None,
    header: Mapping[str, str] | None = None,
) -> None:
    """Write an adapter folder that ``peft.PeftModel.from_pretrained`` loads, whole or not at all.

    Args:
        folder: New or empty.
        modules: Per module path its compressed change.
        base: Name of the model that the adapter is for.
        transposed: Whether the modules store (d_in, d_out), as GPT-2's ``Conv1D`` does.
        card: Its ``README.md``.
        header: Where it comes from, for the header of its tensors.

    Raises:
        ConfigError: If there is something at `folder` already.
        StorageError: If it cannot be written.
    """
    refuse_existing(folder)
    with staged(folder) as stage:
        stage.mkdir()
        write_tensors(stage / ADAPTER, _tensors(modules), header or {})
        config = json.dumps(_config(modules, base, transposed), indent=2, ensure_ascii=False)
        (stage / "adapter_config.json").write_text(config + "\n", encoding="utf-8")
        if card is not None:
            (stage / "README.md").write_text(card, encoding="utf-8")


def _tensors(modules: Mapping[str, Compressed]) -> dict[str, Tensor]:
    tensors = {}
    for path, module in modules.items():
        tensors[f"{_START}{path}{_DOWN}"] = module.factors.left.T
        tensors[f"{_START}{path}{_UP}"] = module.factors.right.T
    return tensors


def _config(modules: Mapping[str, Compressed], base: str, transposed: bool) -> dict[str, object]:
    """What a `peft.LoraConfig` takes; all else is at its default, which changes nothing here."""
    largest = max(module.rank for module in modules.values())
    others = {path: module.rank for path, module in modules.items() if module.rank != largest}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": largest,
        "lora_alpha": largest,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(modules),
        "rank_pattern": others,
        "alpha_pattern": others,
        "fan_in_fan_out": transposed,
        "use_rslora": False,
        "inference_mode": True,
    }
