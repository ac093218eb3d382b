"""The page about building a set says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from ultraedit.cli.build_bench import WRITERS
from ultraedit.tools.bench_builder import REASONS, load_relations
from ultraedit.tools.bench_builder.output import FIELDS
from ultraedit.tools.bench_builder.tables import COLUMNS
from ultraedit.tools.bench_builder.writers.openai import _TRY_AGAIN

PAGE = (Path(__file__).parents[3] / "docs" / "ultraeditbench.md").read_text(encoding="utf-8")


def test_every_reason_is_explained_in_the_words_of_the_card():
    section = PAGE.split("## Checks")[1].split("## The large set")[0]
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", section, flags=re.MULTILINE)) == REASONS


def test_every_field_column_and_writer_is_named():
    names = [name for names in COLUMNS.values() for name in names]
    for name in (*FIELDS, *names, *WRITERS):
        assert f"`{name}`" in PAGE, name


def test_the_numbers_of_the_page_are_those_of_the_code():
    assert f"{len(list(load_relations()))} relations of Wikidata" in PAGE
    *others, last = map(str, _TRY_AGAIN)
    assert f"{', '.join(others)} and {last}" in " ".join(PAGE.split())


def test_the_card_of_the_large_set_accounts_for_every_triple():
    section = PAGE.split("#### What became of the triples")[1].split("####")[0]
    counts = [
        int(n.replace(",", "")) for n in re.findall(r"\| ([\d,]+) \|$", section, re.MULTILINE)
    ]
    assert counts[0] == sum(counts[1:])
    assert counts[1] >= 200_000
