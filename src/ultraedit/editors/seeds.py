"""One seed for a run, and from it one for each use: `--seed` reaches whatever is drawn.

An editor that draws has an option for its seed, which `resolution.resolve` fills in with that of
the run. What is drawn once per turn, shard, edit or epoch is drawn from a generator of its own, so
that a run which is resumed or made again from the middle draws the same.
"""

from __future__ import annotations

OPTIONS = ("seed", "normalise_seed")
"""Options of editors that are seeds."""

APART = 1_000_003
"""What two runs' seeds are apart in the numbers of their draws: a prime above any of these."""

STATES = 2**63
"""How many seeds torch takes; Python's generators take no sign."""


def derived(seed: int, number: int) -> int:
    """Seed of the draw of one turn, shard, edit or epoch.

    Args:
        seed: The run's.
        number: Which draw it is, from 0.

    Returns:
        A number that `torch.Generator.manual_seed` and `random.Random` take, from 0.
    """
    return (seed * APART + number) % STATES
