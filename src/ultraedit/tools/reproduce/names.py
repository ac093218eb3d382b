"""What the paper calls its models, methods, data sets and scores, and what they are here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Method:
    """A row of the paper's tables."""

    label: str
    editor: str
    """Name of the editor. One that this version does not have leaves its row empty."""

    options: Mapping[str, Any] = field(default_factory=dict)
    starred: bool = False
    """Whether it is run at the ultra-large scale."""
    whole: bool = False
    """Whether each of its checkpoints is a run of its own, with all edits so far in one turn."""


class Wanted(NamedTuple):
    """One run of a plan, in the paper's words."""

    model: str
    method: str
    dataset: str
    seed: int = 0
    """What the order of the edits is drawn from; 0 leaves them as the file has them."""
    edits: int | None = None
    """Edits of the run, where it is shorter than the scale has it."""

    def __str__(self) -> str:
        """As a note under a table has it."""
        ends = "" if self.edits is None else f", {self.edits:,} edits"
        ends += f", seed {self.seed}" if self.seed else ""
        return f"{label(self.method)} on {label(self.dataset)} with {label(self.model)}{ends}"


MODELS: Mapping[str, str] = {
    "gpt-j": "GPT-J",
    "mistral": "Mistral-7B-v0.3",
    "llama-3": "LLaMA-3-8B-Instruct",
    "qwen2.5": "Qwen2.5-7B-Instruct",
    "phi-4": "Phi-4-14B",
    "gemma-3": "Gemma-3-27B-it",
}

HUB: Mapping[str, str] = {
    "gpt-j": "EleutherAI/gpt-j-6b",
    "mistral": "mistralai/Mistral-7B-v0.3",
    "llama-3": "meta-llama/Meta-Llama-3-8B-Instruct",
    "qwen2.5": "Qwen/Qwen2.5-7B-Instruct",
    "phi-4": "microsoft/phi-4",
    "gemma-3": "google/gemma-3-27b-it",
}
"""Where the paper's models are."""

PRESETS: Mapping[str, str] = {
    "gpt-j": "gpt-j-6b",
    "mistral": "mistral-7b-v0.3",
    "llama-3": "llama-3-8b-instruct",
    "qwen2.5": "qwen2.5-7b-instruct",
    "phi-4": "phi-4",
    "gemma-3": "gemma-3-27b-it",
}
"""Their families among the presets."""

_OFFICIAL = {"protocol": "official"}
"""The paper's numbers were made with the released code."""

_SUBJECT = {"subject": "auto"}
"""FEVER and UltraEditBench mark no subject."""

METHODS: Mapping[str, Method] = {
    "ft": Method("FT", "ft-l"),
    "wise": Method("WISE", "wise"),
    "alphaedit": Method("AlphaEdit", "alphaedit", _SUBJECT),
    "rledit": Method("RLEdit", "rledit"),
    "mend": Method("MEND", "mend"),
    "memit": Method("MEMIT", "memit", _SUBJECT),
    "malmen": Method("MALMEN", "malmen"),
    "rect": Method("RECT", "rect", {"base.subject": "auto"}),
    "prune": Method("PRUNE", "prune", {"base.subject": "auto"}),
    "ultraedit": Method("UltraEdit", "ultraedit", _OFFICIAL),
    "ultraedit*": Method("UltraEdit*", "ultraedit", _OFFICIAL, starred=True),
    "no-norm": Method("w/o lifelong normalization", "ultraedit", _OFFICIAL | {"normalise": "off"}),
    "norm-25": Method("w/ 25% module norm", "ultraedit", _OFFICIAL | {"normalise": 0.25}),
    "norm-50": Method("w/ 50% module norm", "ultraedit", _OFFICIAL | {"normalise": 0.5}),
    "norm-75": Method("w/ 75% module norm", "ultraedit", _OFFICIAL | {"normalise": 0.75}),
    "frozen": Method("w/o normalization update", "ultraedit", _OFFICIAL | {"frozen": True}),
    "inner": Method(
        "w/ inner-product coefficient", "ultraedit", _OFFICIAL | {"coefficient": "inner"}
    ),
    "ultraedit-auto": Method("UltraEdit, eta auto", "ultraedit", {"eta": "auto"}),
    "ft-bf": Method("FT-BF", "ft-bf"),
    "anchored": Method("Anchored", "anchored"),
    "in-context": Method("In-context", "in-context"),
    "lora": Method("LoRA, turn after turn", "lora"),
    "lora-all": Method("LoRA, all facts so far", "lora", {"replay": "all"}, whole=True),
}

DATASETS: Mapping[str, str] = {
    "zsre": "ZsRE",
    "fever": "FEVER",
    "wikibigedit": "WikiBigEdit",
    "ultraeditbench": "UltraEditBench",
    "counterfact": "CounterFact",
}

METRICS: Mapping[str, str] = {
    "efficacy": "Eff.",
    "generalization": "Gen.",
    "specificity": "Spe.",
    "personas": "Personas",
    "multi_hop": "Multi-hop",
}

FIELDS: Mapping[str, str] = {"personas": "probes.personas", "multi_hop": "probes.multi_hop"}
"""Where a score stands in the scores of a record, if not under its own name."""

_OTHERS = {
    "delta": "Δ",
    "mean": "mean of the models",
    "unedited": "unedited",
    "sst2": "SST",
    "mmlu": "MMLU",
    "mrpc": "MRPC",
    "nli": "NLI",
    "next-token": "next token",
    "last-word": "last word",
}


UNTRAINED = "untrained"


def row_label(name: str, *, untrained: bool) -> str:
    """What a row is called: with an untrained net it is not the method that it is named after."""
    return f"{label(name)}, {UNTRAINED}" if untrained else label(name)


def label(name: str) -> str:
    """What the paper prints for a model, a method, a data set or a score."""
    if name in METHODS:
        return METHODS[name].label
    for table in (MODELS, DATASETS, METRICS, _OTHERS):
        if name in table:
            return table[name]
    return name
