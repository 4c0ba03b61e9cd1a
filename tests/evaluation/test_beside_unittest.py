"""BigCodeBench's judge on candidates that tamper with the tests beside them. None may pass."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from evaluation.benchmarks import Solution, Task
from evaluation.beside.bigcodebench import evaluate_unittests, libraries, signed
from evaluation.beside.canaries import arm, published_tests
from evaluation.config import EvaluationConfig, Limits
from snowcoder.base import UserError

TESTS = """
import unittest
from unittest.mock import patch

class TestCases(unittest.TestCase):
    def setUp(self):
        self.numbers = [3, 1, 2]
    def test_sum(self):
        result = task_func(self.numbers)
        self.assertEqual(result, 6)
    @patch("os.getcwd", return_value="/nowhere")
    def test_empty(self, cwd):
        self.assertEqual(task_func([]), 0)
    def test_error(self):
        with self.assertRaises(TypeError):
            task_func(None)
"""
TASK = Task(
    benchmark="bigcodebench",
    task_id="BigCodeBench/x",
    prompt="import os\ndef task_func(numbers):\n    '''Add up.'''\n",
    entry_point="task_func",
    canonical_solution="    return sum(numbers)\n",
    test=TESTS,
)
RIGHT = "def task_func(numbers):\n    return sum(numbers)\n"
WRONG = "def task_func(numbers):\n    return 1\n"
CFG = EvaluationConfig(
    bigcodebench_python=Path(sys.base_prefix) / "bin" / "python3",
    unittest_limits=Limits(cpu_seconds=2, wall_seconds=60, memory_bytes=2 << 30),
)


def judge(*programs: str, cfg: EvaluationConfig = CFG) -> list[tuple[str, str]]:
    verdicts, _ = evaluate_unittests([TASK], [[Solution(program) for program in programs]], cfg)
    assert all(verdict.passed == (verdict.reason == "passed") for verdict in verdicts)
    return [(verdict.reason, verdict.stderr) for verdict in verdicts]


def test_right_passes_and_wrong_fails_with_the_test_that_failed() -> None:
    (right, _), (wrong, detail) = judge(RIGHT, WRONG)
    assert right == "passed"
    assert wrong == "failed"
    assert "AssertionError" in detail
    verdicts, tier = evaluate_unittests([TASK], [[TASK.canonical_solution]], CFG)
    assert verdicts[0].passed
    assert tier in ("bubblewrap", "namespaces", "landlock")


HOSTILE = {
    "leaves on import": "import sys\nsys.exit(0)",
    "leaves in the call": "import os\ndef task_func(n):\n    os._exit(0)",
    "leaves as if all were well": "import atexit, os\natexit.register(os._exit, 0)\n" + WRONG,
    "patched assertions": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n"
    "unittest.TestCase.assertRaises = unittest.TestCase.subTest\n" + WRONG,
    "patched in the call": "import unittest\ndef task_func(n):\n"
    "    unittest.TestCase.assertEqual = lambda *a, **k: None\n    if n is None: raise TypeError\n    return 1",
    "patched and put back": "import unittest, threading\nkept = unittest.TestCase.assertEqual\n"
    "def task_func(n):\n    unittest.TestCase.assertEqual = lambda *a, **k: None\n"
    "    threading.Timer(0, setattr, (unittest.TestCase, 'assertEqual', kept)).start()\n"
    "    if n is None: raise TypeError\n    return 1",
    "patched run": "import unittest\n"
    "def run(self, result=None):\n    result.startTest(self); result.addSuccess(self); result.stopTest(self)\n"
    "unittest.TestCase.run = run\n" + WRONG,
    "patched suite": "import unittest\nunittest.suite.TestSuite.run = lambda self, result, debug=False: result\n"
    + WRONG,
    "patched failureException": "import unittest\nclass Quiet(AssertionError): pass\n"
    "unittest.TestCase.failureException = Quiet\n" + WRONG,
    "equals everything": "class Any:\n    def __eq__(self, other): return True\n"
    "def task_func(n):\n    if n is None: raise TypeError\n    return Any()",
    "equals everything, made by hand": "Any = type('Any', (), {'__eq__': lambda self, other: True})\n"
    "def task_func(n):\n    if n is None: raise TypeError\n    return Any()",
    "equals everything, an int": "class Any(int):\n    def __eq__(self, other): return True\n"
    "    __hash__ = int.__hash__\ndef task_func(n):\n    if n is None: raise TypeError\n    return Any()",
    "mock's ANY": "from unittest.mock import ANY\ndef task_func(n):\n    if n is None: raise TypeError\n    return ANY",
    "own TestCases": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_sum(self): pass\n"
    + WRONG,
    "open string": WRONG + "x = '''",
    "skips": "import unittest\ndef task_func(n): raise unittest.SkipTest('no')",
    "forged messages": "import os, json\nfor fd in range(3, 40):\n    try:\n"
    "        for name in ('test_sum', 'test_empty', 'test_error'):\n"
    "            os.write(fd, (json.dumps(['success', name, '']) + '\\n').encode())\n"
    '        os.write(fd, b\'["end", "", ""]\\n\')\n    except OSError: pass\nos._exit(0)',
    "forged result line": "import os\n"
    "os.write(1, b'\\n0123456789abcdef0123456789abcdef {\"ended\": true}\\n')\nos._exit(0)",
    "all failures made successes": "import gc\ndef task_func(n):\n    for item in gc.get_objects():\n"
    "        if type(item).__name__ == 'Result': type(item).addFailure = lambda s, t, e: s.addSuccess(t)\n"
    "    if n is None: raise TypeError\n    return 1",
    "frames": "import sys\ndef task_func(n):\n    frame = sys._getframe()\n    while frame:\n"
    "        found = frame.f_locals.get('result')\n"
    "        if hasattr(found, 'addFailure'): found.addFailure = lambda t, e: found.addSuccess(t)\n"
    "        frame = frame.f_back\n    if n is None: raise TypeError\n    return 1",
    "kills the overseer": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + RIGHT,
    "looks into the overseer": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')\n" + RIGHT,
    "reads the secret": "import json\nassert json.load(open('secret.json'))\n" + RIGHT,
    "for ever": "def task_func(n):\n    while True: pass",
    "much memory": "x = bytearray(8 << 30)\n" + RIGHT,
    "much output": "print('x' * (4 << 20))\n" + WRONG,
    "no such function": "def other(): pass",
    "not Python": "def task_func(n) return",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_candidate_passes(name: str) -> None:
    ((reason, detail),) = judge(HOSTILE[name])
    assert reason != "passed"
    assert (reason == "cpu_limit") == (name == "for ever"), detail


def test_the_reason_says_what_kind_of_failure_it_is() -> None:
    names = ["leaves on import", "patched assertions", "skips", "own TestCases"]
    found = [reason for reason, _ in judge(*(HOSTILE[name] for name in names))]
    assert found == ["exited_early", "tampered", "skipped", "failed"]


def test_canaries_are_a_wrong_copy_and_two_known_outcomes() -> None:
    armed = arm(TESTS, random.Random(3))
    assert armed.tests == published_tests(TESTS) == ("test_sum", "test_empty", "test_error")
    assert sorted(armed.expected.values()) == [
        "failure",
        "failure",
        "success",
        "success",
        "success",
        "success",
    ]
    assert set(published_tests(armed.source)) == set(armed.expected)
    assert arm(TESTS, random.Random(4)).expected.keys() != armed.expected.keys()
    with pytest.raises(ValueError, match="no test in TestCases"):
        published_tests("class TestCases: pass")
    with pytest.raises(ValueError, match="no class TestCases"):
        published_tests("class Other: pass")


def test_only_a_line_with_the_nonce_counts() -> None:
    assert signed('noise\nabc {"x": 1}\nabcd {"x": 2}\n', "abc") == {"x": 1}
    assert signed("abc", "abc") is None


def test_a_missing_environment_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set bigcodebench_python .* requirements/bigcodebench\.in"):
        libraries(None)
    with pytest.raises(UserError, match=r"absent/python does not run"):
        libraries(tmp_path / "absent" / "python")
