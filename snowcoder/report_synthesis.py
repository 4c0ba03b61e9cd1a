"""The report's part on generated files: pass rates, diversity, and samples beside their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import DOCUMENT
from pipelines.stages.secrets import SecretsConfig, amend_secrets, judge_secrets
from pipelines.synthesis.checks import ACCEPTED, CHECKS
from snowcoder.report_rules import sample_context

CHECK_TITLES = {
    "asked": "could be asked",
    "answered": "answered",
    "one_file": "one file in the answer",
    "finished": "finished",
    "no_leak": "no benchmark in it",
    "no_secret": "no secret in it",
    "long_enough": "long enough",
    "language": "in the language asked for",
    "parses": "parses",
    "lints": "lints",
    "own_work": "no copy of its seed",
    "runs": "runs with its tests",
    "new_among_outputs": "unlike other outputs",
    "new_to_corpus": "unlike the corpus",
}
SETS = {"generated": "Generated", "seeds": "Seeds", "corpus": "Raw corpus"}
SAMPLES = 6
_USES = 12  # modules and functions in the table


def synthesis_context(
    summary: dict[str, Any] | None, diversity: dict[str, Any] | None, samples: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """Rows for the template. `summary` of an earlier version has no pass rates: those parts stay empty."""
    checks = (summary or {}).get("checks") or {}
    if not (summary or {}).get("ran"):  # nobody was asked, so nobody passed
        checks = _without("runs", checks)
    return {
        "checks": _check_rows(checks),
        "recipes": sorted(checks.get("recipes", {})),
        "languages": _language_rows(checks),
        "diversity": _diversity_rows(diversity) if diversity else [],
        "compared": (diversity or {}).get("languages", {}),
        "uses": _use_rows(diversity) if diversity else [],
        "sets": SETS,
        "samples": [sample_context(record) for record in islice(samples, SAMPLES)],
    }


def _without(name: str, checks: dict[str, Any]) -> dict[str, Any]:
    """The rates but for one check."""
    return {
        key: {k: v for k, v in found.items() if k != name}
        if key == "all"
        else {group: {k: v for k, v in cells.items() if k != name} for group, cells in found.items()}
        for key, found in checks.items()
    }


def _share(cell: dict[str, int] | None) -> float | None:
    return cell["passed"] / cell["reached"] if cell and cell["reached"] else None


def _check_rows(checks: dict[str, Any]) -> list[dict[str, Any]]:
    """Checks that took something, or that there is something to say of: with the shares of each recipe."""
    everything = checks.get("all", {})
    recipes = sorted(checks.get("recipes", {}))
    return [
        {
            "title": CHECK_TITLES.get(name, name),
            **everything[name],
            "share": _share(everything[name]),
            "recipes": [_share(checks["recipes"][recipe].get(name)) for recipe in recipes],
        }
        for name in CHECKS
        if name in everything
    ]


def _language_rows(checks: dict[str, Any]) -> list[dict[str, Any]]:
    """Per language: outputs, accepted, and the check that took most."""
    rows = []
    for lang, found in checks.get("languages", {}).items():
        cells = [(name, found[name]) for name in CHECKS if name in found]
        if not cells:
            continue
        name, worst = max(cells, key=lambda item: item[1]["reached"] - item[1]["passed"])
        lost = worst["reached"] - worst["passed"]
        rows.append(
            {
                "name": lang or "unknown",
                "requests": cells[0][1]["reached"],
                "accepted": cells[-1][1]["passed"],
                "worst": CHECK_TITLES.get(name, name) if lost else "",
                "lost": lost,
            }
        )
    return sorted(rows, key=lambda row: -row["requests"])


_MEASURES = (
    ("Files compared", ("files",), "{:,.0f}", ""),
    ("Median size in bytes", ("median_bytes",), "{:,.0f}", ""),
    ("Vendi score of embeddings", ("spread", "vendi"), "{:.1f}", "higher is more diverse"),
    ("Mean cosine of two files", ("spread", "mean_cosine"), "{:.3f}", "lower is more diverse"),
    ("5-grams also in another file", ("self_similarity", "repeated"), "{:.1%}", "lower is more diverse"),
    ("Distinct 5-grams", ("self_similarity", "distinct"), "{:.1%}", "higher is more diverse"),
    ("Modules imported, effective number", ("python", "effective_modules"), "{:.1f}", "Python"),
    ("Functions called, effective number", ("python", "effective_functions"), "{:.1f}", "Python"),
    ("Files that import a third party", ("python", "third_party"), "{:.1%}", "Python"),
)


def _diversity_rows(diversity: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for title, path, form, note in _MEASURES:
        values = []
        for name in SETS:
            found: Any = diversity.get("sets", {}).get(name, {})
            for key in path:
                found = found.get(key) if isinstance(found, dict) else None
            values.append("" if found is None else form.format(found))
        rows.append({"title": title, "note": note, "values": values})
    return rows


def _use_rows(diversity: dict[str, Any]) -> list[dict[str, Any]]:
    """Histogram of modules and functions: the most frequent of all sets, and how many files of each have them."""
    tables = []
    for title, key in (("Module", "modules"), ("Function", "functions")):
        counts = {
            name: (diversity.get("sets", {}).get(name, {}).get("python") or {}).get(key) or {}
            for name in SETS
        }
        total: dict[str, int] = {}
        for found in counts.values():
            for item, count in found.items():
                total[item] = total.get(item, 0) + count
        first = sorted(total, key=lambda item: (-total[item], item))[:_USES]
        most = max((count for found in counts.values() for count in found.values()), default=1)
        rows = [
            {
                "name": item,
                "cells": [
                    {"count": counts[name].get(item, 0), "width": counts[name].get(item, 0) / most}
                    for name in SETS
                ],
            }
            for item in first
        ]
        if rows:
            tables.append({"title": title, "rows": rows})
    return tables


def synthetic_samples(run_dir: Path, limit: int = SAMPLES) -> Iterator[dict[str, Any]]:
    """Generated files, accepted ones first, each with what its request showed the generator and what was found."""
    stages = run_dir / "ledger" / "stages.json"
    current = json.loads(stages.read_text()) if stages.exists() else {}
    if "verify" not in current:
        return
    root = run_dir / "synthesis"
    accepted: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for path in sorted((root / "plan").glob("*.parquet")):
        verdicts = run_dir / "ledger" / f"verify-{current['verify']}" / f"{path.stem}.arrow"
        if not verdicts.exists():
            continue
        judged = pa.ipc.open_file(pa.OSFile(str(verdicts), "rb")).read_all().to_pylist()
        answers = _last_answers(root, path.name)
        for asked, verdict in zip(pq.read_table(path).to_pylist(), judged, strict=True):
            answer = answers.get(asked["ordinal"])
            if answer is None:
                continue
            record = {
                "request": f"{asked['seed']:016x}-{asked['recipe']}-{asked['sample']}",
                "lang": asked["lang"],
                "seed_lang": asked["source_lang"] or asked["lang"],
                "seed_text": asked["snippet"] or "",
                "text": _without_secrets(answer["text"] or answer["error"] or "", asked["lang"]),
                "verdict": verdict["reason"] or ACCEPTED,
                "evidence": _evidence(verdict),
            }
            kept = others if verdict["reason"] else accepted
            # Of what was rejected, one a reason.
            if len(kept) < limit and (
                not verdict["reason"] or record["verdict"] not in {r["verdict"] for r in kept}
            ):
                kept.append(record)
        if len(accepted) >= limit and len(others) >= 2:
            break
    yield from accepted[: max(limit - 2, limit - len(others))]
    yield from others[: max(2, limit - len(accepted))]


def _without_secrets(text: str, lang: str) -> str:
    """What is rejected for a secret is shown too, and what is rejected for something else may have one."""
    row = {
        "row": 0,
        "repo": "",
        "path": "",
        "lang": lang,
        "license": "",
        "size": 0,
        "text": text,
        "fault": None,
    }
    document = pa.Table.from_pylist([row], schema=DOCUMENT)
    return amend_secrets(document, judge_secrets(document, SecretsConfig()))["text"][0].as_py()


def _evidence(verdict: dict[str, Any]) -> dict[str, Any]:
    names = {"lint": "lint score", "seed_overlap": "in its seed", "seed_jaccard": "Jaccard with its seed"}
    shown = {title: f"{verdict[name]:.2f}" for name, title in names.items() if verdict[name] is not None}
    return shown | ({"evidence": verdict["evidence"]} if verdict["evidence"] else {})


def _last_answers(root: Path, name: str) -> dict[int, dict[str, Any]]:
    """Ordinal -> the answer of the last step that its request came to."""
    answers: dict[int, dict[str, Any]] = {}
    for folder in (root / "requests", *sorted(root.glob("requests-*"))):
        if (folder / name).exists():
            answers |= {row["ordinal"]: row for row in pq.read_table(folder / name).to_pylist()}
    return answers
