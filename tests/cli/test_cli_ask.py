"""``ask`` and ``eval``: what a model says, and how right it is."""

from __future__ import annotations

import json

import pytest

from tests.tiny import tiny_model
from ultraedit import data
from ultraedit.core.symbols import visible
from ultraedit.core.types import to_json
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.session import ask
from ultraedit.models import load, save

QUESTION = "Which river flows through Vienna?"


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "other"
    save(tiny_model("llama", seed=1), folder)
    return str(folder)


def test_the_answer_alone_is_printed(cli, tiny):
    result = cli("ask", tiny, QUESTION)
    assert result.stdout == visible(ask(load(tiny), QUESTION)) + "\n"
    assert result.stderr == f"Asking {tiny}\n"


def test_an_answer_is_no_longer_than_wanted(cli, tiny):
    shown = json.loads(cli("ask", tiny, QUESTION, "--max-new-tokens", 2, "--json").stdout)
    assert shown["answers"][0]["answer"] == ask(load(tiny), QUESTION, max_new_tokens=2)


def test_another_model_is_asked_beside_it(cli, tiny, other):
    shown = json.loads(cli("ask", tiny, QUESTION, "--beside", other, "--json").stdout)
    answers = [{"model": name, "answer": ask(load(name), QUESTION)} for name in (tiny, other)]
    assert shown == {"question": QUESTION, "answers": answers}
    assert shown["answers"][0]["answer"] != shown["answers"][1]["answer"]
    page = cli("ask", tiny, QUESTION, "--beside", other).stdout
    assert page.split()[:2] == ["model", "answer"]


def test_several_questions_are_asked_with_the_model_loaded_once(cli, tiny, other):
    questions = [QUESTION, "Who wrote Faust?"]
    result = cli("ask", tiny, *questions, "--beside", other, "--json")
    wanted = {name: ask(load(name), questions) for name in (tiny, other)}
    assert wanted[tiny] == [ask(load(tiny), question) for question in questions]
    assert json.loads(result.stdout) == [
        {
            "question": question,
            "answers": [{"model": name, "answer": said[place]} for name, said in wanted.items()],
        }
        for place, question in enumerate(questions)
    ]
    assert result.stderr.count("Asking") == 2
    page = cli("ask", tiny, *questions).stdout
    assert page.split()[:2] == ["question", "answer"]
    assert page.count("?") >= 2


def test_an_answer_that_is_empty_says_what_to_try_where_the_model_has_a_template(
    cli, tiny, tmp_path, monkeypatch
):
    model = tiny_model("llama")
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    save(model, tmp_path / "chat")
    monkeypatch.setattr("ultraedit.lifelong.session.ask", lambda *args, **options: [""])
    for folder, *options in ((tmp_path / "chat",), (tmp_path / "chat", "--chat"), (tiny,)):
        result = cli("ask", folder, QUESTION, *options)
        assert result.stdout == "\n"
        assert ("Try --chat." in result.stderr) == (folder != tiny and not options)


def test_a_model_without_a_template_is_not_asked_in_chat(cli, tiny):
    result = cli("ask", tiny, QUESTION, "--chat", code=2)
    assert "has no chat template. Leave chat (--chat) out." in result.stderr


def test_brackets_in_answers_are_no_markup(cli, tiny, monkeypatch):
    monkeypatch.setattr(
        "ultraedit.lifelong.session.ask", lambda *args, **options: ["[bold]x[/bold] :+1:"]
    )
    assert cli("ask", tiny, QUESTION).stdout == "[bold]x[/bold] :+1:\n"
    assert "[bold]x[/bold] :+1:" in cli("ask", tiny, QUESTION, "--beside", tiny).stdout


def test_a_model_is_scored_as_it_stands(cli, tiny):
    shown = json.loads(cli("eval", tiny, "--data", "facts.jsonl", "--json").stdout)
    expected = to_json(evaluate(ModelHost(load(tiny), None), data.read("facts.jsonl")).scores)
    assert shown["scores"]["efficacy"] == expected["efficacy"]
    assert shown["scores"]["generation"]["efficacy"] == expected["generation"]["efficacy"]
    assert shown["scores"]["agreement"] is None
    assert (shown["edits"], shown["model"], shown["beside"]) == (5, tiny, None)


def test_agreement_is_with_the_model_beside_it(cli, tiny, other):
    args = ["eval", tiny, "--data", "facts.jsonl", "--json", "--beside"]
    assert json.loads(cli(*args, tiny).stdout)["scores"]["agreement"] == 1
    result = cli(*args, other)
    assert json.loads(result.stdout)["scores"]["agreement"] < 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        f"Loading {other}",
        f"Asking {other}",
        f"Loading {tiny}",
        f"Asking {tiny}",
    ]


def test_a_run_and_an_evaluation_of_its_model_agree(cli, tiny):
    cli("edit", "facts.jsonl", "--model", tiny, "--out", "out", "--dtype", "float32")
    args = ["eval", "out/model", "--data", "facts.jsonl", "--beside", tiny, "--dtype", "float32"]
    shown = json.loads(cli(*args, "--json").stdout)
    with open("out/summary.json") as file:
        assert shown["scores"] == json.load(file)["after"]


def test_the_scores_are_printed_as_a_table(cli, tiny):
    args = ["eval", tiny, "--data", "facts.jsonl", "--free-answers", 0, "--limit", 2]
    page = cli(*args).stdout
    assert "efficacy" in page
    assert "agreement" not in page
    assert page.splitlines()[0].split() == ["metric", "forced"]
    args[args.index(0)] = 2
    assert cli(*args).stdout.splitlines()[0].split() == ["metric", "free", "stops", "forced"]
