"""What `snowcoder inspect` prints of a run: the funnel, what every rule does and costs, and what other limits do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from snowcoder.base import UserError
from snowcoder.evidence import visible
from snowcoder.files import write_atomically
from snowcoder.funnel import Count, funnel, total
from snowcoder.rule_costs import RuleCosts, rule_costs
from snowcoder.samples import write_samples

if TYPE_CHECKING:
    from snowcoder.run import Run

__all__ = ["print_funnel", "print_rules", "print_what_if", "write_kept", "write_samples"]

_LISTED = 30  # rules and pairs that are named in one line


def print_funnel(run_dir: Path) -> None:
    """Read -> each reason -> kept, in documents and bytes."""
    found = funnel(run_dir)
    read, kept, pending = (total(counts) for counts in (found.read, found.kept, found.pending))
    _print_funnel(Console(), "Funnel", read, found.reasons(), kept, pending, found.violations)


def print_rules(run_dir: Path, language: str | None = None) -> None:
    """The funnel; every rule that fires: how often, first, alone, at what cost; which never do, or always together.

    Raises UserError when no document of the language was read.
    """
    found = rule_costs(run_dir, language)
    console = Console()
    if not console.is_terminal:  # a pipe or a job's log: names of rules stay whole
        console = Console(width=120)
    if language is not None and language not in found.languages:
        known = ", ".join(name or '""' for name, _ in found.languages.most_common(_LISTED))
        raise UserError(f"--language {language}: no document of it was read; there are {known or 'none yet'}")
    title = "Funnel" if language is None else f"Funnel, {language or 'unknown language'}"
    _print_funnel(console, title, found.read, found.reasons, found.kept, found.pending, found.violations)
    if not found.rules:
        return
    table = _table("Rules")
    table.add_column("rule", overflow="fold")
    for name in ("hits", "%", "MB", "% bytes", "first", "alone"):
        table.add_column(name, justify="right")
    table.add_column("group")
    table.add_column("MB/s", justify="right")
    stage = ""
    for row in found.fired:
        if row.stage != stage:
            stage = row.stage
            table.add_row(Text(stage, style="bold"), end_section=False)
        table.add_row(
            Text(f"  {visible(row.rule)}"),
            f"{row.hits.documents:,}",
            _percent(row.hits.documents, found.read.documents),
            f"{row.hits.bytes / 1e6:,.2f}",
            _percent(row.hits.bytes, found.read.bytes),
            f"{row.first.documents:,}",
            f"{row.alone.documents:,}",
            row.group,
            _speed(found, row.stage, row.group),
        )
    console.print(table)
    console.print(
        "hits: documents a rule fires on; first: it is their recorded reason; alone: no other rule of the stage fires. "
        "Shares are of all documents and bytes read.",
        style="dim",
        markup=False,
    )
    _print_costs(console, found)
    never = [rule if stage == "rules" else f"{stage}:{rule}" for stage, rule in found.never]
    if found.off:
        console.print(f"switched off ({len(found.off)}): {_listed(found.off)}", markup=False, highlight=False)
    console.print(f"never fire ({len(never)}): {_listed(never)}", markup=False, highlight=False)
    together = [f"{' = '.join(pair.rules)} ({pair.both:,} of {pair.either:,})" for pair in found.together]
    console.print(
        f"always fire together ({len(together)}): {_listed(together)}", markup=False, highlight=False
    )
    for stage in found.unnamed:
        console.print(
            f"{stage}: judged by another version of this program, so only its reasons are known, not all hits",
            style="yellow",
            markup=False,
        )


def _print_funnel(
    console: Console,
    title: str,
    read: Count,
    reasons: Sequence[tuple[str, str, Count]],
    kept: Count,
    pending: Count,
    violations: Sequence[object],
) -> None:
    table = _table(title)
    for name in ("stage", "reason"):
        table.add_column(name)
    for name in ("documents", "MB", "share"):
        table.add_column(name, justify="right")
    table.add_row("", "read", *_cells(read, read))
    for stage, reason, count in reasons:
        table.add_row(stage, visible(reason), *_cells(count, read, sign="-"))
    if pending.documents:
        table.add_row("", "not judged to the end", *_cells(pending, read))
    table.add_row("", "kept", *_cells(kept, read), style="bold")
    console.print(table)
    for violation in violations:
        console.print(f"ACCOUNTING {violation}", style="red", markup=False)


def _print_costs(console: Console, found: RuleCosts) -> None:
    table = _table("Cost")
    table.add_column("stage, group of rules")
    for name in ("judged MB", "processor s", "share", "MB/s"):
        table.add_column(name, justify="right")
    seconds = sum(cost.seconds for cost in found.costs)
    for cost in found.costs:
        judged = f"{cost.judged.bytes / 1e6:,.1f}"
        share = _percent(cost.seconds, seconds)
        table.add_row(
            Text(cost.stage, style="bold"), judged, f"{cost.seconds:,.2f}", share, _speed(found, cost.stage)
        )
        for group, spent in sorted(cost.groups.items(), key=lambda item: -item[1]):
            share = _percent(spent, seconds)
            table.add_row(f"  {group}", "", f"{spent:,.2f}", share, _speed(found, cost.stage, group))
    console.print(table)


def print_what_if(
    run_dir: Path, overrides: Sequence[str], preset: str = "", language: str | None = None
) -> None:
    """The funnel as recorded beside the one under other thresholds, from the ledger alone."""
    from snowcoder.what_if import what_if

    found = what_if(run_dir, overrides, preset, language)
    console = Console()
    for line in found.changes[:_LISTED]:
        console.print(f"curation.rules.{line}", markup=False, highlight=False)
    if len(found.changes) > _LISTED:
        console.print(f"… {len(found.changes) - _LISTED} more differences", style="dim")
    if not found.changes:
        console.print("nothing changes")
    if found.left_out:
        console.print(
            f"left out, for they need the text ({len(found.left_out)}): {_listed(found.left_out)}",
            style="yellow",
            markup=False,
        )
    table = _table("What if")
    for name in ("stage", "reason"):
        table.add_column(name)
    for name in ("recorded", "then", "difference", "MB recorded", "MB then"):
        table.add_column(name, justify="right")
    table.add_row(
        "",
        "read",
        f"{found.read.documents:,}",
        f"{found.read.documents:,}",
        "",
        *[f"{found.read.bytes / 1e6:,.1f}"] * 2,
    )
    rows = [*found.reasons.items()]
    rules = [(name, pair) for (stage, name), pair in rows if stage == "rules"]
    later = [(stage, name, pair) for (stage, name), pair in rows if stage != "rules"]
    for name, pair in rules:
        table.add_row("rules", visible(name), *_change(pair))
    table.add_row("", "pass the rules", *_change(found.passed), style="bold", end_section=True)
    for stage, name, pair in later:
        table.add_row(stage, visible(name), *_change(pair))
    table.add_row("", "kept", *_change(found.kept), style="bold")
    console.print(table)
    admitted, rejected = _sum(found.admitted), _sum(found.rejected)
    console.print(
        f"newly admitted: {admitted.documents:,} documents, {admitted.bytes / 1e6:,.1f} MB. They would still have to "
        "pass the later stages, which have not judged them: they are in no count below the rules.",
        markup=False,
    )
    gone = found.kept[0].documents - found.kept[1].documents
    console.print(
        f"newly rejected: {rejected.documents:,} documents, {rejected.bytes / 1e6:,.1f} MB. Of the documents kept "
        f"before, {gone:,} go; a duplicate of one of them may be kept in its place.",
        markup=False,
    )


def write_kept(run: Run, directory: Path) -> None:
    """The kept documents of a judged run, one Parquet file a shard."""
    from pipelines.curation import kept_documents

    for shard in run.corpus.shards:
        sink = pa.BufferOutputStream()
        table = pa.concat_tables(kept_documents(shard, run.corpus.curation)).drop_columns(["fault"])
        pq.write_table(table, sink, compression="zstd")
        write_atomically(directory / f"{shard.shard:08d}.parquet", sink.getvalue())


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left")


def _cells(count: Count, read: Count, sign: str = "") -> tuple[str, str, str]:
    return (
        f"{sign}{count.documents:,}",
        f"{sign}{count.bytes / 1e6:,.1f}",
        _percent(count.documents, read.documents),
    )


def _change(pair: tuple[Count, Count]) -> tuple[str, ...]:
    before, after = pair
    difference = after.documents - before.documents
    return (
        f"{before.documents:,}",
        f"{after.documents:,}",
        f"{difference:+,}" if difference else "",
        f"{before.bytes / 1e6:,.1f}",
        f"{after.bytes / 1e6:,.1f}",
    )


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if whole else ""


def _speed(found: RuleCosts, stage: str, group: str = "") -> str:
    speed = found.speed(stage, group)
    return f"{speed / 1e6:,.1f}" if speed else ""


def _sum(counts: Mapping[str, Count]) -> Count:
    return total(dict(counts))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more
