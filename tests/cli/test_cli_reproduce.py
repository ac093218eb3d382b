"""``ultraedit reproduce``: what there is, what it is made of, and the one table without a run."""

from __future__ import annotations

import json
from pathlib import Path

IDS = [f"table{n}" for n in range(1, 11)] + [f"figure{n}" for n in (1, 2, 4, 5, 6, 7, 8, 9)]

LONG = ["long-zsre", "long-counterfact", "long-zsre-gemma"]
"""Comparisons that no paper has."""


def test_the_list_has_every_table_and_figure_with_its_source(cli):
    rows = json.loads(cli("reproduce", "list", "--json").stdout)
    assert [row["id"] for row in rows] == IDS + LONG
    assert all(row["published"] for row in rows if row["id"] in IDS)
    assert all(row["published"] is None for row in rows if row["id"] in LONG)
    assert all(row["title"] for row in rows)
    assert "Table 4: Ablation study" in cli("reproduce", "list").stdout


def test_show_names_the_pieces_with_their_settings_and_what_is_left_out(cli, tiny):
    shown = cli("reproduce", "show", "table4", "--model", tiny, "--json").stdout
    steps = json.loads(shown)["steps"]
    assert len(steps) == 7
    assert {step["status"] for step in steps} == {"to do"}
    assert {step["settings"]["model"] for step in steps} == {tiny}
    assert steps[1]["settings"]["options"] == {"protocol": "official", "normalise": "off"}
    assert steps[1]["of"].endswith("jsonl, protocol=official, normalise=off")
    text = cli("reproduce", "show", "figure7", "--only", "memit", "--scale", "paper").stdout
    assert "Left out" in text
    assert "--data-root" in text


def test_show_has_the_official_protocol_of_every_editor_where_that_is_asked_for(cli, tiny):
    args = ("reproduce", "show", "table8", "--model", tiny, "--only", "malmen", "--json")
    for more, wanted in (((), None), (("--protocol", "official"), "official")):
        (step,) = {s["place"]: s for s in json.loads(cli(*args, *more).stdout)["steps"]}.values()
        assert step["settings"]["options"].get("protocol") == wanted


def test_a_table_without_a_run_is_written_in_all_forms(cli):
    done = json.loads(cli("reproduce", "run", "table6", "--json").stdout)
    assert done["made"] == done["found"] == []
    files = sorted(Path(path).name for path in done["written"]["table6"])
    assert files == ["table6.csv", "table6.json", "table6.md", "table6.tex"]
    table = Path("reproduction", "smoke", "table6", "table6.csv").read_text()
    assert "layers.[29,30].mlp.down_proj" in table
    assert "table6.md" in cli("reproduce", "run", "table6").stdout


def test_a_run_that_cannot_be_made_is_told_and_the_table_is_written_all_the_same(cli):
    done = cli(
        *("reproduce", "run", "figure7", "--only", "ultraedit", "--model", "nothing", "--out", "o"),
        code=1,
    )
    assert "could not be made" in done.stderr
    assert Path("o", "figure7", "figure7.png").is_file()


def test_ctrl_c_tells_how_to_go_on(cli, tiny, monkeypatch):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ultraedit.tools.reproduce.carry_out", press)
    done = cli("reproduce", "run", "table4", "--model", tiny, "--out", "o", code=130)
    assert "What is finished stays in o. The same command goes on." in done.stderr


def test_what_is_not_known_is_refused(refused):
    assert "no 'table11' to run" in refused("reproduce", "run", "table11")
    assert "Unknown scale 'tiny'" in refused("reproduce", "show", "table4", "--scale", "tiny")
    wrong = refused("reproduce", "show", "table4", "--protocol", "both")
    assert "protocol must be 'paper' or 'official', got 'both'" in wrong
    assert "There is no data folder" in refused("reproduce", "show", "table4", "--data-root", "no")
    Path("file").write_text("")
    assert "file is a file" in refused("reproduce", "run", "table6", "--out", "file")
    said = refused("reproduce", "run", "table4", "table6", "--only", "memit")
    assert "--only memit leaves no run of table4, table6" in said
    assert not Path("reproduction").exists()


def test_the_pieces_are_legible_in_a_terminal_of_80_columns(cli, tiny, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("reproduce", "show", "figure9", "--model", tiny, "--data-root", ".").stdout
    assert "wise, tiny, demo_facts.jsonl, n_iter=3, contexts=1" in text
    assert text.rstrip().endswith("smoke: 21 to do")
