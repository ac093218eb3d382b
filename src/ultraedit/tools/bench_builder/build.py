"""From files of triples to a set: read, shuffle, pair, write, check, keep or reject."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ultraedit.core.errors import DataError, StorageError, UltraEditError
from ultraedit.core.types import NullObserver, Observer
from ultraedit.data.relations.questions import Relation, load_relations, wording_fault
from ultraedit.tools.bench_builder import card
from ultraedit.tools.bench_builder.checks import Questions, faults
from ultraedit.tools.bench_builder.facts import Reject, TripleFact, merged, name_faults, reject
from ultraedit.tools.bench_builder.output import Output, claim_folder
from ultraedit.tools.bench_builder.pairing import Pair, Pool
from ultraedit.tools.bench_builder.seen import AnsweredQuestions
from ultraedit.tools.bench_builder.settings import BuildSettings, Built
from ultraedit.tools.bench_builder.shuffle import Group, Shuffle
from ultraedit.tools.bench_builder.sources import TripleFile, find_sources, sha256
from ultraedit.tools.bench_builder.triples import Triple, Unreadable
from ultraedit.tools.bench_builder.writers import Estimate, QuestionWriter, Unwritten


def build(
    settings: BuildSettings,
    writer: QuestionWriter,
    *,
    confirm: Callable[[Estimate], None] | None = None,
    observer: Observer | None = None,
) -> Built:
    """Build a set and leave it in its folder.

    The same files, settings and replies of the writer give the same bytes. Memory does not grow
    with the triples, nor with the rows: they are shuffled, paired and compared on disk, in a
    folder inside `settings.out` that is gone at the end.

    Args:
        settings: What to build.
        writer: Who writes the questions.
        confirm: Called once with what it will cost, if it costs anything; it may raise.
        observer: Receives progress updates.

    Raises:
        ConfigError: If the folder cannot be used, or the writer cannot work.
        DataError: If the triples cannot be read, or none of them makes a row.
        StorageError: If the disk does not take the set. An earlier set stays.
    """
    is_new = not settings.out.exists()
    scratch = claim_folder(settings.out)
    try:
        return _Build(settings, writer, scratch, observer or NullObserver()).run(confirm)
    except UltraEditError:
        raise
    except OSError as error:
        raise StorageError(
            f"Cannot write to {settings.out}: {error.strerror or error}. "
            f"Free some space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if is_new and not any(settings.out.iterdir()):
            settings.out.rmdir()


class _Build:
    """One build, from its files to its folder."""

    def __init__(
        self, settings: BuildSettings, writer: QuestionWriter, scratch: Path, observer: Observer
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._observer = observer
        self._relations = load_relations(settings.patterns)
        self._sources = find_sources(settings.triples, scratch)
        self._names = [source.path.name for source in self._sources]
        self._known: dict[tuple[int, str], Relation] = {}
        self._read: Counter[int] = Counter()
        self._drawn = 0
        (scratch / "shuffled").mkdir()
        self._shuffle = Shuffle(scratch / "shuffled", settings.seed)
        self._pool = Pool(scratch / "pool.jsonl")
        self._seen = AnsweredQuestions(scratch / "seen.sqlite")
        self._output = Output(scratch, settings.seed, settings.sample)

    def run(self, confirm: Callable[[Estimate], None] | None) -> Built:
        """Do all of it."""
        try:
            for number, source in enumerate(self._sources):
                self._scan(number, source)
            self._need(len(self._shuffle), "No usable triple")
            start = self._shuffle.last(self._share())
            self._hold_out(start)
            self._write(self._pairs(start), confirm)
            self._need(self._output.kept, "No row could be built")
            contents = self._card()
            self._output.finish(self._settings.out, contents, card.page(contents))
            return Built(contents, self._output.sample)
        finally:
            self._output.close()
            self._pool.close()
            self._seen.close()

    def _scan(self, number: int, source: TripleFile) -> None:
        """Put the triples of a file into the shuffle, leaving out what cannot be asked for."""
        self._observer.stage(f"Reading {source.path.name}")
        for row in source.rows(source.path):
            self._read[number] += 1
            if isinstance(row, Unreadable):
                self._reject(_unreadable(number, row.line, row.text))
                continue
            relation = self._relation(number, row.relation)
            fault = self._wording_fault(row, relation)
            if fault is not None:
                fact = _fact("", number, row, relation, source)
                self._reject(reject(fact, *fault[:1], text=fault[1]))
                continue
            subject = (row.subject or row.subject_id).casefold()
            record = json.dumps((number, *row), ensure_ascii=False, separators=(",", ":"))
            self._shuffle.add(f"{subject}\t{relation.key}", record)

    def _relation(self, number: int, name: str) -> Relation:
        known = self._known.get((number, name))
        if known is None:
            names = self._sources[number].names
            label = (names.relations.names(name) or [""])[0] if names else ""
            known = self._known[number, name] = self._relations.find(name, label)
        return known

    def _wording_fault(self, row: Triple, relation: Relation) -> tuple[str, str] | None:
        """Why nobody could ask for a triple, before anything else is known of it."""
        for question in row.questions:
            if fault := wording_fault(question):
                return "unreadable", f"the wording {question!r} {fault}"
        if self._writer.needs_wordings and not (row.questions or relation.questions):
            return "no-wording", f"the relation {relation.label!r} is not in the table"
        return None

    def _share(self) -> int:
        """How many triples are kept from being edited.

        One for each row, but no more than half of what is to spare: the other half makes up for
        rows that are rejected. At least one in twenty, or a quarter of a small input. Where they
        are fewer than the rows, each serves several.
        """
        total = len(self._shuffle)
        size = self._settings.size or total
        least = max(min(total // 20, size), min(total // 4, 50), 1)
        return max(least, min(size, (total - size * 5 // 4) // 2))

    def _hold_out(self, start: str) -> None:
        """Set the end of the random order apart for unrelated questions."""
        self._observer.stage("Holding out unrelated facts")
        for fact in self._facts(self._shuffle.groups(start=start)):
            if not self._seen.fault([fact.key], fact.answer):
                self._pool.add(fact)
                self._seen.hold_out(fact.key)
        self._need(len(self._pool), "No triple is left for unrelated questions")

    def _facts(self, groups: Iterator[Group]) -> Iterator[TripleFact]:
        """The facts of groups of triples, without those that cannot be asked for."""
        for place, records in groups:
            self._drawn += len(records)
            facts = [self._decoded(place, record) for record in records]
            fact, rejects = merged(facts)
            for each in rejects:
                self._reject(each)
            faults_of_names = name_faults(fact)
            if faults_of_names:
                self._reject(reject(fact, *faults_of_names))
            else:
                yield fact

    def _decoded(self, place: str, record: str) -> TripleFact:
        number, *values = json.loads(record)
        row = Triple._make(tuple(v) if isinstance(v, list) else v for v in values)
        return _fact(
            place, number, row, self._relation(number, row.relation), self._sources[number]
        )

    def _pairs(self, start: str) -> Iterator[Pair]:
        """Facts to edit, each with an unrelated one."""
        for fact in self._facts(self._shuffle.groups(stop=start)):
            taken = self._seen.fault([fact.key], fact.answer)
            partner = None if taken else self._pool.partner(fact)
            if partner is None:
                self._reject(reject(fact, taken or "no-unrelated"))
            else:
                yield Pair(fact, partner)

    def _write(self, pairs: Iterator[Pair], confirm: Callable[[Estimate], None] | None) -> None:
        """Have questions written until there are enough rows, never for more than are missing."""
        most = len(self._shuffle) - self._drawn
        target = most if self._settings.size is None else self._settings.size
        batch = list(islice(pairs, min(self._writer.batch, target)))
        estimate = self._writer.estimate(batch, min(target, most)) if batch else None
        if estimate is not None and confirm is not None:
            confirm(estimate)
        self._observer.stage("Writing questions", min(target, most))
        pairs = chain(batch, pairs)
        while (missing := target - self._output.kept) > 0:
            batch = list(islice(pairs, min(self._writer.batch, missing)))
            if not batch:
                return
            for pair, written in zip(batch, self._writer.write(batch), strict=True):
                self._judge(pair, written)
            self._observer.advance(self._output.kept - target + missing)

    def _judge(self, pair: Pair, written: Questions | Unwritten) -> None:
        """Keep a row, or reject it with every reason there is."""
        fact = pair.fact
        if isinstance(written, Unwritten):
            self._reject(reject(fact, written.reason, text=written.text))
            return
        wrong = faults(pair, written, self._settings.language) or self._repeats(fact, written)
        row = {
            "subject": fact.subject,
            "prompt": written.prompt,
            "rephrase_prompt": written.rephrase,
            "ans": fact.answer,
            "loc": written.unrelated,
            "loc_ans": pair.unrelated.answer,
        }
        if wrong:
            self._reject(reject(fact, *wrong, **row))
            return
        self._seen.claim((fact.key, written.prompt, written.rephrase), fact.answer)
        self._seen.hold_out(written.unrelated)
        self._output.keep(row, (fact.relation.key, fact.relation.label))

    def _repeats(self, fact: TripleFact, written: Questions) -> tuple[str, ...]:
        """What is wrong with a row beside the rows before it."""
        fault = self._seen.fault((fact.key, written.prompt, written.rephrase), fact.answer)
        if fault:
            return (fault,)
        return ("unrelated-is-edited",) if self._seen.is_edited(written.unrelated) else ()

    def _reject(self, reject: Reject) -> None:
        self._output.reject(reject, self._names)

    def _need(self, count: int, what: str) -> None:
        """End the build where nothing is left to go on with, saying why."""
        if count:
            return
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self._output.reasons.most_common(3))
        read = sum(self._read.values())
        raise DataError(
            f"{what} in {', '.join(self._names)}: {read:,} read"
            f"{'; rejected: ' + reasons if reasons else ''}. Give it more triples, or read "
            f"docs/ultraeditbench.md for what a line must have."
        )

    def _card(self) -> dict[str, Any]:
        settings, output = self._settings, self._output
        relations = sorted(output.relations.items(), key=lambda item: (-item[1], item[0]))
        return {
            "builder": f"ultraedit {version('ultraedit')}",
            "writer": dict(self._writer.describe()),
            "seed": settings.seed,
            "size": settings.size,
            "language": settings.language,
            "license": settings.license,
            "sources": [
                {"file": s.path.name, "triples": self._read[n], "sha256": sha256(s.path)}
                for n, s in enumerate(self._sources)
            ],
            "counts": {
                "triples": sum(self._read.values()),
                "kept": output.kept,
                "held_out": len(self._pool),
                "rejected": output.rejected,
                "not_drawn": len(self._shuffle) - self._drawn,
            },
            "rejected": dict(sorted(output.reasons.items(), key=lambda item: (-item[1], item[0]))),
            "splits": dict(output.splits),
            "lengths": {name: card.lengths(counts) for name, counts in output.lengths.items()},
            "relations": [
                {"id": key, "label": label, "rows": rows} for (key, label), rows in relations
            ],
        }


def _unreadable(number: int, line: int, text: str) -> Reject:
    return Reject(("unreadable",), {"source": number, "line": line, "text": text})


def _fact(
    place: str, number: int, row: Triple, relation: Relation, source: TripleFile
) -> TripleFact:
    """A triple as a fact, with names for its ids."""
    if source.names is not None:
        row = source.names.resolved(row)
    answer, *others = row.objects or ("",)
    return TripleFact(
        place=place,
        subject=row.subject,
        relation=relation,
        answer=answer,
        source=number,
        line=row.line,
        other_answers=tuple(others),
        subject_aliases=row.subject_aliases,
        answer_aliases=row.object_aliases,
        ids=tuple(filter(None, (row.subject_id, row.object_id))),
        questions=row.questions,
    )
