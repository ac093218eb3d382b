"""``run``, ``edit`` and ``demo``: from options to a folder, and to the screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines
from ultraedit.cli import demo
from ultraedit.models import load


def read(path):
    return json.loads(Path(path).read_text())


def settings(folder):
    return read(Path(folder) / "config.json")["settings"]


def resolved(folder):
    return read(Path(folder) / "config.json")["resolved"]


def test_a_run_leaves_its_folder_and_prints_its_scores(cli, tiny):
    result = cli("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out")
    files = {path.name for path in Path("out").iterdir()}
    assert {"config.json", "records.jsonl", "summary.json", "report.md", "model"} <= files
    for word in ("efficacy", "generalization", "specificity", "agreement", "edits per second"):
        assert word in result.stdout
    assert "5 edits in 1 turn" in result.stdout
    assert "ultraedit ask out/model" in result.stdout
    assert "Editing: 5" in result.stderr
    load("out/model")


def test_the_summary_is_printed_as_json_and_nothing_else(cli, tiny):
    result = cli("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--json")
    assert json.loads(result.stdout) == {"folder": "out"} | read("out/summary.json")


def test_the_model_is_left_out_where_it_is_not_wanted(cli, tiny):
    args = ["run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--no-save-model"]
    assert "edited model" not in cli(*args).stdout
    assert not Path("out/model").exists()


def test_every_option_reaches_the_run(cli, tiny):
    Path("preset.toml").write_text('modules = "layers.[1].mlp.up_proj"\neta = 0.5\n')
    cli(
        *("run", "--model", tiny, "--data", "jsonl:facts.jsonl", "--editor", "ultraedit"),
        *("--turns", 2, "--edits-per-turn", 2, "--limit", 3, "--preset", "preset.toml"),
        *("--ridge", "2.5", "--protocol", "official", "--set", "variance=pooled"),
        *("--chat-answers", "--control-questions", 40),
        *("--set", "micro-batch=3", "--free-answers", 1, "--dtype", "float32", "--device", "cpu"),
        *("--corpus", "facts.jsonl", "--corpus-samples", 9),
        *("--seed", 7, "--out", "out", "--no-save-model"),
    )
    assert settings("out") == {
        "model": tiny,
        "data": "jsonl:facts.jsonl",
        "editor": "ultraedit",
        "options": {
            "ridge": "2.5",
            "protocol": "official",
            "variance": "pooled",
            "micro_batch": "3",
        },
        "modules": None,
        "preset": "preset.toml",
        "corpus": "facts.jsonl",
        "corpus_samples": 9,
        "edits_per_turn": 2,
        "turns": 2,
        "limit": 3,
        "free_answers": 1,
        "chat_answers": True,
        "free_always": False,
        "control_questions": 40,
        "evaluate_every": None,
        "evaluate_at": [],
        "device_map": None,
        "trunk": False,
        "snapshot_every": 100,
        "dtype": "float32",
        "device": "cpu",
        "seed": 7,
        "score_sample": None,
        "score_newest": None,
        "monitor": [],
        "perplexity": None,
        "probe": [],
        "use_rephrases": 0,
        "control": 0,
        "ability": [],
        "ability_limit": None,
        "ability_data": None,
        "guard": {},
        "guard_action": "stop",
        "save_model": False,
    }
    options = resolved("out")["options"]
    assert (options["eta"], options["ridge"], options["micro_batch"]) == (0.5, 2.5, 3)
    assert (options["variance"], options["statistics"]) == ("pooled", "shape")
    assert resolved("out")["modules"] == ["layers.[1].mlp.up_proj"]
    assert (read("out/summary.json")["edits"], read("out/summary.json")["turns"]) == (3, 2)


def test_an_option_beats_the_preset(cli, tiny):
    Path("preset.toml").write_text('modules = "layers.[1].mlp.up_proj"\neta = 0.5\n')
    cli(
        *("run", "--model", tiny, "--data", "facts.jsonl", "--preset", "preset.toml"),
        *("--eta", "0.25", "--modules", "layers.[0].mlp.down_proj", "--out", "out"),
    )
    assert resolved("out")["options"]["eta"] == 0.25
    assert resolved("out")["modules"] == ["layers.[0].mlp.down_proj"]


def test_options_beat_the_config_file(cli, tiny):
    Path("run.toml").write_text(
        f'model = "{tiny}"\ndata = "facts.jsonl"\nedits-per-turn = 2\neta = 0.5\nlimit = 4\n'
        'save_model = false\n[options]\nridge = 3.0\nvariance = "released"\n'
    )
    cli("run", "--config", "run.toml", "--limit", 3, "--ridge", 2, "--out", "out")
    assert settings("out")["edits_per_turn"] == 2
    assert settings("out")["limit"] == 3
    assert not settings("out")["save_model"]
    options = resolved("out")["options"]
    assert (options["eta"], options["ridge"], options["variance"]) == (0.5, 2.0, "released")


def test_the_config_of_a_run_repeats_it(cli, tiny):
    cli("run", "--model", tiny, "--data", "facts.jsonl", "--eta", "0.3", "--out", "one")
    cli("run", "--config", "one/config.json", "--out", "two")
    assert settings("two") == settings("one")
    assert read("two/summary.json")["after"] == read("one/summary.json")["after"]


def test_a_variable_stands_for_an_option(cli, tiny):
    variables = {
        "ULTRAEDIT_RUN_MODEL": tiny,
        "ULTRAEDIT_RUN_LIMIT": "2",
        "ULTRAEDIT_RUN_NO_SAVE_MODEL": "1",
        "ULTRAEDIT_RUN_SET": "variance=released micro_batch=4",
    }
    cli("run", "--data", "facts.jsonl", "--out", "out", env=variables)
    assert settings("out")["limit"] == 2
    assert settings("out")["options"] == {"variance": "released", "micro_batch": "4"}
    assert not Path("out/model").exists()


def test_a_run_without_a_folder_gets_the_next_number(cli, tiny):
    args = ["run", "--model", tiny, "--data", "facts.jsonl", "--no-save-model", "--json"]
    folders = [json.loads(cli(*args).stdout)["folder"] for _ in range(2)]
    assert folders == [f"runs/ultraedit-tiny-jsonl-{n}" for n in (1, 2)]


def test_the_default_folder_says_whose_model_it_was(cli, tiny):
    cli("edit", "facts.jsonl", "--model", tiny, "--out", "first")
    args = ["edit", "facts.jsonl", "--model", "first/model", "--json"]
    assert json.loads(cli(*args).stdout)["folder"] == "runs/anchored-first-jsonl-1"


def test_edit_takes_a_bare_file(cli, tiny):
    result = cli("edit", "facts.jsonl", "--model", tiny, "--out", "out", "--limit", 2, "--json")
    assert json.loads(result.stdout)["edits"] == 2
    assert Path("out/model/config.json").is_file()


def test_overruled_edits_are_counted(cli, tiny):
    Path("facts.jsonl").write_text(lines([FACTS[0], FACTS[0] | {"target": "Norse"}]))
    assert "1 overruled" in cli("edit", "facts.jsonl", "--model", tiny, "--out", "out").stdout


PLAN = ("run", "--data", "facts.jsonl", "--edits-per-turn", 2, "--eta", "0.5", "--out", "out")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(cli, tiny, folder):
    before = sorted(folder.iterdir())
    page = cli(*PLAN, "--model", tiny, "--dry-run").stdout
    assert "3 of 2 edits, the last of only 1" in page
    assert "model.layers.0.mlp.down_proj" in page
    assert sorted(folder.iterdir()) == before


def test_a_dry_run_says_where_each_choice_is_from(cli, tiny):
    args = (*PLAN, "--model", tiny, "--set", "master=model", "--protocol", "official")
    plan = json.loads(cli(*args, "--dry-run", "--json").stdout)
    source = {option["name"]: (option["value"], option["from"]) for option in plan["options"]}
    assert source == {
        "eta": (0.5, "user"),
        "ridge": (1.0, "default"),
        "protocol": ("official", "user"),
        "variance": ("released", "default: protocol official"),
        "statistics": ("shape", "default: protocol official"),
        "loss_average": ("micro-batch", "default: protocol official"),
        "master": ("model", "user"),
        "micro_batch": (10, "default"),
        "loss_left": (0.3, "default"),
        "alpha": (1.0, "default"),
        "expected_edits": (5, "auto: edits of the run"),
        "step_factor": (1.0, "default"),
        "passes": (1, "default"),
        "written": (0.3, "default"),
        "retention": (0.0, "default"),
        "normalise": (1.0, "default"),
        "normalise_seed": (0, "default"),
        "frozen": (False, "default"),
        "coefficient": ("norm", "default"),
    }
    assert plan["modules"] == [{"path": "model.layers.0.mlp.down_proj", "d_in": 48, "d_out": 32}]
    assert plan["modules_from"] == "auto: relative depth"
    assert (plan["turns"], plan["edits_in_last_turn"], plan["out"]) == (3, 1, "out")
    assert plan["free_bytes"] > plan["model_bytes"] > 0


def test_a_dry_run_names_the_folder_that_the_run_would_take(cli, tiny):
    args = ["run", "--model", tiny, "--data", "facts.jsonl", "--no-save-model"]
    planned = json.loads(cli(*args, "--dry-run", "--json").stdout)
    done = json.loads(cli(*args, "--json").stdout)
    assert (planned["out"], planned["model_bytes"]) == (done["folder"], 0)


@pytest.fixture
def short_demo(monkeypatch):
    """Fewer generated answers: the point here is what is printed."""
    monkeypatch.setattr(demo, "FREE_ANSWERS", 4)


def test_the_demo_shows_answers_scores_costs_and_places(cli, tiny, short_demo):
    page = cli("demo", "--model", tiny).stdout
    heading = next(line for line in page.splitlines() if line.startswith("prompt"))
    assert heading.split() == ["prompt", "before", "after", "target"]
    assert page.count("✓") + page.count("✗") >= 6
    for word in ("efficacy", "free after", "edits per second", "peak memory", "demo-run/report.md"):
        assert word in page
    assert "--beside" in page
    summary = read("demo-run/summary.json")
    assert summary["edits"] >= 200
    assert summary["turns"] >= 4


def test_a_second_demo_leaves_the_first_alone(cli, tiny, short_demo, monkeypatch):
    Path("data").mkdir()
    Path("data/demo_facts.jsonl").write_text(lines(FACTS))
    monkeypatch.setattr(demo, "files", lambda _: Path())
    Path("demo-run").mkdir()
    Path("demo-run/mine").write_text("")
    result = cli("demo", "--model", tiny, "--json")
    assert "demo-run is there already; the results go to demo-run-2." in result.stderr
    assert [path.name for path in Path("demo-run").iterdir()] == ["mine"]
    shown = json.loads(result.stdout)
    assert shown["folder"] == "demo-run-2"
    assert {"prompt", "before", "after", "target", "correct"} <= shown["examples"][0].keys()


def test_a_report_is_made_again_from_the_records(cli, tiny):
    cli("edit", "facts.jsonl", "--model", tiny, "--out", "out")
    text = Path("out/report.md").read_bytes()
    Path("out/report.md").unlink()
    pages = json.loads(cli("report", "out", "--json").stdout)
    assert Path(pages["report"]).read_bytes() == text
    assert len(pages["plots"]) == 3
    assert all(plot in cli("report", "out").stdout for plot in pages["plots"])


def test_a_run_is_watched_and_guarded_from_the_command_line(cli, refused, tiny):
    Path("text.txt").write_text("The tower stands in Paris. " * 9)
    options = ("--model", tiny, "--data", "facts.jsonl", "--limit", "4", "--edits-per-turn", "2")
    options += ("--eta", "auto", "--free-answers", "0", "--no-save-model", "--out", "watched")
    watch = ("--monitor", "spectrum,locality", "--perplexity", "text.txt", "--control", "1")
    summary = json.loads(
        cli(
            "run", *options, *watch, "--guard", "norm=1e-9", "--evaluate-every", "1", "--json"
        ).stdout
    )
    assert summary["turns"] == 1
    assert "ended after turn 1" in summary["remarks"]["guard"]
    last = json.loads(Path("watched", "records.jsonl").read_text().splitlines()[-1])
    assert set(last["monitors"]) == {"spectrum", "locality", "control"}
    assert last["scores"]["perplexity"] > 1
    page = Path("watched", "report.md").read_text()
    assert "the guard has ended this run: ended after turn 1" in page
    assert "| KL on locality prompts, nats | 0 |" in page
    assert "| module | leading singular value | effective rank |" in page
    options = (*options[:-1], "other")
    assert "--guard takes NAME=X" in refused("run", *options, "--guard", "norm")
    assert "A guard knows no 'size'" in refused("run", *options, "--guard", "size=1")
    assert "--data-root is for the tasks" in refused("run", *options, "--data-root", ".")


def test_the_last_words_are_the_verdict_that_the_folder_has_too(cli, tiny):
    said = cli("edit", "facts.jsonl", "--model", tiny, "--eta", "auto", "--out", "out").stdout
    summary = read("out/summary.json")
    verdict = summary["verdict"]
    assert said.splitlines()[-2:] == [verdict["forced"], verdict["text"]]
    assert verdict["ready"] is False and "Not ready to ship, because" in verdict["text"]
    assert summary["controls"]["before"]["generation"] == 1
    assert summary["controls"]["after"]["questions"] == 100
    assert "agreement on 100 control questions" in said
    report = Path("out/report.md").read_text("utf-8")
    assert "**Verdict:**" in report and "agreement on 100 control questions" in report
    rows = [json.loads(line) for line in Path("out/records.jsonl").read_text("utf-8").splitlines()]
    asked = [row["controls"]["questions"] for row in rows if row["kind"] == "checkpoint"]
    assert asked == [100, 100]


def test_control_questions_can_be_left_out(cli, tiny):
    said = cli(
        *("edit", "facts.jsonl", "--model", tiny, "--control-questions", 0, "--out", "out"),
    ).stdout
    assert "control questions" not in said
    assert read("out/summary.json")["controls"] == {"before": None, "after": None}
