"""The funnel under other thresholds, from the ledger alone: no text is read and nothing is recorded.

The verdicts of the rules keep what was measured, so they can be judged again. What the later stages said of a
document stands as long as it still passes the rules; on documents that the recorded rules kept from them they
have said nothing yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snowcoder.base import UserError
from snowcoder.funnel import Count
from snowcoder.run_verdicts import RunVerdicts
from snowcoder.verdicts import ShardVerdicts, codes

if TYPE_CHECKING:
    from pipelines.stages.rules_config import RulesConfig

PRESETS = Path("conf") / "presets"
_RULES = ("curation", "rules")
_THRESHOLDS = {"limits", "languages", "measure"}  # fields that only compare, or only measure more

NONE = Count()
_NOT_JUDGED, _NO_CODE = -2, -3  # beside -1: passed
BeforeAfter = tuple[Count, Count]


@dataclass
class WhatIf:
    """Recorded counts beside those under other thresholds.

    `reasons`: (stage, reason) -> (before, after), in stage order. After, a later stage's counts are of the
    documents that it has judged and that still pass the rules; the `admitted` ones it has yet to judge.
    """

    changes: list[str]
    left_out: list[str]  # settings of the preset that need the text: they stay as they were recorded, or off
    read: Count = NONE
    reasons: dict[tuple[str, str], BeforeAfter] = field(default_factory=dict)
    passed: BeforeAfter = (NONE, NONE)  # the rules
    kept: BeforeAfter = (NONE, NONE)  # every stage; after: of those kept before
    admitted: dict[str, Count] = field(default_factory=dict)  # by the reason that no longer holds
    rejected: dict[str, Count] = field(default_factory=dict)  # by the new reason


def what_if(
    run_dir: str | Path, overrides: Sequence[str] = (), preset: str = "", language: str | None = None
) -> WhatIf:
    """Judge a run's recorded measurements under the preset's rules, with `curation.rules.…=value` overrides on top.

    Raises UserError when a setting is not one of the rules', when an override needs the text, and when the
    verdicts were recorded under other rules than the run's config.yaml has.
    """
    from pipelines.stages.rules import rejudge

    run = RunVerdicts(run_dir)
    before = _recorded_rules(run)
    after, left_out = _wanted_rules(run, before, overrides, preset)
    result = WhatIf(list(_differences(before.model_dump(), after.model_dump())), left_out)
    for shard in run.each({"rules": None}):
        rules = shard.rules
        judged, names = codes(rejudge(rules.table, after)["reason"])
        code = np.full(shard.documents, _NOT_JUDGED)
        code[rules.rows] = judged
        _fold(result, shard, code, names, shard.is_language(language))
    order = {stage: place for place, stage in enumerate(run.stages)}
    rows = sorted(result.reasons.items(), key=lambda row: (order[row[0][0]], -row[1][0].documents, row[0][1]))
    result.reasons = dict(rows)
    return result


def _fold(
    result: WhatIf, shard: ShardVerdicts, code: np.ndarray, names: list[str], chosen: np.ndarray
) -> None:
    """Add the chosen documents of one shard; `code` is the new reason of each, -1 where it passes the rules."""
    sizes = shard.sizes

    def count(mask: np.ndarray) -> Count:
        return Count(int(mask.sum()), int(sizes[mask].sum()))

    def add(stage: str, reason: str, before: Count, after: Count) -> None:
        if before.documents or after.documents:
            result.reasons[stage, reason] = _plus(result.reasons.get((stage, reason)), (before, after))

    passes = chosen & (code == -1)
    result.read = result.read.plus(count(chosen))
    for verdicts in shard.stages:
        recorded, reasons = verdicts.reason
        at = np.full(len(sizes), _NOT_JUDGED)
        at[verdicts.rows] = recorded
        at[~chosen] = _NOT_JUDGED
        if verdicts.stage != "rules":
            for place, reason in enumerate(reasons):
                add(verdicts.stage, reason, count(at == place), count((at == place) & passes))
            continue
        passed = at == -1
        result.passed = _plus(result.passed, (count(passed), count(passes)))
        for reason in dict.fromkeys([*reasons, *names]):
            old = at == _place(reasons, reason)
            new = chosen & (code == _place(names, reason))
            add("rules", reason, count(old), count(new))
            _add(result.admitted, reason, count(old & passes))
            _add(result.rejected, reason, count(new & passed))
    last = shard.stages[-1]
    if shard.complete:
        kept = np.zeros(len(sizes), bool)
        kept[last.rows[last.passed]] = True
        kept &= chosen
        result.kept = _plus(result.kept, (count(kept), count(kept & passes)))


def _recorded_rules(run: RunVerdicts) -> RulesConfig:
    """The rules that the verdicts were made by. UserError when this program or config.yaml has others."""
    from pipelines.stages.rules import RULES_VERSION
    from snowcoder.config import load_config

    recorded = run.recorded("rules")
    if not recorded:
        raise UserError(f"{run.run_dir}: no verdicts of the rules yet; run `snowcoder curate` first")
    if recorded["version"] != RULES_VERSION:
        raise UserError(
            f"{run.run_dir}: the rules were recorded by version {recorded['version']} of them, this is version "
            f"{RULES_VERSION}; run `snowcoder curate` again"
        )
    rules = load_config(run.run_dir / "config.yaml").curation.rules
    if rules.model_dump(mode="json") != recorded["config"]:
        raise UserError(
            f"{run.run_dir}/config.yaml: its rules are not those of the verdicts; run `snowcoder curate` again"
        )
    return rules


def _wanted_rules(
    run: RunVerdicts, before: RulesConfig, overrides: Sequence[str], preset: str
) -> tuple[RulesConfig, list[str]]:
    """(The rules to judge by, what of the preset needs the text and so is left out)."""
    from snowcoder.config import load_config

    for override in overrides:
        if tuple(override.partition("=")[0].split(".")[:2]) != _RULES:
            raise UserError(
                f"--set {override}: only curation.rules.* can be judged again without the text; for the rest run "
                "`snowcoder curate`"
            )
    after, left_out = before, []
    if preset:
        wanted = load_config(_preset(preset)).curation.rules
        facts = _other_facts(before, wanted)
        after = _with(wanted, {name: getattr(before, name) for name in facts})
        left_out = facts + _unmeasured(before, after)
    if overrides:
        config = run.run_dir / "config.yaml"
        changed = load_config(config, list(overrides)).curation.rules
        needing = _other_facts(before, changed) + _unmeasured(before, changed)
        if needing:
            raise UserError(
                f"--set {' '.join(overrides)}: {needing[0]} needs the text, which `inspect` does not read; run "
                "`snowcoder curate` with it"
            )
        after = _over(after, before, changed)
    return after, left_out


def _other_facts(before: RulesConfig, after: RulesConfig) -> list[str]:
    """The settings that differ and decide a fact that the verdicts hold as it was found in the text."""
    return [
        name
        for name in type(before).model_fields
        if name not in _THRESHOLDS and _with(before, {name: getattr(after, name)}).text_key != before.text_key
    ]


def _unmeasured(before: RulesConfig, after: RulesConfig) -> list[str]:
    """The limits of `after` that compare what was not measured, each with the languages if it is not all."""
    from pipelines.stages.rules_table import GROUP_OF, THRESHOLDS

    wanting: dict[str, list[str]] = {}
    names = ["", *dict.fromkeys([*before.languages, *after.languages])]
    for language in names:
        limits, measured = after.limits_of(language), before.groups_of(language)
        for each in THRESHOLDS:
            if getattr(limits, each.limit) is not None and GROUP_OF[each.measure] not in measured:
                wanting.setdefault(each.limit, []).append(language)
    return [limit if "" in langs else f"{limit} ({', '.join(langs)})" for limit, langs in wanting.items()]


def _with(rules: RulesConfig, fields: dict[str, Any]) -> RulesConfig:
    """A changed copy, made anew: `model_copy` would take along what the old one has computed of itself."""
    return type(rules).model_validate(rules.model_dump() | fields)


def _over(under: RulesConfig, plain: RulesConfig, changed: RulesConfig) -> RulesConfig:
    """`under` with what distinguishes `changed` from `plain`."""

    def merge(base: Any, old: Any, new: Any) -> Any:
        if isinstance(new, dict) and isinstance(old, dict) and isinstance(base, dict):
            touched = {name for name in new if name not in old or new[name] != old[name]}
            return base | {name: merge(base.get(name), old.get(name), new[name]) for name in touched}
        return new

    return type(under).model_validate(merge(under.model_dump(), plain.model_dump(), changed.model_dump()))


def _preset(name: str) -> Path:
    """conf/presets/NAME.yaml, here or where the program lies. UserError with the names there are."""
    folders = (PRESETS, Path(__file__).parents[1] / PRESETS)
    for folder in folders:
        if (path := folder / f"{name}.yaml").exists():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise UserError(f"--preset {name}: no such preset; there are {', '.join(known) or 'none'}")


def _differences(before: dict[str, Any], after: dict[str, Any], above: str = "") -> list[str]:
    """What changed, as `limits.max_line: 1000 -> 2000`."""
    lines = []
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) or isinstance(new, dict):
            lines += _differences(old or {}, new or {}, f"{above}{name}.")
        elif old != new:
            lines.append(f"{above}{name}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: Any) -> str:
    text = "off" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else _NO_CODE


def _plus(sum_: BeforeAfter | None, pair: BeforeAfter) -> BeforeAfter:
    return (sum_[0].plus(pair[0]), sum_[1].plus(pair[1])) if sum_ else pair


def _add(into: dict[str, Count], reason: str, count: Count) -> None:
    if count.documents:
        into[reason] = into.get(reason, Count()).plus(count)
