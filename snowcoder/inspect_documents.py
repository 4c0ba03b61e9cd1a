"""What `snowcoder inspect` prints of single documents: why they were rejected, beside what, and on which way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from snowcoder.base import UserError
from snowcoder.documents import Documents
from snowcoder.evidence import Excerpt, visible
from snowcoder.funnel import funnel
from snowcoder.history import history
from snowcoder.pairs import Pair, pair_of
from snowcoder.samples import Sample, samples

_MARK = "black on yellow"


def print_rejected(run_dir: Path, reason: str, limit: int, language: str | None = None) -> None:
    """Rejected documents, the evidence marked. Raises UserError for a reason that rejected nothing."""
    reasons = Counter({name: count.documents for _, name, count in funnel(run_dir).reasons()})
    if reason not in reasons:
        known = ", ".join(f"{name} ({count})" for name, count in reasons.most_common()) or "none yet"
        raise UserError(f"--reason {reason}: nothing was rejected for that; reasons here: {known}")
    console = Console()
    for sample in samples(run_dir, [reason], limit, language):
        _print_sample(console, sample)


def _print_sample(console: Console, sample: Sample) -> None:
    title = f"{sample.repo} {sample.path} ({sample.lang or 'unknown language'}) {sample.place}"
    body: list[Any] = [_evidence(sample.evidence)]
    if sample.pair:
        body.append(_pair_table(sample.pair, lines=24))
    elif sample.excerpt.parts:
        body += [Text(), _marked(sample.excerpt)]
    console.print(Panel(Group(*body), title=Text(visible(title)), title_align="left"))


def print_pair(run_dir: Path, place: str) -> None:
    """A duplicate and the document that was kept for it, side by side, with estimated and exact similarity."""

    documents = Documents(run_dir)
    pair = pair_of(documents, documents.locate(place))
    console = Console()
    console.print(
        f"{pair.reason}: Jaccard similarity {pair.similarity}, of shingles of "
        f"{documents.config.curation.dedup.shingle} tokens; {pair.equal_lines:,} lines are equal",
        markup=False,
        highlight=False,
    )
    console.print(_pair_table(pair))


def print_document(run_dir: Path, name: str) -> None:
    """Why a file is missing, or that it is not: every stage's verdict, measurements beside their thresholds."""

    documents = Documents(run_dir)
    place = documents.locate(name)
    found = history(documents, place)
    console = Console()
    title = f"{found.repo} {found.path}, document {place}: {found.outcome}"
    console.print(Text(visible(title), style="bold"))
    for step in found.steps:
        said = Text(visible(step.reason), style="red") if step.reason else Text("passed", style="green")
        console.print(Text(f"{step.stage}: ") + said)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        for line in step.lines:
            table.add_row(
                *(Text(visible(cell), style="yellow" if line.against else "dim") for cell in line.cells)
            )
        if step.lines:
            console.print(table)
    if found.sample:
        _print_sample(console, found.sample)


def _evidence(evidence: Mapping[str, Any]) -> Text:
    return Text(visible("\n".join(f"{name}: {value}" for name, value in evidence.items())), style="yellow")


def _marked(found: Excerpt) -> Text:
    text = Text()
    if found.before:
        text.append(f"… {found.before:,} characters before, from line {found.line}:\n", style="dim")
    for piece, is_evidence in found.parts:
        text.append(visible(piece), style=_MARK if is_evidence else "")
    if found.after:
        text.append(f"\n… {found.after:,} characters after", style="dim")
    return text


def _pair_table(pair: Pair, lines: int | None = None) -> Table:
    """Differing lines in colour, with equal ones around them."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
    for side in (pair.left, pair.right):
        table.add_column("", justify="right", style="dim")
        title = Text(
            visible(f"{'rejected' if side is pair.left else 'kept'}: {side.repo} {side.path} {side.place}")
        )
        table.add_column(title, ratio=1, no_wrap=True, overflow="ellipsis")
    for row in pair.rows[:lines]:
        cells: list[Any] = []
        for number, line in ((row.left_number, row.left), (row.right_number, row.right)):
            cells.append("" if number is None else str(number))
            cells.append(Text(visible(line), style="" if row.same or number is None else _MARK))
        table.add_row(*cells)
    if lines is not None and len(pair.rows) > lines:
        table.add_row(
            "", Text(f"… {len(pair.rows) - lines:,} more lines; --pair {pair.left.place}", style="dim")
        )
    if not pair.rows:
        table.add_row("", Text("the same, line by line", style="dim"))
    return table
