"""The page of one evaluation: figures, doubts, and every task with its prompt, candidates, verdicts and output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from evaluation.benchmarks import load
from evaluation.compare import read_result, results_in
from evaluation.paper_table import COLUMNS, TABLE_2
from snowcoder.base import UserError
from snowcoder.evaluation_table import title_of
from snowcoder.files import write_atomically
from snowcoder.pages import environment

SHOWN_SAMPLES = 3  # of one task, the failed ones first
SHOWN_CHARACTERS = 6_000  # of one text; programs of a runaway model go on for ever
TITLES = {"model": "Model", "prompt": "Prompt", "decoding": "Decoding", "dataset": "Data set", "sandbox": "Sandbox",
          "references": "References that pass here"}  # fmt: skip


def write_evaluation_page(result_path: Path) -> Path:
    """NAME.html beside OUT/eval/NAME.json; UserError if that is no result."""
    page = result_path.with_suffix(".html")
    write_atomically(page, render(result_path))
    return page


def render(result_path: Path) -> str:
    """The page as text. The same files give the same page."""
    from markupsafe import Markup

    from snowcoder.evaluation import doubts

    result = read_result(result_path)
    singles = results_in(result)
    summaries = {name: part for name, part in result.items() if isinstance(part, dict) and "pass@1" in part}
    made = environment()
    report, _, _ = made.loader.get_source(made, "report.html.j2")  # type: ignore[union-attr]
    style = re.search(r"<style>.*?</style>", report, re.DOTALL)  # all pages look the same
    return made.get_template("evaluation.html.j2").render(
        name=result_path.stem,
        style=Markup(style.group() if style else ""),
        title_of=title_of,
        summaries=summaries,
        keys={name: _key(part.get("key", {})) for name, part in singles.items()},
        doubts={name: doubts(part) for name, part in singles.items()},
        paper=[column for column in COLUMNS if column in summaries],
        columns=COLUMNS,
        table=TABLE_2,
        tasks={name: _tasks(result, result_path, name, part) for name, part in singles.items()},
        shown=SHOWN_SAMPLES,
    )


def _key(key: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for field, title in TITLES.items():
        value = key.get(field, "")
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
        rows.append((title, value if field not in ("model", "dataset") else value[:24]))
    return rows


def _tasks(
    result: dict[str, Any], result_path: Path, name: str, summary: dict[str, Any]
) -> list[dict[str, Any]]:
    """Each task: {"id", "passed", "total", "reasons", "prompt", "samples": [{"verdict", "program", "raw"}]}."""
    texts = _samples(result_path.parent / f"{result_path.stem}.parts" / f"samples-{name}.jsonl")
    prompts = _prompts(name, result.get("config", {}).get("data_dir"))
    rows: dict[str, list[dict[str, Any]]] = {}
    for verdict in summary["verdicts"]:
        rows.setdefault(verdict["task"], []).append(verdict)
    tasks = []
    for task, verdicts in rows.items():
        own = texts.get(task, [])
        first = sorted(verdicts, key=lambda verdict: (verdict["passed"], verdict["sample"]))[:SHOWN_SAMPLES]
        samples = []
        for verdict in first:
            line = own[verdict["sample"]] if verdict["sample"] < len(own) else {}
            samples.append(
                {
                    "verdict": verdict,
                    "program": _cut(line.get("solution", line.get("completion", ""))),
                    "kind": "solution" if "solution" in line else "completion",
                    "raw": _cut(line.get("raw", "")),
                    "output": _cut("\n".join(filter(None, (verdict.get("detail"), verdict.get("stderr"))))),
                }
            )
        tasks.append(
            {
                "id": task,
                "passed": sum(verdict["passed"] for verdict in verdicts),
                "total": len(verdicts),
                "reasons": sorted({verdict["reason"] for verdict in verdicts}),
                "prompt": _cut(prompts.get(task, "")),
                "samples": samples,
            }
        )
    return tasks


def _samples(path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["task_id"], []).append(row)
    return found


def _prompts(name: str, data_dir: str | None) -> dict[str, str]:
    try:
        return {task.task_id: task.prompt for task in load(name, Path(data_dir) if data_dir else None)}
    except UserError:
        return {}  # the page of a result that was made elsewhere, without the benchmark's file


def _cut(text: str) -> str:
    more = len(text) - SHOWN_CHARACTERS
    return text if more <= 0 else f"{text[:SHOWN_CHARACTERS]}\n… {more:,} characters more"
