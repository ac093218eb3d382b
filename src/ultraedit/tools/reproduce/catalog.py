"""Every table and figure of the paper that can be run again: a row each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.tools.reproduce import figures, long, tables
from ultraedit.tools.reproduce.artifact import Artifact, Panel
from ultraedit.tools.reproduce.names import DATASETS, METHODS, METRICS, MODELS, Wanted

EGS = ("efficacy", "generalization", "specificity")
THREE_SETS = (
    *((dataset, metric) for dataset in ("zsre", "fever") for metric in EGS),
    *(("wikibigedit", metric) for metric in METRICS),
)
BENCH = tuple(("ultraeditbench", metric) for metric in EGS)
LARGE_SETS = ("wikibigedit", "ultraeditbench")

BACKBONES = ("gpt-j", "mistral", "llama-3")
FOUR = (*BACKBONES, "qwen2.5")
LARGE = ("phi-4", "gemma-3")

LEADING = ("ft", "wise", "alphaedit", "rledit", "ultraedit")
FURTHER = ("mend", "memit", "malmen", "rect", "prune")
UE = ("ultraedit", "ultraedit*")
ABLATIONS = ("ultraedit", "no-norm", "norm-25", "norm-50", "norm-75", "frozen", "inner")


def _panel(
    dataset: str, metric: str, models: tuple[str, ...], methods: tuple[str, ...], title: str
) -> Panel:
    return Panel(models, methods, ((dataset, metric),), title)


_WIDE = ("", "method", "model")
_SETS = (("zsre", BACKBONES), ("wikibigedit", ("llama-3",)))

_ALL: tuple[Artifact, ...] = (
    Artifact(
        "table1",
        "Table 1: Kinds of editing methods",
        tables.kinds,
        (Panel(("llama-3",), tuple(chain(*tables.KINDS.values())), (("zsre", "efficacy"),)),),
        "Solution",
    ),
    Artifact(
        "table2",
        "Table 2: Results on three data sets and three models",
        tables.scores,
        (Panel(BACKBONES, ("ft", "wise", "alphaedit", "rledit", *UE), THREE_SETS),),
        delta=True,
    ),
    Artifact(
        "table3",
        "Table 3: Results on UltraEditBench for four models",
        tables.scores,
        (Panel(FOUR, ("ft", "wise", "alphaedit", "rledit", *UE), BENCH),),
        layout=_WIDE,
        delta=True,
    ),
    Artifact(
        "table4",
        "Table 4: Ablation study of UltraEdit",
        tables.scores,
        (Panel(BACKBONES, ABLATIONS, tuple(("zsre", metric) for metric in EGS)),),
        "Variant",
        ("", "method", "dataset"),
    ),
    Artifact(
        "table5",
        "Table 5: The models before any edit",
        tables.scores,
        (Panel(FOUR, ("ultraedit",), (*THREE_SETS, *BENCH)),),
        "Model",
        ("", "model", "dataset"),
    ),
    Artifact("table6", "Table 6: Edited modules of UltraEdit", tables.modules, first="Model"),
    Artifact(
        "table7",
        "Table 7: Further methods on UltraEditBench",
        tables.scores,
        (Panel(FOUR, (*FURTHER, *UE), BENCH),),
        layout=_WIDE,
        delta=True,
    ),
    Artifact(
        "table8",
        "Table 8: Further methods on three data sets and three models",
        tables.scores,
        (Panel(BACKBONES, (*FURTHER, *UE), THREE_SETS),),
        delta=True,
    ),
    Artifact(
        "table9",
        "Table 9: All methods on three data sets with Qwen2.5",
        tables.scores,
        (Panel(("qwen2.5",), ("ft", *FURTHER, "alphaedit", "rledit", *UE), THREE_SETS),),
        delta=True,
    ),
    Artifact(
        "table10",
        "Table 10: Case study of UltraEdit on UltraEditBench",
        tables.cases,
        (Panel(("llama-3",), ("ultraedit",), (("ultraeditbench", "efficacy"),)),),
        "Prompt",
        of=tables.run_of_cases,
    ),
    Artifact(
        "figure1",
        "Figure 1: Efficacy, editing time, and efficacy as edits accumulate",
        figures.lines,
        tuple(
            _panel(d, "efficacy", models, LEADING, f"(b) Efficacy on {DATASETS[d]}, %")
            for d, models in _SETS
        ),
        scatter=True,
    ),
    Artifact(
        "figure2",
        "Figure 2: Memory over the edits on ZsRE with Mistral-7B",
        figures.lines,
        (_panel("zsre", "memory", ("mistral",), LEADING, "Peak memory, GiB"),),
    ),
    Artifact(
        "figure4",
        "Figure 4: Generalization and specificity as edits accumulate",
        figures.lines,
        tuple(
            _panel(d, metric, models, LEADING, f"{metric.capitalize()} on {DATASETS[d]}, %")
            for metric in EGS[1:]
            for d, models in _SETS
        ),
    ),
    Artifact(
        "figure5",
        "Figure 5: Efficacy of lifelong editing on Phi-4-14B and Gemma-3-27B",
        figures.lines,
        tuple(
            _panel(d, "efficacy", LARGE, UE[1:], f"Efficacy on {DATASETS[d]}, %")
            for d in LARGE_SETS
        ),
    ),
    Artifact(
        "figure6",
        "Figure 6: General ability after 20K edits of ZsRE",
        figures.bars,
        (
            _panel(
                "zsre", "ability", ("llama-3",), ("alphaedit", "wise", "rledit", "ultraedit"), ""
            ),
        ),
        of=figures.run_and_ability,
    ),
    Artifact(
        "figure7",
        "Figure 7: All methods as ZsRE edits accumulate in LLaMA-3",
        figures.lines,
        tuple(
            _panel("zsre", metric, ("llama-3",), (*LEADING, *FURTHER), f"{metric.capitalize()}, %")
            for metric in EGS
        ),
    ),
    Artifact(
        "figure8",
        "Figure 8: Generalization and specificity on Phi-4-14B and Gemma-3-27B",
        figures.lines,
        tuple(
            _panel(d, metric, LARGE, UE[1:], f"{metric.capitalize()} on {DATASETS[d]}, %")
            for metric in EGS[1:]
            for d in LARGE_SETS
        ),
    ),
    Artifact(
        "figure9",
        "Figure 9: General ability after 20K edits of ZsRE, all methods",
        figures.bars,
        (_panel("zsre", "ability", ("llama-3",), (*LEADING, *FURTHER), ""),),
        of=figures.run_and_ability,
    ),
)


def _at_length(id: str, title: str, model: str, dataset: str) -> Artifact:
    return Artifact(
        id,
        title,
        long.comparison,
        (_panel(dataset, "efficacy", (model,), long.COMPARED, ""),),
        of=long.run_orders,
        printed=False,
    )


ARTIFACTS: Mapping[str, Artifact] = MappingProxyType({each.id: each for each in _ALL})
"""The plans by ID, in the order of the paper. Figure 3 is a drawing, in the docs."""

LONG: Mapping[str, Artifact] = MappingProxyType(
    {
        each.id: each
        for each in (
            _at_length("long-zsre", "ZsRE at length, SmolLM2", "llama-3", "zsre"),
            _at_length(
                "long-counterfact", "CounterFact at length, SmolLM2", "llama-3", "counterfact"
            ),
            _at_length("long-zsre-gemma", "ZsRE at length, Gemma-3-270M", "mistral", "zsre"),
        )
    }
)
"""The comparisons at length by ID: no tables of the paper."""


def find_artifacts(ids: tuple[str, ...]) -> list[Artifact]:
    """Look plans up; ``all`` is every one of the paper, ``long`` every comparison at length.

    Raises:
        ConfigError: If there is none of such an ID.
    """
    if ids == ("all",):
        return list(_ALL)
    if ids == ("long",):
        return list(LONG.values())
    known = {**ARTIFACTS, **LONG}
    for id in ids:
        if id == "figure3":
            raise ConfigError("figure3 is the drawing docs/workflow.svg: there is nothing to run.")
        if id not in known:
            raise ConfigError(
                f"The paper has no {id!r} to run. {did_you_mean(id, known)} "
                "Run `ultraedit reproduce list`."
            )
    return [known[id] for id in ids]


def choose(artifact: Artifact, only: tuple[str, ...]) -> frozenset[Wanted]:
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
        for each in artifact.wanted()
        if each.model in models and each.method in methods and each.dataset in datasets
    )
