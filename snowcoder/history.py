"""A document's way through the stages: why is this file missing?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from snowcoder.base import UserError
from snowcoder.documents import Documents, Place
from snowcoder.explain import NO_EVIDENCE, comparisons, number, rules_hit, says
from snowcoder.funnel import Rejected
from snowcoder.rule_costs import stage_rules
from snowcoder.samples import Sample, sample_of


class Line(NamedTuple):
    """One thing a stage recorded, in cells; `against`: it is a reason to reject."""

    cells: tuple[str, ...]
    against: bool


class Step(NamedTuple):
    """What one stage said of a document. `reason` "": it passed."""

    stage: str
    reason: str
    lines: list[Line]


class History(NamedTuple):
    """A document's way through the stages, up to the one that rejected it."""

    repo: str
    path: str
    outcome: str
    steps: list[Step]
    sample: Sample | None  # of a rejected document


def history(documents: Documents, place: Place) -> History:
    """Every stage's verdict on one document. UserError when there is no such row, or its verdicts are damaged."""
    found = documents.recorded(place.shard)
    steps: list[Step] = []
    rejected: Rejected | None = None
    for verdicts in found.stages:
        at = np.searchsorted(verdicts.rows, place.row)
        if at == len(verdicts.rows) or verdicts.rows[at] != place.row:
            break
        verdict = verdicts.table.slice(int(at), 1).to_pylist()[0]
        steps.append(
            Step(verdicts.stage, verdict["reason"] or "", _lines(verdicts.stage, verdict, documents))
        )
        if verdict["reason"]:
            fields = {"lang": "", **verdict}
            if found.stage("rules"):
                code, names = found.languages
                fields["lang"] = names[code[place.row]]
            del fields["row"], fields["reason"]
            rejected = Rejected(*place, verdicts.stage, verdict["reason"], fields)
    if not steps:
        raise UserError(f"{place}: no verdict on such a document")
    if rejected:
        outcome = f"rejected by the stage {rejected.stage}, reason {rejected.reason}"
    else:
        outcome = "kept" if found.complete else "not judged to the end yet"
    document = documents.read(place.shard, [place.row]).get(place.row, {})
    sample = sample_of(documents, rejected) if rejected else None
    return History(document.get("repo") or "", document.get("path") or "", outcome, steps, sample)


def _lines(stage: str, verdict: Mapping[str, Any], documents: Documents) -> list[Line]:
    """The thresholds that apply, each with its measurement, then whatever else was recorded."""
    curation = documents.config.curation
    compared = comparisons(stage, verdict, curation)
    hit = rules_hit(stage, verdict) if stage_rules(stage) else []
    lines = [Line((each.rule, str(each)), each.hit and (not hit or each.rule in hit)) for each in compared]
    measured = {each.measure for each in compared}
    lines += [
        Line((rule, "hit"), True) for rule in hit if rule not in {each.rule for each in compared if each.hit}
    ]
    lines += [
        Line(("", f"{name} {number(value)}"), False)
        for name, value in verdict.items()
        if name not in {*NO_EVIDENCE, "match"} and name not in measured and says(value)
    ]
    return lines
