"""The options of ``ultraedit build-bench``, in the groups in which help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli._options import _option

SET = "What to build"
WRITING = "Who writes the questions"
LLM = "Language model"


def _shown(name: str, panel: str, text: str, metavar: str) -> Any:
    """An option whose default stands in its help."""
    return typer.Option(name, help=text, rich_help_panel=panel, metavar=metavar, show_envvar=False)


Triples = Annotated[
    list[Path],
    typer.Argument(
        metavar="TRIPLES",
        help="Files of subject, relation and object (.tsv, .csv, .jsonl, .txt; plain or .gz), or "
        "folders of them. Wikidata5M's own files are known by their names.",
        show_default=False,
        show_envvar=False,
    ),
]
Out = Annotated[
    Path | None,
    _option(
        "--out", SET, "Folder of the set: new, empty, or with an earlier set to replace.", "DIR"
    ),
]
Size = Annotated[
    int | None,
    _option("--size", SET, "Make N rows. \\[default: as many as there are]", "N"),
]
Seed = Annotated[
    int,
    _option("--seed", SET, "Seed of every random choice. \\[default: 0]", "N"),
]
Patterns = Annotated[
    Path | None,
    _option(
        "--patterns",
        SET,
        "JSON or TOML file from relations to lists of questions with [X] for the subject, used "
        "instead of the program's. \\[default: none]",
        "FILE",
    ),
]
Language = Annotated[
    str,
    _shown("--language", SET, "Reject questions that are not in this language.", "en|any"),
]
License = Annotated[
    str | None,
    _option("--license", SET, "License on the data card. \\[default: not stated]", "TEXT"),
]
Sample = Annotated[
    int, _option("--sample", SET, "Show N random rows at the end. \\[default: 0]", "N")
]
WriterName = Annotated[
    str,
    _shown(
        "--writer",
        WRITING,
        "template uses a question per relation, openai asks an endpoint, local a model of yours.",
        "template|openai|local",
    ),
]
Model = Annotated[
    str | None,
    _option(
        "--model",
        LLM,
        "For openai the name of the model at the endpoint; for local a folder, .gguf file, alias "
        "or Hugging Face id. Needed by both.",
        "MODEL",
    ),
]
BaseUrl = Annotated[
    str | None,
    _option("--base-url", LLM, "Address of the endpoint. \\[default: OpenAI's]", "URL"),
]
Concurrency = Annotated[int, _shown("--concurrency", LLM, "Most requests at once.", "N")]
Timeout = Annotated[
    float,
    _shown("--timeout", LLM, "Seconds until a request is made again.", "SECONDS"),
]
Attempts = Annotated[
    int,
    _shown("--attempts", LLM, "Times a request is made before the build stops.", "N"),
]
PriceIn = Annotated[
    float | None,
    _option("--price-in", LLM, "Price of a million input tokens. \\[default: unknown]", "PRICE"),
]
PriceOut = Annotated[
    float | None,
    _option("--price-out", LLM, "Price of a million output tokens. \\[default: unknown]", "PRICE"),
]
Yes = Annotated[bool, _option("--yes", LLM, "Do not ask before the first request is paid for.", "")]
