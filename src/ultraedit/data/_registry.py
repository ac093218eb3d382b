"""The formats by name. Their readers are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ultraedit.core.errors import ConfigError, did_you_mean
from ultraedit.data._layout import Layout


@dataclass(frozen=True)
class DataFormat:
    """One way to lay out a file of edits."""

    name: str
    """What the user types before the colon."""

    description: str
    """One line for a table."""

    source: str
    """Who published it."""

    license: str
    """Terms of the data, as far as they are stated."""

    reader: str
    """Where its `Layout` is: ``module:attribute``."""

    also: tuple[str, ...] = ()
    """Other names that are understood for it."""

    suffixes: tuple[str, ...] = ()
    """Ends of file names that are taken for it where the user names no format."""

    @property
    def layout(self) -> Layout:
        """What the format demands of a row, and what it makes of it."""
        module, attribute = self.reader.split(":")
        layout: Layout = getattr(importlib.import_module(module), attribute)
        return layout

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that every row must have."""
        return tuple(field.name for field in self.layout.fields if field.required)

    @property
    def optional_keys(self) -> tuple[str, ...]:
        """The keys that are read where a row has them."""
        return tuple(field.name for field in self.layout.fields if not field.required)


_ROWS = (
    DataFormat(
        "jsonl",
        "Your own facts, one JSON object a line",
        "this package, docs/data.md",
        "yours",
        "ultraedit.data.formats.jsonl:LAYOUT",
        suffixes=(".jsonl", ".ndjson"),
    ),
    DataFormat(
        "zsre",
        "ZsRE: questions on relations, with rephrases and unrelated questions",
        "Levy et al. 2017, in the layout of the UltraEdit paper's files",
        "MIT for the EasyEdit copy",
        "ultraedit.data.formats.zsre:LAYOUT",
    ),
    DataFormat(
        "counterfact",
        "CounterFact in its flat layout: statements with made-up objects",
        "Meng et al. 2022 (ROME)",
        "MIT; flat copies also under Apache-2.0",
        "ultraedit.data.formats.counterfact:LAYOUT",
    ),
    DataFormat(
        "fever",
        "FEVER: claims and their labels; one of several rephrases is drawn with the seed",
        "Thorne et al. 2018, in the layout of the MEND and UltraEdit papers' files",
        "FEVER is CC BY-SA 3.0; the edit files state none, so do not pass them on",
        "ultraedit.data.formats.fever:LAYOUT",
    ),
    DataFormat(
        "wikibigedit",
        "WikiBigEdit: changes of Wikidata, with persona and two-hop questions",
        "Thede et al. 2025",
        "Apache-2.0 for its code; see its publisher for the data",
        "ultraedit.data.formats.wikibigedit:LAYOUT",
    ),
    DataFormat(
        "ultraeditbench",
        "UltraEditBench: 2,008,326 questions on Wikidata facts",
        "Gu et al. 2026 (UltraEdit)",
        "see its publisher; the paper's code states none",
        "ultraedit.data.formats.ultraeditbench:LAYOUT",
    ),
    DataFormat(
        "hallueditbench",
        "HalluEditBench: facts that models get wrong, with two-hop questions",
        "Huang et al. 2025",
        "MIT",
        "ultraedit.data.formats.hallueditbench:LAYOUT",
    ),
    DataFormat(
        "entityquestions",
        "EntityQuestions as a table: one question and its answers for each Wikidata fact",
        "Sciavolino et al. 2021",
        "MIT",
        "ultraedit.data.formats.entityquestions:LAYOUT",
    ),
    DataFormat(
        "csv",
        "A table as text: one fact a row, columns found by name; any separator, any encoding",
        "any spreadsheet",
        "yours",
        "ultraedit.data.formats.delimited:LAYOUT",
        suffixes=(".csv",),
    ),
    DataFormat(
        "tsv",
        "The same with tabs between the columns",
        "any spreadsheet",
        "yours",
        "ultraedit.data.formats.delimited:TABS",
        suffixes=(".tsv", ".tab"),
    ),
    DataFormat(
        "xlsx",
        "The first sheet of a workbook, columns found by name",
        "Excel and others",
        "yours",
        "ultraedit.data.formats.xlsx:LAYOUT",
        suffixes=(".xlsx", ".xlsm"),
    ),
    DataFormat(
        "parquet",
        "A table of columns, found by name",
        "data frames",
        "yours",
        "ultraedit.data.formats.parquet:LAYOUT",
        suffixes=(".parquet",),
    ),
    DataFormat(
        "json",
        "Objects with keys of any kind, found by name: Alpaca, chat messages, ShareGPT",
        "published instruction sets",
        "theirs",
        "ultraedit.data.formats.records:LAYOUT",
        also=("alpaca", "messages", "sharegpt", "chat"),
        suffixes=(".json",),
    ),
    DataFormat(
        "hf",
        "A data set of the Hugging Face hub, or of a folder, columns found by name",
        "its publisher",
        "its publisher's",
        "ultraedit.data.formats.huggingface:LAYOUT",
        also=("huggingface", "datasets"),
    ),
    DataFormat(
        "zsre-easyedit",
        "ZsRE in EasyEdit's layout: the new answer is alt",
        "Levy et al. 2017, edits as in the MEND paper",
        "MIT for the EasyEdit copy",
        "ultraedit.data.formats.zsre:EASYEDIT",
    ),
    DataFormat(
        "knowedit",
        "KnowEdit and CKnowEdit: facts with groups of portability and locality questions",
        "Zhang et al. 2024; Fang et al. 2025",
        "see their publisher",
        "ultraedit.data.formats.knowedit:LAYOUT",
        also=("cknowedit",),
    ),
    DataFormat(
        "counterfact-rome",
        "CounterFact as published, with nested rewrites",
        "Meng et al. 2022 (ROME)",
        "MIT",
        "ultraedit.data.formats.counterfact:NESTED",
        also=("rome",),
    ),
    DataFormat(
        "mquake",
        "MQuAKE: several rewrites a row, and questions over them",
        "Zhong et al. 2023",
        "MIT",
        "ultraedit.data.formats.mquake:LAYOUT",
    ),
    DataFormat(
        "rippleedits",
        "RippleEdits: facts with six groups of questions about their consequences",
        "Cohen et al. 2024",
        "MIT",
        "ultraedit.data.formats.rippleedits:LAYOUT",
        also=("ripple",),
    ),
)

FORMATS: Mapping[str, DataFormat] = MappingProxyType({row.name: row for row in _ROWS})
"""Every format by its name, in the order in which they are listed."""


_ALSO = {other: row.name for row in _ROWS for other in row.also}


def list_formats() -> tuple[DataFormat, ...]:
    """List all formats, the package's own first."""
    return _ROWS


def find_format(name: str) -> DataFormat:
    """Look a format up.

    Raises:
        ConfigError: If there is none of that name.
    """
    name = _ALSO.get(name.lower(), name)
    if name not in FORMATS:
        raise ConfigError(
            f"Unknown data format {name!r}. {did_you_mean(name.lower(), FORMATS)} "
            f"Run `ultraedit data list`."
        )
    return FORMATS[name]
