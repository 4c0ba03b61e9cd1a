"""What ruff finds wrong in generated Python, as a score like pylint's.

SwallowCode (arXiv 2505.02881) keeps files that pylint gives 7 of 10. Ruff has the rules that matter here (names that
are not defined, broken formats, likely bugs) and judges a chunk of files in some tens of milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.synthesis.config import LintConfig

_NAMED = 3  # findings that the evidence names
_SECONDS = 300.0


class Lint(NamedTuple):
    score: float  # 10 for nothing found; may be negative
    findings: str  # the heaviest first, "" for none


def lint_python(codes: Sequence[str], config: LintConfig) -> list[Lint]:
    """Score of each file; lines count that are neither blank nor a comment. RuntimeError when ruff itself fails."""
    if not codes:
        return []
    found = _findings(codes, config)
    results = []
    for code, findings in zip(codes, found, strict=True):
        lines = sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))
        weighted = sorted(
            (
                (config.error_weight if rule.startswith(config.errors) else 1.0, text)
                for rule, text in findings
            ),
            reverse=True,
        )
        score = 10 - 10 * sum(weight for weight, _ in weighted) / max(lines, 1)
        results.append(Lint(score, "; ".join(text for _, text in weighted[:_NAMED])))
    return results


def _findings(codes: Sequence[str], config: LintConfig) -> list[list[tuple[str, str]]]:
    """(rule, words) of every finding of every file, by one ruff process over a folder of its own."""
    from ruff.__main__ import find_ruff_bin

    with tempfile.TemporaryDirectory(prefix="lint-") as folder:
        for place, code in enumerate(codes):
            Path(folder, f"f{place}.py").write_bytes(code.encode("utf-8", "replace"))
        rules = ["--select", ",".join(config.select)]
        if config.ignore:
            rules += ["--ignore", ",".join(config.ignore)]
        ended = subprocess.run(
            [find_ruff_bin(), "check", "--isolated", "--no-cache", "--exit-zero", "--output-format", "json"]
            + ["--target-version", "py313", *rules, folder],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"ruff: {ended.stderr.strip()[-300:]}")
        found: list[list[tuple[str, str]]] = [[] for _ in codes]
        for item in json.loads(ended.stdout):
            place = int(Path(item["filename"]).stem[1:])
            rule = item["code"] or "invalid-syntax"
            found[place].append((rule, f"line {item['location']['row']}: {rule} {item['message']}"))
        return found
