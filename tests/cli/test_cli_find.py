"""`find`, `show` and `revert` take an id, a prompt, or a part of it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import FACTS, lines


def test_an_edit_is_found_shown_and_taken_out_by_its_id_or_its_prompt(cli, refused, tiny):
    facts = [FACTS[0] | {"id": "ada"}, *FACTS[1:], FACTS[1] | {"prompt": "Who?", "id": "2"}]
    Path("facts.jsonl").write_text(lines(facts))
    done = cli("edit", "facts.jsonl", "--model", tiny, "--free-answers", "0", "--out", "o")
    said = "2 edits have an id that another edit of the run has, and a new one: '2' is now "
    assert f"{said}'facts.jsonl:2', and so on." in done.stderr

    def ids(text):
        return [row["id"] for row in json.loads(cli("find", "o", text, "--json").stdout)]

    assert ids("Lovelace") == ids("ADA") == ["ada"]
    assert ids("facts.jsonl:6") == ["facts.jsonl:6"]
    assert len(ids("native")) == 5

    shown = json.loads(cli("show", "o", "Lovelace", "--json").stdout)
    assert (shown["id"], shown["turn"], shown["subject"]) == ("ada", 1, "Ada Lovelace")
    page = cli("show", "o", "ada").stdout
    assert "Ada Lovelace speaks" in page
    assert "Which river flows through Vienna? (The Danube)" in page
    assert "Turn 1" in cli("show", "o", "1").stdout
    sentence = refused("show", "o", "native language")
    assert sentence == (
        "5 edits have 'native language' in their prompts, with the ids 'ada', 'facts.jsonl:2', "
        "'3', '4', '5'. Give the id of one, or more of its prompt."
    )
    assert refused("show", "o", "nobody").startswith("No edit with the id 'nobody' holds in o.")

    done = cli("revert", "o", "--edit", "lovelace", "--edit", "facts.jsonl:6", "--json")
    assert {row["id"] for row in json.loads(done.stdout)["taken_out"]} == {"ada", "facts.jsonl:6"}
