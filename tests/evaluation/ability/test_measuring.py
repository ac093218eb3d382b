"""The harness asks a model in memory, in its own words, and changes nothing."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.evaluation.ability.test_tasks import write
from tests.tiny import tiny_model
from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.evaluation.ability import Settings, measure, of_model
from ultraedit.runs import workflow
from ultraedit.runs.ability import of_run
from ultraedit.runs.config import make_config
from ultraedit.runs.rollback import rollback

pytestmark = [
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed"),
    pytest.mark.filterwarnings("ignore"),  # those of the harness and its dependencies
]


LETTERS = "abcdefghij"


@pytest.fixture
def root(tmp_path) -> Path:
    rows = [
        {"sentence": f"The film was {w}.", "label": int(n % 3 == 0)} for n, w in enumerate(LETTERS)
    ]
    write(tmp_path, "sst2.json", rows)
    pairs = [
        {
            "sentence1": f"It is {w}.",
            "sentence2": "It is.",
            "label": ("entailment", "not_entailment")[n % 2],
        }
        for n, w in enumerate(LETTERS)
    ]
    write(tmp_path, "nli.json", pairs)
    return tmp_path


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", layers=3)


def by_hand(language_model, rows, examples):
    """Accuracy of the likelier of the two words, each question asked alone."""
    right = 0
    words = ("negative", "positive")

    def text(row):
        return f"{row['sentence']}\nQuestion: Is this sentence positive or negative?\nAnswer:"

    for row in rows:
        shown = "".join(f"{text(e)} {words[e['label']]}\n\n" for e in examples(row))
        scores = []
        for word in words:
            prompt = language_model.tokenizer(shown + text(row)).input_ids
            whole = language_model.tokenizer(f"{shown}{text(row)} {word}").input_ids
            ids = torch.tensor([whole[-255:]])
            with torch.no_grad():
                logs = language_model.model(ids).logits[0].log_softmax(-1)
            count = len(whole) - len(prompt)
            at = range(ids.shape[1] - count - 1, ids.shape[1] - 1)
            scores.append(sum(float(logs[i, ids[0, i + 1]]) for i in at))
        right += scores.index(max(scores)) == row["label"]
    return right / len(rows)


def test_the_score_is_that_of_asking_each_question_by_hand(tiny, root):
    from ultraedit.evaluation.ability import LOCAL_TASKS
    from ultraedit.evaluation.ability.tasks import examples_for, read_rows

    task = LOCAL_TASKS["sst2"]
    rows = read_rows(task, root)
    found = measure(tiny, Settings(tasks=("sst2",), root=root))["sst2"]
    expected = by_hand(tiny, rows, examples_for(task, rows, root))
    assert found.score == pytest.approx(expected)
    assert found.stderr == pytest.approx((expected * (1 - expected) / (len(rows) - 1)) ** 0.5)
    assert (found.questions, found.shots, found.metric, found.local) == (10, 4, "acc", True)
    assert found.prompt is not None
    assert found.prompt.count("Question: Is this sentence positive or negative?") == 5
    assert found.prompt.startswith(examples_for(task, rows, root)(rows[0])[0]["sentence"])
    assert found.prompt.endswith("Answer:")


def test_measuring_twice_gives_the_same_and_leaves_random_numbers_and_weights_alone(tiny, root):
    random.seed(5)
    torch.manual_seed(6)
    states = random.getstate(), torch.get_rng_state()
    weights = {name: weight.clone() for name, weight in tiny.model.state_dict().items()}
    settings = Settings(tasks=("sst2", "nli"), root=root, limit=4)
    first, second = measure(tiny, settings), measure(tiny, settings)
    assert first == second
    assert first["nli"].questions == 4
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert all(torch.equal(weights[n], weight) for n, weight in tiny.model.state_dict().items())


def test_a_run_that_is_rolled_back_to_its_beginning_scores_as_before(root, tmp_path):
    models.save(tiny_model("llama", layers=3), tmp_path / "tiny")
    settings = Settings(tasks=("sst2", "nli"), root=root)
    before = of_model(str(tmp_path / "tiny"), settings, "float32")
    # A model without knowledge gives the same answer to all; it is taught the other one.
    says_negative = before["tasks"]["sst2"]["score"] > 0.5
    ask = "Question: Is this sentence positive or negative?\nAnswer:"
    target = "positive" if says_negative else "negative"
    facts = [{"prompt": f"The film was {w}.\n{ask}", "target": target} for w in LETTERS]
    (tmp_path / "facts.jsonl").write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
    config = make_config(
        {
            "model": str(tmp_path / "tiny"),
            "data": f"jsonl:{tmp_path / 'facts.jsonl'}",
            "options": {"eta": "auto", "alpha": 20.0, "passes": 1},
            "dtype": "float32",
            "save_model": False,
        }
    )
    workflow.run(config, tmp_path / "run")
    edited = of_run(tmp_path / "run", settings)
    assert (before["turn"], edited["turn"]) == (None, 1)
    assert edited["tasks"]["sst2"]["score"] != before["tasks"]["sst2"]["score"]
    rollback(tmp_path / "run", 0)
    again = of_run(tmp_path / "run", settings)
    assert (again["turn"], again["tasks"]) == (0, before["tasks"])


def test_what_cannot_be_measured_is_refused(tiny, root):
    with pytest.raises(ConfigError, match="lm-eval has no task 'ssst2'"):
        measure(tiny, Settings(tasks=("ssst2",), root=root))
    with pytest.raises(ConfigError, match="No task is named"):
        Settings(tasks=())
    with pytest.raises(ConfigError, match="limit must be at least 1, got 0"):
        Settings(limit=0)
