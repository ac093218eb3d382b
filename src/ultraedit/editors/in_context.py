r"""In-context: no weight is edited; the facts that a question is about are read in front of it.

The row that every editor of weights must beat. In front of a question x stand the at most k facts
that it names or matches as a whole, the best one last (`facts.selection` has the rule,
`facts.reader` the tokens):

    New Fact: P_k T_k
    ...
    New Fact: P_1 T_1
    Prompt: x

After Zheng et al. (2023), https://arxiv.org/abs/2305.12740 (IKE), without the examples that stand
before the facts there, and with the scope of SERAC (Mitchell et al. 2022,
https://arxiv.org/abs/2206.06520): a question that no fact is about goes to the model as it is. Both
train or take further networks for that; here words decide.

The state is the facts as they were made, a line of JSON each, as bytes. Of two with the same prompt
the newer one holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Additive, Edit, Host, Recalled, State, Turn
from ultraedit.editors.families.unrelated_texts import TEXTS


@dataclass(frozen=True, kw_only=True)
class InContext:
    """The in-context editor. It remembers every fact, and changes nothing.

    Raises:
        ConfigError: If an option is out of its range.
    """

    k: int = 1
    """Most facts that are put in front of a question. More help questions that need several, and
    lead a small model astray."""

    threshold: float = 0.55
    """Least share of a fact's prompt, weighted by how rare its words are, that a question must
    have if it does not name the fact's subject in full; one that does needs less, at 1 all of it.
    Smaller answers more rephrased questions, and more that are not meant with a fact in front."""

    embedder: str = "none"
    """Folder or Hugging Face id of a sentence encoder that ranks the facts, and recognizes
    questions in other words about facts that name nothing. ``none`` ranks by words."""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.k < 1:
            raise ConfigError(f"k must be at least 1, got {self.k}.")
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold must be above 0 and at most 1, got {self.threshold}.")

    def init(self, host: Host) -> State:
        """No facts."""
        return {"facts": _pack(())}

    def step(self, host: Host, turn: Turn, state: State) -> tuple[Additive, State]:
        """Write the facts down, behind those of earlier turns."""
        return Additive({}), {"facts": torch.cat([state["facts"], _pack(turn.edits)])}

    def view(self, host: Host, state: State) -> Recalled:
        """The unedited model with the facts that hold."""
        held = _newest(state)
        subjects = tuple(subject for _, subject in held.values())
        return Recalled(
            tuple((prompt, target) for prompt, (target, _) in held.items()),
            self.k,
            self.threshold,
            TEXTS,
            subjects if any(subjects) else (),
            None if self.embedder == "none" else self.embedder,
        )

    def remarks(self, host: Host, state: State) -> Mapping[str, str]:
        """How many facts there are to choose from, and how many were replaced."""
        made, hold = _bytes(state).count(b"\n"), len(_newest(state))
        return {"facts": f"{hold:,} to choose from, {made - hold:,} replaced by newer ones"}


def _pack(edits: Iterable[Edit]) -> Tensor:
    """Facts as bytes, a line of JSON each. uint8, shape (bytes,)."""
    rows = ([edit.prompt, edit.target, edit.subject] for edit in edits)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    text = "".join(f"{line}\n" for line in lines)
    # The copy owns its memory, which a buffer of Python's does not let go of.
    return torch.tensor(bytearray(text.encode()), dtype=torch.uint8)


def _bytes(state: State) -> bytes:
    return bytes(state["facts"].cpu().numpy())


def _newest(state: State) -> dict[str, tuple[str, str | None]]:
    """Target and subject of each prompt that holds, in the order in which they came to hold."""
    held: dict[str, tuple[str, str | None]] = {}
    for line in _bytes(state).splitlines():  # Of bytes: texts may break lines in other ways.
        prompt, target, *subject = json.loads(line)  # Older states have no subjects.
        held.pop(prompt, None)
        held[prompt] = target, subject[0] if subject else None
    return held
