"""MultiPL-E's judge in every language whose tools this host has: right, wrong, and what only looks right."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from evaluation.benchmarks import Solution, Task, load
from evaluation.beside import toolchains
from evaluation.beside.programs import assemble, evaluate_programs
from evaluation.beside.sabotage import sabotage
from evaluation.beside.toolchains import toolchain
from evaluation.config import EvaluationConfig
from snowcoder.base import UserError

CFG = EvaluationConfig()
DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"

# (prompt, tests, right, wrong, leaves early, makes the tests harmless or "")
LANGUAGES: dict[str, tuple[str, str, str, str, str, str]] = {
    "C++": (
        "#include<assert.h>\n#include<bits/stdc++.h>\nlong twice(long n) {\n",
        (
            "}\nint main() {\n    auto candidate = twice;\n    assert(candidate((2)) == (4));\n"
            "    assert(candidate((5)) == (10));\n}\n"
        ),
        "    return 2 * n;\n",
        "    return 4;\n",
        "    exit(0);\n",
        "    return 4;\n}\n#undef assert\n#define assert(x)\nint unused() { return 0;\n",
    ),
    "Java": (
        "import java.util.*;\nimport org.javatuples.*;\nclass Problem {\n    public static long twice(long n) {\n",
        (
            "    }\n    public static void main(String[] args) {\n    assert(twice((2l)) == (4l));\n"
            "    assert(twice((5l)) == (10l));\n    }\n\n}\n"
        ),
        "        return 2 * n;\n",
        "        return 4;\n",
        "        System.exit(0);\n        return 0;\n",
        (
            "        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));\n"
            "        return 4;\n"
        ),
    ),
    "JavaScript": (
        "function twice(n){\n",
        (
            "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
            "  assert.deepEqual(candidate(2),4);\n  assert.deepEqual(candidate(5),10);\n}\n\ntest();\n"
        ),
        "  return 2 * n;\n}\n",
        "  return 4;\n}\n",
        "  process.exit(0);\n}\n",
        "  return 4;\n}\nrequire('node:assert').deepEqual = () => {};\n",
    ),
    "TypeScript": (
        "function twice(n: number): number {\n",
        (
            "declare var require: any;\nconst assert = require('node:assert');\n\n\nfunction test() {\n"
            "  let candidate = twice;\n  assert.deepEqual(candidate(2),4);\n  assert.deepEqual(candidate(5),10);\n}\n\n"
            "test();\n"
        ),
        "  return 2 * n;\n}\n",
        "  return 4;\n}\n",
        "  return eval('process').exit(0);\n}\n",
        "  return 4;\n}\neval('require')('node:assert').deepEqual = () => {};\n",
    ),
    "PHP": (
        "<?php\nfunction twice($n) {\n",
        (
            "function candidate(...$args) {\n    return twice(...$args);\n}\n\nfunction test(): void {\n"
            '    if (candidate(2) !== 4) { throw new Exception("Test failed!"); }\n'
            '    if (candidate(5) !== 10) { throw new Exception("Test failed!"); }\n}\n\ntest();\n'
        ),
        "    return 2 * $n;\n}\n",
        "    return 4;\n}\n",
        "    exit(0);\n}\n",
        "    return 4;\n}\nset_exception_handler(function ($error) { exit(0); });\n",
    ),
    "Rust": (
        "fn twice(n: isize) -> isize {\n",
        (
            "}\n\nfn main() {\n    let candidate = twice;\n    assert_eq!(candidate(2), 4);\n"
            "    assert_eq!(candidate(5), 10);\n}\n"
        ),
        "    2 * n\n",
        "    4\n",
        "    std::process::exit(0)\n",
        "    std::panic::set_hook(Box::new(|_| std::process::exit(0)));\n    4\n",
    ),
    "Go": (
        'package twice_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\nfunc twice(n int) int {\n',
        (
            "func TestTwice(t *testing.T) {\n  candidate := twice\n\ttype test struct {\n\t\tactual   interface{}\n"
            "\t\texpected interface{}\n\t}\n   tests := []test{\n     { actual: candidate(2), expected: 4 },\n"
            "     { actual: candidate(5), expected: 10 },\n   }\n\n\tfor i, tc := range tests {\n"
            '\t\tt.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {\n'
            '\t\t\tif fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {\n'
            "\t\t\t\tt.Errorf(\"expected '%s', got '%s'\", tc.expected, tc.actual)\n\t\t\t}\n\t\t})\n\t}\n}\n"
        ),
        "    return 2 * n\n}\n",
        "    return 4\n}\n",
        "",
        "    return 4\n}\nfunc TestMain(m *testing.M) { fmt.Sprint(m) }\n",
    ),
}


def task_of(language: str) -> Task:
    prompt, test, *_ = LANGUAGES[language]
    return Task("multipl-e_x", "twice", prompt, "", "", test, language=language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language(language: str) -> None:
    try:
        toolchain(language)
    except UserError as missing:
        pytest.skip(str(missing))
    _, _, right, wrong, early, harmless = LANGUAGES[language]
    broken = "%%% no language\n"
    samples = [right, wrong, broken, early or wrong, harmless]
    verdicts, _ = evaluate_programs([task_of(language)], [samples], CFG)
    reasons = [verdict.reason for verdict in verdicts]
    said = [verdict.stderr for verdict in verdicts]
    assert reasons[0] == "passed", said[0]
    assert reasons[1] == "failed", said[1]
    assert reasons[2] in ("error:compile", "failed"), said[2]  # interpreters have no compiler to refuse it
    assert reasons[3] == ("tampered" if early else "failed"), said[3]
    assert reasons[4] == "tampered", said[4]
    assert [verdict.passed for verdict in verdicts] == [True, False, False, False, False]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_last_expectation_is_made_wrong(language: str) -> None:
    test = task_of(language).test
    wrong = sabotage(test, language, random.Random(0))
    changed = [(old, new) for old, new in zip(test.split("\n"), wrong.split("\n"), strict=True) if old != new]
    ((old, new),) = changed
    assert "5" in old
    assert new == old.replace("10", "4")
    assert (
        len(sabotage(test, language, random.Random(0), plain=True).split("\n")) == len(test.split("\n")) + 1
    )
    with pytest.raises(ValueError, match="no assertion"):
        sabotage("nothing\n", language, random.Random(0))


@pytest.mark.skipif(not DATA.exists(), reason="the benchmarks' files are not here")
@pytest.mark.parametrize("name", ["cpp", "go", "java", "js", "php", "rs", "ts"])
def test_all_published_tests_can_be_sabotaged(name: str) -> None:
    for task in load(f"multipl-e_{name}", DATA):
        assert sabotage(task.test, task.language, random.Random(0)) != task.test


@pytest.mark.skipif(not DATA.exists() or shutil.which("node") is None, reason="needs the files and node")
def test_published_solutions_in_javascript_pass() -> None:
    """HumanEval-X's solutions answer MultiPL-E's prompts, except where the two translate a task differently."""
    solutions = {task.task_id.split("/")[1]: task.canonical_solution for task in load("humaneval-x_js", DATA)}
    tasks = load("multipl-e_js", DATA)[:30]
    samples = [[solutions[task.task_id.split("_")[1]]] for task in tasks]
    verdicts, _ = evaluate_programs(tasks, samples, CFG)
    failing = {verdict.task: verdict.reason for verdict in verdicts if not verdict.passed}
    assert set(failing.values()) <= {"failed"}, failing  # none is called a cheat
    assert len(failing) <= 3, failing


def test_a_whole_program_loses_the_bracket_that_the_tests_bring() -> None:
    task = task_of("C++")
    whole = Solution(task.prompt + "    return 2 * n;\n}\n")
    assert assemble(task, whole, task.test).count("}") == task.test.count("}")
    java = task_of("Java")
    whole = Solution(java.prompt + "        return 2 * n;\n    }\n}\n")
    assert assemble(java, whole, java.test).count("}") == java.test.count("}")


def test_a_missing_toolchain_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toolchains.toolchain.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(UserError, match="PHP: php not found: apt-get install php-cli"):
            toolchain("PHP")
    finally:
        toolchains.toolchain.cache_clear()
