"""``ultraedit data``: which formats there are, and what is in a file of facts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._facts import Knowing, facts_of_run, with_columns
from ultraedit.cli._help import add, group
from ultraedit.cli._progress import progress
from ultraedit.cli._writing import draft, enrich

app = group(
    """List the formats of files of facts, see what is in one, and make facts complete.

    Examples:
      ultraedit data list
      ultraedit data check facts.jsonl
      ultraedit data enrich facts.csv --out facts.jsonl
    """
)

FormatName = Annotated[str, typer.Argument(metavar="FORMAT", help="Name of a format.")]
File = Annotated[str, typer.Argument(metavar="FORMAT:PATH", help=o.DATA_HELP)]
TokensOf = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Count tokens as this model does, find what is too long for it, and ask it the first "
        "facts.",
        show_envvar=False,
    ),
]
Append = Annotated[
    Path | None,
    typer.Option(
        "--append",
        metavar="DIR",
        help="Also find facts that the run in this folder has already.",
        show_envvar=False,
    ),
]
AskFirst = Annotated[
    int,
    typer.Option(
        "--ask-first",
        metavar="N",
        min=0,
        help="Facts that the model is asked whether it knows them; 0 loads its tokenizer alone.",
        show_envvar=False,
    ),
]
AnswerTokens = Annotated[
    int,
    typer.Option(
        "--answer-tokens",
        metavar="N",
        min=1,
        help="Tokens above which an answer is one to look at.",
        show_envvar=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="End with exit code 2 if there is a fact to look at."),
]

ASKED = 100
"""Facts that a model is asked unless said otherwise."""


def list_all(json: o.Json = False) -> None:
    r"""List the formats.

    Examples:
      ultraedit data list
      ultraedit data list --json
    """
    from ultraedit.data import list_formats

    rows = [
        {"name": f.name, "description": f.description, "source": f.source, "license": f.license}
        for f in list_formats()
    ]
    if json:
        _output.write_json(rows)
    else:
        _output.table(list(rows[0]), [list(row.values()) for row in rows], whole=["name"])


def show(name: FormatName, json: o.Json = False) -> None:
    r"""Show what a row of a format must have, and what it may have.

    Examples:
      ultraedit data show jsonl
      ultraedit data show zsre --json
    """
    from ultraedit.data._registry import find_format

    described = find_format(name)
    facts = {
        "name": described.name,
        "description": described.description,
        "source": described.source,
        "license": described.license,
        "keys": list(described.keys),
        "optional_keys": list(described.optional_keys),
    }
    if json:
        _output.write_json(facts)
    else:
        _output.pairs(
            {
                key.replace("_", " "): ", ".join(value) if isinstance(value, list) else value
                for key, value in facts.items()
            }
        )


def check(
    file: File,
    model: TokensOf = None,
    columns: o.Columns = None,
    append: Append = None,
    ask_first: AskFirst = ASKED,
    answer_tokens: AnswerTokens = 32,
    strict: Strict = False,
    limit: o.Limit = None,
    json: o.Json = False,
) -> None:
    r"""Read a file of facts to its end and report what is in it and what is wrong.

    Examples:
      ultraedit data check facts.jsonl
      ultraedit data check facts.csv --columns prompt=Question,target=Answer
      ultraedit data check zsre:zsre_10k.json --model smollm2 --limit 1000

    Ends with exit code 2 if a row cannot be used, with --strict also if there is a fact to look at.
    """
    from ultraedit.cli._check import require_none, show_report
    from ultraedit.core.errors import DataError
    from ultraedit.data import check as check_file

    counting = {} if model is None else _counter(model, ask_first)
    report = check_file(
        with_columns(file, columns) or file,
        limit=limit,
        answer_tokens=answer_tokens,
        ask_first=ask_first,
        run=facts_of_run(append),
        **counting,
    )
    if json:
        _output.write_json(report.to_dict())
    else:
        show_report(report)
    if not report.ok:
        too_long = report.tokens.too_long.count if report.tokens else 0
        unusable = f"{report.bad_rows + too_long:,} of {report.rows:,} rows cannot be used"
        raise DataError(report.error or f"{report.data}: {unusable}.")
    if strict:
        require_none(report.findings)


def _counter(model: str, ask_first: int) -> dict[str, Any]:
    """Count tokens as a model does, and find out what it knows, if it is to be asked.

    Returns:
        The arguments of `ultraedit.data.check` that need a model.
    """
    with progress() as observer:
        observer.stage(f"Loading {model}" if ask_first else f"Loading the tokenizer of {model}")
        from ultraedit.core.encoding import about_appended, encode
        from ultraedit.models import load, load_config, load_tokenizer
        from ultraedit.models.language_model import text_config

        loaded = load(model) if ask_first else None
        tokenizer = load_tokenizer(model) if loaded is None else loaded.tokenizer
        described = load_config(model) if loaded is None else loaded.model.config
    if appended := about_appended(tokenizer):
        _output.message(appended)

    def count(prompt: str, target: str) -> int:
        return len(encode(tokenizer, [(prompt, target)])[0])

    def count_answer(answer: str) -> int:
        return len(tokenizer(f" {answer}", add_special_tokens=False)["input_ids"])

    return {
        "encode": count,
        "count_answer": count_answer,
        "context_length": getattr(text_config(described), "max_position_embeddings", None),
        "knows": None if loaded is None else Knowing(loaded),
    }


add(app, "list", list_all)
add(app, "show", show)
add(app, "check", check)
add(app, "enrich", enrich)
add(app, "draft", draft)
