"""RECT and PRUNE: what they make of another editor's changes."""

from __future__ import annotations

import math

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of, parameters, run
from tests.editors.test_memit import dense, random
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.linalg import singular_triplets_above
from ultraedit.core.types import Edit, ModuleShape, Turn, ViewingEditor
from ultraedit.editors import base_of, make_editor, name_of
from ultraedit.editors.prune import PRUNE, largest_singular_value
from ultraedit.editors.rect import RECT, largest_relative
from ultraedit.editors.ultraedit import UltraEdit

STRONG = {"base": "ultraedit", "base_options": {"eta": "auto", "alpha": 2.0}}
TURN = Turn(1, tuple(EDITS))


@pytest.mark.parametrize("keep", [0.2, 0.35, 1.0])
def test_rect_keeps_exactly_the_share_that_is_largest_beside_the_weight(keep):
    change, weight = random(7, 9), random(7, 9, seed=1)
    weight[0, 0] = 0.0
    found = largest_relative(change, weight, keep)
    kept = found != 0
    assert int(kept.sum()) == math.ceil(keep * 63)
    assert torch.equal(found[kept], change[kept])
    relative = change.abs() / weight.abs().clamp(min=1e-8)
    if keep < 1:
        assert relative[kept].min() > relative[~kept].max()


def test_rects_turn_is_its_bases_with_the_rest_dropped():
    host = host_of("ultraedit")
    whole, state = UltraEdit(eta="auto", alpha=2.0).step(
        host, TURN, UltraEdit(eta="auto", alpha=2.0).init(host)
    )
    editor = RECT(**STRONG)
    assert editor.keep == 0.2
    patch, wrapped = editor.step(host, TURN, editor.init(host))
    for path, change in patch.changes.items():
        expected = largest_relative(dense(whole.changes[path]), host.weight(path), 0.2)
        assert torch.equal(change, expected)
    assert {name.removeprefix("base/") for name in wrapped} == set(state)
    assert all(name.startswith("base/") for name in wrapped)


def test_rect_keeps_forty_percent_after_alphaedits_repository():
    assert RECT(**STRONG, protocol="alphaedit-repo").keep == 0.4
    assert RECT(**STRONG, protocol="alphaedit-repo", keep=0.1).keep == 0.1


class FakeHost:
    """A host whose one layer has been changed already."""

    def __init__(self, size):
        self.modules = {"layer": ModuleShape(12, 8)}
        self.base = random(12, 8)
        self.base *= 3.0 / torch.linalg.matrix_norm(self.base, 2)  # largest singular value 3
        left, _ = torch.linalg.qr(random(12, 8, seed=1))
        right, _ = torch.linalg.qr(random(8, 8, seed=2))
        self.values = torch.linspace(0.5, size, 8, dtype=torch.float64)
        self._change = (left * self.values) @ right.T

    def change(self, path):
        return self._change

    def weight(self, path):
        return self.base + self._change


def viewed(editor, host):
    change = editor.view(host, {}).changes.get("layer")
    return host.weight("layer") + (0 if change is None else dense(change))


def test_prune_is_the_identity_where_no_singular_value_is_above_the_unedited_ones():
    assert PRUNE(**STRONG).view(FakeHost(2.9), {}).changes == {}
    host = FakeHost(2.9)
    host._change = host._change * 0.999
    assert float(host._change.norm()) > 3  # not for its size alone
    assert PRUNE(**STRONG).view(host, {}).changes == {}


@pytest.mark.parametrize("alpha", [math.e, 2.0, 1.5])
def test_pruned_weights_have_the_singular_values_of_the_paper(alpha):
    host = FakeHost(20.0)
    total = viewed(PRUNE(**STRONG, alpha=alpha), host) - host.base
    restrained = torch.log(host.values / 3) / math.log(alpha) + 3
    expected = torch.where(host.values > 3, torch.minimum(restrained, host.values), host.values)
    assert int((host.values > 3).sum()) >= 5
    torch.testing.assert_close(
        torch.linalg.svdvals(total), expected.sort(descending=True).values, rtol=1e-6, atol=1e-6
    )


def test_linear_restraint_halves_the_way_to_the_limit():
    host = FakeHost(20.0)
    total = viewed(PRUNE(**STRONG, restraint="linear"), host) - host.base
    expected = torch.where(host.values > 3, (host.values + 3) / 2, host.values)
    torch.testing.assert_close(
        torch.linalg.svdvals(total), expected.sort(descending=True).values, rtol=1e-6, atol=1e-6
    )


def test_prune_never_makes_a_singular_value_larger():
    host = FakeHost(4.0)
    host.base *= 0.1 / 3  # s1 = 0.1 < 1 / ln 1.2: the logarithm alone would amplify
    total = viewed(PRUNE(**STRONG, alpha=1.2), host) - host.base
    assert bool((torch.linalg.svdvals(total) <= host.values.flip(0) + 1e-9).all())


def test_after_alphaedits_repository_the_restrained_change_comes_on_top():
    host = FakeHost(20.0)
    found = viewed(PRUNE(**STRONG, protocol="alphaedit-repo"), host)
    left, values, right = torch.linalg.svd(host._change, full_matrices=False)
    restrained = torch.where(values > 3, torch.log(values / 3) + 3, values)
    pruned = (left * restrained) @ right
    torch.testing.assert_close(found, host.base + host._change + pruned, rtol=1e-6, atol=1e-6)


def test_what_prune_lays_over_the_model_is_not_fed_back():
    host, editor = (
        host_of("ultraedit"),
        PRUNE(base="ultraedit", base_options={"eta": "auto", "alpha": 300.0}),
    )
    progress = run(host, editor)
    edited = parameters(host)
    assert isinstance(editor, ViewingEditor)
    with host.viewed(editor, progress.state):
        inside = parameters(host)
        for path in host.modules:
            limit = largest_singular_value(host.weight(path) - host.change(path))
    assert any(not torch.equal(weight, inside[name]) for name, weight in edited.items())
    assert limit > 0
    assert all(torch.equal(weight, edited[name]) for name, weight in parameters(host).items())
    with host.viewed(UltraEdit(), {}):
        assert all(torch.equal(w, edited[name]) for name, w in parameters(host).items())


def test_triplets_above_a_limit_rebuild_that_part_of_a_matrix():
    for shape in ((12, 8), (8, 12)):
        matrix = random(*shape)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        least = float(values[3:5].mean())
        found = singular_triplets_above(matrix, least)
        expected = (left[:, :4] * values[:4]) @ right[:4]
        torch.testing.assert_close((found[0] * found[1]) @ found[2], expected)
        assert largest_singular_value(matrix) == pytest.approx(float(values[0]))


def test_options_of_the_base_are_given_after_a_dot():
    editor = make_editor("rect", {"base.eta": "0.5", "base": "ultraedit", "keep": "0.3"})
    assert editor.keep == 0.3
    assert editor.inner == UltraEdit(eta=0.5)
    with pytest.raises(ConfigError, match="memit has no option 'eta'"):
        make_editor("rect", {"base.eta": "0.5"})


def test_a_wrapper_takes_the_precision_and_the_demands_of_its_base():
    assert make_editor("rect", {"base": "ultraedit", "base.master": "model"}).master == "model"
    assert make_editor("prune", {}).master == "float32"
    with pytest.raises(DataError, match="1 of 1 have none"):
        make_editor("prune", {}).check([Edit("Who?", "Ada", id="a")])
    make_editor("prune", {"base": "ultraedit"}).check([Edit("Who?", "Ada", id="a")])


def test_the_base_of_a_wrapper_is_known_by_name():
    assert base_of("rect", {}) == "memit"
    assert base_of("prune", {"base": "alphaedit"}) == "alphaedit"
    assert base_of("ultraedit", {}) is None
    assert name_of(make_editor("rect", {})) == "rect"
    with pytest.raises(ConfigError, match="Unknown editor 'memitt'"):
        base_of("rect", {"base": "memitt"})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "rect",
            {"base": "prune"},
            "base must be an editor that itself changes weights, not prune",
        ),
        ("rect", {"keep": 0.0}, "keep must be above 0 and at most 1, got 0.0"),
        ("prune", {"alpha": 1.0}, "alpha must be a number above 1, got 1.0"),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_editor(name, options)


def test_a_wrapper_says_what_its_base_says():
    host = host_of("memit")
    editor = make_editor("rect", {"base.contexts": 0})
    assert "statistics" in editor.remarks(host, editor.init(host))
    assert make_editor("rect", {"base": "ultraedit"}).remarks(host, {}) == {}
