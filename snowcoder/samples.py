"""Rejected documents to look at, each with the evidence against it marked in its text."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snowcoder.base import UserError
from snowcoder.documents import Documents, Place
from snowcoder.evidence import Excerpt, excerpt, spans_of
from snowcoder.explain import evidence
from snowcoder.files import write_atomically
from snowcoder.funnel import Rejected, funnel, rejected
from snowcoder.pairs import Pair, pair_of
from snowcoder.redacted import secrets_in, shown_with
from snowcoder.report_synthesis import synthetic_samples

EXCERPT = 1500  # characters of a document that are shown
PAIR_ROWS = 40  # of a pair in the report
LINE = 300  # characters


@dataclass(frozen=True)
class Sample:
    """One rejected document. `pair` only where it duplicates a document of this run that can still be read."""

    reason: str
    stage: str
    place: str
    repo: str
    path: str
    lang: str
    evidence: dict[str, Any]
    excerpt: Excerpt
    pair: Pair | None = field(default=None)

    def record(self) -> dict[str, Any]:
        """JSON-able, of bounded size; `samples/rejected.jsonl` holds these."""
        record = asdict(self)
        if self.pair:
            shown = [
                (row.left_number, row.left[:LINE], row.right_number, row.right[:LINE], row.same)
                for row in self.pair.rows[:PAIR_ROWS]
            ]
            record["pair"] = {
                "left": self.pair.left._asdict(),
                "right": self.pair.right._asdict(),
                "rows": shown,
                "more_rows": len(self.pair.rows) - len(shown),
            }
        return record


def samples(
    run_dir: Path, reasons: Sequence[str], limit: int, language: str | None = None
) -> Iterator[Sample]:
    """Up to `limit` documents of each reason, in order of shard. Texts are read again, a shard at a time.

    Secrets in them are replaced as the secrets stage replaces them, whatever the reason.
    """
    wanted = _chosen(run_dir, reasons, limit, language)
    if not wanted:
        return
    documents = Documents(run_dir)
    for shard, items in wanted.items():
        for stage in dict.fromkeys(item.stage for item in items):
            rows = [item.row for item in items if item.stage == stage]
            found = documents.read(shard, rows, stage)
            for item in items:
                if item.stage == stage:
                    yield _sample(documents, item, found.get(item.row, {}))


def write_samples(run_dir: Path, limit: int = 2) -> None:
    """RUN/samples/*.jsonl for the report: rejected documents, and generated files beside their seeds."""
    reasons = [reason for _, reason, _ in funnel(run_dir).reasons()]
    found = sorted(samples(run_dir, reasons, limit), key=lambda sample: reasons.index(sample.reason))
    _write(run_dir / "samples" / "rejected.jsonl", [sample.record() for sample in found])
    _write(run_dir / "samples" / "synthetic.jsonl", list(synthetic_samples(run_dir)))


def _chosen(
    run_dir: Path, reasons: Sequence[str], limit: int, language: str | None
) -> dict[int, list[Rejected]]:
    wanted: dict[int, list[Rejected]] = defaultdict(list)
    taken: Counter[str] = Counter()
    for item in rejected(run_dir, reasons[0] if len(reasons) == 1 else None):
        if language is not None and (item.evidence.get("lang") or "") != language:
            continue
        if item.reason in reasons and taken[item.reason] < limit:
            taken[item.reason] += 1
            wanted[item.shard].append(item)
        if all(taken[reason] >= limit for reason in reasons):
            break
    return wanted


def sample_of(documents: Documents, item: Rejected) -> Sample:
    """One rejected document, read again."""
    return _sample(documents, item, documents.read(item.shard, [item.row], item.stage).get(item.row, {}))


def _sample(documents: Documents, item: Rejected, document: dict[str, Any]) -> Sample:
    place = Place(item.shard, item.row)
    curation = documents.config.curation
    shown = evidence(item.stage, item.reason, item.evidence, curation)
    pair = None
    shown.pop("dup_of", None)
    if item.evidence.get("dup_of", -1) >= 0:  # 0 is a document too
        try:
            pair = pair_of(documents, place)
            shown["duplicate_of"] = f"{pair.right.repo} {pair.right.path}"
            shown["jaccard"] = pair.similarity
        except UserError as error:
            shown["duplicate_of"] = str(error)
    text = document.get("text") or ""
    if item.stage == "secrets":
        kind = item.reason.removeprefix("secret:")
        found = sorted(secrets_in(document, curation) or (), key=lambda secret: secret.kind != kind)
        spans = [(secret.begin, secret.end) for secret in found]
    else:
        spans = [] if pair else spans_of(item.stage, {**item.evidence, "reason": item.reason}, text, curation)
    if item.reason == "generated" and not spans:
        shown["known by"] = "its path"
    if isinstance(match := shown.pop("match", None), str) and not spans:
        shown["match"] = shown_with([], {**document, "text": match}, curation)[
            0
        ]  # else it is marked in the text
    text, spans = shown_with(spans, document, curation)
    return Sample(
        reason=item.reason,
        stage=item.stage,
        place=str(place),
        repo=document.get("repo") or "",
        path=document.get("path") or "",
        lang=item.evidence.get("lang") or "",
        evidence=shown,
        excerpt=excerpt(text or document.get("fault") or "", spans, EXCERPT),
        pair=pair,
    )


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    write_atomically(path, "\n".join(json.dumps(record) for record in records).encode())
