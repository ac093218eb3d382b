"""The data card of a set: what it is made from, how, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ultraedit.tools.bench_builder.facts import REASONS

_SHOWN = 60
"""Relations in the table of the page; ``card.json`` has all."""


def lengths(counts: Counter[int]) -> dict[str, float]:
    """Smallest, median, mean and largest of counted lengths, in characters."""
    total = sum(counts.values())
    ordered = sorted(counts)
    passed = 0
    median = ordered[0]
    for length in ordered:
        median = length
        passed += counts[length]
        if 2 * passed >= total:
            break
    mean = sum(length * count for length, count in counts.items()) / total
    return {"min": ordered[0], "median": median, "mean": round(mean, 1), "max": ordered[-1]}


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    counts = card["counts"]
    parts = [
        f"# UltraEditBench, {counts['kept']:,} editing pairs",
        "Each row has a question that edits a fact and names its subject (`prompt`), the same "
        "question in other words (`rephrase_prompt`), their answer (`ans`), and an unrelated "
        "question with its own answer (`loc`, `loc_ans`) about a fact that no row edits.",
        _table(("", ""), _facts(card)),
        "## Sources",
        _table(
            ("file", "triples", "sha256"),
            [(s["file"], f"{s['triples']:,}", f"`{s['sha256'][:16]}`") for s in card["sources"]],
        ),
        "## What became of the triples",
        _table(("", "triples"), _accounts(counts)),
        "## Rejected",
        _table(
            ("reason", "rows", ""),
            [(f"`{r}`", f"{n:,}", REASONS[r]) for r, n in card["rejected"].items()],
        ),
        "## Lengths in characters",
        _table(
            ("field", "smallest", "median", "mean", "largest"),
            [(f"`{name}`", *summary.values()) for name, summary in card["lengths"].items()],
        ),
        "## Splits",
        "By subject, so that no subject is in two of them.",
        _table(("split", "rows"), [(n, f"{c:,}") for n, c in card["splits"].items()]),
        "## Relations",
        _table(
            ("relation", "", "rows"),
            [(r["id"], r["label"], f"{r['rows']:,}") for r in card["relations"][:_SHOWN]],
        ),
    ]
    more = card["relations"][_SHOWN:]
    if more:
        rows = sum(each["rows"] for each in more)
        parts.append(f"{len(more)} more relations with {rows:,} rows are in `card.json`.")
    return "\n\n".join(parts) + "\n"


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        *card["writer"].items(),
        ("seed", str(card["seed"])),
        ("language", card["language"]),
        ("license", card["license"]),
        ("built by", card["builder"]),
    ]


def _accounts(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    names = {
        "triples": "read",
        "kept": "became a row",
        "held_out": "held out for unrelated questions",
        "rejected": "rejected",
        "not_drawn": "not drawn",
    }
    return [(text, f"{counts[name]:,}") for name, text in names.items()]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
