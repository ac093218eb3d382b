"""Probes asked of a tiny model, against a slow and obvious count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.evaluation.probes.test_contexts import chatting
from tests.evaluation.test_scoring import host_of, write
from tests.tiny import toy_tokenizer
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Question
from ultraedit.evaluation import scoring as module
from ultraedit.evaluation.probes import NAMES, Probing, chosen
from ultraedit.evaluation.scoring import evaluate, questions
from ultraedit.host.host import ModelHost
from ultraedit.models import LanguageModel

EDITS = [
    Edit(
        f"Where was {name} born?",
        place,
        subject=name,
        rephrases=(f"The birthplace of {name} is",),
        locality=(Question(f"Who wrote {work}?", f"{author} of London"),),
        id=name,
    )
    for name, place, work, author in [
        ("Ada", "Paris", "the first program", "Babbage"),
        ("Jane Austen", "Vienna", "the novel", "Jane Austen"),
        ("George", "Zwolle", "it", "Apple"),
        ("Thomas", "Cupertino", "iPhone", "Thomas"),
    ]
]


def talking(seed=0) -> ModelHost:
    """A host whose tokenizer has a chat template."""
    plain = host_of(seed).language_model
    spoken = LanguageModel(plain.model, chatting(), plain.name, plain.source)
    return ModelHost(spoken, ["layers.[0-1].mlp.down_proj"])


@pytest.fixture(scope="module")
def edited():
    host = talking()
    probing = Probing(NAMES, host.language_model.tokenizer, EDITS, seed=4)
    before = evaluate(host, EDITS, probing=probing, free_answers=2)
    # The probes are edited on too: what a model as small as this makes of them by itself is noise.
    probed = [each for each in probing.questions(questions(EDITS)[0]) if not each.unwanted]
    write(host, [*EDITS, *(Edit(each.prompt, each.target) for each in probed)])
    after = evaluate(host, EDITS, reference=before.reference, probing=probing, free_answers=2)
    return host, probing, before, after


@torch.no_grad()
def greedy(host, asked) -> tuple[list[int], list[int]]:
    """Tokens of an answer and the model's choices there, one row without padding."""
    lm = host.language_model
    # The template ends in a blank, which belongs to the answer.
    prompt = asked.prompt.removesuffix(" ")
    gap = asked.gap or asked.prompt.removeprefix(prompt)
    ids = lm.tokenizer(prompt)["input_ids"]
    gold = lm.tokenizer(f"{gap}{asked.target}", add_special_tokens=False)["input_ids"]
    logits = lm.model(input_ids=torch.tensor([ids + gold[:-1]]), use_cache=False).logits[0]
    return gold, logits[len(ids) - 1 :].argmax(dim=-1).tolist()


def test_every_probe_is_scored_as_one_question_at_a_time_is(edited):
    host, probing, _, after = edited
    expected: dict[str, list[float]] = {}
    for asked in probing.questions(questions(EDITS)[0]):
        gold, top = greedy(host, asked)
        hits = [a == b for a, b in zip(gold, top, strict=True)]
        score = float(all(hits)) if asked.statement else sum(hits) / len(hits)
        expected.setdefault(asked.kind.removeprefix("probe:"), []).append(score)
    means = {name: sum(scores) / len(scores) for name, scores in expected.items()}
    assert list(means) == [
        *(f"chat {kind}" for kind in ("efficacy", "generalization", "specificity")),
        *(f"few-shot {kind}" for kind in ("efficacy", "generalization", "specificity")),
        *("reverse", "affirmed", "negated"),
    ]
    assert after.scores.probes == pytest.approx(means)
    assert len(set(means.values())) > 3


def test_scores_of_the_edits_themselves_are_those_without_probes(edited):
    host, _, before, after = edited
    plain = evaluate(host, EDITS, reference=before.reference, free_answers=2)
    generation = replace(after.scores.generation, probes={})
    for name in ("begins", "stops"):
        shares = getattr(generation, name)
        own = {kind: share for kind, share in shares.items() if kind in plain.by_edit}
        generation = replace(generation, **{name: own})
    assert replace(after.scores, probes={}, generation=generation) == plain.scores
    assert after.by_edit == plain.by_edit


def test_free_answers_of_probes_are_those_of_the_sampled_edits(edited):
    _, _, _, after = edited
    kinds = {answer.kind for answer in after.answers}
    assert kinds > after.scores.probes.keys()
    assert {answer.edit_id for answer in after.answers} == {"Ada", "George"}
    chat = next(answer for answer in after.answers if answer.kind == "chat efficacy")
    assert chat.prompt == "Where was Ada born?"
    generation = after.scores.generation
    assert generation.probes.keys() == after.scores.probes.keys()
    assert generation.stops.keys() == generation.begins.keys()
    assert generation.begins.keys() == {
        *("efficacy", "generalization", "specificity"),
        *(generation.probes.keys() - {"affirmed", "negated"}),
    }


@pytest.fixture
def saying(monkeypatch):
    """Make the model answer every prompt with what a function says."""

    def say(answer):
        def answered(self, prompts, limits, observer=None, lines=None):
            return [answer(prompt) for prompt in prompts]

        monkeypatch.setattr(module.ModelHost, "answer", answered)

    return say


def test_a_negated_statement_is_wrong_as_soon_as_it_begins_with_the_new_answer(saying):
    host = talking()
    answers = {"Ada": "Paris, or so", "George": "Zwolle.", "Thomas": "Rome"}
    saying(lambda prompt: next((said for n, said in answers.items() if n in prompt), "Vienna"))
    probing = Probing(["negation"], host.language_model.tokenizer, EDITS)
    found = evaluate(host, EDITS, probing=probing)
    assert found.scores.generation.probes == {"affirmed": 0.75, "negated": 0.75}
    judged = {(a.kind, a.edit_id): (a.correct, a.target) for a in found.answers}
    assert judged["negated", "Ada"] == (False, "anything but Paris")
    assert judged["negated", "Thomas"] == (True, "anything but Cupertino")
    assert judged["affirmed", "Ada"] == (True, "Paris")
    assert found.scores.generation.efficacy == 0.5


def test_the_share_of_answers_that_stop_is_a_part_of_the_exact_matches(saying):
    host = talking()
    answers = {"Ada": "Paris", "Jane": "Vienna. It is", "George": "Zwolle or so", "Thomas": "Rome"}
    saying(lambda prompt: next((said for n, said in answers.items() if n in prompt), ""))
    generation = evaluate(host, EDITS).scores.generation
    assert generation.begins["efficacy"] == 0.75
    assert generation.efficacy == 0.5
    assert generation.stops["efficacy"] == 0.25


def test_a_reply_may_repeat_the_beginning_of_the_statement_that_it_ends(saying):
    edit = Edit("The birthplace of Ada is", "Paris", id="Ada")
    saying(lambda prompt: "The birthplace of Ada is Paris.")
    host = talking()
    probing = Probing(["chat"], host.language_model.tokenizer, [edit])
    generation = evaluate(host, [edit], probing=probing).scores.generation
    assert (generation.efficacy, generation.probes) == (0.0, {"chat efficacy": 1.0})
    assert generation.stops == {"efficacy": 0.0, "chat efficacy": 1.0}


def test_what_cannot_be_asked_is_left_out_and_says_so():
    strange = [Edit("Who is it?", "Ada", id="1")]
    probing = Probing(NAMES, toy_tokenizer(), strange)
    assert list(probing.questions(questions(strange)[0])) == []
    assert probing.remarks.keys() == set(NAMES)
    assert probing.remarks["chat"] == "left out, since the model has no chat template"
    assert "unrelated questions with answers" in probing.remarks["few-shot"]
    assert "needs facts whose relation is known" in probing.remarks["reverse"]
    some = Probing(["reverse"], toy_tokenizer(), [*strange, *EDITS])
    assert some.remarks["reverse"].startswith("of the 4 of 5 edits")
    assert Probing(NAMES, chatting(), EDITS).remarks == {}
    assert Probing((), toy_tokenizer(), strange).remarks == {}


def test_names_of_probes_are_put_in_order_and_checked():
    assert chosen(["negation", "chat,few-shot", "chat"]) == ("chat", "few-shot", "negation")
    assert chosen(["reverse", "all"]) == NAMES
    assert chosen([]) == ()
    with pytest.raises(ConfigError, match=r"no probe 'fewshot'\. Did you mean: few-shot"):
        chosen(["fewshot"])
