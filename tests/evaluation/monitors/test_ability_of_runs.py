"""General ability before the edits, on the way and after them, in the records and on the page."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from tests.evaluation.ability.test_tasks import write
from tests.report.runs import part
from tests.tiny import tiny_model
from ultraedit import models
from ultraedit.evaluation import ability
from ultraedit.report.plots import draw_ability
from ultraedit.report.reading import Seen
from ultraedit.report.run_page import has_ability, monitors
from ultraedit.runs import workflow
from ultraedit.runs.ability import of_run
from ultraedit.runs.config import make_config

PROMPT = "Is it ```good```?\nAnswer:"
SCORE = {"score": 0.5, "stderr": 0.125, "questions": 16, "shots": 4, "prompt": PROMPT}


def test_the_page_has_a_column_for_each_look_and_the_plot_needs_two():
    seen = [Seen(0, {"ability": {"sst2": SCORE}}), Seen(2, {"ability": {"sst2": SCORE}})]
    text = part("monitors", **monitors(seen))
    assert "| after turn | 0 | 2 |" in text
    assert "| general ability, sst2 | 50.0% ± 12.5 | 50.0% ± 12.5 |" in text
    assert "(ability.png)" in text
    assert "standard error: sst2, 16 questions with 4 examples each." in text
    assert "The first question of `sst2`, as the model reads it" in text
    assert "````text\nIs it ```good```?\nAnswer:\n````" in text
    assert draw_ability(seen).png.startswith(b"\x89PNG")
    assert not has_ability(seen[:1])
    assert not part("monitors", **monitors([])).strip()


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_run_records_the_ability_of_the_model_before_and_after(tmp_path):
    rows = [{"sentence": f"The film was {w}.", "label": n % 2} for n, w in enumerate("abcdefgh")]
    write(tmp_path, "sst2.json", rows)
    models.save(tiny_model("llama", layers=3), tmp_path / "tiny")
    (tmp_path / "facts.jsonl").write_text(json.dumps({"prompt": "Who?", "target": "Ada"}) + "\n")
    config = make_config(
        {
            "model": str(tmp_path / "tiny"),
            "data": f"jsonl:{tmp_path / 'facts.jsonl'}",
            "options": {"eta": "auto", "passes": 1},
            "dtype": "float32",
            "ability": "sst2",
            "ability_limit": 6,
            "ability_data": str(tmp_path),
        }
    )
    workflow.run(config, tmp_path / "run")
    lines = map(json.loads, (tmp_path / "run" / "records.jsonl").read_text().splitlines())
    found = [row["monitors"]["ability"] for row in lines if row["kind"] == "checkpoint"]
    settings = ability.Settings(tasks=("sst2",), root=tmp_path, limit=6)
    before = ability.of_model(config.model, settings, "float32")["tasks"]
    after = of_run(tmp_path / "run", settings)["tasks"]
    assert found == [before, after]
    assert (tmp_path / "run" / "ability.png").is_file()
