"""The Python API: one call edits a model, and tells what it did."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

import ultraedit as ue
from tests.tiny import appending, tiny_model, toy_tokenizer
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Question
from ultraedit.lifelong import session
from ultraedit.models import LanguageModel, Preset, find_preset
from ultraedit.models import preset as presets

EDITS = [
    Edit(
        f"What is the native language of {name}?",
        target,
        rephrases=(f"{name} speaks",),
        locality=(Question("Which river flows through Vienna?", "The Danube"),),
    )
    for name, target in [
        ("Ada", "French"),
        ("Jane Austen", "Dutch"),
        ("George", "English"),
        ("Danielle", "French"),
        ("Thomas", "Dutch"),
    ]
]
MODULES = ["layers.[1].mlp.down_proj"]
STRONG = ue.UltraEdit(eta="auto", alpha=2.0)


def weights(lm):
    return {name: value.clone() for name, value in lm.model.state_dict().items()}


def changed(lm, before):
    return {name for name, value in weights(lm).items() if not torch.equal(value, before[name])}


def equal(lm, other):
    return changed(lm, weights(other)) == set()


class Log:
    """A recorder and an observer that keeps all that it hears."""

    def __init__(self):
        self.records, self.stages, self.steps = [], [], {}

    def turn(self, record, turn, carried):
        self.records.append(record)

    def checkpoint(self, record):
        self.records.append(record)

    def stage(self, name, total=None):
        self.stages.append((name, total))

    def advance(self, steps=1):
        name = self.stages[-1][0]
        self.steps[name] = self.steps.get(name, 0) + steps


def test_only_the_chosen_weights_change():
    lm = tiny_model("llama")
    before = weights(lm)
    ue.edit(lm, EDITS, STRONG, modules=MODULES, free_answers=0)
    assert changed(lm, before) == {"model.layers.1.mlp.down_proj.weight"}


def test_before_is_the_unedited_model_and_after_the_edited_one():
    lm = tiny_model("llama")
    result = ue.edit(lm, EDITS, STRONG, modules=MODULES, free_answers=1)
    unedited = ue.edit(tiny_model("llama"), EDITS[:1], STRONG, modules=MODULES, free_answers=1)
    assert result.language_model is lm
    assert result.after.scores.efficacy > result.before.scores.efficacy
    assert result.before.scores.agreement == 1.0
    assert result.before.answers[0].before == result.before.answers[0].after
    assert result.after.answers[0].before == unedited.before.answers[0].after
    assert ue.ask(lm, EDITS[0].prompt, max_new_tokens=12) == result.after.answers[0].after


def test_turns_are_told_as_they_happen_and_the_last_may_be_short():
    log = Log()
    result = ue.edit(
        tiny_model("llama"),
        EDITS,
        STRONG,
        modules=MODULES,
        edits_per_turn=2,
        free_answers=0,
        recorder=log,
        observer=log,
    )
    first, *turns, last = log.records
    assert (first.turn, first.edits, last.turn, last.edits) == (0, 5, 3, 5)
    assert (first.scores, last.scores) == (result.before.scores, result.after.scores)
    assert result.turns == tuple(turns)
    assert [(t.turn, t.edits, t.total_edits) for t in turns] == [(1, 2, 2), (2, 2, 4), (3, 1, 5)]
    assert all(turn.norms.keys() == {"model.layers.1.mlp.down_proj"} for turn in turns)
    assert all(turn.norms["model.layers.1.mlp.down_proj"] > 0 for turn in turns)
    assert (result.progress.turns, result.progress.edits) == (3, 5)
    assert result.progress.seconds == pytest.approx(sum(turn.seconds for turn in turns))
    assert log.stages[1] == ("Editing", 5)
    assert all(log.steps[name] == total for name, total in log.stages)


def test_odd_facts_are_said_with_their_rows_and_edited_as_plain_ones(caplog):
    models = [tiny_model("llama") for _ in range(2)]
    models[1] = replace(models[1], tokenizer=appending(models[1].tokenizer))
    odd = [
        replace(EDITS[0], prompt=f"{EDITS[0].prompt} "),
        replace(EDITS[1], target=" Dutch\n", rephrases=("Jane speaks ",)),
        *EDITS[2:],
        Edit("{} speaks", "Dutch"),
    ]
    plain = [*EDITS, Edit("{} speaks", "Dutch")]
    ue.edit(models[0], plain, STRONG, modules=MODULES, free_answers=0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "{} in it in row 6," in caplog.text
    caplog.clear()
    ue.edit(models[1], odd, STRONG, modules=MODULES, free_answers=0)
    told = ("a blank in rows 1 and 2.", "space in row 2.", "{} in it in row 6,", "puts </s> behind")
    assert len(caplog.records) == len(told)
    for record, part in zip(caplog.records, told, strict=True):
        assert part in record.getMessage()
    assert equal(*models)


def test_the_size_of_a_turn_matters():
    models = [tiny_model("llama") for _ in range(2)]
    for lm, size in zip(models, (2, 5), strict=True):
        ue.edit(lm, EDITS, STRONG, modules=MODULES, edits_per_turn=size, free_answers=0)
    assert not equal(*models)


def test_the_edits_may_be_any_iterable():
    models = [tiny_model("llama") for _ in range(2)]
    ue.edit(models[0], iter(EDITS), STRONG, modules=MODULES, free_answers=0)
    ue.edit(models[1], EDITS, STRONG, modules=MODULES, free_answers=0)
    assert equal(*models)


def test_without_an_editor_it_is_anchored_in_the_modules_of_its_preset():
    models = [tiny_model("llama") for _ in range(2)]
    preset = find_preset(models[0], None, "anchored")
    before = weights(models[0])
    result = ue.edit(models[0], EDITS, free_answers=0, control_questions=0)
    assert result.editor == ue.Anchored()
    options = {"free_answers": 0, "control_questions": 0}
    ue.edit(models[1], EDITS, ue.Anchored(), modules=preset.modules, **options)
    assert equal(*models)
    assert changed(models[0], before)


def test_the_presets_modules_are_those_that_are_edited(monkeypatch):
    preset = Preset("mine", tuple(MODULES), 0.25, 3.0, "test")
    monkeypatch.setattr(presets, "find_preset", lambda *_: preset)
    models = [tiny_model("llama") for _ in range(2)]
    ue.edit(models[0], EDITS, STRONG, free_answers=0)
    ue.edit(models[1], EDITS, STRONG, modules=MODULES, free_answers=0)
    assert equal(*models)


def test_the_papers_step_on_another_model_is_warned_of(monkeypatch):
    preset = Preset("mine", tuple(MODULES), 0.25, 3.0, "test")
    monkeypatch.setattr(presets, "find_preset", lambda *_: preset)
    with pytest.warns(UserWarning, match=r"eta=1e-06, which writes next to nothing.*eta=0\.25"):
        ue.edit(tiny_model("llama"), EDITS[:1], ue.UltraEdit(), free_answers=0)


def test_modules_without_an_editor_and_an_editor_without_modules():
    lm = tiny_model("llama")
    before = weights(lm)
    ue.edit(lm, EDITS, modules=["layers.[1].mlp.up_proj"], free_answers=0)
    assert changed(lm, before) == {"model.layers.1.mlp.up_proj.weight"}
    lm = tiny_model("llama")
    ue.edit(lm, EDITS, STRONG, free_answers=0)
    assert changed(lm, before) == {"model.layers.0.mlp.down_proj.weight"}


def test_a_model_that_no_preset_fits_is_edited_where_the_user_says():
    from transformers import AutoModelForCausalLM, MptConfig

    config = MptConfig(d_model=32, n_heads=4, n_layers=2, vocab_size=512)
    model = AutoModelForCausalLM.from_config(config).requires_grad_(False).eval()
    lm = LanguageModel(model, toy_tokenizer(), "mpt", "mpt")
    with pytest.raises(ue.ConfigError, match=r"no preset for this model.*Choose with --modules"):
        ue.edit(lm, EDITS, free_answers=0)
    before = weights(lm)
    ue.edit(lm, EDITS, modules=["[1].ffn.down_proj"], free_answers=0)
    assert changed(lm, before) == {"transformer.blocks.1.ffn.down_proj.weight"}


def test_nothing_to_do_is_refused_before_anything_happens():
    lm = tiny_model("llama")
    before = weights(lm)
    with pytest.raises(ue.DataError, match="There is no edit to make"):
        ue.edit(lm, [])
    with pytest.raises(ue.ConfigError, match="edits_per_turn must be at least 1, got 0"):
        ue.edit(lm, EDITS, edits_per_turn=0)
    with pytest.raises(ue.ConfigError, match="No module matches"):
        ue.edit(lm, EDITS, STRONG, modules=["layers.[7].mlp.down_proj"])
    with pytest.raises(ue.DataError, match="reads at most 256"):
        ue.edit(lm, [*EDITS, Edit("the " * 300, "it")], STRONG, modules=MODULES)
    assert changed(lm, before) == set()


def test_a_turn_that_fails_leaves_the_turns_before_it_applied():
    class Failing:
        def init(self, host):
            return STRONG.init(host)

        def step(self, host, turn, state):
            if turn.number == 2:
                raise ue.NumericalError("the update is not finite.")
            return STRONG.step(host, turn, state)

    models = [tiny_model("llama") for _ in range(2)]
    log = Log()
    options = {"modules": MODULES, "edits_per_turn": 2, "free_answers": 0}
    with pytest.raises(ue.NumericalError, match=r"^Turn 2: the update is not finite\.$"):
        ue.edit(models[0], EDITS, Failing(), recorder=log, **options)
    ue.edit(models[1], EDITS[:2], STRONG, **options)
    assert equal(*models)
    assert [record.turn for record in log.records] == [0, 1]


def test_a_saved_result_reloads_with_plain_transformers_to_identical_logits(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm = tiny_model("llama")
    ids = lm.tokenizer("The native language of Ada is French.", return_tensors="pt").input_ids
    with torch.no_grad():
        unedited = lm.model(ids).logits
        result = ue.edit(lm, EDITS, STRONG, modules=MODULES, free_answers=0)
        result.save(str(tmp_path / "edited"))
        edited = lm.model(ids).logits
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "edited").eval()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "edited")
        assert torch.equal(again(ids).logits, edited)
    assert not torch.equal(unedited, edited)
    assert (
        tokenizer("The native language").input_ids == lm.tokenizer("The native language").input_ids
    )


@pytest.mark.parametrize("question", ["", " \n", "\udcff"])
def test_a_question_that_is_no_text_is_refused(question):
    with pytest.raises(ue.DataError, match=r"^The question is "):
        ue.ask(tiny_model("llama"), question)


def test_a_result_has_a_verdict_of_its_free_answers_and_the_control_questions():
    model = tiny_model("llama")
    facts = [Edit("Who leads the town of Velmora?", "Ada", rephrases=("Velmora is led by",))]
    result = session.edit(model, facts, modules=["layers.[0-1].mlp.down_proj"], chat_answers=True)
    verdict = result.verdict
    assert verdict.counts["facts"].asked == verdict.counts["in other words"].asked == 1
    assert verdict.counts["control questions"].asked == 100
    assert verdict.text.endswith(("Ready to ship.", "wanted)."))
    assert "in chat" not in verdict.counts  # The toy tokenizer has no template.
    plain = session.edit(
        tiny_model("llama"), facts, modules=["layers.[0-1].mlp.down_proj"], control_questions=0
    )
    assert plain.after.controls is None and plain.after.scores == result.after.scores


def test_a_model_is_asked_in_its_chat_template_with_a_system_message_and_several_at_once():
    model = tiny_model("llama")
    with pytest.raises(ConfigError, match="has no chat template"):
        ue.ask(model, "Who?", chat=True)
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}A"
    model = replace(model, tokenizer=tokenizer)
    shown = "system Be brief. user Who leads Velmora? A"
    questions = ["Who leads Velmora?", "Who wrote Faust?"]
    answers = ue.ask(model, questions, chat=True, system="Be brief.")
    assert answers == [ue.ask(model, each, chat=True, system="Be brief.") for each in questions]
    assert answers[0] == ue.ask(model, shown)
    assert ue.ask(model, questions[0], chat=True) == ue.ask(model, "user Who leads Velmora? A")
    with pytest.raises(ConfigError, match="add chat=True"):
        ue.ask(model, "Who?", system="Be brief.")


def test_facts_are_asked_in_chat_where_the_model_has_a_template():
    model = tiny_model("llama")
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}Q {{ m.content }}{% endfor %} A"
    facts = [Edit("Who leads the town of Velmora?", "Ada", rephrases=("Velmora is led by",))]
    result = session.edit(
        replace(model, tokenizer=tokenizer),
        facts,
        modules=["layers.[0-1].mlp.down_proj"],
        chat_answers=True,
    )
    asked = {name: count.asked for name, count in result.verdict.counts.items()}
    assert asked["in chat"] == asked["in chat, in other words"] == 1
    assert result.remarks == {}
