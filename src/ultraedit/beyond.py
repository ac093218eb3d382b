"""What other editors keep in memory beside what UltraEdit keeps, for plans.

Counted from options and shapes alone: the large tensors of each family. What a search or a net
computes on the way is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ultraedit.editors import find_editor, name_of
from ultraedit.types import Editor, ModuleShape


def kept_beyond(
    editor: Editor, shapes: Sequence[ModuleShape], *, edits: int | None = None, itemsize: int = 4
) -> dict[str, int]:
    """Bytes that an editor keeps, by what they are.

    Args:
        editor: The editor, with its options.
        shapes: Those of the edited modules.
        edits: Edits of the run. None where nobody knows: what grows with them is then counted for
            as many as its name says.
        itemsize: Bytes of a number in the model's precision.
    """
    name = name_of(editor)
    if name is None:
        return {}
    found: dict[str, int] = {}
    row = find_editor(name)
    inner = getattr(editor, "inner", None)
    if inner is not None:
        found |= kept_beyond(inner, shapes, edits=edits, itemsize=itemsize)
    squares = [shape.d_in**2 for shape in shapes]
    if row.needs_statistics and inner is None:
        found["second moments"] = 4 * sum(squares)
        # The matrix, the identity, their mixture and its factor, or its eigenvectors.
        found["one of them in float64"] = 4 * 8 * max(squares)
    if name == "anchored":
        both = [shape.d_in**2 + shape.d_out**2 for shape in shapes]
        found["second moments of inputs and gradients"] = 4 * sum(both)
        found["their inverses, while a turn is made"] = 4 * sum(both)
        found["one of them in float64"] = 4 * 8 * max(squares)
        found["changes of a turn"] = 2 * 4 * sum(shape.d_in * shape.d_out for shape in shapes)
    if name == "alphaedit":
        found["directions that must not be written in, at most"] = 4 * sum(squares)
        rows = [shape.d_in if edits is None else min(edits, shape.d_in) for shape in shapes]
        keys = sum(n * shape.d_in for n, shape in zip(rows, shapes, strict=True))
        found["keys of earlier turns, at most"] = 4 * keys
    if getattr(editor, "retention", 0):
        found["key moments of earlier turns"] = 4 * sum(squares)
    if name == "wise":
        found |= _memories(editor, shapes, edits, itemsize)
    if name == "simie":
        found["inverses in float64"] = 8 * sum(squares)
    if name == "stableedit":
        found["covariances of gradients in float64"] = 8 * sum(shape.d_out**2 for shape in shapes)
    if name == "lora":
        # The factors where they begin and where they are, a gradient, and two moments of Adam.
        rank: Any = getattr(editor, "rank", 0)
        factors = sum(shape.d_in + shape.d_out for shape in shapes)
        found["copies of the low-rank factors"] = 6 * 4 * int(rank) * factors
    elif row.family == "fine-tuning":
        # Where it begins, where it is, its gradient, two moments of Adam, and the difference.
        found["float32 copies of the edited weights"] = (
            6 * 4 * sum(shape.d_in * shape.d_out for shape in shapes)
        )
    net: Any = getattr(editor, "trained", None)
    if net is not None:
        found["net"] = sum(t.numel() * t.element_size() for t in net.tensors.values())
    return found


def _memories(
    editor: Any, shapes: Sequence[ModuleShape], edits: int | None, itemsize: int
) -> dict[str, int]:
    """Matrices of WISE: a float32 one per closed memory, and all of them while it is asked."""
    size = sum(shape.d_in * shape.d_out for shape in shapes)
    # The unedited weight, the side memory, its gradient, the loss's own, and the mask.
    kept = {"float32 copies while an edit is written": 4 * 4 * size + size}
    if edits is None:
        each = f"each closed memory, one per {editor.merge_freq:,} edits"
        return kept | {each: 4 * size, "its copy while the model is asked": itemsize * size}
    closed = most_memories(edits, editor.save_freq, editor.merge_freq, retrieve=editor.retrieve)
    if closed:
        kept[f"closed memories, at most {closed:,}"] = 4 * closed * size
    return kept | {"all memories while the model is asked": itemsize * (closed + 1) * size}


def most_memories(edits: int, save_freq: int, merge_freq: int, *, retrieve: bool) -> int:
    """The most closed memories that a run of WISE has at any moment.

    Args:
        edits: Edits of the run.
        save_freq: Edits after which the side memory is closed.
        merge_freq: Edits after which the newest closed ones become one.
        retrieve: Whether the merged ones stay apart; else they too become one.
    """
    merged, single = divmod(edits // save_freq, merge_freq // save_freq)
    if not retrieve:
        merged = min(merged, 1)
    # Just before the last merge there were all of its parts beside those merged earlier.
    before = max(0, merged - 1 if retrieve else min(merged, edits // merge_freq - 1))
    return max(merged + single, before + merge_freq // save_freq if edits >= merge_freq else 0)
