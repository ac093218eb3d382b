"""Reading ordinary text: the scores by hand, the divergence from the unedited model, the errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.types import Additive
from ultraedit.evaluation.ability import Settings, measure
from ultraedit.evaluation.ability.reading import (
    Encoded,
    endings,
    last_word,
    next_token,
    plain,
    read_passages,
    windows,
)
from ultraedit.host.host import ModelHost

WORDS = [*"abcdefghij", "river", "flows", "green", "valley", "then", "down"]


def passage(n: int) -> str:
    return " ".join(WORDS[(n + 7 * k) % len(WORDS)] for k in range(80)) + f" of {WORDS[n + 10]}."


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", layers=3, dtype=torch.float32)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "text").mkdir()
    lines = [" = Rivers = ", "", *(passage(n) for n in range(6)), " "]
    (tmp_path / "text" / "wikitext2_test.txt").write_text("\n".join(lines))
    return tmp_path


def log_probs(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model.model(torch.tensor([ids])).logits[0].double(), dim=-1)


def test_the_next_token_is_scored_and_compared_as_by_hand(tiny, root):
    host = ModelHost(tiny, ["layers.[1-2].mlp.down_proj"])
    passages = read_passages(root)
    assert len(passages) == 6
    before = {text: log_probs(tiny, tiny.tokenizer(text)["input_ids"][:256]) for text in passages}
    unmoved = next_token(tiny, passages, host.weights.unedited)
    assert unmoved.divergence == 0
    generator = torch.Generator().manual_seed(0)
    change = {
        path: torch.randn(*shape, generator=generator) * 0.3 for path, shape in host.modules.items()
    }
    host.weights.apply(Additive(change))
    right, moved = [], []
    for text in passages:
        ids = torch.tensor(tiny.tokenizer(text)["input_ids"][:256])
        now = log_probs(tiny, ids.tolist())[:-1]
        right += (now.argmax(dim=-1) == ids[1:]).tolist()
        known = before[text][:-1]
        moved += (known.exp() * (known - now)).sum(dim=-1).tolist()
    read = next_token(tiny, passages, host.weights.unedited)
    assert read.questions == len(right) == len(moved)
    assert read.score == pytest.approx(sum(right) / len(right))
    assert read.divergence == pytest.approx(sum(moved) / len(moved), rel=1e-3)
    assert read.divergence > 0.01
    assert next_token(tiny, passages).divergence is None


def test_as_many_tokens_are_read_as_were_asked_for(tiny, root):
    items = windows(tiny, read_passages(root), 150)
    assert sum(len(item.answer_ids) for item in items) == 150
    assert all(len(item.prompt_ids) == 1 for item in items)
    assert isinstance(items[0], Encoded)


def test_last_words_stand_in_their_passages_before(root):
    found = endings(read_passages(root))
    assert len(found) > 2
    for before, word in found:
        assert word in before.split()
        assert before.endswith("of")
    assert endings(["Too short to ask of short.", "Nothing new."]) == []


def test_the_last_word_is_right_where_all_of_its_tokens_are(tiny, root):
    passages = read_passages(root)
    read = last_word(tiny, passages)
    right = 0
    for before, word in endings(passages):
        ids = tiny.tokenizer(before)["input_ids"]
        answer = tiny.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        chosen = log_probs(tiny, ids + answer)[len(ids) - 1 : -1].argmax(dim=-1)
        right += chosen.tolist() == answer
    assert (read.score, read.questions) == (right / len(endings(passages)), len(endings(passages)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("It grew 5 @,@ 000 times , as said .", "It grew 5,000 times, as said."),
        ("well @-@ known ( and old ) n't", "well-known (and old)n't"),
        ('He said " yes " . It \'s his', 'He said "yes". It\'s his'),
    ],
)
def test_words_that_wikitext_sets_apart_are_joined(line, expected):
    assert plain(line) == expected


def test_they_are_tasks_like_others_but_need_no_harness(tiny, root, monkeypatch):
    monkeypatch.setattr("ultraedit.evaluation.ability.harness.require_harness", lambda: 1 / 0)
    found = measure(tiny, Settings(tasks=("last-word", "next-token"), root=root))
    assert list(found) == ["last-word", "next-token"]
    assert found["next-token"].local and found["next-token"].metric == "acc"
    with pytest.raises(ConfigError, match="next-token needs --data-root"):
        measure(tiny, Settings(tasks=("next-token",)))
    with pytest.raises(DataError, match=r"need ordinary text in .*wikitext2_test\.txt"):
        measure(tiny, Settings(tasks=("next-token",), root=root / "text"))
