"""The net of the hypernetworks: residual low-rank blocks, shared by all modules of one shape.

    x = clamp(y A B + b)        A standard normal, B and b zero at first
    y <- y + scale_m x + shift_m

with one `scale` and one `shift` per module m and block. A fresh net is the identity. Tensors are
named ``blocks/SHAPE/K/down|up|bias`` and ``modules/PATH/K/scale|shift``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ultraedit.core.types import ModuleShape
from ultraedit.editors.seeds import STATES


def new_blocks(
    modules: Mapping[str, ModuleShape], *, rank: int, blocks: int, seed: int
) -> dict[str, Tensor]:
    """Tensors of a fresh net.

    Args:
        modules: The edited layers.
        rank: Inner width of a block, cut to the width of the rows.
        blocks: Number of blocks.
        seed: Decides A.

    Returns:
        The tensors by name, float32.
    """
    generator = torch.Generator().manual_seed(seed % STATES)
    tensors: dict[str, Tensor] = {}
    for path, shape in modules.items():
        width = shape.d_in + shape.d_out
        inner = min(rank, width)
        for k in range(blocks):
            shared = f"blocks/{shape.d_in}x{shape.d_out}/{k}"
            if f"{shared}/up" not in tensors:
                tensors[f"{shared}/down"] = torch.randn(width, inner, generator=generator)
                tensors[f"{shared}/up"] = torch.zeros(inner, width)
                tensors[f"{shared}/bias"] = torch.zeros(width)
            tensors[f"modules/{path}/{k}/scale"] = torch.ones(width)
            tensors[f"modules/{path}/{k}/shift"] = torch.zeros(width)
    return tensors


def run_blocks(
    tensors: Mapping[str, Tensor], path: str, shape: str, rows: Tensor, *, clamp_last: bool = False
) -> Tensor:
    """Run rows through the net of a module.

    Args:
        tensors: The net.
        path: The module.
        shape: Its shape, such as ``1536x576``.
        rows: Normalized keys and gradients. Shape (n, d_in + d_out).
        clamp_last: Clamp after scale and shift, as MEND does; MALMEN clamps before them.

    Returns:
        Pseudo keys and gradients. Shape (n, d_in + d_out).
    """
    k = 0
    while f"blocks/{shape}/{k}/up" in tensors:
        down, up, bias = (
            tensors[f"blocks/{shape}/{k}/{part}"].to(rows.device) for part in ("down", "up", "bias")
        )
        gain, shift = (
            tensors[f"modules/{path}/{k}/{part}"].to(rows.device) for part in ("scale", "shift")
        )
        rows = rows.to(up.dtype)
        inner = rows @ down @ up + bias
        # `clamp` and not `relu`: a fresh net stands exactly at 0, where only the clamp has a slope.
        if clamp_last:
            rows = rows + (gain * inner + shift).clamp(min=0)
        else:
            rows = rows + gain * inner.clamp(min=0) + shift
        k += 1
    return rows
