"""How well facts are found for their questions, and for questions that they are not about.

    python -m benchmarks.recall          # a minute on one core, no model

Facts are the rows behind the first 5,000 of ZsRE and of CounterFact, so none that
`benchmarks.editors` scores; 20,000 are all of CounterFact, which is about time. For each threshold,
in percent: rephrased questions whose own fact matches best and enough, and unrelated questions
that any fact matches. Of a few facts many sets are taken, one after the other. Beside it the
seconds that indexing takes, and the milliseconds per question. The table goes to the standard
output, everything to ``benchmarks/results/recall.json``. The default threshold of the editor
`in-context` was read off it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import inputs, machine

SKIPPED, QUESTIONS = 5_000, 400
SIZES = (1, 20, 200, 2_000, 20_000)
THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
FILES = {"zsre": "zsre_10k.json", "counterfact": "counterfact_20k.json"}


def main() -> None:
    """Measure every number of facts that there are rows for, and print the table."""
    from ultraedit import data

    argparse.ArgumentParser(description=__doc__.split("\n", 1)[0]).parse_args()
    rows: dict[str, Any] = {}
    for kind, name in FILES.items():
        edits = data.read(f"{kind}:{inputs.data_folder() / kind / name}")
        # The largest size takes all there are: how fast it is, not how right, is the question.
        for size in SIZES:
            some = edits[SKIPPED:] if size <= len(edits) - SKIPPED else edits
            if size <= len(some):
                rows[f"{kind} {size}"] = _measure(some, size)
    path = machine.write("recall.json", {"questions": QUESTIONS, "rows": rows})
    print(f"| facts | {' | '.join(map(str, THRESHOLDS))} | index s | ms a question |")
    print(f"| --- |{' ---: |' * (len(THRESHOLDS) + 2)}")
    for name, row in rows.items():
        shown = [f"{row['found'][str(t)]:.0f} / {row['unrelated'][str(t)]:.1f}" for t in THRESHOLDS]
        times = f"{row['index_seconds']:.2f} | {1000 * row['seconds_per_question']:.2f}"
        print(f"| {name} | {' | '.join(shown)} | {times} |")
    print(f"Written to {path}")


def _measure(edits: Sequence[Any], size: int) -> dict[str, Any]:
    """Sets of so many facts, asked their own questions until there are enough of these."""
    from ultraedit.editors._wise_texts import TEXTS
    from ultraedit.recall import FactIndex

    ordinary = TEXTS
    right: list[float] = []
    wrong: list[float] = []
    indexing = asking = 0.0
    for start in range(0, max(size, QUESTIONS), size):
        facts = edits[start : start + size]
        begun = time.perf_counter()
        index = FactIndex([fact.prompt for fact in facts], ordinary)
        indexing = time.perf_counter() - begun
        begun = time.perf_counter()
        for fact in facts[:QUESTIONS]:
            for question in fact.rephrases[:1]:
                best = index.match(question, k=1, threshold=1e-6)
                own = bool(best) and facts[best[0].fact].prompt == fact.prompt
                right.append(best[0].share if own else 0.0)
            for asked in fact.locality[:1]:
                best = index.match(asked.prompt, k=1, threshold=1e-6)
                wrong.append(best[0].share if best else 0.0)
        asking += time.perf_counter() - begun
    return {
        "found": {str(t): _share(right, t) for t in THRESHOLDS},
        "unrelated": {str(t): _share(wrong, t) for t in THRESHOLDS},
        "index_seconds": indexing,
        "seconds_per_question": asking / (len(right) + len(wrong)),
    }


def _share(values: Sequence[float], threshold: float) -> float:
    """Percent of the values that reach a threshold."""
    return 100 * sum(value >= threshold for value in values) / len(values)


if __name__ == "__main__":
    main()
