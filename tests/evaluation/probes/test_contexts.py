"""Questions inside a chat template and behind examples, token by token."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.tiny import toy_tokenizer
from ultraedit.core.types import Edit, Question
from ultraedit.evaluation.probes import Chat, FewShot
from ultraedit.evaluation.probes.contexts import LONGEST, SHOTS
from ultraedit.evaluation.scoring import questions
from ultraedit.tools.doctor import examine_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def chatting(kind="bpe"):
    tokenizer = deepcopy(toy_tokenizer(kind))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def edit(number, answer="the Danube", **more):
    river = Question(f"Which river flows through city {number}?", answer)
    values = {"rephrases": (f"Who leads town {number}?",), "locality": (river,)} | more
    return Edit(f"Who rules town {number}?", f"Ada {number}", id=str(number), **values)


EDITS = [edit(number, f"river {number}") for number in range(12)]


def test_a_question_is_what_the_user_says_and_its_reply_begins_without_a_space():
    asked, _ = questions([edit(1)])
    found = list(Chat(chatting()).questions(asked))
    assert [each.kind for each in found] == [
        "probe:chat efficacy",
        "probe:chat generalization",
        "probe:chat specificity",
    ]
    assert found[0].prompt == "<s>[user] Who rules town 1?\n[assistant] "
    assert (found[0].shown, found[0].target, found[0].gap) == ("Who rules town 1?", "Ada 1", "")


def test_the_mark_of_the_beginning_is_read_once():
    asked, _ = questions([edit(1)])
    tokenizer = chatting("sentencepiece")
    prompt = next(iter(Chat(tokenizer).questions(asked))).prompt
    assert tokenizer(prompt)["input_ids"].count(tokenizer.bos_token_id) == 1
    prompt = next(iter(Chat(chatting("bpe")).questions(asked))).prompt
    assert chatting("bpe")(prompt)["input_ids"].count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("the capital of France IS Paris.", "Paris."),
        ("Paris is the capital of France.", "Paris is the capital of France."),
    ],
)
def test_a_reply_may_repeat_the_question(said, answer):
    cloze = Edit("The capital of France is", "Paris")
    asked = next(iter(Chat(chatting()).questions(questions([cloze])[0])))
    assert asked.answered(said) == answer
    assert questions([cloze])[0][0].answered(said) == said


def test_examples_are_unrelated_questions_with_their_answers_and_never_the_question_itself():
    few = FewShot(EDITS, seed=3)
    known = {f"{q.prompt} {q.target}" for each in EDITS for q in each.locality}
    asked, _ = questions(EDITS)
    found = list(few.questions(asked))
    assert len(found) == len(asked) == 36
    for each in found:
        *examples, question = each.prompt.split("\n")
        assert question == each.shown
        assert len(set(examples)) == SHOTS
        assert set(examples) <= known
        assert not any(example.startswith(question) for example in examples)


def test_examples_do_not_tell_the_answer():
    few = FewShot([edit(1, "Ada 7"), edit(2, "ADA 7 "), edit(3, "Inn"), edit(7)], seed=0)
    asked, _ = questions([edit(7)])
    examples = few.chosen(asked[0])
    assert {example.target for example in examples} == {"Inn", "the Danube"}


def test_examples_depend_on_the_seed_and_not_on_the_order_of_the_edits():
    one, again = FewShot(EDITS, 1).examples, FewShot(EDITS[::-1], 1).examples
    assert one == again
    assert FewShot(EDITS, 2).examples != one


def test_no_example_is_edited_or_without_an_answer_or_long():
    edits = [
        edit(1, locality=(Question("Who rules town 2?", "Ada"),)),
        edit(2, locality=(Question("Who leads town 1?", "Ada"),)),
        edit(3, locality=(Question("Who was it?"), Question("Who was it then?", " "))),
        edit(4, locality=(Question("Who?", "x" * LONGEST),)),
    ]
    few = FewShot(edits, 0)
    assert few.examples == []
    assert list(few.questions(questions(edits)[0])) == []


THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
"""As that of Qwen3: the model thinks unless the variable is false."""

ALWAYS = "{{ messages[0].content }}<|assistant|><think>"
"""As that of DeepSeek-R1, which has no variable."""


def rendered(template, **how):
    tokenizer = deepcopy(toy_tokenizer())
    tokenizer.chat_template = template
    return tokenizer, Chat(tokenizer, **how).rendered("Who?")


def test_a_chat_is_rendered_without_thinking_unless_asked():
    assert rendered(THINKING)[1] == "<|user|>Who?<|assistant|><think></think>"
    assert rendered(THINKING, thinking=True)[1] == "<|user|>Who?<|assistant|>"
    assert rendered(ALWAYS)[1] == "Who?<|assistant|><think>\n\n</think>\n\n"
    assert rendered(ALWAYS, thinking=True)[1] == "Who?<|assistant|><think>"
    assert rendered(TEMPLATE)[1] == rendered(TEMPLATE, thinking=True)[1]


def test_doctor_says_which_templates_have_thinking():
    for template, said in (
        (THINKING, "with thinking, which the probe chat turns off by enable_thinking"),
        (ALWAYS, "with thinking in every reply, which the probe chat closes at once"),
        (TEMPLATE, "there is one. Facts are written and asked as plain text"),
    ):
        facts = {each.about: each.found for each in examine_tokenizer(rendered(template)[0])}
        assert said in facts["chat template"]
