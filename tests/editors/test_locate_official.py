"""MEMIT and AlphaEdit by ``protocol=official`` are the released algorithms, to 1e-4."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of
from tests.editors.test_memit import dense
from tests.naive.memit import alphaedit_solution, memit_solution, naive_turn
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import SecondMoment, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.families.remembered_texts import unpack_texts

TURN = Turn(1, tuple(EDITS[:3]))
SEARCH = {"steps": 6, "lr": 0.3, "clamp": 2.0, "contexts": 2, "kl": 3.0, "weight_decay": 0.1}
OPTIONS = {
    "memit": SEARCH | {"ridge": 0.5},
    "alphaedit": SEARCH | {"ridge": 1e-2, "threshold": 0.5},
}


def host_with_moments(name):
    """A float64 host whose second moments are of full rank, over few tokens."""
    host = host_of(name, dtype=torch.float64)
    drawn = torch.Generator().manual_seed(0)
    moments = {}
    for path, shape in host.modules.items():
        rows = torch.randn(3 * shape.d_in, shape.d_in, generator=drawn) * torch.linspace(
            0.2, 2.0, shape.d_in
        )
        moments[path] = SecondMoment(rows.T @ rows / len(rows), len(rows), "a made-up text")
    host.second_moment = moments.__getitem__
    return host, moments


@pytest.mark.parametrize("name", OPTIONS)
def test_the_official_protocol_is_the_released_algorithm(name):
    host, moments = host_with_moments(name)
    editor = make_editor(name, OPTIONS[name] | {"protocol": "official"})
    state = editor.init(host)
    patch, _ = editor.step(host, TURN, state)
    numbers = {host.layer_number(path): path for path in host.modules}
    by_number = {number: moments[path].moment for number, path in numbers.items()}
    if name == "memit":
        solve = memit_solution(by_number, editor.ridge)
    else:
        solve = alphaedit_solution(by_number, editor.threshold, editor.ridge)
    lm = host.language_model
    expected = naive_turn(
        lm.model,
        lm.tokenizer,
        sorted(numbers),
        TURN.edits,
        unpack_texts(state["contexts"]),
        editor.search,
        solve,
    )
    ours = make_editor(name, OPTIONS[name])
    other, _ = ours.step(host, TURN, ours.init(host))
    for number, path in numbers.items():
        wanted = expected[number].T
        size = float(wanted.norm())
        assert float((dense(patch.changes[path]).double() - wanted).norm()) < 1e-4 * size
        # The paper's protocol is told apart from it.
        assert float((dense(other.changes[path]).double() - wanted).norm()) > 1e-2 * size


def test_a_short_text_is_refused_where_its_moment_is_taken_as_it_is():
    host, moments = host_with_moments("memit")
    for path, second in moments.items():
        rows = torch.linalg.cholesky(second.moment)[:, :5]
        moments[path] = second._replace(moment=rows @ rows.T, tokens=5)
    editor = make_editor("memit", OPTIONS["memit"] | {"protocol": "official"})
    with pytest.raises(ConfigError, match=r"over 5 tokens of a made-up text is singular in 48 dim"):
        editor.step(host, TURN, editor.init(host))
    plain = make_editor("memit", OPTIONS["memit"])
    patch, _ = plain.step(host, TURN, plain.init(host))
    assert all(torch.isfinite(dense(change)).all() for change in patch.changes.values())


def test_alphaedit_blocks_as_many_directions_as_the_moment_says():
    host, moments = host_with_moments("alphaedit")
    for path, second in moments.items():
        moments[path] = second._replace(tokens=30)
    blocked = {}
    for protocol in ("paper", "official"):
        editor = make_editor("alphaedit", OPTIONS["alphaedit"] | {"protocol": protocol})
        state = editor.init(host)
        blocked[protocol] = {path: state[f"{path}/blocked"].shape[1] for path in moments}
    for path, second in moments.items():
        above = int((torch.linalg.eigvalsh(second.moment.double()) >= 0.5).sum())
        assert blocked["official"][path] == above > 3 == blocked["paper"][path]
