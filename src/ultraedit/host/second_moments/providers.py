"""Where a run has its second moments from: a corpus, an import, or the prompts of its edits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import NullObserver, Observer, SecondMoment
from ultraedit.host import trace
from ultraedit.host.second_moments import cache
from ultraedit.host.second_moments.collection import collect, tokenize
from ultraedit.host.second_moments.corpus import find, read_corpus, source_of
from ultraedit.models import fingerprint
from ultraedit.models.modules import shape_of
from ultraedit.models.weights import weight_view

if TYPE_CHECKING:
    from torch import nn

    from ultraedit.models import LanguageModel

PROMPTS = 1_000
"""Prompts that stand in for a corpus, the first of a run."""

SAMPLES = 1_000
"""Passages of a corpus, unless another number is asked for."""


class Statistics(Protocol):
    """Where a host has the second moments of its layers from."""

    @property
    def source(self) -> str:
        """What a record calls it."""
        ...

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path, at the model's present weights."""
        ...


def provider(
    corpus: str | None,
    samples: int = SAMPLES,
    prompts: Sequence[str] = (),
    observer: Observer | None = None,
) -> Statistics:
    """Choose where second moments come from. Nothing is read yet; see `check_corpus`.

    Args:
        corpus: A corpus as `read_corpus` takes it, ``imported``, or None for the prompts.
        samples: Passages of the corpus.
        prompts: Prompts of the edits, of which the first `PROMPTS` are used.
        observer: Receives progress updates.
    """
    if corpus is None:
        return OfPrompts(tuple(prompts[:PROMPTS]))
    if corpus == cache.IMPORTED:
        return Imported()
    return OfCorpus(corpus, samples, observer or NullObserver())


def check_corpus(corpus: str | None) -> None:
    """Refuse a corpus that is not there, before anything else is done.

    Raises:
        ConfigError: If there is none of that name.
    """
    if corpus is not None and corpus != cache.IMPORTED:
        find(corpus)


@dataclass(frozen=True)
class OfPrompts:
    """Statistics of the tokens of some prompts: what there is where no corpus was given."""

    prompts: Sequence[str]
    source: str = "prompts of the edits"

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path, at the model's present weights.

        Raises:
            DataError: If there is no prompt.
        """
        if not self.prompts:
            raise DataError("There is no prompt to take second-moment statistics from.")
        sums = trace.MomentSums.zeros(modules, {p: shape_of(m).d_in for p, m in modules.items()})
        rows = tokenize(language_model, self.prompts)
        trace.add_moments(language_model.model, modules, rows, sums)
        return {path: SecondMoment(sums.mean(path), sums.tokens, self.source) for path in modules}


@dataclass(frozen=True)
class OfCorpus:
    """Statistics over a sample of a corpus, computed once and kept for every later run."""

    corpus: str
    samples: int = SAMPLES
    observer: Observer = field(default_factory=NullObserver)

    @property
    def source(self) -> str:
        """What a record calls it. A smaller corpus has fewer samples, as the moments then say."""
        return source_of(self.corpus.replace("\\", "/").rpartition("/")[2], self.samples)

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path, at the model's present weights.

        Raises:
            DataError: If the corpus cannot be read.
            StorageError: If the cache cannot be written, or what is in it is damaged.
        """
        kept = self.entries(language_model, modules)
        return {path: _on_device(kept[path].load(), module) for path, module in modules.items()}

    def entries(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, cache.CachedMoment]:
        """The same without the matrices: what is kept, computing first what is missing."""
        corpus = read_corpus(self.corpus, self.samples)
        of = fingerprint(language_model.model)
        kept = {path: cache.get(of, path, corpus.sha256) for path in modules}
        missing = {path: modules[path] for path, entry in kept.items() if entry is None}
        complete = {path: entry for path, entry in kept.items() if entry is not None}
        if not missing:
            return complete
        key = hashlib.sha256("\n".join((of, corpus.sha256, *missing)).encode()).hexdigest()
        resume = cache.folder() / f".unfinished-{key[:16]}.safetensors"
        collected = collect(language_model, missing, corpus.passages, resume, self.observer)
        for path in missing:
            complete[path] = cache.put(
                collected.sums.mean(path),
                model=language_model.name,
                fingerprint=of,
                module=path,
                corpus=corpus.sha256,
                source=corpus.source,
                tokens=collected.sums.tokens,
                doublings=tuple(collected.doublings.get(path, ())),
            )
        resume.unlink(missing_ok=True)
        return {path: complete[path] for path in modules}


@dataclass(frozen=True)
class Imported:
    """Statistics that were computed elsewhere and imported."""

    source: str = "imported"

    def moments(
        self, language_model: LanguageModel, modules: Mapping[str, nn.Module]
    ) -> dict[str, SecondMoment]:
        """Second moments of the modules' inputs, by path.

        Raises:
            ConfigError: If those of a module were not imported for this model.
        """
        of = fingerprint(language_model.model)
        kept = {path: cache.get(of, path, cache.IMPORTED) for path in modules}
        missing = [path for path, entry in kept.items() if entry is None]
        if missing:
            raise ConfigError(
                f"No second moments of {', '.join(missing)} were imported for these weights of "
                f"{language_model.name}: ultraedit stats import FILE --model {language_model.name}"
            )
        return {
            path: _on_device(entry.load(), modules[path])
            for path, entry in kept.items()
            if entry is not None
        }


def _on_device(moment: SecondMoment, module: nn.Module) -> SecondMoment:
    """A moment where the weight of its module is."""
    return moment._replace(moment=moment.moment.to(weight_view(module).device))
