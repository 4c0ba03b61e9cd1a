"""Why a document was rejected, in measurements beside their thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snowcoder.rule_costs import rule_of, stage_rules

if TYPE_CHECKING:
    from snowcoder.config import CurationConfig

NO_EVIDENCE = {"row", "reason", "hits", "lang", "size", "edits", "header_begin", "header_end", "corpus"}


class Compared(NamedTuple):
    """One measurement and the limit that a rule sets it in this document's language; `hit`: it is beyond."""

    rule: str
    measure: str
    value: float | None
    side: str  # "min" or "max"
    limit: float
    hit: bool

    def __str__(self) -> str:
        sign = ("<" if self.side == "min" else ">") if self.hit else ("≥" if self.side == "min" else "≤")
        return f"{self.measure} {number(self.value)} {sign} {number(self.limit)}"


def comparisons(stage: str, verdict: Mapping[str, Any], curation: CurationConfig) -> list[Compared]:
    """The thresholds that apply to a verdict, in the order of the rules; those switched off are left out."""
    lang = verdict.get("lang") or ""
    if stage == "rules":
        from pipelines.stages.rules import THRESHOLDS

        limits = curation.rules.limits_of(lang)
        compared = (
            _compare(
                each.rule, each.measure, verdict.get(each.measure), each.side, getattr(limits, each.limit)
            )
            for each in THRESHOLDS
        )
        return [each for each in compared if each is not None]
    if stage == "syntax" and curation.syntax is not None:
        found = _compare(
            "syntax", "error_share", verdict.get("error_share"), "max", curation.syntax.limit(lang)
        )
        return [found] if found else []
    return []


def rules_hit(stage: str, verdict: Mapping[str, Any]) -> list[str]:
    """All rules of a verdict's bitmap by name; where there is no bitmap, the reason."""
    names, hits = stage_rules(stage), verdict.get("hits")
    if names and hits is not None:
        return [name for place, name in enumerate(names) if hits >> place & 1]
    return [verdict["reason"]] if verdict.get("reason") else []


def evidence(stage: str, reason: str, verdict: Mapping[str, Any], curation: CurationConfig) -> dict[str, Any]:
    """What a stage recorded against a document, by name: of the rules only what the reason rests on."""
    rule = rule_of(reason)
    if stage == "rules":
        shown: dict[str, Any] = {
            each.measure: str(each)[len(each.measure) + 1 :]
            for each in comparisons(stage, verdict, curation)
            if each.rule == rule and each.hit
        }
        others = [name for name in rules_hit(stage, verdict) if name != rule]
        return shown | ({"also hit": ", ".join(others)} if others else {})
    shown = {
        name: number(value) if isinstance(value, float) else value
        for name, value in verdict.items()
        if name not in NO_EVIDENCE and value and says(value)
    }
    for each in comparisons(stage, verdict, curation):
        shown[each.measure] = str(each)[len(each.measure) + 1 :]
    others = [name for name in rules_hit(stage, verdict) if name != rule]
    return shown | ({"also hit": ", ".join(others)} if others else {})


def number(value: Any) -> str:
    """A measurement for people: "1,841", "0.231", "none"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    return (
        f"{value:,.0f}"
        if float(value).is_integer()
        else f"{value:,.3g}"
        if abs(value) < 1000
        else f"{value:,.1f}"
    )


def _compare(rule: str, measure: str, value: Any, side: str, limit: Any) -> Compared | None:
    if limit is None:
        return None
    bound = float(np.float32(limit))  # as the rules compare: with what a verdict can hold
    beyond = value is not None and (value > bound if side == "max" else value < bound)
    return Compared(rule, measure, value, side, limit, bool(beyond))


def says(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))
