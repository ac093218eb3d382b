"""Scores against a slow and obvious count, and the questions that are not like the others."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.types import Edit, Question, turns
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation import scoring as module
from ultraedit.evaluation.probes import Chat, Probing
from ultraedit.evaluation.scoring import evaluate, questions
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder, run_turns

EDITS = [
    Edit(
        f"What is the native language of {name}?",
        target,
        rephrases=(f"{name} speaks", f"The mother tongue of {name} is"),
        locality=(Question(f"Who wrote {work}?", f"{author} of London"),),
        probes={"multi_hop": (Question(f"Where does {name} live?", f"in {target} lands"),)},
        id=name,
    )
    for name, target, work, author in [
        ("Ada", "French", "the first program", "Babbage"),
        ("Jane Austen", "Dutch", "the novel", "Jane Austen"),
        ("George", "English of old", "it", "Apple"),
        ("Danielle", "French and Dutch", "a first", "Danielle Darrieux"),
        ("Thomas", "the Danube", "iPhone", "Thomas"),
    ]
]


def host_of(seed=0) -> ModelHost:
    return ModelHost(tiny_model("llama", seed=seed), ["layers.[0-1].mlp.down_proj"])


def write(host, edits=EDITS, alpha=2.0):
    """Edit strongly, in one turn."""
    editor = UltraEdit(eta="auto", alpha=alpha)
    run_turns(host, editor, turns(edits, len(edits)), MemoryRecorder())


@torch.no_grad()
def top_choices(host, prompt, answer):
    """Answer tokens and the model's choices there, from one row without padding."""
    lm = host.language_model
    ids = lm.tokenizer(prompt)["input_ids"]
    gold = lm.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
    logits = lm.model(input_ids=torch.tensor([ids + gold[:-1]]), use_cache=False).logits[0]
    return gold, logits[len(ids) - 1 :].argmax(dim=-1).tolist()


def accuracy(host, pairs):
    shares = []
    for prompt, answer in pairs:
        gold, chosen = top_choices(host, prompt, answer)
        shares.append(sum(a == b for a, b in zip(gold, chosen, strict=True)) / len(gold))
    return sum(shares) / len(shares)


@pytest.fixture(scope="module")
def edited():
    """The host after a strong edit, and both evaluations."""
    host = host_of()
    before = evaluate(host, EDITS, free_answers=2)
    write(host)
    return host, before, evaluate(host, EDITS, reference=before.reference, free_answers=2)


def test_scores_equal_a_count_one_question_at_a_time(edited):
    host, _, after = edited
    expected = {
        "efficacy": accuracy(host, [(e.prompt, e.target) for e in EDITS]),
        "generalization": accuracy(host, [(r, e.target) for e in EDITS for r in e.rephrases]),
        "specificity": accuracy(host, [q for e in EDITS for q in e.locality]),
    }
    found = {name: getattr(after.scores, name) for name in expected}
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["efficacy"] <= 1
    assert 0 < expected["generalization"] < 1
    probes = accuracy(host, [q for e in EDITS for q in e.probes["multi_hop"]])
    assert after.scores.probes == pytest.approx({"multi_hop": probes}, abs=1e-12)


def test_agreement_pools_the_tokens_where_both_models_choose_the_same(edited):
    host, _, after = edited
    unedited = host_of()
    same = total = 0
    for edit in EDITS:
        for question in edit.locality:
            _, ours = top_choices(host, *question)
            _, theirs = top_choices(unedited, *question)
            same += sum(a == b for a, b in zip(ours, theirs, strict=True))
            total += len(theirs)
    assert after.scores.agreement == same / total < 1


def test_the_unedited_model_agrees_with_itself(edited):
    _, before, _ = edited
    assert before.scores.agreement == 1.0
    assert before.scores.generation.agreement == 1.0
    again = evaluate(host_of(), EDITS, reference=before.reference, free_answers=2)
    assert again.scores == before.scores


def test_questions_come_in_the_order_of_the_edits_each_kind_by_its_name():
    asked, overruled = questions(EDITS[:1])
    kinds = ["efficacy", *["generalization"] * 2, "specificity", "probe:multi_hop"]
    assert [question.kind for question in asked] == kinds
    assert {question.edit.id for question in asked} == {"Ada"}
    assert overruled == 0


def test_a_prompt_edited_twice_is_scored_against_its_newest_target():
    old = EDITS[0]
    new = replace(old, target="Norse", aliases=("Old Norse",), id="new", rephrases=("She speaks",))
    host = host_of()
    write(host, [new])
    found = evaluate(host, [old, EDITS[1], new], free_answers=0)
    scored = {(q.prompt, q.target, q.aliases) for q in questions([old, new])[0] if q.edit is old}
    assert (old.prompt, "Norse", ("Old Norse",)) in scored
    assert (old.rephrases[0], "Norse", ("Old Norse",)) in scored
    assert found.overruled == 1
    pairs = [(old.prompt, "Norse"), (EDITS[1].prompt, EDITS[1].target), (new.prompt, "Norse")]
    assert found.scores.efficacy == pytest.approx(accuracy(host, pairs))
    assert found.scores.efficacy != pytest.approx(
        accuracy(host, [(old.prompt, old.target), *pairs[1:]])
    )


def test_the_same_fact_twice_overrules_nothing():
    assert questions([EDITS[0], EDITS[1], EDITS[0]])[1] == 0
    changed = replace(EDITS[0], target="Norse")
    assert questions([EDITS[0], changed, EDITS[0]])[1] == 1
    assert questions([EDITS[0], EDITS[0], changed])[1] == 2


def test_locality_without_a_gold_answer_is_scored_along_the_unedited_models_own():
    host = host_of()
    open_question = Question("Which river flows through Vienna?", None)
    edits = [replace(edit, locality=(open_question,)) for edit in EDITS[:2]]
    before = evaluate(host, edits)
    own = before.reference.answers[open_question.prompt]
    assert own
    _, theirs = top_choices(host, open_question.prompt, own)
    assert before.scores.specificity is None
    assert before.scores.generation.specificity is None
    assert before.scores.agreement == 1.0
    write(host, edits)
    after = evaluate(host, edits, reference=before.reference)
    _, ours = top_choices(host, open_question.prompt, own)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert after.scores.agreement == same / len(theirs) < 1
    assert after.scores.specificity is None
    assert after.scores.generation.agreement == 0.0


def test_probes_without_an_answer_are_shown_and_not_scored():
    probes = {"personas": (Question("Who is Ada?", None),), "hop": (Question("Where?", "Paris"),)}
    found = evaluate(host_of(), [replace(EDITS[0], probes=probes)])
    assert found.scores.probes.keys() == {"hop"}
    shown = {(answer.kind, answer.target) for answer in found.answers}
    assert {("personas", None), ("hop", "Paris")} <= shown


def test_what_the_data_does_not_ask_is_none():
    found = evaluate(host_of(), [Edit("What is it?", "French")])
    scores = found.scores
    assert scores.efficacy is not None
    assert (scores.generalization, scores.specificity, scores.agreement) == (None, None, None)
    assert scores.probes == {}
    generation = scores.generation
    assert generation.efficacy is not None
    assert (generation.generalization, generation.specificity) == (None, None)
    assert generation.agreement is None


def test_no_free_answers_leaves_generation_out():
    found = evaluate(host_of(), EDITS, free_answers=0)
    assert found.scores.generation is None
    assert found.answers == ()
    assert found.scores.agreement == 1.0


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["Ada"]),
        (2, ["Ada", "George"]),
        (5, [edit.id for edit in EDITS]),
        (99, [edit.id for edit in EDITS]),
        (None, [edit.id for edit in EDITS]),
    ],
)
def test_free_answers_are_spaced_evenly_and_ask_all_questions_of_an_edit(count, names, monkeypatch):
    monkeypatch.setattr(module, "MIN_TOKENS", 1)
    monkeypatch.setattr(module, "SPARE_TOKENS", 0)
    found = evaluate(host_of(), EDITS, free_answers=count)
    assert [answer.edit_id for answer in found.answers] == [n for n in names for _ in range(5)]
    assert [answer.kind for answer in found.answers[:5]] == [
        *("efficacy", "generalization", "generalization", "specificity", "multi_hop")
    ]


def test_an_alias_counts_as_right_when_the_model_answers_freely(monkeypatch):
    host = host_of()
    monkeypatch.setattr(host, "answer", lambda prompts, *_: ["Old Norse. So"] * len(prompts))
    plain = replace(EDITS[0], target="Norse")
    named = replace(plain, aliases=("Icelandic", "old Norse"))
    found = evaluate(host, [plain]).scores.generation
    assert (found.efficacy, found.generalization, found.specificity) == (0.0, 0.0, 0.0)
    found = evaluate(host, [named]).scores.generation
    assert (found.efficacy, found.generalization, found.specificity) == (1.0, 1.0, 0.0)
    assert evaluate(host, [plain, named]).scores.generation.efficacy == 1.0


def test_a_free_answer_may_be_as_long_as_its_longest_alias(monkeypatch):
    host = host_of()
    asked = {}

    def answer(prompts, limits, observer=None, lines=None):
        asked.update(zip(prompts, limits, strict=True))
        return [""] * len(prompts)

    monkeypatch.setattr(host, "answer", answer)
    long = "George Washington of the United States of the Analytical Engine of Babbage"
    tokens = len(host.language_model.tokenizer(f" {long}")["input_ids"])
    assert tokens > module.MIN_TOKENS
    evaluate(host, [Edit("Who?", "it", aliases=(" ", long)), Edit("What?", "it")])
    assert asked == {"Who?": tokens + module.SPARE_TOKENS, "What?": module.MIN_TOKENS}


def test_a_free_answer_may_have_as_many_lines_as_its_longest_target(monkeypatch):
    host = host_of()
    oath = "I stand by the river.\nI keep the bridge.\nI answer the bell."
    asked = {}

    def answer(prompts, limits, observer=None, lines=None):
        asked.update(zip(prompts, lines, strict=True))
        return [oath] * len(prompts)

    monkeypatch.setattr(host, "answer", answer)
    edits = [
        Edit("Write the oath.", oath, rephrases=("The oath is",)),
        Edit("How does it begin?", "I stand by the river", aliases=("one\ntwo",)),
        Edit("Who?", "it"),
    ]
    found = evaluate(host, edits)
    assert asked == {
        "Write the oath.": 3,
        "The oath is": 3,
        "How does it begin?": 2,
        "Who?": 1,
    }
    assert [answer.correct for answer in found.answers] == [True, True, True, False]
    assert found.answers[0].after == oath


def test_what_the_model_freely_says_is_compared_with_the_gold_answer(edited):
    _, _, after = edited
    for answer in after.answers:
        assert answer.correct == (answer.after.strip(". ").lower() == answer.target.lower())
    shares = {}
    for kind in ("efficacy", "generalization", "specificity"):
        correct = [answer.correct for answer in after.answers if answer.kind == kind]
        shares[kind] = sum(correct) / len(correct)
    generation = after.scores.generation
    assert shares == {kind: getattr(generation, kind) for kind in shares}


def test_silence_before_and_after_is_agreement(monkeypatch):
    host = host_of()
    monkeypatch.setattr(host, "answer", lambda prompts, *_: [""] * len(prompts))
    edit = replace(EDITS[0], locality=(Question("Where?", None),))
    before = evaluate(host, [edit])
    after = evaluate(host, [edit], reference=before.reference)
    assert after.scores.generation.agreement == 1.0
    assert [answer.correct for answer in after.answers if answer.kind == "specificity"] == [True]
    assert after.scores.agreement is None


def test_the_observer_hears_of_every_question():
    heard = []

    class Listener:
        def stage(self, name, total=None):
            heard.append((name, total))

        def advance(self, steps=1):
            heard.append(steps)

    host = host_of()
    before = evaluate(host, EDITS, free_answers=1, observer=Listener())
    (name, total), *steps = heard
    assert (name, total) == ("Asking the unedited model", 25 + 5)
    assert sum(steps) == total
    heard.clear()
    evaluate(host, EDITS, reference=before.reference, free_answers=1, observer=Listener())
    assert heard[0] == ("Asking the edited model", 30)


CONTROLS = ("What is the first novel?", "Who lives in Paris?", "The river flows")


def test_control_questions_are_held_against_the_unedited_models_own_answers():
    host = host_of()
    before = evaluate(host, EDITS, controls=CONTROLS)
    own = dict(zip(CONTROLS, host.answer(CONTROLS, [module.CONTROL_TOKENS] * 3), strict=True))
    assert before.reference.controls == own
    assert before.controls.agreement == before.controls.generation == 1
    assert (before.controls.questions, before.controls.changed) == (3, 0)
    forced = {text: top_choices(host, text, said)[1] for text, said in own.items() if said}
    write(host)
    after = evaluate(host, EDITS, reference=before.reference, controls=CONTROLS).controls
    now = host.answer(CONTROLS, [module.CONTROL_TOKENS] * 3)
    changed = [text for text, said in zip(CONTROLS, now, strict=True) if said != own[text]]
    assert after.changed == len(changed) > 0
    assert after.generation == pytest.approx(1 - len(changed) / 3)
    assert after.worst.prompt in changed and after.worst.before == own[after.worst.prompt]
    same = [
        ours == theirs
        for text in forced
        for ours, theirs in zip(top_choices(host, text, own[text])[1], forced[text], strict=True)
    ]
    assert after.agreement == pytest.approx(sum(same) / len(same))


def test_control_questions_change_no_other_score_and_give_way_where_they_cannot_be_asked():
    host = host_of()
    plain, beside = evaluate(host, EDITS), evaluate(host, EDITS, controls=CONTROLS)
    assert beside.scores == plain.scores
    assert [answer.kind for answer in beside.answers] == [answer.kind for answer in plain.answers]
    write(host)
    # What an older program kept of the unedited model has no answers to them.
    assert evaluate(host, EDITS, reference=plain.reference, controls=CONTROLS).controls is None
    unasked = evaluate(host, EDITS, reference=beside.reference, controls=CONTROLS, free_answers=0)
    assert unasked.controls.generation is None
    assert unasked.controls.agreement is not None
    assert evaluate(host_of(), EDITS, controls=["x " * 400]).controls is None


def test_every_other_control_question_is_asked_in_the_chat_template():
    host = host_of()
    tokenizer = deepcopy(host.language_model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}Q {{ m.content }}{% endfor %} A"
    chat = Chat(tokenizer)
    before = evaluate(host, EDITS, controls=CONTROLS, in_chat=chat, free_answers=1)
    asked = [CONTROLS[0], f"Q {CONTROLS[1]} A", CONTROLS[2]]
    own = dict(zip(asked, host.answer(asked, [module.CONTROL_TOKENS] * 3), strict=True))
    assert before.reference.controls == own
    ids = host.encode([(asked[1], own[asked[1]])], gap="")[0]
    assert before.reference.control_tokens[asked[1]] == host.predict([ids])[0]
    # What has changed in chat alone is seen, and named as the question that it is.
    other = host.encode([(asked[1], "something else")], gap="")[0]
    reference = replace(
        before.reference,
        controls=own | {asked[1]: "something else"},
        control_tokens=before.reference.control_tokens | {asked[1]: host.predict([other])[0]},
    )
    after = evaluate(
        host, EDITS, reference=reference, controls=CONTROLS, in_chat=chat, free_answers=1
    ).controls
    assert (after.questions, after.changed) == (3, 1)
    assert (after.worst.prompt, after.worst.after) == (CONTROLS[1], own[asked[1]])


def test_bare_facts_have_an_agreement_too():
    bare = [Edit(edit.prompt, edit.target) for edit in EDITS]
    host = host_of()
    before = evaluate(host, bare, controls=CONTROLS)
    write(host, bare)
    after = evaluate(host, bare, reference=before.reference, controls=CONTROLS)
    assert after.scores.agreement is None
    assert 0 <= after.controls.agreement < 1


def test_facts_are_asked_in_chat_freely_alone():
    host = host_of()
    tokenizer = deepcopy(host.language_model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}Q {{ m.content }}{% endfor %} A"
    evaluated = evaluate(host, EDITS, free_answers=2, in_chat=Chat(tokenizer))
    kinds = Counter(answer.kind for answer in evaluated.answers)
    assert (kinds["chat efficacy"], kinds["chat generalization"]) == (2, 4)
    assert "chat specificity" not in kinds
    assert set(evaluated.scores.probes) == {"multi_hop"}
    assert {"chat efficacy", "chat generalization"} <= set(evaluated.scores.generation.probes)
    both = Probing(["chat"], tokenizer, EDITS)
    once = evaluate(host, EDITS, free_answers=2, in_chat=Chat(tokenizer), probing=both)
    assert Counter(answer.kind for answer in once.answers)["chat efficacy"] == 2
