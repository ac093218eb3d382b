"""Ids are unique in a run, whatever the files called theirs."""

from __future__ import annotations

from ultraedit.core.types import Edit
from ultraedit.data.streams import InMemory, named_once


def _source(*ids, sample=None):
    return InMemory([Edit(f"p{at}", "t", id=id) for at, id in enumerate(ids)], sample)


def _ids(source, done=0):
    return [edit.id for edit in source.after(done)]


def test_ids_that_are_unique_are_kept():
    source = _source("a", "b", "1")
    assert named_once(source, "f.jsonl") == (source, [])
    assert named_once(source, "f.jsonl", {"c"}) == (source, [])


def test_ids_that_clash_within_a_file_or_with_the_run_name_the_file_and_the_row():
    source, changes = named_once(_source("a", "x", "b", "x"), "f.csv", {"b"})
    assert _ids(source) == ["a", "f.csv:2", "f.csv:3", "f.csv:4"]
    assert changes == [("x", "f.csv:2"), ("b", "f.csv:3"), ("x", "f.csv:4")]
    assert [edit.id for edit in source.panel.edits] == _ids(source)


def test_a_name_that_is_taken_itself_is_counted_up():
    source, _ = named_once(
        _source("1", "f.csv:1", "2"), "f.csv", {"1", "2", "f.csv:3", "f.csv:3#2"}
    )
    assert _ids(source) == ["f.csv:1#2", "f.csv:1", "f.csv:3#3"]


def test_the_names_do_not_depend_on_where_reading_begins_and_hold_for_a_sample():
    source, _ = named_once(_source(*"aabbccde", sample=4), "f")
    assert _ids(source, 3) == _ids(source)[3:]
    places = source.panel.places
    assert [edit.id for edit in source.panel.edits] == [_ids(source)[at] for at in places]
    assert len(places) == 4
