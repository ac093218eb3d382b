"""The sample of a stream: the same for everyone who draws it, and little is held on the way."""

from __future__ import annotations

import hashlib
import json
import random

from ultraedit.core.types import Edit
from ultraedit.data.streams import FromFile, InMemory, draw


def some(count: int, prompts: int = 10**9) -> list[Edit]:
    return [Edit(f"Who leads town {n % prompts}?", f"Ada {n}", id=str(n)) for n in range(count)]


def by_sorting(edits: list[Edit], size: int, seed: int) -> list[int]:
    """The places of the edits with the smallest hashes."""

    def key(place: int) -> tuple[bytes, int]:
        edit = edits[place]
        words = f"{seed}\0{edit.id}\0{edit.prompt}\0{edit.target}"
        return hashlib.blake2b(words.encode(), digest_size=8).digest(), place

    return sorted(sorted(range(len(edits)), key=key)[:size])


def test_the_sample_is_that_of_the_smallest_hashes():
    edits = some(200)
    for size, seed in [(1, 0), (20, 0), (20, 1), (199, 5)]:
        total, panel = draw(iter(edits), size, seed)
        assert total == 200
        assert list(panel.places) == by_sorting(edits, size, seed)
        assert list(panel.edits) == [edits[place] for place in panel.places]
    assert by_sorting(edits, 20, 0) != by_sorting(edits, 20, 1)


def test_a_sample_knows_the_newest_edit_of_its_prompts_and_of_no_others():
    draws = random.Random(3)
    for _ in range(20):
        edits = some(120, draws.choice([2, 9, 40]))
        _, panel = draw(iter(edits), 15, draws.randrange(100))
        last = {edit.prompt: edit for edit in edits}
        assert panel.newest == {edit.prompt: last[edit.prompt] for edit in panel.edits}


def test_edits_that_are_the_same_in_all_words_are_told_apart_by_their_place():
    edits = [Edit("Who?", "Ada")] * 9
    _, panel = draw(iter(edits), 4, 0)
    assert panel.places == (0, 1, 2, 3)


def test_a_sample_that_is_not_smaller_than_the_stream_is_all_of_it():
    edits = some(5)
    total, panel = draw(iter(edits), 7, 0)
    assert (total, list(panel.edits), panel.newest) == (5, edits, None)


def test_only_what_is_made_so_far_is_scored():
    _, panel = draw(iter(some(100)), 10, 0)
    for count in (0, 1, 37, 100):
        made = [edit for edit, at in zip(panel.edits, panel.places, strict=True) if at < count]
        assert list(panel.made(count)) == made


def test_a_file_and_a_list_give_the_same_edits_and_the_same_sample(tmp_path):
    edits = some(50, 7)
    file = tmp_path / "facts.jsonl"
    file.write_text(
        "".join(
            f"{json.dumps({'prompt': e.prompt, 'target': e.target, 'id': e.id})}\n" for e in edits
        )
    )
    ours = FromFile.survey(str(file), limit=40, seed=4, sample=6)
    theirs = InMemory(edits[:40], 6, 4)
    assert ours.total == theirs.total == 40
    assert ours.panel == theirs.panel
    for done in (0, 1, 39, 40):
        assert list(ours.after(done)) == list(theirs.after(done)) == edits[done:40]
