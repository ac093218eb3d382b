"""From the paper's words to the settings of ordinary runs, at a scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ultraedit.core.errors import ConfigError, DataError, did_you_mean
from ultraedit.editors import EDITORS, official_option
from ultraedit.evaluation.ability.reading import READING, TEXT
from ultraedit.tools.reproduce.facts import DataSetFacts, demo_facts, find_facts
from ultraedit.tools.reproduce.measuring import Tasks
from ultraedit.tools.reproduce.names import METHODS, MODELS, Method, Wanted
from ultraedit.tools.reproduce.scales import Scale
from ultraedit.tools.reproduce.search import chosen
from ultraedit.tools.reproduce.steps import Build, CasesFile, Run, Shuffled, Step, Train


class Unavailable(Exception):
    """A run that cannot be made here; the text says why."""


@dataclass(frozen=True)
class Environment:
    """A scale with the models and the data that it uses here."""

    scale: Scale
    out: Path
    """Folder of the reproduction."""

    root: Path | None = None
    """The data folder."""

    models: Mapping[str, str] = field(default_factory=dict)
    """Models that stand for the paper's in place of the scale's own."""

    device: str = "auto"
    dtype: str = "auto"

    protocol: Literal["paper", "official"] = "paper"
    """What the editors beside UltraEdit run by, where they have an official protocol: this
    package's own, or that of their released code. UltraEdit's is always official, as in the
    paper."""

    edits: int | None = None
    """Most edits of a run, where that is fewer than the scale has."""

    orders: int | None = None
    """Most orders of the facts of a comparison at length, where that is fewer."""

    def model(self, name: str) -> str:
        """The model that stands for one of the paper's."""
        return self.models.get(name, self.scale.models[name])

    def different(self, names: Iterable[str]) -> dict[str, str]:
        """The models that stand for some of the paper's, each once, with the last that it is."""
        return {self.model(name): name for name in names}

    def untrained(self, method: str) -> bool:
        """Whether a method has a net that is left untrained here: then it is not that method."""
        row = EDITORS.get(METHODS[method].editor)
        return row is not None and row.needs_training and self.scale.training_rows == 0

    def protocol_of(self, method: str) -> Literal["paper", "official"] | None:
        """What a method runs by; None where its editor has one protocol only, or is not here."""
        chosen = METHODS[method]
        if chosen.editor not in EDITORS or official_option(chosen.editor) is None:
            return None
        options = {**self._official(chosen), **chosen.options}
        return "official" if "official" in options.values() else "paper"

    def facts(self, dataset: str) -> DataSetFacts:
        """The facts of a data set.

        Raises:
            Unavailable: If they are not there.
        """
        if self.scale.facts == "demo":
            return demo_facts()
        try:
            return find_facts(dataset, self.root, stand_ins=self.scale.stand_ins)
        except DataError as error:
            raise Unavailable(str(error)) from None

    def run(self, wanted: Wanted) -> Run:
        """The run that gives the numbers of a row.

        Raises:
            Unavailable: If this version has not its editor, or its facts are not there.
        """
        method = METHODS[wanted.method]
        facts = self._facts(method, wanted.dataset)
        edits = self.edits_of(wanted)
        settings = self._settings(wanted.model, method, edits)
        settings["options"] = {**settings["options"], **self.searched(wanted)}
        build = self._build(facts) if facts.to_build else None
        made: list[str] = []
        needs: list[Step] = []
        settings["data"] = f"{facts.format}:{build.facts if build else facts.path}"
        if build is not None:
            made.append("data")
            needs.append(build)
        elif wanted.seed:
            order = Shuffled(facts.format, facts.path, edits, wanted.seed)
            settings |= {"data": f"{facts.format}:{order.place}", "seed": wanted.seed}
            made.append("data")
            needs.append(order)
        if EDITORS[method.editor].needs_training and self.scale.training_rows != 0:
            net = self._net(settings, edits, built=bool(made))
            settings["options"] = {**settings["options"], "net": net.place}
            made.append("net")
            needs.append(net)
        return Run(settings, tuple(made), tuple(needs))

    def edits_of(self, wanted: Wanted) -> int:
        """How many edits the run of a row has."""
        method = METHODS[wanted.method]
        most = self.scale.edits_of(
            wanted.dataset,
            method.editor,
            starred=method.starred,
            model=self.model(wanted.model),
        )
        return min(each for each in (most, self.edits, wanted.edits) if each is not None)

    def searched(self, wanted: Wanted) -> Mapping[str, Any]:
        """What the search chose for the editor of a row; nothing where that is not for this row.

        A row that is defined by a value which was searched keeps its own.
        """
        if not self.scale.searched:
            return {}
        method = METHODS[wanted.method]
        options = chosen(method.editor, self.model(wanted.model), wanted.dataset, self.out) or {}
        own = method.options.keys() - {"protocol"}
        return {} if own & options.keys() else options

    @property
    def seeds(self) -> range:
        """The orders of the facts in which a quick editor is run, the file's own first."""
        return range(min(self.scale.seeds, self.orders or self.scale.seeds))

    def marks(self, edits: int) -> list[int]:
        """Numbers of edits after which a run of some length is scored, its end the last."""
        shares = (math.ceil(share * edits) for share in self.scale.checkpoints)
        return sorted({each for each in (*self.scale.marks, *shares) if 0 < each < edits} | {edits})

    def cases(self, wanted: Wanted, cases: tuple[tuple[str, str], ...]) -> Run:
        """A run over single cases and other facts, in which the cases are asked in free generation.

        Raises:
            Unavailable: As `run`.
        """
        plain = self.run(wanted)
        settings = dict(plain.settings)
        size = max(settings["limit"], 2 * len(cases))
        file = CasesFile(cases, settings["data"], size, built="data" in plain.made)
        settings |= {
            "data": f"jsonl:{file.place}",
            "limit": size,
            "free_answers": len(cases),
            "evaluate_at": [],
        }
        return Run(settings, ("data",), (*plain.needs, file))

    def ability(self) -> Tasks:
        """The tasks of general ability: local ones where the data folder has them."""
        local = self.root is not None and (self.root / "general").is_dir()
        return Tasks(
            ("sst2", "mmlu", "mrpc", "nli"),
            self.root if local else None,
            self.scale.ability_limit,
            self.device,
            self.dtype,
        )

    def reading(self) -> Tasks | None:
        """The tasks that ordinary text is enough for; None where they are not measured here."""
        if not self.scale.reading or self.root is None or not (self.root / TEXT).is_file():
            return None
        return Tasks(READING, self.root, None, self.device, self.dtype)

    def _facts(self, method: Method, dataset: str) -> DataSetFacts:
        if method.editor not in EDITORS:
            raise Unavailable(f"this version has no editor named {method.editor}")
        return self.facts(dataset)

    def _settings(self, model: str, method: Method, edits: int) -> dict[str, Any]:
        """All settings but the data. WISE makes one edit a turn, as the paper has it."""
        scale = self.scale
        row = EDITORS[method.editor]
        per_turn = 1 if method.editor == "wise" else scale.edits_per_turn
        per_turn = edits if method.whole else per_turn
        turns = math.ceil(edits / per_turn)
        due = {math.ceil(share * turns) for share in scale.checkpoints}
        due |= {math.ceil(mark / per_turn) for mark in scale.marks}
        sampled = scale.score_sample is not None and edits > scale.score_sample
        options = dict(scale.options.get(method.editor, {})) | self._official(method)
        options |= dict(method.options)
        return {
            "model": self.model(model),
            "editor": method.editor,
            "options": options,
            "limit": edits,
            "edits_per_turn": per_turn,
            "evaluate_at": sorted(turn for turn in due if 0 < turn < turns),
            "free_answers": scale.free_answers,
            **({"free_always": True, "chat_answers": True} if scale.free_answers else {}),
            **({"perplexity": self._file(scale.read)} if scale.read else {}),
            "score_sample": scale.score_sample if sampled else None,
            "corpus": self._corpus() if row.needs_statistics else None,
            "corpus_samples": scale.corpus_samples if row.needs_statistics else 1_000,
            "device": self.device,
            "dtype": self.dtype,
            "save_model": False,
        }

    def _official(self, method: Method) -> dict[str, Any]:
        """The option that has a baseline follow its released code, where that is asked for.

        Where there is no text the second moments are those of a few prompts, which the released
        codes of MEMIT and AlphaEdit could not use.
        """
        row = EDITORS[method.editor]
        option = official_option(method.editor)
        if self.protocol == "paper" or option is None or option in method.options:
            return {}
        if row.needs_statistics and self.scale.corpus is None:
            return {}
        return {option: "official"}

    def _corpus(self) -> str | None:
        """The text of the second moments: a file of the data folder, or a name on the hub."""
        return self._file(self.scale.corpus)

    def _file(self, name: str | None) -> str | None:
        """A file of the data folder where it is there, else its name."""
        if name is None or self.root is None:
            return name
        here = self.root / name
        return str(here) if here.is_file() else name

    def _build(self, facts: DataSetFacts) -> Build:
        """A set as large as the largest run on it."""
        sizes = (self.scale.edits, self.scale.starred)
        return Build(facts.path, max(each.get("ultraeditbench", each["other"]) for each in sizes))

    def _net(self, settings: Mapping[str, Any], edits: int, *, built: bool) -> Train:
        """The training of an editor's net, on rows that are not edited."""
        wanted = ("model", "editor", "options", "data", "edits_per_turn", "device", "dtype")
        rows = self.scale.training_rows
        kept = {name: settings[name] for name in wanted}
        return Train(kept | {"limit": rows}, None if rows is None else edits, built)


def choose_models(given: tuple[str, ...]) -> dict[str, str]:
    """Read ``MODEL`` or ``NAME=MODEL``, the first for all of the paper's models.

    Raises:
        ConfigError: If NAME is none of them.
    """
    chosen: dict[str, str] = {}
    for text in given:
        name, equals, model = text.partition("=")
        if not equals:
            chosen |= dict.fromkeys(MODELS, text)
        elif name in MODELS:
            chosen[name] = model
        else:
            raise ConfigError(
                f"The paper has no model {name!r}. {did_you_mean(name, MODELS)} Write NAME=MODEL, "
                "or MODEL for all of them."
            )
    return chosen
