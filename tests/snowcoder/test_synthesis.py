"""Running generated files with the tests they bring, and what the report says of them."""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines.synthesis.checks import CHECKS, check_of, rates
from snowcoder.report_synthesis import CHECK_TITLES, synthesis_context
from snowcoder.synthesis import run_in_sandbox

CASE = """import unittest
class T(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(1), {})
"""
DOUBLE = "def double(x):\n    return 2 * x\n\n\n"


@pytest.mark.parametrize(
    ("tests", "passed", "said"),
    [
        ("assert double(2) == 4\n", True, ""),
        ("assert double(2) == 5\n", False, "AssertionError"),
        ("if __name__ == '__main__':\n    assert double(2) == 5\n", False, "AssertionError"),
        ("def test_double():\n    assert double(1) == 3, 'no'\n", False, "AssertionError: no"),
        ("def test_double():\n    assert double(1) == 2\n", True, ""),
        ("def test_with(argument):\n    raise ValueError\n", True, ""),  # nobody knows its argument
        (CASE.format(3), False, "AssertionError"),
        (CASE.format(2), True, ""),
        ("import sys\nsys.exit(0)\n", False, "exited"),  # it stopped before its tests
        ("import no_such_module\n", False, "ModuleNotFoundError"),
        ("while True:\n    pass\n", False, "_limit"),
    ],
)
def test_a_file_is_run_with_its_tests(tests, passed, said):
    [outcome] = run_in_sandbox([DOUBLE + tests])
    assert outcome.passed is passed
    assert said in outcome.evidence


def test_rates_are_of_what_reached_a_check():
    found = Counter(
        {
            ("a", "Python", "accepted"): 5,
            ("a", "Python", "secret:key"): 1,
            ("a", "Java", "no_code"): 2,
            ("b", "Java", "duplicate_corpus"): 1,
            ("b", "Java", "error:ValueError"): 1,
        }
    )
    everything = rates(found)["all"]
    assert list(everything) == list(CHECKS)
    assert everything["asked"] == {"reached": 10, "passed": 10}
    assert everything["answered"] == {"reached": 10, "passed": 9}
    assert everything["one_file"] == {"reached": 9, "passed": 7}
    assert everything["no_secret"] == {"reached": 7, "passed": 6}
    assert everything["new_to_corpus"] == {"reached": 6, "passed": 5}
    assert rates(found)["recipes"]["b"]["new_to_corpus"] == {"reached": 1, "passed": 0}
    assert rates(found)["languages"]["Python"]["no_secret"] == {"reached": 6, "passed": 5}
    assert check_of("inference: bad") == "answered"
    assert set(CHECK_TITLES) == set(CHECKS)


def test_the_report_shows_rates_and_copes_with_less():
    found = Counter({("a", "Python", "accepted"): 3, ("a", "Java", "no_code"): 1})
    shown = synthesis_context({"checks": rates(found)}, None, [])
    assert [row["share"] for row in shown["checks"]][:3] == [1.0, 1.0, 0.75]
    assert shown["languages"][0] == {"name": "Python", "requests": 3, "accepted": 3, "worst": "", "lost": 0}
    assert shown["languages"][1]["worst"] == "one file in the answer"
    assert synthesis_context({"accepted": 1}, {"sets": {}}, [{"text": 3}])["uses"] == []
    assert synthesis_context(None, None, [])["checks"] == []
