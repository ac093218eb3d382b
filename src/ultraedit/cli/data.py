"""``ultraedit data``: which formats there are, and what is in a file of facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._facts import with_columns
from ultraedit.cli._help import add, group
from ultraedit.cli._progress import progress

app = group(
    """List the formats of files of facts, and see what is in a file.

    Examples:
      ultraedit data list
      ultraedit data check facts.jsonl
    """
)

FormatName = Annotated[str, typer.Argument(metavar="FORMAT", help="Name of a format.")]
File = Annotated[str, typer.Argument(metavar="FORMAT:PATH", help=o.DATA_HELP)]
TokensOf = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Count tokens as this model does, and find what is too long for it.",
        show_envvar=False,
    ),
]


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

    found = find_format(name)
    facts = {
        "name": found.name,
        "description": found.description,
        "source": found.source,
        "license": found.license,
        "keys": list(found.keys),
        "optional_keys": list(found.optional_keys),
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
    limit: o.Limit = None,
    json: o.Json = False,
) -> None:
    r"""Read a file of facts to its end and report what is in it and what is wrong.

    Examples:
      ultraedit data check facts.jsonl
      ultraedit data check facts.csv --columns prompt=Question,target=Answer
      ultraedit data check zsre:zsre_10k.json --model smollm2 --limit 1000

    Ends with exit code 2 if a row cannot be used.
    """
    from ultraedit.cli._check import show_report
    from ultraedit.data import check as check_file
    from ultraedit.errors import DataError

    counting: dict[str, Any] = {}
    if model is not None:
        counting = dict(zip(("encode", "context_length"), _counter(model), strict=True))
    report = check_file(with_columns(file, columns) or file, limit=limit, **counting)
    if json:
        _output.write_json(report.to_dict())
    else:
        show_report(report)
    if not report.ok:
        too_long = report.tokens.too_long.count if report.tokens else 0
        unusable = f"{report.bad_rows + too_long:,} of {report.rows:,} rows cannot be used"
        raise DataError(report.error or f"{report.data}: {unusable}.")


def _counter(model: str) -> tuple[Callable[[str, str], int], int | None]:
    """Count tokens as a model does, and say how many it takes."""
    with progress() as observer:
        observer.stage(f"Loading {model}")
        from ultraedit.encoding import encode
        from ultraedit.models import load

        loaded = load(model)

    def count(prompt: str, target: str) -> int:
        return len(encode(loaded.tokenizer, [(prompt, target)])[0])

    return count, loaded.context_length


add(app, "list", list_all)
add(app, "show", show)
add(app, "check", check)
