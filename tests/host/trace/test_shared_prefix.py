"""Texts that begin alike in one row, against the same texts by themselves."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import Encoded
from ultraedit.core.types import Edit
from ultraedit.host.distributed.shared_host import rows_within, split_with_rows
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import Trunk, shared_prefix, signals
from ultraedit.models import describe_modules

BEGINNING = "You are a helpful assistant and answer in one word. "
EDITS = (
    Edit(f"{BEGINNING}What is the native language of Danielle Darrieux?", "French"),
    Edit(f"{BEGINNING}Who wrote it?", "Jane Austen"),
    Edit("Which river flows through Vienna and Budapest?", "Danube"),
    Edit(f"{BEGINNING}Where?", "Paris, the capital"),
    Edit("Where is it?", "Paris, the capital"),
    Edit(f"{BEGINNING}Which river flows through Vienna and Budapest?", "Danube"),
)


def host_of(arch, dtype=torch.float64):
    tiny = tiny_model(arch, layers=4, dtype=dtype)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    return ModelHost(tiny, [f"layers.[2-3].{kind.kind}"])


def traced(host, texts, monkeypatch, *, shared, sampled=False):
    seen = []
    real = Trunk.shares

    def shares(trunk, items):
        seen.append(real(trunk, items))
        return seen[-1] and shared

    monkeypatch.setattr(Trunk, "shares", shares)
    with host.keeping_states():
        rows = host.trace_texts(texts, sampled=sampled)
        again = host.trace_texts(texts, sampled=sampled)
    monkeypatch.setattr(Trunk, "shares", real)
    for path, signal in rows.signals.items():
        assert torch.equal(signal.grads, again.signals[path].grads)
    return rows, seen


@pytest.mark.parametrize("together", [False, True], ids=["one-row", "several-rows"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_losses_and_gradients_are_those_of_each_text_by_itself(arch, together, monkeypatch):
    if together:  # As a card has it: rows of few texts, padded to the longest.
        monkeypatch.setitem(signals.MAX_TOKENS, "cpu", 8192)
        rows = shared_prefix.shared_rows
        monkeypatch.setattr(
            signals,
            "shared_rows",
            lambda texts, most, **given: rows(
                texts, most, **given | {"fits": lambda r: len(r) < 3}
            ),
        )
    host = host_of(arch)
    texts = host.texts(EDITS, ["plain"])
    ours, seen = traced(host, texts, monkeypatch, shared=True)
    alone, _ = traced(host, texts, monkeypatch, shared=False)
    torch.testing.assert_close(ours.losses, alone.losses)
    with host.keeping_states():
        laid = host.shared_rows(texts)
    beginning = len(host.encode([(BEGINNING, "a")])[0].prompt_ids) - 1
    for path, signal in ours.signals.items():
        other = alone.signals[path]
        # dL/dW of every text together: a beginning that is there once has all gradients.
        torch.testing.assert_close(
            signal.keys.T @ signal.grads, other.keys.T @ other.grads, rtol=1e-4, atol=1e-6
        )
        fits = shared_prefix.row_tokens(host.language_model.model) > 3 * beginning
        saved = (2 if together else 3) * (beginning - 1)
        assert len(other.keys) - len(signal.keys) >= (saved if fits else 0)
        assert seen == [True, True]
        expected = [len(text) for text in texts]
        for row in laid:  # A beginning is the first text's.
            for index in row.indices[1:]:
                expected[index] -= row.shared
        assert torch.bincount(signal.segments, minlength=len(texts)).tolist() == expected


def test_labels_that_are_drawn_are_those_of_each_text_by_itself(monkeypatch):
    host = host_of("llama")
    texts = host.texts(EDITS, ["plain"])
    ours, _ = traced(host, texts, monkeypatch, shared=True, sampled=True)
    alone, _ = traced(host, texts, monkeypatch, shared=False, sampled=True)
    torch.testing.assert_close(ours.losses, alone.losses)


def test_what_differs_in_one_row_is_never_put_there(monkeypatch):
    host = host_of("llama")
    texts = host.texts(EDITS, ["plain"])
    expected, _ = traced(host, texts, monkeypatch, shared=False)
    monkeypatch.setattr(
        shared_prefix.SharedRow, "seen", property(lambda row: torch.ones(len(row), len(row)).bool())
    )
    rows, seen = traced(host, texts, monkeypatch, shared=True)
    assert seen == [False, False]
    assert torch.equal(rows.losses, expected.losses)


def test_rows_hold_no_more_than_their_tokens_and_answers():
    beginning = tuple(range(100, 110))
    texts = [beginning + (number,) * 8 for number in range(9)] + [(1, 2, 3), beginning + (3,) * 50]
    rows, others = shared_prefix.shared_rows(texts, 40)
    assert [row.indices for row in rows] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert others == [9, 10]  # too long for any row
    rows, others = shared_prefix.shared_rows(texts, 40, fits=lambda row: len(row) <= 2)
    assert [row.indices for row in rows] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert others == [8, 9, 10]


def test_a_pass_holds_no_more_rows_than_fit():
    rows = [shared_prefix.SharedRow((at,), ((1, 2, 3),), 1) for at in range(5)]

    def at_once(*given):
        return [len(some) for some in shared_prefix.rows_together(rows, *given)]

    assert at_once(512) == [1] * 5
    assert at_once(1536) == [3, 2]
    assert at_once(1536, lambda some: len(some) < 3) == [2, 2, 1]


def test_a_token_that_is_asked_belongs_to_no_beginning():
    text = tuple(range(20))
    rows, others = shared_prefix.shared_rows([text, text], 40, ends=[9, 12])
    assert rows[0].shared == 9 and not others
    assert shared_prefix.shared_rows([text, text], 40, ends=[7, 12]) == ([], [0, 1])


def test_states_are_parted_as_they_were_joined():
    texts = ((1, 2, 3), (1, 2, 4, 5), (1, 2, 9))
    row = shared_prefix.SharedRow((0, 1, 2), texts, 2)
    states = [torch.tensor(text)[:, None] for text in texts]
    joined = row.joined(states)
    assert joined[:, 0].tolist() == row.input_ids == [1, 2, 3, 4, 5, 9]
    assert row.position_ids == [0, 1, 2, 2, 3, 2]
    assert row.owners.tolist() == [0, 0, 0, 1, 1, 2]
    assert all(map(torch.equal, row.parted(joined), states))


def test_processes_have_whole_rows_and_all_texts_once():
    texts = [Encoded((*range(5, 15), each), (each,)) for each in range(20, 90)]
    rows, _ = shared_prefix.shared_rows([text.input_ids for text in texts], 40)
    assert len(rows) > 2
    shares = split_with_rows(texts, rows, 3)
    assert sorted(index for share in shares for index in share) == list(range(len(texts)))
    assert sum(map(bool, shares)) > 1
    divided = [(row, share) for share in shares for row in rows_within(rows, share)]
    assert len(divided) == len(rows)
    for row, share in divided:
        assert row.texts == tuple(texts[share[at]].input_ids for at in row.indices)


def test_logits_of_a_row_are_within_the_budget(monkeypatch):
    monkeypatch.setattr(signals, "MAX_LOGITS", 1)
    host = host_of("llama")
    texts = [Encoded((*range(5, 15), each), (each,)) for each in (20, 21, 22)]
    with host.keeping_states():
        rows = host.trace_texts(texts)
    assert all(len(signal.keys) == 33 for signal in rows.signals.values())
