"""Every table and figure of the paper that can be run again, as a declared plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.tools.reproduce.bars import Bars
from ultraedit.tools.reproduce.bench import Bench
from ultraedit.tools.reproduce.book import Book
from ultraedit.tools.reproduce.cases_table import CasesTable
from ultraedit.tools.reproduce.curves import Curves, Panel
from ultraedit.tools.reproduce.kinds_table import KindsTable
from ultraedit.tools.reproduce.long import LONG
from ultraedit.tools.reproduce.modules_table import ModulesTable
from ultraedit.tools.reproduce.names import DATASETS, METHODS, MODELS, Wanted
from ultraedit.tools.reproduce.rendering import Rendered
from ultraedit.tools.reproduce.steps import Step
from ultraedit.tools.reproduce.tables import BENCH, EGS, THREE_SETS, ScoreTable

BACKBONES = ("gpt-j", "mistral", "llama-3")
FOUR = (*BACKBONES, "qwen2.5")
LARGE = ("phi-4", "gemma-3")

LEADING = ("ft", "wise", "alphaedit", "rledit", "ultraedit")
FURTHER = ("mend", "memit", "malmen", "rect", "prune")
UE = ("ultraedit", "ultraedit*")
ABLATIONS = ("ultraedit", "no-norm", "norm-25", "norm-50", "norm-75", "frozen", "inner")


class Artefact(Protocol):
    """A table or figure."""

    @property
    def id(self) -> str:
        """Such as ``table2``."""
        ...

    @property
    def title(self) -> str:
        """What it shows."""
        ...

    def wanted(self) -> Iterator[Wanted]:
        """The runs behind it, in the paper's words."""
        ...

    def steps(self, bench: Bench, chosen: frozenset[Wanted]) -> Iterator[Step]:
        """What has to be done for the runs that were chosen, as far as it can be done here."""
        ...

    def render(self, book: Book) -> Rendered:
        """It, from the records that there are."""
        ...


def _panel(
    dataset: str, metric: str, models: tuple[str, ...], methods: tuple[str, ...], title: str
) -> Panel:
    return Panel(dataset, title, dataset, models, methods, metric)


_ALL: tuple[Artefact, ...] = (
    KindsTable("table1", "Table 1: Kinds of editing methods"),
    ScoreTable(
        "table2",
        "Table 2: Results on three data sets and three models",
        BACKBONES,
        ("ft", "wise", "alphaedit", "rledit", *UE),
        THREE_SETS,
        delta=True,
    ),
    ScoreTable(
        "table3",
        "Table 3: Results on UltraEditBench for four models",
        FOUR,
        ("ft", "wise", "alphaedit", "rledit", *UE),
        BENCH,
        "wide",
        delta=True,
    ),
    ScoreTable(
        "table4",
        "Table 4: Ablation study of UltraEdit",
        BACKBONES,
        ABLATIONS,
        tuple(("zsre", metric) for metric in EGS),
        "mean",
    ),
    ScoreTable(
        "table5",
        "Table 5: The models before any edit",
        FOUR,
        ("ultraedit",),
        (*THREE_SETS, *BENCH),
        "models",
    ),
    ModulesTable("table6", "Table 6: Edited modules of UltraEdit"),
    ScoreTable(
        "table7",
        "Table 7: Further methods on UltraEditBench",
        FOUR,
        (*FURTHER, *UE),
        BENCH,
        "wide",
        delta=True,
    ),
    ScoreTable(
        "table8",
        "Table 8: Further methods on three data sets and three models",
        BACKBONES,
        (*FURTHER, *UE),
        THREE_SETS,
        delta=True,
    ),
    ScoreTable(
        "table9",
        "Table 9: All methods on three data sets with Qwen2.5",
        ("qwen2.5",),
        ("ft", *FURTHER, "alphaedit", "rledit", *UE),
        THREE_SETS,
        delta=True,
    ),
    CasesTable("table10", "Table 10: Case study of UltraEdit on UltraEditBench"),
    Curves(
        "figure1",
        "Figure 1: Efficacy, editing time, and efficacy as edits accumulate",
        (
            _panel("zsre", "efficacy", BACKBONES, LEADING, "(b) Efficacy on ZsRE, %"),
            _panel(
                "wikibigedit", "efficacy", ("llama-3",), LEADING, "(b) Efficacy on WikiBigEdit, %"
            ),
        ),
        scatter=True,
    ),
    Curves(
        "figure2",
        "Figure 2: Memory over the edits on ZsRE with Mistral-7B",
        (_panel("zsre", "memory", ("mistral",), LEADING, "Peak memory, GiB"),),
    ),
    Curves(
        "figure4",
        "Figure 4: Generalization and specificity as edits accumulate",
        tuple(
            _panel(
                dataset, metric, models, LEADING, f"{metric.capitalize()} on {DATASETS[dataset]}, %"
            )
            for metric in ("generalization", "specificity")
            for dataset, models in (("zsre", BACKBONES), ("wikibigedit", ("llama-3",)))
        ),
    ),
    Curves(
        "figure5",
        "Figure 5: Efficacy of lifelong editing on Phi-4-14B and Gemma-3-27B",
        tuple(
            _panel(
                dataset, "efficacy", LARGE, ("ultraedit*",), f"Efficacy on {DATASETS[dataset]}, %"
            )
            for dataset in ("wikibigedit", "ultraeditbench")
        ),
    ),
    Bars(
        "figure6",
        "Figure 6: General ability after 20K edits of ZsRE",
        ("alphaedit", "wise", "rledit", "ultraedit"),
    ),
    Curves(
        "figure7",
        "Figure 7: All methods as ZsRE edits accumulate in LLaMA-3",
        tuple(
            _panel("zsre", metric, ("llama-3",), (*LEADING, *FURTHER), f"{metric.capitalize()}, %")
            for metric in EGS
        ),
    ),
    Curves(
        "figure8",
        "Figure 8: Generalization and specificity on Phi-4-14B and Gemma-3-27B",
        tuple(
            _panel(
                dataset,
                metric,
                LARGE,
                ("ultraedit*",),
                f"{metric.capitalize()} on {DATASETS[dataset]}, %",
            )
            for metric in ("generalization", "specificity")
            for dataset in ("wikibigedit", "ultraeditbench")
        ),
    ),
    Bars(
        "figure9",
        "Figure 9: General ability after 20K edits of ZsRE, all methods",
        (*LEADING, *FURTHER),
    ),
)

ARTEFACTS: Mapping[str, Artefact] = MappingProxyType({each.id: each for each in _ALL})
"""The plans by ID, in the order of the paper. Figure 3 is a drawing, in the docs."""


def find_artefacts(ids: tuple[str, ...]) -> list[Artefact]:
    """Look plans up; ``all`` is every one of the paper, ``long`` every comparison at length.

    Raises:
        ConfigError: If there is none of such an ID.
    """
    if ids == ("all",):
        return list(_ALL)
    if ids == ("long",):
        return list(LONG.values())
    known = {**ARTEFACTS, **LONG}
    for id in ids:
        if id == "figure3":
            raise ConfigError("figure3 is the drawing docs/workflow.svg: there is nothing to run.")
        if id not in known:
            raise ConfigError(
                f"The paper has no {id!r} to run. {did_you_mean(id, known)} "
                "Run `ultraedit reproduce list`."
            )
    return [known[id] for id in ids]


def choose(artefact: Artefact, only: tuple[str, ...]) -> frozenset[Wanted]:
    """The runs of a plan that fit some words: models, methods and data sets.

    Words of one kind are alternatives, and of different kinds all must fit.

    Raises:
        ConfigError: If a word is of no kind.
    """
    known = (MODELS, METHODS, DATASETS)
    for word in only:
        if not any(word in each for each in known):
            names = [name for each in known for name in each]
            raise ConfigError(
                f"--only knows no model, method or data set {word!r}. {did_you_mean(word, names)}"
            )
    allowed = [frozenset(word for word in only if word in each) or each.keys() for each in known]
    models, methods, datasets = allowed
    return frozenset(
        each
        for each in artefact.wanted()
        if each.model in models and each.method in methods and each.dataset in datasets
    )
