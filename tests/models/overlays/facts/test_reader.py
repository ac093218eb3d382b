"""Facts in front of questions: where they match, as tokens, and without moving the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import Encoded
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Recalled
from ultraedit.evaluation.perplexity import perplexity
from ultraedit.host import trace
from ultraedit.host.host import ModelHost
from ultraedit.models import fingerprint, load, load_wise, save
from ultraedit.models.generation import generate
from ultraedit.models.overlays.facts import recall_of

FACTS = (
    ("Who leads the town of Velmora?", "Ada"),
    ("Which river flows through Vienna?", "the Danube"),
    ("In which city is the Eiffel Tower?", "Rome"),
)
VIEW = Recalled(FACTS, k=1, threshold=0.55)
ABOUT, UNRELATED = "The town of Velmora: who leads it?", "What company makes the iPhone?"


def text(lm, ids) -> str:
    return lm.tokenizer.decode(list(ids), skip_special_tokens=True)


def plain_ids(lm, texts) -> list[list[int]]:
    """Token ids without what the tokenizer puts first."""
    return lm.tokenizer(texts, add_special_tokens=False)["input_ids"]


@pytest.fixture
def host():
    return ModelHost(tiny_model(layers=3), ["layers.1.mlp.down_proj"])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_fact_is_put_in_front_of_a_question_that_it_matches_and_of_no_other(arch):
    lm = tiny_model(arch, layers=2)
    host = ModelHost(lm, None)
    about, unrelated = host.encode([(ABOUT, "Ada"), (UNRELATED, "Apple")])
    with host.patched(VIEW):
        read = recall_of(lm.model).item(about)
        assert recall_of(lm.model).item(unrelated) == unrelated
    front = [f"New Fact: {FACTS[0][0]} Ada\n", "Prompt: "]
    line = tuple(token for ids in plain_ids(lm, front) for token in ids)
    first = len(about.prompt_ids) - len(plain_ids(lm, [ABOUT])[0])
    own = about.prompt_ids
    assert read.prompt_ids == own[:first] + line + own[first:]
    assert read.answer_ids == about.answer_ids
    first_line, last_line = text(lm, read.prompt_ids).split("\n")
    assert first_line.strip() == "New Fact: Who leads the town of Velmora? Ada"
    assert last_line.split() == f"Prompt: {ABOUT}".split()


def test_the_answer_is_supervised_behind_the_question_wherever_that_is(host):
    items = host.encode([(ABOUT, "Jane Austen"), (UNRELATED, "Jane Austen")])
    fact, label = plain_ids(host.language_model, [f"New Fact: {FACTS[0][0]} Ada\n", "Prompt: "])
    by_hand = [Encoded((*fact, *label, *items[0].prompt_ids), items[0].answer_ids), items[1]]
    model = host.language_model.model
    with host.patched(VIEW):
        predicted = host.predict(items)
        logits = dict(each for i, rows in host.logits(items) for each in zip(i, rows, strict=True))
    assert predicted == trace.top_choices(model, by_hand)
    assert predicted[1] == host.predict(items)[1]
    assert [len(each) for each in predicted] == [len(item.answer_ids) for item in items]
    assert [tuple(logits[i].argmax(dim=-1).tolist()) for i in range(2)] == predicted


def test_free_answers_are_those_to_the_same_tokens(host):
    lm, asked = host.language_model, "Through Vienna, which river flows?"
    (item,) = host.encode([(asked, "the Inn")])
    plain = host.answer([asked, UNRELATED], [6, 6])
    with host.patched(VIEW):
        ids = list(recall_of(lm.model).item(item).prompt_ids)
        found = host.answer([asked, UNRELATED], [6, 6])
    for _ in range(6):
        ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert found == [text(lm, ids[-6:]).strip().splitlines()[0].strip(), plain[1]]
    assert found[0] != plain[0]
    assert plain == generate(lm, [asked, UNRELATED], max_new_tokens=[6, 6])


def test_the_best_match_stands_last_and_no_more_than_k_are_there(host):
    both = "Which river flows through Vienna, and in which city is the Eiffel Tower?"
    (item,) = host.encode([(both, "Rome")])
    for k, lines in ((1, 1), (2, 2), (3, 2)):
        with host.patched(replace(VIEW, k=k)):
            read = recall_of(host.language_model.model).item(item)
        found = text(host.language_model, read.prompt_ids).split("\n")
        assert len(found) == lines + 1
        assert found[-2] == "New Fact: In which city is the Eiffel Tower? Rome"


def test_facts_that_have_no_room_in_the_context_are_left_out(host):
    model = host.language_model.model
    (item,) = host.encode([(ABOUT, "Ada")])
    with host.patched(VIEW):
        whole = len(recall_of(model).item(item).prompt_ids) + len(item.answer_ids)
    for limit, is_there in ((whole, True), (whole - 1, False)):
        host.language_model.config.max_position_embeddings = limit
        with host.patched(VIEW):
            assert (recall_of(model).item(item) != item) == is_there
            host.answer([ABOUT], [4])


def test_ordinary_text_is_read_without_facts_and_the_model_is_as_it_was(host):
    model = host.language_model.model
    passage = host.encode([(FACTS[0][0], "Ada. Ada leads it.")])
    before, named = perplexity(host, tuple(passage)), fingerprint(model)
    with host.patched(VIEW):
        assert perplexity(host, tuple(passage)) == before
        assert fingerprint(model) != named
        seen = fingerprint(model)
    with host.patched(replace(VIEW, facts=FACTS[:2])):
        assert fingerprint(model) not in (named, seen)
    assert recall_of(model) is None
    assert fingerprint(model) == named


def test_a_trunk_reads_the_same(host):
    items = host.encode([(ABOUT, "Ada"), (UNRELATED, "Ada")])
    with host.patched(VIEW):
        plain = host.predict(items)
        host.use_trunk()
        assert host.trunk is not None
        assert host.predict(items) == plain == host.predict(items)
    assert host.predict(items)[1] == plain[1]


@pytest.fixture
def folder(host, tmp_path):
    with host.patched(VIEW):
        save(host.language_model, tmp_path / "edited")
        save(host.language_model, tmp_path / "edited")  # in the place of the older one
    return tmp_path / "edited"


def test_a_saved_model_answers_alike_and_its_base_knows_nothing(host, folder):
    prompts, limits = [ABOUT, UNRELATED], [6, 6]
    with host.patched(VIEW):
        seen, named = host.answer(prompts, limits), fingerprint(host.language_model.model)
    loaded = load(str(folder), dtype="float32", device="cpu")
    assert generate(loaded, prompts, max_new_tokens=limits) == seen
    assert fingerprint(loaded.model) == named
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    assert fingerprint(base) == fingerprint(host.language_model.model)


def test_it_is_not_edited_nor_loaded_as_if_it_were_weights(folder):
    loaded = load(str(folder), dtype="float32", device="cpu")
    with pytest.raises(ConfigError, match="facts that it reads in front of questions"):
        ModelHost(loaded, ["layers.1.mlp.down_proj"])
    with pytest.raises(ConfigError, match="holds no model that WISE has edited"):
        load_wise(folder)


def test_a_folder_that_is_damaged_or_newer_is_refused(folder):
    config, facts = folder / "in-context.json", folder / "facts.jsonl"
    about = config.read_text()
    config.write_text(about.replace('"format": 1', '"format": 2'))
    with pytest.raises(ConfigError, match="is of format 2; this version reads format 1"):
        load(str(folder))
    config.write_text(about.replace('"k"', '"n"'))
    with pytest.raises(StorageError, match=r"Cannot read .*in-context\.json"):
        load(str(folder))
    config.write_text(about)
    facts.write_text("{}\n")
    with pytest.raises(StorageError, match=r"Cannot read .*facts\.jsonl"):
        load(str(folder))


def test_the_subjects_of_facts_are_saved_with_them_and_decide(host, tmp_path):
    facts = (("The telephone was invented by", "Ada"), ("Who leads Velmora?", "Bo"))
    view = Recalled(facts, k=1, threshold=0.55, subjects=("telephone", None))
    asked = "Who came up with the telephone?"
    with host.patched(view):
        save(host.language_model, tmp_path / "edited")
        seen = host.answer([asked], [5])
    loaded = load(str(tmp_path / "edited"), dtype="float32", device="cpu")
    assert recall_of(loaded.model).view == view
    assert generate(loaded, [asked], max_new_tokens=[5]) == seen
    (item,) = host.encode([(asked, "Ada")])
    assert recall_of(loaded.model).item(item) != item
    with host.patched(replace(view, subjects=())):
        assert recall_of(host.language_model.model).item(item) == item


def test_an_encoder_is_read_from_its_folder_and_named_in_the_saved_one(host, tmp_path):
    from transformers import BertConfig, BertModel

    from ultraedit.models.embedding import load_embedder

    torch.manual_seed(0)
    tokenizer = host.language_model.tokenizer
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **sizes)).save_pretrained(
        tmp_path / "encoder"
    )
    tokenizer.save_pretrained(tmp_path / "encoder")
    source = str(tmp_path / "encoder")
    embed = load_embedder(source)
    texts = [ABOUT, UNRELATED, *(f"{n} more" for n in range(70))]
    rows = embed(texts)
    assert rows.shape == (72, 16)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(72))
    assert torch.allclose(embed([UNRELATED])[0], rows[1], atol=1e-6)
    view = replace(VIEW, embedder=source)
    (item,) = host.encode([(ABOUT, "Ada")])
    with host.patched(view):
        read = recall_of(host.language_model.model).item(item)
        save(host.language_model, tmp_path / "edited")
    assert read != item
    loaded = load(str(tmp_path / "edited"), dtype="float32", device="cpu")
    assert recall_of(loaded.model).view == view
    assert recall_of(loaded.model).item(item) == read
    with (
        pytest.raises(ConfigError, match="nowhere cannot be read as"),
        host.patched(replace(VIEW, embedder=str(tmp_path / "nowhere"))),
    ):
        pass
