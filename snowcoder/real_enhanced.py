"""An arm that the paper's phase 3 lacks: real documents in place of generated ones, all else the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.annotator.selection import Selection
from pipelines.phases.continued import choose, continued
from pipelines.stream import Plan

if TYPE_CHECKING:
    from snowcoder.run import Run


def real_plan(run: Run, chosen: Selection) -> Plan:
    """The best real documents for phase 3's horizon: as many unique tokens as would be generated, Python raised to
    `enhanced.python_share`. `chosen` is phase 2's selection, whose mix is the natural one."""
    config = run.config
    unique = min(config.enhanced.tokens, config.corpus.synthetic_tokens)
    weights = {lang: float(part.budget_tokens) for lang, part in chosen.languages.items()}
    mix = with_python_share(weights, config.enhanced.python_share)
    asked = config.continued.selection.model_copy(update={"mix": mix})
    selection = choose(run.corpus, run.annotator, unique, config.continued.calibration_shards, asked)
    selection.write(run.root / "selection-enhanced.json")
    passes = math.ceil(config.enhanced.tokens / max(1, selection.realised_tokens)) + 1
    return continued(run.corpus, run.annotator, selection.thresholds, passes, "enhanced")


def with_python_share(weights: dict[str, float], share: float | None) -> dict[str, float]:
    """Weights that sum to 1 with Python's share raised (or lowered) to `share`; the others keep their proportions.

    None: as they are. Without Python, or with nothing else, there is nothing to shift.
    """
    total = sum(weights.values())
    others = total - weights.get("Python", 0.0)
    if share is None or not weights.get("Python") or not others:
        return {lang: weight / total for lang, weight in weights.items()}
    return {
        lang: share if lang == "Python" else (1.0 - share) * weight / others
        for lang, weight in weights.items()
    }
