"""What other editors keep in memory: counted, and compared with what they do keep."""

from __future__ import annotations

import pytest

from tests.editors.cases import CASES
from tests.editors.test_contract import EDITS, host_of, run
from ultraedit.core.types import ModuleShape
from ultraedit.editors import make_editor
from ultraedit.editors.families.memory_shards import MemoryStore, most_memories

SIZE = 48 * 32
SHAPES = [ModuleShape(48, 32)]


@pytest.mark.parametrize("retrieve", [True, False])
@pytest.mark.parametrize(("save", "merge"), [(2, 2), (2, 4), (2, 6)])
def test_the_most_memories_of_a_run_are_those_that_a_run_has(save, merge, retrieve):
    store, most = MemoryStore(), 0
    for edits in range(1, 31):
        if edits % save == 0:
            store.shards.append(None)
        most = max(most, len(store.shards))
        if edits % merge == 0:
            count = merge // save + bool(not retrieve and len(store.shards) > merge // save)
            store.shards = [*store.shards[:-count], None]
        assert most_memories(edits, save, merge, retrieve=retrieve) == most, edits


def test_wise_keeps_a_matrix_per_closed_memory():
    options = CASES["wise"] | {"save_freq": 4, "merge_freq": 8, "n_iter": 1}
    editor = make_editor("wise", options)
    host = host_of("wise")
    state = run(host, editor, EDITS[:12]).state
    kept = sum(t.numel() * t.element_size() for n, t in state.items() if n.startswith("memory/"))
    planned = editor.extra_memory(list(host.modules.values()), edits=12, itemsize=2)
    assert planned["closed memories, at most 2"] == kept == 2 * 4 * SIZE
    assert planned["all memories while the model is asked"] == 3 * 2 * SIZE


def test_without_a_number_of_edits_the_growth_is_said_per_memory():
    planned = make_editor("wise", {}).extra_memory(SHAPES, itemsize=2)
    assert planned["each closed memory, one per 1,000 edits"] == 4 * SIZE
    assert planned["its copy while the model is asked"] == 2 * SIZE


@pytest.mark.parametrize("name", ["alphaedit", "ultraedit"])
def test_what_grows_in_a_state_is_counted(name):
    options = {"retention": 0.5} if name == "ultraedit" else {}
    editor = make_editor(name, CASES[name] | options)
    host = host_of(name)
    state = run(host, editor).state
    kept = sum(
        t.numel() * t.element_size()
        for n, t in state.items()
        if n.startswith("past/") or n.endswith("/keys")
    )
    planned = editor.extra_memory(list(host.modules.values()), edits=len(EDITS))
    (counted,) = (size for what, size in planned.items() if what.startswith("key"))
    assert counted == kept > 0
