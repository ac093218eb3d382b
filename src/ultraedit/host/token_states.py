"""What a host reads, and searches, at single tokens: the part that locate-then-edit editors use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ultraedit.core.encoding import Encoded, locate
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Lookup, OffsetGoal, Offsets, OffsetSearch
from ultraedit.host import trace
from ultraedit.models.modules import decoder_blocks

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel


class LookupHost(ABC):
    """The half of `ModelHost` that looks at single tokens of texts."""

    language_model: LanguageModel
    _modules: Mapping[str, nn.Module]
    _norms: dict[str, nn.Module | None]
    """By path the norm behind an edited layer, once it was looked for."""

    @abstractmethod
    def encode(self, pairs: Sequence[tuple[str, str]], *, gap: str = " ") -> list[Encoded]:
        """Tokenize prompts and answers."""

    def layer_number(self, path: str) -> int:
        """Number of the decoder layer that an edited layer is in, from 0.

        Raises:
            ConfigError: If it is in none.
        """
        number = self._blocks.index_of(path)
        if number is None:
            raise ConfigError(f"{path} is in none of the decoder layers, which this editor needs.")
        return number

    @property
    def _blocks(self) -> trace.Blocks:
        return trace.Blocks(self.language_model.model, decoder_blocks(self.language_model.model))

    def inputs_at(self, paths: Sequence[str], lookups: Sequence[Lookup]) -> dict[str, Tensor]:
        """Inputs of edited layers at single tokens, by path. float32, shape (n, d_in)."""
        modules = {path: self._modules[path] for path in paths}
        return trace.values_at(self.language_model.model, self._places(lookups), inputs=modules)

    def outputs_at(self, path: str, lookups: Sequence[Lookup]) -> Tensor:
        """Outputs of the *decoder layer* that an edited layer is in. float32, shape (n, d)."""
        layer = self._blocks.list[self.layer_number(path)]
        places = self._places(lookups)
        return trace.values_at(self.language_model.model, places, outputs={path: layer})[path]

    def invert_post_norm(self, path: str, lookups: Sequence[Lookup], moves: Tensor) -> Tensor:
        """What an edited layer's own outputs must change by, for the hidden states to move.

        The same, unless the model has a norm between the two, as Gemma 3 does.

        Args:
            path: The edited layer.
            lookups: The tokens.
            moves: How the hidden states should move there. Shape (n, d).

        Returns:
            The change. float32, shape (n, d).
        """
        model, module = self.language_model.model, self._modules[path]
        places = self._places(lookups)
        if path not in self._norms:
            layer = self._blocks.list[self.layer_number(path)]
            self._norms[path] = trace.norm_behind(model, layer, path, module, places[0])
        norm = self._norms[path]
        if norm is None:
            return moves
        outputs = trace.values_at(model, places, outputs={path: module})[path]
        return trace.through_norm(norm, outputs, moves)

    def _places(self, lookups: Sequence[Lookup]) -> list[trace.TokenPlace]:
        model = self.language_model
        located = locate(model.tokenizer, lookups, max_length=model.context_length)
        return [trace.TokenPlace(*each) for each in located]

    def search_offsets(
        self, path: str, goals: Sequence[OffsetGoal], search: OffsetSearch
    ) -> Offsets:
        """Search offsets of the outputs of the *decoder layer* that an edited layer is in.

        Args:
            path: The edited layer.
            goals: What each offset should bring about, at the last token of its spans.
            search: How to search.

        Raises:
            ConfigError: If it is the last decoder layer, whose outputs no other token reads.
        """
        number = self.layer_number(path)
        blocks = self._blocks
        if number == len(blocks) - 1:
            raise ConfigError(
                f"{path} is in the last layer, whose output at the subject no later token reads. "
                "Choose lower layers with --modules, such as 'layers.[4-8].mlp.down_proj'."
            )
        upper = trace.Upper(blocks, number)
        return trace.search_offsets(upper, [self._goal(goal) for goal in goals], search)

    def _goal(self, goal: OffsetGoal) -> trace.Goal:
        items = self.encode([(lookup.text, goal.target) for lookup in goal.prompts])
        places = self._places([*goal.prompts, goal.essence])
        essence = Encoded(places[-1].ids[: places[-1].at + 1], (0,))
        return trace.Goal(
            tuple(
                trace.PrefixedRow(item, place.at)
                for item, place in zip(items, places, strict=False)
            ),
            trace.PrefixedRow(essence, places[-1].at),
        )
