"""What other editors keep in memory beside what UltraEdit keeps, for plans.

Counted from options and shapes alone: the large tensors of each family. What a search or a net
computes on the way is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ultraedit.editors import find_editor, name_of
from ultraedit.types import Editor, ModuleShape


def kept_beyond(editor: Editor, shapes: Sequence[ModuleShape]) -> dict[str, int]:
    """Bytes that an editor keeps, by what they are.

    Args:
        editor: The editor, with its options.
        shapes: Those of the edited modules.
    """
    name = name_of(editor)
    if name is None:
        return {}
    found: dict[str, int] = {}
    row = find_editor(name)
    inner = getattr(editor, "inner", None)
    if inner is not None:
        found |= kept_beyond(inner, shapes)
    squares = [shape.d_in**2 for shape in shapes]
    if row.needs_statistics and inner is None:
        found["second moments"] = 4 * sum(squares)
        # The matrix, the identity, their mixture and its factor, or its eigenvectors.
        found["one of them in float64"] = 4 * 8 * max(squares)
    if name == "alphaedit":
        found["directions that must not be written in, at most"] = 4 * sum(squares)
    if name == "simie":
        found["inverses in float64"] = 8 * sum(squares)
    if name == "stableedit":
        found["covariances of gradients in float64"] = 8 * sum(shape.d_out**2 for shape in shapes)
    if row.family == "fine-tuning":
        # Where it begins, where it is, its gradient, two moments of Adam, and the difference.
        found["float32 copies of the edited weights"] = (
            6 * 4 * sum(shape.d_in * shape.d_out for shape in shapes)
        )
    net: Any = getattr(editor, "trained", None)
    if net is not None:
        found["net"] = sum(t.numel() * t.element_size() for t in net.tensors.values())
    return found
