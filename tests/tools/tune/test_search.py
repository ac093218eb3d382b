"""The search itself, on candidates whose scores are made up."""

from __future__ import annotations

import pytest

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import NumericalError
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.models import find_modules
from ultraedit.tools.tune import Candidate, Rungs, Trial, front, module_sets, search
from ultraedit.tools.tune.outcome import best
from ultraedit.tools.tune.space import windows
from ultraedit.tools.tune.trials import harmonic_mean

SETS = [(f"set{n}",) for n in range(8)]
RUNGS = Rungs(25, 50, 100)


def trial(candidate, rows, score, seconds=1.0):
    return Trial(candidate, rows, score, score, score, seconds, {})


class World:
    """Set 5 at step 1.4 is best, and every row takes a tenth of a second."""

    def __init__(self, broken=()):
        self.clock = 0.0
        self.asked = []
        self.broken = broken

    def now(self):
        return self.clock

    def attempt(self, candidate, rows):
        self.clock += rows / 10
        self.asked.append((candidate, rows))
        if candidate.modules[0] in self.broken:
            raise NumericalError("the update is not finite")
        distance = abs(int(candidate.modules[0][3:]) - 5) * 0.1
        distance += abs(candidate.step - 1.4) * 0.2 + abs(candidate.ridge - 1) * 0.01
        return trial(candidate, rows, 0.9 - distance)


def test_the_search_finds_the_best_set_and_then_its_step():
    world = World()
    found = best(search(SETS, world.attempt, RUNGS))
    assert (found.candidate, found.rows) == (Candidate(("set5",), 1.4), 100)


def test_every_set_is_screened_on_few_rows_and_few_are_tried_on_all():
    world = World()
    search(SETS, world.attempt, RUNGS)
    assert [rows for _, rows in world.asked][: len(SETS)] == [25] * len(SETS)
    on_all = {candidate.modules for candidate, rows in world.asked if rows == 100}
    assert ("set5",) in on_all and len(on_all) < len(SETS) / 2


@pytest.mark.parametrize("seconds", [10, 40, 80])
def test_the_search_ends_in_time_and_leaves_time_for_what_follows(seconds):
    world = World()
    found = search(SETS, world.attempt, RUNGS, deadline=seconds, reserved=20, now=world.now)
    assert found and world.clock <= seconds - 2 + 1e-6
    if seconds >= 40:
        assert best(found).candidate.modules == ("set5",)


def test_a_candidate_whose_update_is_not_finite_is_left_out():
    world = World(broken=("set5", "set0"))
    found = search(SETS, world.attempt, RUNGS)
    assert {"set5", "set0"}.isdisjoint(each.candidate.modules[0] for each in found)
    assert best(found).candidate.modules in (("set4",), ("set6",))


def test_trials_of_an_earlier_search_are_not_made_again():
    first, again = World(), World()
    done = search(SETS, first.attempt, RUNGS)
    found = search(SETS, again.attempt, RUNGS, trials=list(done))
    assert not again.asked and found == done


def test_an_interrupted_search_leaves_its_trials():
    world, done = World(), []

    def attempt(candidate, rows):
        if len(world.asked) == 3:
            raise KeyboardInterrupt
        return world.attempt(candidate, rows)

    with pytest.raises(KeyboardInterrupt):
        search(SETS, attempt, RUNGS, trials=done)
    assert len(done) == 3


def test_the_front_holds_what_no_other_trial_beats():
    points = [(0.9, 0.1), (0.5, 0.5), (0.4, 0.4), (0.1, 0.9), (0.5, 0.3)]
    trials = [Trial(Candidate((str(n),)), 10, w, w, a, 1.0, {}) for n, (a, w) in enumerate(points)]
    assert [each.candidate.modules[0] for each in front(trials)] == ["0", "1", "3"]


def test_the_score_is_the_harmonic_mean_of_what_there_is():
    assert Trial(Candidate(("m",)), 9, 0.5, 0.25, 1.0, 1.0, {}).score == pytest.approx(3 / 7)
    assert Trial(Candidate(("m",)), 9, 0.5, None, 1.0, 1.0, {}).score == pytest.approx(2 / 3)
    assert harmonic_mean([0.0, 1.0]) == 0.0


def test_windows_end_before_the_last_layer_and_the_late_ones_come_first():
    assert windows(30)[:3] == [range(27, 29), range(25, 29), range(21, 25)]
    for layers in (1, 2, 3, 18, 32):
        found = windows(layers)
        assert found and all(0 <= n < layers for window in found for n in window)
        assert all(len(window) for window in found)
        assert layers == 1 or max(max(window) for window in found) == layers - 2


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_has_module_sets_that_are_there(arch):
    model = tiny_model(arch, layers=6).model
    sets = module_sets(model)
    assert len(sets) == len(set(sets)) >= 6
    assert all(find_modules(model, patterns) for patterns in sets)


def test_the_step_of_a_candidate_is_a_multiple_of_that_of_auto():
    options = Candidate(("m",), 1.4, 10.0).options(80)
    assert UltraEdit(**options) == UltraEdit(
        eta="auto", step_factor=1.4, ridge=10.0, expected_edits=80
    )
