"""The examples and tables of ``docs/data.md`` hold."""

import re
from pathlib import Path

from ultraedit.data import FORMATS, check, read

PAGE = Path(__file__).parents[2].joinpath("docs/data.md").read_text(encoding="utf-8")


def test_the_example_of_our_own_format_is_in_order(write):
    (example,) = re.findall(r"```jsonl\n(.*?)```", PAGE, flags=re.DOTALL)
    path = write("facts.jsonl", example)
    assert check(str(path)).ok
    plain, full = read(str(path))
    assert plain.id == "1"
    assert full.id == "orrin-2"
    assert full.subject in full.prompt
    assert len(full.rephrases) == 2
    assert [question.target for question in full.locality] == ["1889", None]
    assert full.probes["multi_hop"][0].target == "20th"
    assert full.aliases == ("the year 1911",)


def test_the_page_names_every_format_and_every_key():
    for row in FORMATS.values():
        for key in (row.name, *row.keys, *row.optional_keys):
            assert f"`{key}`" in PAGE, f"{key} of {row.name} is missing in docs/data.md"


def test_the_keys_marked_optional_are_the_optional_ones():
    optional = set(re.findall(r"`(\w+)`\*", PAGE))
    everywhere = {"subject", "case_id", "id"}
    assert optional == set(FORMATS["wikibigedit"].optional_keys) - everywhere


def test_the_table_of_our_own_format_has_its_keys_and_no_others():
    section = PAGE.split("## Your own facts")[1].split("## Published sets")[0]
    keys = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert tuple(keys) == FORMATS["jsonl"].keys + FORMATS["jsonl"].optional_keys
