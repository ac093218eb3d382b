"""The anchored editor: its step beside the formula, its passes, forms, anchors and memory."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers import models as token_models
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from tests.editors.test_contract import parameters, run
from tests.tiny import tiny_model
from ultraedit.core.encoding import encode
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Edit, Encoded, Question, Turn, dense
from ultraedit.editors import anchored, make_editor
from ultraedit.editors.anchored import ANCHOR_ROWS, Anchored
from ultraedit.host.host import OWN_TEXT_TOKENS, ModelHost
from ultraedit.lifelong.session import edit

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
MODULES = ["layers.[1-2].mlp.down_proj"]
PROMPTS = (
    "Who wrote the novel?",
    "Which river flows there?",
    "The capital of France is",
    "What company makes it?",
    "In which year was he born?",
    "The mother tongue of Ada is",
    "Where is the tower?",
    "Who was the president?",
)
ANSWERS = ("Jane", "the Danube", "Paris", "Apple", "1843", "Dutch", "in Zwolle", "George")
EDITS = [Edit(p, a, id=str(n)) for n, (p, a) in enumerate(zip(PROMPTS, ANSWERS, strict=True))]


def model_of(*, chat: bool = False, layers: int = 3):
    tiny = tiny_model("llama", layers=layers, dtype=torch.float32)
    if chat:
        tokenizer = copy.deepcopy(tiny.tokenizer)
        tokenizer.chat_template = TEMPLATE
        return dataclasses.replace(tiny, tokenizer=tokenizer)
    return tiny


def host_of(*, chat: bool = False) -> ModelHost:
    return ModelHost(model_of(chat=chat), MODULES)


def anchors_file(tmp_path, prompts=("What is rain?", "Once upon a time", "Name a color")):
    path = tmp_path / "anchors.txt"
    path.write_text("\n".join(prompts))
    return str(path)


def slow_pass(host, editor, state, texts, neighbors):
    """One pass with the weights' own gradients by autograd and plain inverses, in float64."""
    beside = inputs(host, neighbors)
    grads, mean_loss = weight_gradients(host, texts)
    units, slope = {}, 0.0
    for path, gradient in grads.items():
        c, f = state[f"keys/{path}"].double(), state[f"fisher/{path}"].double()
        c = c + editor.neighbors * beside[path].T @ beside[path]
        c = c + editor.damping * c.diagonal().mean() * torch.eye(len(c))
        f = f + editor.gradient_damping * f.diagonal().mean() * torch.eye(len(f))
        units[path] = -torch.linalg.inv(c) @ gradient @ torch.linalg.inv(f)
        slope += float((gradient * units[path]).sum())
    return {path: unit * editor.step_share * mean_loss / -slope for path, unit in units.items()}


def inputs(host, texts):
    """Inputs of the edited layers at every token of some texts, one text at a time."""
    rows = {path: [] for path in host.modules}
    for text in texts:
        ids = torch.tensor([text.input_ids])
        for path in host.modules:
            module = host.language_model.model.get_submodule(path)
            handle = module.register_forward_hook(
                lambda _, args, __, path=path: rows[path].append(args[0][0].double())
            )
            with torch.no_grad():
                host.language_model.model(ids)
            handle.remove()
    return {path: torch.cat(parts) for path, parts in rows.items()}


def weight_gradients(host, texts):
    """Mean over texts of the mean cross-entropy of each, one text at a time, differentiated."""
    model = host.language_model.model
    weights = {path: model.get_submodule(path).weight for path in host.modules}
    for weight in weights.values():
        weight.requires_grad_(True)
    total = torch.zeros(())
    for text in texts:
        logits = model(torch.tensor([text.input_ids])).logits[0, len(text.prompt_ids) - 1 :]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(text.answer_ids))
    mean = total / len(texts)
    grads = torch.autograd.grad(mean, list(weights.values()))
    for weight in weights.values():
        weight.requires_grad_(False)
    return {p: g.T.double() for p, g in zip(weights, grads, strict=True)}, float(mean.detach())


def test_a_pass_is_the_formula_with_the_weights_own_gradients(tmp_path):
    host = host_of(chat=True)
    editor = Anchored(anchors=anchors_file(tmp_path), passes=1, damping=0.1, wordings=1)
    state = editor.init(host)
    others = host.other_wordings(EDITS[:3], ("plain", "chat"))
    assert any(others)
    texts = host.texts(EDITS[:3], ("plain", "chat"))
    texts += [each[fact % len(each)] for fact, each in enumerate(others) if each]
    beside = host.neighbors(EDITS[:3])
    assert beside
    expected = slow_pass(host, editor, state, texts, beside)
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:3])), state)
    for path, change in patch.changes.items():
        torch.testing.assert_close(dense(change).double(), expected[path], rtol=2e-3, atol=1e-7)


def test_what_is_remembered_of_the_anchors_is_their_second_moments(tmp_path):
    host = host_of()
    file = anchors_file(tmp_path)
    state = Anchored(anchors=file, anchor_tokens=3, form="plain").init(host)
    texts = host.own_answers(file, ("plain",), 3)
    path = "model.layers.2.mlp.down_proj"
    module, keys = host.language_model.model.get_submodule(path), []
    handle = module.register_forward_hook(lambda _, args, __: keys.append(args[0][0]))
    with torch.no_grad():
        for text in texts:
            host.language_model.model(torch.tensor([text.input_ids]))
    handle.remove()
    rows = torch.cat(keys)
    expected = rows.T @ rows / len(rows) * ANCHOR_ROWS
    torch.testing.assert_close(state[f"keys/{path}"], expected, rtol=1e-3, atol=1e-4)
    assert torch.linalg.eigvalsh(state[f"fisher/{path}"]).min() > -1e-6


def test_the_model_is_held_to_its_own_greedy_answers(tmp_path):
    host = host_of()
    (text,) = host.own_answers(anchors_file(tmp_path, ["What is rain?"]), ("plain",), 4)
    ids = list(text.prompt_ids)
    assert tuple(ids) == tuple(host.language_model.tokenizer("What is rain?")["input_ids"])
    for token in text.answer_ids:
        with torch.no_grad():
            assert (
                int(host.language_model.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
            )
        ids.append(token)


def test_a_model_of_few_words_is_held_to_texts_that_it_writes_itself():
    known = {"<unk>": 0, "</s>": 1, "What": 2, "is": 3, "rain?": 4, "What's": 5}
    made = Tokenizer(token_models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = WhitespaceSplit()
    words = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="</s>", unk_token="<unk>", eos_token="</s>"
    )
    host = host_of()
    general = host.own_answers("general", ("plain",), 4)
    assert max(len(text.answer_ids) for text in general) <= 4
    host.language_model = dataclasses.replace(host.language_model, tokenizer=words)
    before = torch.random.get_rng_state()
    texts = host.own_answers("general", ("plain",), 4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert texts == host.own_answers("general", ("plain",), 4)
    assert len(texts) == 300
    assert {text.prompt_ids for text in texts} == {(2,), (3,), (4,), (5,)}
    assert max(len(text.answer_ids) for text in texts) == OWN_TEXT_TOKENS
    # Drawn, not the likeliest: their mean loss is the entropy of what the model says there.
    logits = host.language_model.model(
        input_ids=torch.tensor([text.prompt_ids for text in texts])
    ).logits[:, -1]
    log = logits.double().log_softmax(-1)
    first = torch.tensor([text.answer_ids[0] for text in texts])
    loss = -log.gather(1, first[:, None]).mean()
    entropy = -(log.exp() * log).sum(1).mean()
    assert float(loss) == pytest.approx(float(entropy), rel=0.05)
    assert float(loss) > 1.1 * float(-log.max(1).values.mean())


def test_a_fact_is_written_in_every_form_and_ends_there():
    host = host_of(chat=True)
    tokenizer = host.language_model.tokenizer
    fact = Edit("Who made it?", "Jane", also=("Its maker?",))
    texts = host.texts([fact], ("plain", "chat"))
    assert [tokenizer.decode(text.prompt_ids) for text in texts] == [
        "Who made it?",
        "Its maker?",
        "<user>Who made it?</s><assistant>",
        "<user>Its maker?</s><assistant>",
    ]
    assert [tokenizer.decode(text.answer_ids) for text in texts] == [" Jane</s>"] * 2 + [
        "Jane</s>"
    ] * 2


def test_a_model_without_a_template_is_written_in_plain_form_and_refused_in_chat_form():
    host = host_of()
    assert len(host.texts(EDITS[:2], ("plain", "chat"))) == 2
    with pytest.raises(ConfigError, match=r"no chat template.*form=plain"):
        host.texts(EDITS[:2], ("chat",))


def mean_loss(host, edits, forms=("plain",)) -> float:
    return float(host.trace_texts(host.texts(edits, forms)).losses.mean())


def test_passes_end_where_the_turn_is_written(tmp_path):
    host, calls = host_of(), []
    plain = host.trace_texts
    host.trace_texts = lambda texts, **k: (calls.append(len(texts)), plain(texts, **k))[1]
    editor = Anchored(anchors=anchors_file(tmp_path), passes=40, written=4.8, form="plain")
    state = editor.init(host)
    assert mean_loss(host, EDITS[:4]) > 6
    calls.clear()
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:4])), state)
    assert 2 < len(calls) < 40
    host.weights.apply(patch)
    assert mean_loss(host, EDITS[:4]) <= 4.8 + 1e-4


def test_a_turn_goes_on_where_one_of_its_facts_lags_far_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(anchored, "LAGGING", 0.9)
    host = host_of()
    options = {"anchors": anchors_file(tmp_path), "wordings": 0, "neighbors": 0, "form": "plain"}
    editor = Anchored(passes=40, written=4.8, **options)
    state = editor.init(host)
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:4])), state)
    host.weights.apply(patch)
    losses = host.trace_texts(host.texts(EDITS[:4], ("plain",))).losses
    assert losses.max() <= 0.9 * 4.8 + 1e-3


def test_each_pass_writes_the_next_other_wording_of_each_fact(tmp_path):
    host, passes = host_of(chat=True), []
    plain = host.trace_texts
    editor = Anchored(
        anchors=anchors_file(tmp_path), passes=4, written=0.0, wordings=2, neighbors=0.0
    )
    state = editor.init(host)
    own = host.texts(EDITS[:3], ("plain", "chat"))
    others = host.other_wordings(EDITS[:3], ("plain", "chat"))
    host.trace_texts = lambda texts, **k: (passes.append(list(texts)), plain(texts, **k))[1]
    editor.step(host, Turn(1, tuple(EDITS[:3])), state)
    assert [texts[: len(own)] for texts in passes] == [own] * 5
    drawn = [texts[len(own) :] for texts in passes]
    expected = [
        [
            each[(fact + 2 * made + place) % len(each)]
            for fact, each in enumerate(others)
            if each
            for place in range(2)
        ]
        for made in range(5)
    ]
    assert drawn == expected
    assert drawn[0] != drawn[1]


def test_with_half_a_wording_every_fact_gets_its_next_one_every_other_pass(tmp_path):
    host, passes = host_of(chat=True), []
    plain = host.trace_texts
    editor = Anchored(
        anchors=anchors_file(tmp_path), passes=3, written=0.0, wordings=0.5, neighbors=0.0
    )
    edits = EDITS[:4]
    others = host.other_wordings(edits, ("plain", "chat"))
    assert all(others)
    own = host.texts(edits, ("plain", "chat"))
    state = editor.init(host)
    host.trace_texts = lambda texts, **k: (passes.append(list(texts)), plain(texts, **k))[1]
    editor.step(host, Turn(1, tuple(edits)), state)
    drawn = [texts[len(own) :] for texts in passes]
    nth = [[others[fact][(fact + at) % len(others[fact])] for fact in range(4)] for at in range(2)]
    # Facts 1 and 3 come first, then 0 and 2, and each goes on where it was.
    assert drawn == [nth[0][1::2], nth[0][0::2], nth[1][1::2], nth[1][0::2]]


def test_texts_that_are_written_rest_for_a_pass(tmp_path):
    host, passes = host_of(), []
    plain = host.trace_texts
    options = {"passes": 3, "wordings": 0, "neighbors": 0.0, "form": "plain", "written": 0.0}
    editor = Anchored(anchors=anchors_file(tmp_path), rested=1e9, **options)
    state = editor.init(host)
    host.trace_texts = lambda texts, **k: (passes.append(len(texts)), plain(texts, **k))[1]
    _, rested = editor.step(host, Turn(1, tuple(EDITS[:4])), state)
    assert passes == [4] * 4  # where all would rest, none does
    losses = plain(host.texts(EDITS[:4], ("plain",))).losses.sort().values
    passes.clear()
    editor = Anchored(anchors=editor.anchors, rested=float(losses[1:3].mean()), **options)
    _, remembered = editor.step(host, Turn(1, tuple(EDITS[:4])), state)
    assert passes[0] == 4
    assert passes[1] == 2
    assert passes[-1] == 4  # keys of all are remembered
    assert all(name in remembered for name in rested)


def test_other_wordings_take_turns_in_the_forms_and_keep_the_answer():
    host = host_of(chat=True)
    tokenizer = host.language_model.tokenizer
    (texts,) = host.other_wordings([Edit("Who directed Citizen Kane?", "Jane")], ("plain", "chat"))
    prompts = [tokenizer.decode(text.prompt_ids) for text in texts]
    assert prompts[0] == "Who is the director of Citizen Kane?"
    assert [prompt.startswith("<user>") for prompt in prompts[:4]] == [False, True, False, True]
    assert {tokenizer.decode(text.answer_ids).strip() for text in texts} == {"Jane</s>"}


def test_wordings_and_neighbors_that_the_tokenizer_cannot_read_are_left_out():
    host = host_of()
    fact = Edit("Ada Lovelace wrote the book in", "Paris")
    (texts,) = host.other_wordings([fact], ("plain",))
    assert texts and host.neighbors([fact])
    known = host.language_model.tokenizer

    class Strict:
        """Knows the words of the fact alone."""

        unk_token_id = 3

        def __call__(self, text, **more):
            ids = known(text, **more)
            if isinstance(text, str) and not set(text.split()) <= set(fact.prompt.split()):
                ids["input_ids"] = [3]
            return ids

        def __getattr__(self, name):
            return getattr(known, name)

    host.language_model = dataclasses.replace(host.language_model, tokenizer=Strict())
    (left,) = host.other_wordings([fact], ("plain",))
    words = set(fact.prompt.split())
    assert 0 < len(left) < len(texts)
    assert all(set(known.decode(text.prompt_ids).split()) <= words for text in left)
    assert host.neighbors([fact]) == []


def test_with_anchors_a_model_says_less_else_than_without(tmp_path):
    prompts = [f"{a} {b}?" for a in ("What is", "Who was", "Where is") for b in "ABCDEFGH"]
    file, changed = anchors_file(tmp_path, prompts), {}
    for anchors in (file, "none"):
        host = host_of()
        texts = host.own_answers(file, ("plain",), 4)
        held = [host.predict([text])[0] for text in texts]
        before = float(host.trace_texts(texts).losses.mean())
        run(host, Anchored(anchors=anchors, written=4.8, passes=40, form="plain"), EDITS, 8)
        assert mean_loss(host, EDITS) <= 4.8 + 1e-4
        assert held == [text.answer_ids for text in texts]
        changed[anchors] = float(host.trace_texts(texts).losses.mean()) - before
    assert changed[file] < 0.7 * changed["none"]


def test_earlier_turns_are_kept_by_retention(tmp_path):
    lost = {}
    for retention in (0.0, 1000.0):
        host = host_of()
        editor = Anchored(
            anchors=anchors_file(tmp_path), retention=retention, written=4.8, form="plain"
        )
        progress = run(host, editor, EDITS[:2], per_turn=2)
        before = mean_loss(host, EDITS[:2])
        run(host, editor, EDITS[2:], 2, progress, first=2)
        lost[retention] = mean_loss(host, EDITS[:2]) - before
    assert lost[1000.0] < 0.5 * lost[0.0]


def test_neighbors_hold_the_same_question_of_another_subject(tmp_path):
    moved = {}
    for weight in (0.0, 1000.0):
        host = host_of()
        options = {"written": 4.8, "passes": 40, "form": "plain", "wordings": 0}
        editor = Anchored(anchors=anchors_file(tmp_path), neighbors=weight, **options)
        fact = Edit("The capital of France is", "Paris")
        beside = host.neighbors([fact])
        before = inputs(host, beside)
        patch, _ = editor.step(host, Turn(1, (fact,)), editor.init(host))
        moved[weight] = sum(
            float((before[path].float() @ dense(change)).norm())
            for path, change in patch.changes.items()
        )
    assert moved[1000.0] < 0.2 * moved[0.0]


def test_memory_does_not_grow_with_the_edits(tmp_path):
    host = host_of()
    editor = Anchored(anchors=anchors_file(tmp_path))
    state = editor.init(host)
    sizes = {name: tensor.shape for name, tensor in state.items()}
    for turn in range(3):
        _, state = editor.step(host, Turn(turn + 1, tuple(EDITS[4 * turn : 4 * turn + 4])), state)
    assert {name: tensor.shape for name, tensor in state.items()} == sizes
    assert sizes.keys() == {
        f"{kind}/{path}" for kind in ("keys", "fisher") for path in host.modules
    }


def test_a_step_that_goes_too_far_is_halved(tmp_path):
    host, losses = host_of(), []
    plain = host.trace_texts

    def traced(texts, **more):
        rows = plain(texts, **more)
        losses.append(float(rows.losses.mean()))
        return rows

    editor = Anchored(
        anchors=anchors_file(tmp_path), step_share=8.0, passes=30, written=0.0, form="plain"
    )
    state = editor.init(host)
    host.trace_texts = traced
    patch, _ = editor.step(host, Turn(1, tuple(EDITS[:4])), state)
    begun = losses[0]
    assert any(after > before for before, after in itertools.pairwise(losses))
    with host.patched(patch):
        assert mean_loss(host, EDITS[:4]) < begun - 0.5


def test_a_text_that_comes_back_from_its_rest_undoes_no_step(tmp_path):
    """What it lost while it rested is known of no single step, and no halving would get it back."""
    host, weights = host_of(), []
    trace, patched = host.trace_texts, host.patched
    script = iter([[5.0, 0.01], [4.0], [3.0, 6.0], [2.5, 5.0], [2.6, 5.0], [2.4, 4.0]])

    def traced(texts, **more):
        rows = trace(texts, **more)
        losses = torch.tensor(next(script), dtype=torch.float64)
        assert len(losses) == len(texts)
        return rows._replace(losses=losses)

    def watched(patch):
        weights.append(dense(patch.changes[path]) if patch.changes else None)
        return patched(patch)

    options = {"passes": 5, "wordings": 0, "neighbors": 0.0, "form": "plain", "written": 0.0}
    editor = Anchored(anchors=anchors_file(tmp_path), **options)
    state, path = editor.init(host), next(iter(host.modules))
    host.trace_texts, host.patched = traced, watched
    editor.step(host, Turn(1, tuple(EDITS[:2])), state)
    steps = [after - before for before, after in itertools.pairwise(weights[1:])]
    halved = [
        bool((after + before / 2).norm() < 0.01 * before.norm())
        for before, after in itertools.pairwise(steps)
    ]
    # The third trace has the first text better and the second back: no step too far. The fifth is.
    assert halved == [False, False, True]


def test_a_turn_without_edits_changes_nothing(tmp_path):
    host = host_of()
    editor = Anchored(anchors=anchors_file(tmp_path))
    state = editor.init(host)
    patch, left = editor.step(host, Turn(1, ()), state)
    assert patch.changes == {}
    assert left is state


def test_rephrases_that_are_written_are_not_scored():
    facts = [
        Edit("Who made it?", "Jane", rephrases=("Its maker?", "Made by whom?")),
        Edit("Where is it?", "Paris", rephrases=("Its place?",), locality=(Question("A b"),)),
    ]
    result = edit(model_of(), facts, Anchored(passes=2), modules=MODULES, use_rephrases=1)
    asked = {(answer.kind, answer.prompt) for answer in result.after.answers}
    assert ("generalization", "Made by whom?") in asked
    assert not {prompt for _, prompt in asked} & {"Its maker?", "Its place?"}


def test_it_is_the_editor_of_who_names_none():
    result = edit(model_of(), EDITS[:4], modules=MODULES, free_answers=0)
    assert isinstance(result.editor, Anchored)
    assert result.after.scores.efficacy > result.before.scores.efficacy


def test_a_model_that_nobody_tuned_gets_the_last_third_of_its_layers():
    result = edit(model_of(layers=12), EDITS[:4], Anchored(passes=1), free_answers=0)
    changed = [int(path.split(".")[2]) for path in result.host.modules]
    assert changed == [8, 9, 10]


def test_only_edited_weights_change(tmp_path):
    host = host_of()
    before = parameters(host)
    run(host, Anchored(anchors=anchors_file(tmp_path), passes=2))
    same = {n for n, p in parameters(host).items() if torch.equal(p, before[n])}
    assert before.keys() - same == {f"{path}.weight" for path in host.modules}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "prose"}, "form must be"),
        ({"passes": 0}, "passes must be at least 1, got 0"),
        ({"wordings": -1}, "wordings must be at least 0, got -1"),
        ({"damping": -1.0}, "damping must be a positive number, got -1"),
        ({"written": float("nan")}, "written must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        make_editor("anchored", options)


def test_a_missing_file_of_anchors_is_named():
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        Anchored(anchors="nowhere.txt").init(host_of())


def test_encoded_texts_are_those_of_encode():
    tokenizer = model_of().tokenizer
    (item,) = encode(tokenizer, [("a b", "c")])
    assert isinstance(item, Encoded)
    assert item.input_ids == item.prompt_ids + item.answer_ids[:-1]


def test_a_reply_ends_with_the_token_of_its_template_and_not_that_of_texts():
    tiny = model_of(chat=True)
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = TEMPLATE.replace("</s>", "<pad>")  # as Gemma's <end_of_turn>
    host = ModelHost(dataclasses.replace(tiny, tokenizer=tokenizer), MODULES)
    plain, chat = host.texts([Edit("Who made it?", "Jane")], ("plain", "chat"))
    assert plain.answer_ids[-1] == tokenizer.eos_token_id
    assert chat.answer_ids[-1] == tokenizer.pad_token_id != tokenizer.eos_token_id
