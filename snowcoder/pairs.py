"""A duplicate beside the document it duplicates: how alike they are, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, NamedTuple

from snowcoder.base import UserError
from snowcoder.documents import Documents, Place
from snowcoder.redacted import shown

_DIFFED_LINES = 4000  # a file longer than this is compared up to here: difflib takes time with the square
_CONTEXT = 3  # equal lines shown around a difference


class Side(NamedTuple):
    """One document of a pair."""

    place: str
    repo: str
    path: str


class Row(NamedTuple):
    """Lines that stand beside each other, with their numbers; None where the side has none. `same`: equal."""

    left_number: int | None
    left: str
    right_number: int | None
    right: str
    same: bool


@dataclass(frozen=True)
class Pair:
    """A rejected document (left) and the one that was kept for it (right). `rows` are the differences in context.

    `estimated` is what the claim recorded; `exact` is the Jaccard similarity of the two sets of shingles, which
    that estimates.
    """

    reason: str
    left: Side
    right: Side
    estimated: float | None
    exact: float
    rows: list[Row]
    equal_lines: int

    @property
    def similarity(self) -> str:
        """Both figures in words."""
        estimated = "none" if self.estimated is None else f"{self.estimated:.3f}"
        return f"{estimated} estimated, {self.exact:.3f} exact"


def pair_of(documents: Documents, place: Place) -> Pair:
    """The document at `place` beside its owner. UserError when it is no duplicate of a document of this run."""
    from pipelines.dedup.exact import exact_jaccard

    verdict = _claim(documents, place)
    owner = Place.of(verdict["dup_of"])
    left = documents.read(place.shard, [place.row], "claim").get(place.row)
    right = documents.read(owner.shard, [owner.row], "claim").get(owner.row)
    if left is None or right is None:
        raise UserError(
            f"--pair {place}: document {owner if right is None else place} is not in the source of this run any more"
        )
    texts = left["text"] or "", right["text"] or ""
    rows, equal = side_by_side(*(shown(side, documents.config.curation) for side in (left, right)))
    return Pair(
        reason=verdict["reason"],
        left=Side(str(place), left["repo"] or "", left["path"] or ""),
        right=Side(str(owner), right["repo"] or "", right["path"] or ""),
        estimated=verdict.get("jaccard"),
        exact=exact_jaccard(*texts, documents.config.curation.dedup),
        rows=rows,
        equal_lines=equal,
    )


def side_by_side(left: str, right: str) -> tuple[list[Row], int]:
    """(Rows of the differing lines with a few equal ones around them, number of all equal lines)."""
    a, b = (text.splitlines()[:_DIFFED_LINES] for text in (left, right))
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    rows = []
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        for tag, a1, a2, b1, b2 in group:
            for i, j in zip_longest(range(a1, a2), range(b1, b2)):
                rows.append(
                    Row(
                        None if i is None else i + 1,
                        "" if i is None else a[i],
                        None if j is None else j + 1,
                        "" if j is None else b[j],
                        tag == "equal",
                    )
                )
    return rows, sum(block.size for block in matcher.get_matching_blocks())


def _claim(documents: Documents, place: Place) -> dict[str, Any]:
    known = place.shard in documents.verdicts.shards()
    found = documents.recorded(place.shard, {"claim": None}) if known else None
    claim = found.stage("claim") if found else None
    rows = claim.rows.tolist() if claim else []
    if claim is None or place.row not in rows:
        raise UserError(
            f"--pair {place}: no verdict of the claim on it; `inspect --document` says where it stopped"
        )
    verdict = claim.table.slice(rows.index(place.row), 1).to_pylist()[0]
    if verdict.get("dup_of", -1) < 0 or verdict.get("corpus"):
        raise UserError(
            f"--pair {place}: it duplicates no document of this run; --reason near_duplicate lists some"
        )
    return verdict
