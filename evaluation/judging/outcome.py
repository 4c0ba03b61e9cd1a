"""What became of one candidate, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.judging.candidate import End

PASSED = "passed"
WRONG = "wrong_output"
UNSERIALISABLE = "unserialisable"
FORGED = "forged"
EARLY = "exited_early"
OUTPUT = "output_limit"
_LIMITS = ("cpu_limit", "memory", "wall_limit", "output_limit", "signalled")
_NAME_LENGTH = 80


@dataclass(frozen=True)
class Outcome:
    """`reason` is one of those above, a limit, or "error:<exception>"; `detail` says where."""

    reason: str
    detail: str = ""
    cpu_seconds: float = 0.0
    stderr: str = ""


def raised(name: bytes) -> str:
    """The reason for an exception that the candidate's runner has named."""
    text = name.decode("ascii", "replace")
    if not text.isidentifier() or len(text) > _NAME_LENGTH:
        return FORGED
    return {"SystemExit": EARLY, "MemoryError": "memory"}.get(text, f"error:{text}")


def ended(end: End) -> str:
    """The reason for an end before all was said."""
    return end.status if end.status in _LIMITS else EARLY


@dataclass(frozen=True)
class Verdict:
    """What became of one candidate program.

    `reason` is "passed", "wrong_output", "error:<exception>", "cpu_limit", "memory", "wall_limit", "output_limit",
    "signalled", "exited_early", "unserialisable", "forged", or "no_reference": the task's own solution fails here.
    """

    task: str
    sample: int
    passed: bool
    reason: str
    cpu_seconds: float
    stderr: str  # its tail, "" for a pass
    detail: str = ""  # which input or call, and the output if it was wrong
    retried: bool = False  # met the wall limit and was run once more, alone
