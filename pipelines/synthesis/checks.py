"""The checks that a generated file goes through, in order, and how many pass each of them.

Every output has one first reason or none. So a check was reached by the outputs that no earlier one took, and its
pass rate is of those. Leaks and secrets are looked for before anything asks about quality: how often a generator
recites must not depend on how well it does so. Duplicates come last, as a rejected file must not own a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

CHECKS: dict[str, tuple[str, ...]] = {
    "asked": ("no_snippet", "seed_too_long", "repeated_snippet", "no_target", "prompt_too_long"),
    "answered": ("inference", "endpoint", "not_recorded"),
    "one_file": ("several_blocks", "no_code"),
    "finished": ("unfinished",),
    "no_leak": ("contaminated",),
    "no_secret": ("secret",),
    "long_enough": ("too_short",),
    "language": ("wrong_language",),
    "parses": ("syntax_error",),
    "lints": ("lint",),
    "own_work": ("seed_copy",),
    "runs": ("no_tests", "fails"),
    "new_among_outputs": ("duplicate_output",),
    "new_to_corpus": ("duplicate_corpus",),
}
"""Check -> its reasons, up to a colon. The first two are about the request, the others about the file."""

ACCEPTED = "accepted"

_CHECK_OF = {reason: check for check, reasons in CHECKS.items() for reason in reasons}


def check_of(reason: str) -> str:
    """The check that a reason belongs to."""
    return _CHECK_OF.get(reason.partition(":")[0], "answered")


Tally = Counter[tuple[str, str, str]]
"""(recipe, language, reason or ACCEPTED) -> outputs."""


def tally(recipes: Iterable[str], languages: Iterable[str], reasons: Iterable[str | None]) -> Tally:
    return Counter(
        (recipe, language, reason or ACCEPTED)
        for recipe, language, reason in zip(recipes, languages, reasons, strict=True)
    )


def rates(found: Tally) -> dict[str, Any]:
    """Pass rates of each check: over all, per recipe and per language. JSON."""
    recipes = sorted({recipe for recipe, _, _ in found})
    languages = sorted({language for _, language, _ in found})
    return {
        "all": _rates(found),
        "recipes": {
            name: _rates(Counter({k: n for k, n in found.items() if k[0] == name})) for name in recipes
        },
        "languages": {
            name: _rates(Counter({k: n for k, n in found.items() if k[1] == name})) for name in languages
        },
    }


def _rates(found: Tally) -> dict[str, dict[str, int]]:
    failed: Counter[str] = Counter()
    for (_, _, reason), count in found.items():
        if reason != ACCEPTED:
            failed[check_of(reason)] += count
    left, result = found.total(), {}
    for check in CHECKS:
        result[check] = {"reached": left, "passed": left - failed[check]}
        left -= failed[check]
    return result
