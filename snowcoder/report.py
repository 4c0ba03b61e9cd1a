"""One HTML file that shows a run: a pure function of the run directory, readable offline and without scripts.

Every part copes with a run that has not come that far. All text of documents and models is hostile: it is
escaped by the template, its control and direction characters are spelled out, and the page forbids scripts
and requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.ledger import Ledger
from snowcoder import evaluation_table, plots
from snowcoder.evidence import visible
from snowcoder.files import write_atomically
from snowcoder.funnel import Count, Funnel, Languages, funnel, total
from snowcoder.pages import environment
from snowcoder.plots import Curve
from snowcoder.report_rules import rules_context, samples_context
from snowcoder.report_synthesis import synthesis_context

if TYPE_CHECKING:
    from markupsafe import Markup

PHASES = ("general", "continued", "control", "enhanced")
PANELS = (("general",), ("continued", "control"), ("enhanced",))
"""Phases drawn into one chart: the control exists to be compared with."""

STAGE_TITLES = {
    "language": "Language",
    "rules": "Rules",
    "licence": "Licence",
    "syntax": "Syntax",
    "decontaminate": "Decontamination",
    "secrets": "Secrets",
    "claim": "Duplicates",
}
LANGUAGES = 24  # in the table; the rest are summed


def write_report(run_dir: str | Path) -> Path:
    """Write RUN/report.html and return its path. UserError when it cannot be written."""
    path = Path(run_dir) / "report.html"
    write_atomically(path, render_report(run_dir).encode())
    return path


def render_report(run_dir: str | Path) -> str:
    """The page as text. The same run directory gives the same page."""
    made = environment()
    made.filters |= {
        "size": human_bytes,
        "time": human_time,
        "title_of": evaluation_table.title_of,
        "breakable": breakable,
    }
    return made.get_template("report.html.j2").render(_context(Run(Path(run_dir))))


def breakable(name: str) -> Markup:
    """A name that may be broken behind an underscore, where a narrow page has no room for it."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(visible(name).split("_"))


@dataclass
class Run:
    """The files of a run directory. What is damaged is left out and named in `problems`."""

    root: Path
    problems: list[str] = field(default_factory=list)

    def json(self, name: str) -> dict[str, Any] | None:
        path = self.root / name
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            self.problems.append(f"{name}: not JSON ({error})")
            return None
        if not isinstance(content, dict):
            self.problems.append(f"{name}: not a mapping")
            return None
        return content

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Objects of a JSON-lines file. A killed process leaves half a line; more than one is said."""
        path = self.root / name
        if not path.exists():
            return
        bad = 0
        with open(path, "rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if isinstance(record, dict):
                    yield record
                elif line.strip():
                    bad += 1
        if bad:
            self.problems.append(f"{name}: {bad} unreadable lines are left out")


@dataclass(frozen=True)
class Phase:
    """One training phase in numbers. `seconds` is time in steps that count: no start-up, no lost steps."""

    curve: Curve
    steps: int
    tokens: float
    seconds: float
    loss: float  # mean over the last 2 % of the steps
    tokens_per_second: float
    data_wait_share: float  # of all time in steps
    packing: dict[str, float] | None  # of the shards that were packed; None: not recorded

    @property
    def name(self) -> str:
        return self.curve.name


def _context(run: Run) -> dict[str, Any]:
    counts = funnel(run.root)
    phases = {name: phase for name in PHASES if (phase := _phase(run, name))}
    evaluations = {name: found for name in PHASES if (found := run.json(f"eval/{name}.json"))}
    panels = [tuple(phases[name].curve for name in names if name in phases) for names in PANELS]
    selection, synthesis = run.json("selection.json"), run.json("synthesis/summary.json")
    annotator = run.json(f"annotators/{selection['annotator']}/metrics.json") if selection else None
    config = run.root / "config.yaml"
    evaluation = evaluation_table.build(evaluations)
    return {
        "name": run.root.resolve().name,
        "stage_titles": STAGE_TITLES,
        "phases": phases,
        "phase_names": PHASES,
        "funnel": _funnel(counts) if counts.shards else None,
        "violations": [str(violation) for violation in counts.violations[:20]],
        "violation_count": len(counts.violations),
        "annotator": annotator,
        "selection": selection,
        "synthesis": synthesis,
        "scores": _scores(selection, run.json("selection-realised.json") or {}) if selection else [],
        "panels": [" and ".join(curve.name for curve in panel) for panel in panels if panel],
        "loss_charts": [plots.loss_chart(panel) for panel in panels if panel],
        "speed_charts": [plots.throughput_chart(panel) for panel in panels if panel],
        "rules": rules_context(run.root),
        "rejected_counts": {reason: count.documents for _, reason, count in counts.reasons()},
        "rejected": samples_context(run.lines("samples/rejected.jsonl")),
        "synthetic": synthesis_context(
            synthesis, run.json("synthesis/diversity.json"), run.lines("samples/synthetic.jsonl")
        ),
        "evaluation": evaluation,
        "config": config.read_text(errors="replace") if config.exists() else "",
        "ledger": Ledger(run.root / "ledger").current(),
        "hashes": list(_hashes(run.root)),
        "problems": run.problems,
    }


def _phase(run: Run, name: str) -> Phase | None:
    """A step repeated after a restart counts once, as it was done last."""
    columns = ("tokens", "loss", "lr", "tokens_per_second", "data_wait_share")
    steps: dict[int, list[float]] = {}
    for record in run.lines(f"train/{name}/metrics.jsonl"):
        try:
            steps[int(record["step"])] = [float(record.get(column, "nan")) for column in columns]
        except (KeyError, TypeError, ValueError):
            run.problems.append(f"train/{name}/metrics.jsonl: a line without step, or with words for numbers")
    if not steps:
        return None
    values = np.array([steps[step] for step in sorted(steps)]).T
    curve = Curve(name, *values)
    seconds = np.nan_to_num(np.diff(curve.tokens, prepend=0.0) / curve.tokens_per_second)
    tail = curve.loss[-max(1, len(steps) // 50) :]
    return Phase(
        curve=curve,
        steps=len(steps),
        tokens=float(curve.tokens[-1]),
        seconds=float(seconds.sum()),
        loss=float(np.nanmean(tail)) if np.isfinite(tail).any() else float("nan"),
        tokens_per_second=float(curve.tokens[-1] / seconds.sum()) if seconds.sum() else float("nan"),
        data_wait_share=float(np.nan_to_num(curve.data_wait_share) @ seconds / seconds.sum())
        if seconds.sum()
        else 0.0,
        packing=run.json(f"train/{name}/packing.json"),
    )


def _funnel(counts: Funnel) -> dict[str, Any]:
    """Rows for the template: what is left after each stage, why the rest went, and all of it by language."""
    read, left = total(counts.read), total(counts.read)
    levels = [{"title": "Read", "left": read, "gone": Count(), "share": 1.0}]
    for stage in counts.stages:
        gone = total(counts.rejected_by(stage))
        if stage == "language" and not gone.documents:  # it finds something out, and rejects nothing
            continue
        left = Count(left.documents - gone.documents, left.bytes - gone.bytes)
        share = left.bytes / read.bytes if read.bytes else 0.0
        seconds = counts.seconds.get(stage)
        levels.append(
            {"title": STAGE_TITLES[stage], "left": left, "gone": gone, "share": share, "seconds": seconds}
        )
    kept, pending = total(counts.kept), total(counts.pending)
    if pending.documents:
        share = kept.bytes / read.bytes if read.bytes else 0.0
        levels.append({"title": "Kept so far", "left": kept, "gone": pending, "share": share})
    reasons = counts.reasons()
    most = max((count.documents for _, _, count in reasons), default=1)
    return {
        "read": read,
        "kept": kept,
        "pending": pending,
        "shards": counts.shards,
        "seconds": sum(counts.seconds.values()),
        "levels": levels,
        "reasons": [
            {"stage": STAGE_TITLES[stage], "reason": reason, "count": count, "width": count.documents / most}
            for stage, reason, count in reasons
        ],
        "languages": _language_rows(counts),
    }


def _language_rows(counts: Funnel) -> list[dict[str, Any]]:
    names = counts.languages
    groups = [(name or "unknown", [name]) for name in names[:LANGUAGES]]
    if names[LANGUAGES:]:
        groups.append((f"{len(names) - LANGUAGES} others", names[LANGUAGES:]))

    def summed(languages: Languages, group: list[str]) -> Count:
        return total({name: languages[name] for name in group if name in languages})

    return [
        {"name": title, "read": summed(counts.read, group), "kept": summed(counts.kept, group)}
        for title, group in groups
    ]


def _scores(selection: dict[str, Any], realised: dict[str, Any]) -> list[dict[str, Any]]:
    """A chart a language, most tokens first; with what its cut gave in the stream where it was set on a sample."""
    languages = selection.get("languages", {})
    rows = []
    for name in sorted(languages, key=lambda name: -languages[name]["tokens"]):
        chosen = languages[name]
        edges, tokens = (np.asarray(chosen["histogram"][part], np.float64) for part in ("edges", "tokens"))
        rows.append(
            {
                "name": name or "unknown",
                "threshold": chosen["threshold"],
                "tokens": chosen["tokens"],
                "kept": chosen["kept_tokens"],
                "given": realised.get(name),
                "chart": plots.score_chart(name, edges, tokens, chosen["threshold"]),
            }
        )
    return rows


def _hashes(root: Path) -> Iterator[tuple[str, str]]:
    """(file, sha256) of the small files that say what was run and what came of it."""
    patterns = [
        "config.yaml",
        "manifest.jsonl",
        "ledger/stages.json",
        "selection.json",
        "selection-realised.json",
        "annotators/*/*.json",
    ]
    patterns += ["synthesis/*.json", "train/*/summary.json", "eval/*.json"]
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            with open(path, "rb") as file:
                yield path.relative_to(root).as_posix(), file_digest(file, "sha256").hexdigest()


def human_bytes(value: float) -> str:
    """1234567 -> "1.23 MB"."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size * 0.9995:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def human_time(seconds: float) -> str:
    """5025 -> "1 h 24 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
