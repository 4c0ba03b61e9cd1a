"""`snowcoder annotator compare`: all trained annotators of a run, on the terminal and as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.annotator.quality import AnnotatorMetrics, Auc, Comparison, Estimate
from snowcoder.annotation import FOLDER, trained
from snowcoder.base import UserError
from snowcoder.files import write_atomically

JSON = "compare.json"


def comparison(root: Path) -> dict[str, Any]:
    """What is printed, as JSON: per annotator its metrics, and per benchmark and language who wins.

    `best`: the highest AUC over all annotators and both baselines. `clear`: it is above all others' intervals. (That
    is stricter than the paired comparison with the baselines in each annotator's own metrics, and needs no common
    documents.) UserError when no annotator is trained.
    """
    found = trained(root)
    if not found:
        raise UserError(
            f"{root / FOLDER}: no trained annotator; run `snowcoder annotator train` with this --out"
        )
    return {
        "annotators": {name: metrics.model_dump(mode="json") for name, metrics in found.items()},
        "wins": [_win(*place, found) for place in _places(found)],
    }


def print_comparison(root: Path, as_json: bool) -> None:
    """Print the table or JSON, and leave the JSON in RUN/annotators/compare.json."""
    result = comparison(root)
    write_atomically(root / FOLDER / JSON, json.dumps(result, indent=1).encode())
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    found = trained(root)
    console = Console(soft_wrap=False)
    console.print(_training(found))
    if result["wins"]:
        console.print(_quality(found, result["wins"]))
    noisy = [name for name, metrics in found.items() if metrics.noise]
    if noisy:
        console.print(
            f"* {', '.join(noisy)}: learnt from labels of a model that is too small; their figures are noise and say "
            "nothing of the recipe."
        )


def _training(found: dict[str, AnnotatorMetrics]) -> Table:
    table = Table(title="Trained annotators; held out by repository", title_justify="left")
    for column in ("annotator", "task", "trained on", "held-out AUC [95 %]", "length", "bag", "rank corr."):
        table.add_column(column, justify="left" if column in ("annotator", "task", "trained on") else "right")
    for metrics in found.values():
        held = metrics.held_out
        if metrics.labels:
            used = f"{metrics.labels.parsed} of {metrics.labels.asked} labels, {metrics.labels.model}"
        else:
            used = f"{metrics.train_positive} good, {metrics.train_negative} random"
        table.add_row(
            _name(metrics),
            metrics.task,
            used,
            str(held.auc) if held.auc else "-",
            _number(held.length_auc),
            _number(held.bag_auc),
            str(held.spearman) if held.spearman else "-",
        )
    return table


def _quality(found: dict[str, AnnotatorMetrics], wins: list[dict[str, Any]]) -> Table:
    table = Table(
        title="ROC-AUC of benchmark solutions against unseen files of like length [95 %]; bold: best",
        title_justify="left",
    )
    table.add_column("benchmark")
    table.add_column("language")
    for name in found:
        table.add_column(_name(found[name]), justify="right")
    table.add_column("length", justify="right")
    table.add_column("bag of tokens", justify="right")
    table.add_column("wins")
    for win in wins:
        cells = [
            f"[bold]{_short(win['auc'][name])}[/]" if name == win["best"] else _short(win["auc"].get(name))
            for name in (*found, "length", "bag_of_tokens")
        ]
        table.add_row(
            win["benchmark"], win["language"], *cells, win["best"] if win["clear"] else "nobody clearly"
        )
    return table


def _places(found: dict[str, AnnotatorMetrics]) -> list[tuple[str, str]]:
    places = {(c.benchmark, c.language) for metrics in found.values() for c in metrics.quality}
    return sorted(places, key=lambda place: (place[0], place[1] == "mean", place[1]))


def _win(benchmark: str, language: str, found: dict[str, AnnotatorMetrics]) -> dict[str, Any]:
    """Baselines are trained on each annotator's own documents: the best of each kind counts."""
    best: dict[str, Estimate] = {}
    for metrics in found.values():
        for scored in _scorers(metrics, benchmark, language):
            held = best.get(scored.scorer)
            if held is None or scored.auc.value > held.value:
                best[scored.scorer] = scored.auc
    winner = max(best, key=lambda name: best[name].value)
    clear = all(best[winner].low > other.high for name, other in best.items() if name != winner)
    return {
        "benchmark": benchmark,
        "language": language,
        "best": winner,
        "clear": clear,
        "auc": {name: estimate.model_dump() for name, estimate in best.items()},
    }


def _scorers(metrics: AnnotatorMetrics, benchmark: str, language: str) -> tuple[Auc, ...]:
    mine: list[Comparison] = [
        c for c in metrics.quality if (c.benchmark, c.language) == (benchmark, language)
    ]
    return mine[0].scorers if mine else ()


def _name(metrics: AnnotatorMetrics) -> str:
    return f"{metrics.annotator}*" if metrics.noise else metrics.annotator


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _short(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.3f} ({estimate['low']:.2f}-{estimate['high']:.2f})"
