"""How large a reproduction is: the paper's own size, two for a few cores, one for a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.tools.reproduce.names import HUB

_SMOLLM2, _GEMMA = "smollm2", "gemma3-270m"
_SHORT_SEARCH = {"steps": 2, "contexts": 1}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of all runs of a plan."""

    name: str
    text: str
    """What it is for, in a sentence."""

    models: Mapping[str, str]
    """Which model stands for each of the paper's."""

    facts: Literal["data", "demo"]
    """Whether facts come from the data folder, or are those that come with the package."""

    stand_ins: bool
    """Whether another data set may stand for one that is not in the data folder."""

    edits: Mapping[str, int]
    """Edits of a run, by data set; ``other`` where it is not named."""

    starred: Mapping[str, int]
    """Edits of the rows with a star."""

    edits_per_turn: int
    checkpoints: tuple[float, ...]
    """Shares of the turns after which all edits so far are scored."""

    training_rows: int | None
    """Rows that nets are trained on; 0 leaves them untrained, None takes the paper's number."""

    corpus: str | None
    """Text of the second moments: a file of the data folder or a data set on the hub; None takes
    the prompts of the edits."""

    corpus_samples: int = 1_000
    score_sample: int | None = None
    """Size of the sample of its edits that a larger run is scored on; None for all."""

    ability_limit: int | None = None
    """Questions of each task of general ability; None for all."""

    limits: Mapping[str, int] = field(default_factory=dict)
    """Most edits for single editors, which would take hours."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of single editors."""

    marks: tuple[int, ...] = ()
    """Edits after which all edits so far are scored, beside `checkpoints`."""

    model_limits: Mapping[str, int] = field(default_factory=dict)
    """Most edits for single models, by what stands for them."""

    free_answers: int = 0
    """Edits asked in free generation whenever a run is scored, in plain and in chat form."""

    read: str | None = None
    """Text whose perplexity is measured then, a file of the data folder."""

    reading: bool = False
    """Whether it is measured how the models read ordinary text, where small ones have an ability to
    lose."""

    searched: bool = False
    """Whether editors have the settings that `reproduce tune` chose for them, where it did."""

    seeds: int = 1
    """Orders of the edits in which quick editors are run by the comparison at length."""

    def edits_of(self, dataset: str, editor: str, *, starred: bool, model: str = "") -> int:
        """Edits of a run."""
        sizes = self.starred if starred else self.edits
        wanted = sizes.get(dataset, sizes["other"])
        limits = (self.limits.get(editor, wanted), self.model_limits.get(model, wanted))
        return min(wanted, *limits)


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        scale.name: scale
        for scale in (
            Scale(
                name="smoke",
                text="Minutes: a few of the package's own facts, to see that everything works.",
                models=dict.fromkeys(HUB, _SMOLLM2),
                facts="demo",
                stand_ins=True,
                edits={"other": 6},
                starred={"other": 12},
                edits_per_turn=3,
                checkpoints=(0.5,),
                training_rows=0,
                corpus=None,
                ability_limit=4,
                limits={"wise": 2},
                options={
                    "ft-l": {"epochs": 2},
                    "wise": {"n_iter": 3, "contexts": 1},
                    "memit": _SHORT_SEARCH,
                    "alphaedit": _SHORT_SEARCH,
                    "rect": {f"base.{name}": value for name, value in _SHORT_SEARCH.items()},
                    "prune": {f"base.{name}": value for name, value in _SHORT_SEARCH.items()},
                },
            ),
            Scale(
                name="small",
                text="Hours on two cores: SmolLM2 and Gemma-3-270M, 60 edits in turns of 10.",
                models={
                    "gpt-j": _SMOLLM2,
                    "mistral": _GEMMA,
                    "llama-3": _SMOLLM2,
                    "qwen2.5": _GEMMA,
                    "phi-4": _SMOLLM2,
                    "gemma-3": _GEMMA,
                },
                facts="data",
                stand_ins=True,
                edits={"other": 60},
                starred={"other": 300},
                edits_per_turn=10,
                checkpoints=(1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6),
                training_rows=160,
                corpus="text/wikipedia_paragraphs.jsonl.gz",
                ability_limit=50,
                limits={"wise": 20},
            ),
            Scale(
                name="long",
                text="A day on one core: SmolLM2, 2,000 edits in turns of 100; Gemma-3-270M 1,000.",
                models={
                    "gpt-j": _SMOLLM2,
                    "mistral": _GEMMA,
                    "llama-3": _SMOLLM2,
                    "qwen2.5": _GEMMA,
                    "phi-4": _SMOLLM2,
                    "gemma-3": _GEMMA,
                },
                facts="data",
                stand_ins=True,
                edits={"other": 2_000},
                starred={"other": 2_000},
                edits_per_turn=100,
                checkpoints=(),
                training_rows=1_000,
                corpus="text/wikipedia_paragraphs.jsonl.gz",
                ability_limit=50,
                limits={"wise": 1_000},
                marks=(100, 300, 1_000, 2_000),
                model_limits={_GEMMA: 1_000},
                free_answers=100,
                read="text/wikitext2_valid.txt",
                reading=True,
                searched=True,
                seeds=3,
            ),
            Scale(
                name="paper",
                text="The paper's size: 20K edits, 17K of WikiBigEdit, up to 1M, in turns of 100.",
                models=HUB,
                facts="data",
                stand_ins=False,
                edits={"wikibigedit": 17_000, "other": 20_000},
                starred={"wikibigedit": 500_000, "ultraeditbench": 1_000_000, "other": 100_000},
                edits_per_turn=100,
                checkpoints=(0.05, 0.1, 0.25, 0.5, 0.75),
                training_rows=None,
                corpus="wikimedia/wikipedia:20231101.en/train-00000-of-00041.parquet",
                corpus_samples=100_000,
                score_sample=100_000,
                reading=True,
            ),
        )
    }
)
"""The scales by name."""


def find_scale(name: str) -> Scale:
    """Look a scale up.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in SCALES:
        raise ConfigError(f"Unknown scale {name!r}. {did_you_mean(name, SCALES)}")
    return SCALES[name]
