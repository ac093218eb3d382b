"""Items made ready by a thread: in order, few ahead, errors where they belong, a clean end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from tests.tiny import tiny_model
from ultraedit.core.errors import DataError
from ultraedit.core.types import Edit, turns
from ultraedit.data.streams import Background, tokenized_turns
from ultraedit.host.host import ModelHost


def readers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "ultraedit-reader"]


class Numbers:
    """Counts up to a number, and remembers how far it was asked and whether it was closed."""

    def __init__(self, end: int, error: Exception | None = None) -> None:
        self.asked, self.closed, self._end, self._error = 0, False, end, error

    def __iter__(self):
        return self

    def __next__(self) -> int:
        if self.asked == self._end:
            raise self._error or StopIteration
        self.asked += 1
        return self.asked

    def close(self) -> None:
        self.closed = True


def test_items_come_in_their_order_and_the_thread_ends_with_them():
    numbers = Numbers(500)
    with Background(numbers) as ready:
        assert readers()
        assert list(ready) == list(range(1, 501))
    assert not readers()
    assert numbers.closed


def test_no_more_than_a_few_are_made_ahead():
    numbers = Numbers(100)
    with Background(numbers, ahead=3) as ready:
        for item in ready:
            time.sleep(0.001)
            assert numbers.asked <= item + 3
            if item == 20:
                break
        time.sleep(0.05)
        assert numbers.asked <= 23


def test_items_are_made_while_the_reader_is_at_work():
    numbers = Numbers(2)
    with Background(numbers) as ready:
        items = iter(ready)
        next(items)
        for _ in range(1000):
            if numbers.asked == 2:
                break
            time.sleep(0.005)
        assert numbers.asked == 2


def test_an_error_comes_up_behind_the_items_before_it():
    seen = []
    with (
        pytest.raises(DataError, match="row 4"),
        Background(Numbers(3, DataError("row 4"))) as ready,
    ):
        for item in ready:
            seen.append(item)
    assert seen == [1, 2, 3]
    assert not readers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_reader_that_leaves_early_ends_the_thread(error):
    numbers = Numbers(10**9)
    with pytest.raises(error), Background(numbers) as ready:
        next(iter(ready))
        raise error
    assert not readers()
    assert numbers.closed
    assert numbers.asked < 10


def test_turns_come_with_the_tokens_that_the_host_would_make():
    host = ModelHost(tiny_model("llama"), ["layers.[1].mlp.down_proj"])
    edits = [Edit(f"Who leads town {n}?", f"Ada {n}") for n in range(5)]
    found = list(tokenized_turns(turns(edits, 2, 7), host.encode))
    assert [turn.number for turn, _ in found] == [7, 8, 9]
    assert [edit for turn, _ in found for edit in turn.edits] == edits
    for turn, tokens in found:
        pairs = [(edit.prompt, edit.target) for edit in turn.edits]
        assert [tokens[pair] for pair in pairs] == host.encode(pairs)


def test_an_edit_that_is_too_long_is_named_by_its_row():
    host = ModelHost(tiny_model("llama"), ["layers.[1].mlp.down_proj"])
    edits = [Edit("Who?", "Ada"), Edit("Who?", "Bo"), Edit("Who? " * 400, "Cy")]
    with pytest.raises(DataError, match=r"^Row 1,003: The prompt .* tokens long"):
        list(tokenized_turns(turns(edits, 3), host.encode, 1000))


def test_a_host_does_not_tokenise_what_it_was_told_to_expect():
    host = ModelHost(tiny_model("llama"), ["layers.[1].mlp.down_proj"])
    pairs = [("Who leads town 1?", "Ada"), ("Who leads town 2?", "Bo")]
    items = host.encode(pairs)
    host.expect(dict(zip(pairs, items, strict=True)))
    host.language_model = replace(host.language_model, tokenizer=None)
    assert host.encode(pairs[::-1]) == items[::-1]
    with pytest.raises(TypeError):
        host.encode([*pairs, ("Who leads town 3?", "Cy")])
