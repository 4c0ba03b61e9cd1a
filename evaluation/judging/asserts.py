"""Assert-style tests: the trusted test in one sandboxed process, the candidate in another, every call between them.

The candidate's process never holds the test. Names of the candidate are proxies in the test's process: a call's
arguments are encoded, pass through here, run there, and the result comes back decoded, so no object of the
candidate's is ever compared.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
from dataclasses import dataclass

from evaluation import parsing
from evaluation.benchmarks import Task
from evaluation.config import Limits
from evaluation.judging.candidate import Candidate, TooMuch
from evaluation.judging.outcome import FORGED, OUTPUT, PASSED, WRONG, Outcome, ended, raised
from evaluation.sandbox.fork_server import ForkServer, ServerLost
from evaluation.sandbox.inside.tester import free_names, made_by

_TESTER_LIMITS = Limits(cpu_seconds=60, wall_seconds=3600.0)


@dataclass(frozen=True)
class TestPlan:
    """Where the parts of a task's test run."""

    prelude: str  # in the test's process, before the test
    setup: str  # in the candidate's process, after the candidate: it makes arguments, and knows no answer
    test: str
    remote: tuple[str, ...]  # names that are the candidate's


@functools.lru_cache(4096)
def plan(task: Task) -> TestPlan:
    """HumanEval's prompt may define helpers that its test uses: those are the prompt's, not the candidate's.

    MBPP's tests are statements: those that are neither assertions nor imports, and use the candidate's names, make
    arguments out of the candidate's classes, so they must run with it.
    """
    tree = parsing.parse(task.test)
    used = free_names(tree)
    if task.entry_point:
        prompt = _parsed(task.prompt)
        remote = {task.entry_point, *(used - _BUILTINS - made_by(prompt.body if prompt else ()))}
        return TestPlan(task.prompt if prompt else "", "", task.test, tuple(sorted(remote)))
    solution = _parsed(task.canonical_solution)
    top = solution.body if solution else []
    # A test may use a module that only the solution imports, and a function named like a builtin.
    imports: list[ast.stmt] = [
        node for node in [*top, *tree.body] if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    theirs = used - made_by(imports) - (_BUILTINS - made_by(top))
    setup = [
        node
        for node in tree.body
        if not isinstance(node, ast.Assert | ast.Import | ast.ImportFrom)
        and theirs & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    ]
    rest = ast.Module([node for node in tree.body if node not in setup], [])
    return TestPlan(
        prelude=ast.unparse(ast.Module(imports, [])),
        setup=ast.unparse(ast.Module([*imports, *setup], [])) if setup else "",
        test=ast.unparse(rest),
        remote=tuple(sorted((theirs | made_by(setup)) & free_names(rest))),
    )


def _parsed(source: str) -> ast.Module | None:
    try:
        return parsing.parse(source)
    except SyntaxError:
        return None


_BUILTINS = frozenset(dir(builtins))


def judge_asserts(
    server: ForkServer, tester_server: ForkServer, program: str, task: Task, limits: Limits
) -> Outcome:
    """Run the test against the candidate. ServerLost."""
    parts = plan(task)
    sources = [program, parts.setup] if parts.setup else [program]
    candidate = Candidate(server, "calls", [json.dumps(sources).encode()], limits)
    try:
        reason, detail = _converse(candidate, tester_server, parts)
    except TooMuch:
        reason, detail = OUTPUT, "more than may be sent"
    waits = reason == PASSED or reason.startswith("error:") or not reason
    end = candidate.end(stop=not waits)
    if not reason:
        reason = ended(end)
    elif reason == PASSED and end.unread:
        reason, detail = FORGED, "more answers than calls"
    return Outcome(reason, detail, end.cpu_seconds, "" if reason == PASSED else end.stderr)


def _converse(candidate: Candidate, tester_server: ForkServer, parts: TestPlan) -> tuple[str, str]:
    """(reason, detail); no reason: the candidate has ended, and its report will tell."""
    line = candidate.line()
    if line is None:
        return "", "on import"
    if line != b"=":
        return (raised(line[1:]) if line[:1] == b"!" else FORGED), "on import"
    opening = json.dumps([parts.prelude, parts.test, parts.remote]).encode()
    tester = Candidate(tester_server, "tester", [opening], _TESTER_LIMITS)
    finished, calls = False, 0
    try:
        last = b"="
        while True:
            said = tester.line()
            if said is None:
                finished = True
                end = tester.end()
                return FORGED, f"its answer has ended the test: {end.status} {end.stderr[-200:]}"
            message = json.loads(said)
            if message[0] == "end":
                finished = True
                tester.end()
                return _verdict(message[1], last), f"call {calls}" if message[1] else ""
            candidate.send(json.dumps(message[1:]).encode())
            calls += 1
            answer = candidate.line()
            if answer is None:
                return "", f"call {calls}"
            if answer[:1] not in (b"=", b"!", b"?"):
                return FORGED, f"call {calls}"
            last = answer
            tester.send(answer)
    finally:
        if not finished:
            tester.end(stop=True)


def _verdict(raised_in_test: str, last: bytes) -> str:
    if not raised_in_test:
        return PASSED
    if last[:1] == b"!":
        return raised(last[1:])
    if last[:1] == b"?" and raised_in_test != "AssertionError":
        return "unserialisable"
    return {"AssertionError": WRONG, "Malformed": FORGED}.get(raised_in_test, f"error:{raised_in_test}")


__all__ = ["ServerLost", "TestPlan", "judge_asserts", "plan"]
