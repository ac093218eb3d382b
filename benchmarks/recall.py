"""How well facts are found for their questions, and for questions that they are not about.

    python -m benchmarks.recall          # a minute on one core, no model

Facts are the rows behind the first 5,000 of ZsRE and of CounterFact, so none that
`benchmarks.editors` scores; 20,000 are all of CounterFact, which is about time. For each threshold,
in percent: rephrased questions that get their own fact first, unrelated questions that get any,
and the package's control questions that get any. Of a few facts many sets are taken, one after the
other. Each with the subjects of the file, and without any, as bare facts have it. Beside it the
seconds that indexing takes, and the milliseconds per question. The table goes to the standard
output, everything to ``benchmarks/results/recall.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import inputs, machine

SKIPPED, QUESTIONS = 5_000, 400
SIZES = (1, 20, 200, 2_000, 20_000)
THRESHOLDS = (0.45, 0.55, 0.65)
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
                rows[f"{kind} {size}"] = _measure(some, size, subjects=True)
                rows[f"{kind} {size} bare"] = _measure(some, size, subjects=False)
    path = machine.write("recall.json", {"questions": QUESTIONS, "rows": rows})
    print(f"| facts | {' | '.join(map(str, THRESHOLDS))} | index s | ms a question |")
    print(f"| --- |{' ---: |' * (len(THRESHOLDS) + 2)}")
    for name, row in rows.items():
        shown = [
            " / ".join(f"{row[part][str(t)]:.1f}" for part in ("found", "unrelated", "controls"))
            for t in THRESHOLDS
        ]
        times = f"{row['index_seconds']:.2f} | {1000 * row['seconds_per_question']:.2f}"
        print(f"| {name} | {' | '.join(shown)} | {times} |")
    print(f"Written to {path}")


def _measure(edits: Sequence[Any], size: int, *, subjects: bool) -> dict[str, Any]:
    """Sets of so many facts, asked their own questions until there are enough of these."""
    from ultraedit.data.general_questions import controls
    from ultraedit.editors.families.unrelated_texts import TEXTS
    from ultraedit.models.overlays.facts import FactLookup

    strangers = [control.prompt for control in controls()]
    counts: dict[str, dict[float, list[bool]]] = {
        part: {threshold: [] for threshold in THRESHOLDS}
        for part in ("found", "unrelated", "controls")
    }
    indexing = asking = 0.0
    asked = 0
    for start in range(0, max(size, QUESTIONS), size):
        some = edits[start : start + size]
        begun = time.perf_counter()
        given = [fact.subject for fact in some] if subjects else ()
        facts = FactLookup([fact.prompt for fact in some], TEXTS, given)
        indexing = time.perf_counter() - begun
        begun = time.perf_counter()
        for threshold in THRESHOLDS:

            def best(
                question: str, facts: FactLookup = facts, threshold: float = threshold
            ) -> list[int]:
                return [match.fact for match in facts.find(question, k=1, threshold=threshold)]

            for place, fact in enumerate(some[:QUESTIONS]):
                for question in fact.rephrases[:1]:
                    counts["found"][threshold].append(best(question) == [place])
                for question in fact.locality[:1]:
                    counts["unrelated"][threshold].append(bool(best(question.prompt)))
                asked += 2
            if size >= QUESTIONS or start < size:
                counts["controls"][threshold] += [bool(best(prompt)) for prompt in strangers]
                asked += len(strangers)
        asking += time.perf_counter() - begun
    return {
        part: {str(threshold): _percent(seen) for threshold, seen in by_threshold.items()}
        for part, by_threshold in counts.items()
    } | {"index_seconds": indexing, "seconds_per_question": asking / asked}


def _percent(values: Sequence[bool]) -> float:
    return 100 * sum(values) / len(values)


if __name__ == "__main__":
    main()
