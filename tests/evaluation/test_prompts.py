from __future__ import annotations

import pytest

from evaluation.benchmarks import BENCHMARKS, Solution, Task
from evaluation.prompts import answer_of, code_in, parseable, prompt_of, truncate

TASK = Task("humaneval", "HumanEval/0", "def f(x):\n    'Say so.'\n\n\n", "f", "", "")
HUMANEVAL, INSTRUCT = BENCHMARKS["humaneval"], BENCHMARKS["bigcodebench_instruct"]


def test_a_base_prompt_loses_its_trailing_newlines_only_if_asked() -> None:
    assert prompt_of(TASK, HUMANEVAL, "base", strip=True).text == "def f(x):\n    'Say so.'"
    kept = prompt_of(TASK, HUMANEVAL, "base", strip=False)
    assert (kept.text, kept.stops, kept.chat) == (TASK.prompt, HUMANEVAL.stops, False)
    assert prompt_of(TASK, HUMANEVAL, "base", strip=False, stops=("#",)).stops == ("#",)


def test_a_task_may_have_stops_of_its_own() -> None:
    task = Task("multipl-e_cpp", "t", "int f() {\n", "", "", "", language="C++", stops=("\n}",))
    prompt = prompt_of(task, BENCHMARKS["multipl-e_cpp"], "base", strip=True)
    assert prompt.stops == ("\n}",)
    assert answer_of(task, prompt, "    return 1;\n}\nint g()") == "    return 1;"


def test_an_instruct_prompt_is_the_publishers_where_there_is_one() -> None:
    task = Task(
        "bigcodebench_instruct", "t", "import os\n", "task_func", "", "", instruction="Write task_func."
    )
    assert (
        prompt_of(task, INSTRUCT, "base", strip=True).text == "Write task_func."
    )  # by definition of the benchmark
    words = prompt_of(TASK, HUMANEVAL, "instruct", strip=True)
    assert words.chat
    assert "```python\ndef f(x):\n    'Say so.'\n```" in words.text


CHAT = """Sure! First the idea:
```text
think
```
Now the code:
```python
import math
def f(x):
    return math.floor(x)
```
```python
print(f(1))
```
Hope it helps."""


def test_the_program_is_taken_out_of_the_answer() -> None:
    prompt = prompt_of(TASK, HUMANEVAL, "instruct", strip=True)
    found = answer_of(TASK, prompt, CHAT)
    assert isinstance(found, Solution)
    assert found == "import math\ndef f(x):\n    return math.floor(x)\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\ndef f(x):\n    return 1\n    retu", "def f(x):\n    return 1\n    retu"),  # never closed
        ("```\ndef g(): 1\n```\n```\ndef f(x): 2\n```", "def f(x): 2\n"),
        ("  ```py\n  def f(x): 2\n  ```", "  def f(x): 2\n"),
        ("def f(x): return 3", "def f(x): return 3"),
        ("", ""),
    ],
)
def test_code_blocks(text: str, program: str) -> None:
    assert code_in(text, "f") == program


def test_what_follows_the_program_is_cut_off() -> None:
    assert parseable("def f(x):\n    return 1\n\nThis works, because\nit does") == "def f(x):\n    return 1\n"
    assert parseable("no program here") == "no program here"
    assert parseable("x = '\0'") == "x = '\0'"


def test_truncate_takes_the_first_stop() -> None:
    assert truncate("    return 1\n\ndef g():\n# x", ("\n#", "\ndef")) == "    return 1\n"
    assert truncate("    return 1", ("\ndef",)) == "    return 1"
    assert truncate("\nclass", ("\nclass",)) == ""
