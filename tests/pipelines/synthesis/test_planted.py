"""What must be caught, planted in answers: 50 of them, each with its reason. And 200 clean ones, nearly all of which
must pass: real files of installed packages, parts of this repository, as if a generator had written them."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from evaluation.benchmarks import load
from pipelines.dedup.config import DedupConfig
from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.duplicates import Duplicates, corpus_index, file_keys, synthesis_dedup
from pipelines.synthesis.requests import REQUEST, RESPONSE
from pipelines.synthesis.verify import documents, verify, with_reasons

SEED = '''import re


def parse_rule(line, defaults):
    """Read one "name: value; other: value" rule into a mapping."""
    name, _, rest = line.partition(":")
    if not name.strip():
        raise ValueError(f"rule without a name: {line!r}")
    values = dict(defaults)
    for piece in re.split(r"\\s*;\\s*", rest.strip()):
        key, _, value = piece.partition("=")
        values[key.strip()] = value.strip() or None
    return name.strip(), values
'''
DEDUP = synthesis_dedup(DedupConfig(similarity=0.7, bands=16, rows=8, verify=True, expected_documents=2000))


def fenced(code, tag="python"):
    return f"Here is the file.\n\n```{tag}\n{code}\n```\n\nIt solves the problem."


@pytest.fixture(scope="module")
def tasks():
    return load("humaneval")


@pytest.fixture(scope="module")
def index(tasks):
    sharper = DecontaminateConfig(near_share=VerifyConfig().near_share, near_evidence=4.0)
    return BenchmarkIndex.build([task.text() for task in tasks], sharper)


def solutions(tasks, count):
    """The whole programs of the tasks with the longest solutions."""
    texts = sorted((task.text() for task in tasks), key=lambda text: -len(text.solution))
    return [(text.task, text.prompt + text.solution) for text in texts[:count]]


def renamed(code):
    """Every name of the program's own (functions, arguments, variables) is another one."""
    tree = ast.parse(code)
    own: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            own |= {node.name, *(arg.arg for arg in node.args.args)}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    names = {name: f"item_{place}" for place, name in enumerate(sorted(own))}
    out = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        out.append((token.type, names.get(token.string, token.string)))
    return tokenize.untokenize(out)


def without_prose(code):
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def commented(code):
    """Other words around the same code: the docstrings go, a comment before every statement comes."""
    lines = []
    for number, line in enumerate(without_prose(code).splitlines()):
        indent = line[: len(line) - len(line.lstrip())]
        lines += [f"{indent}# Step {number}: what comes next is needed for the result.", line]
    return "\n".join(lines)


def planted(tasks):
    """(answer, expected reason): fifty."""
    leaks = solutions(tasks, 30)
    cases = [(fenced(code), "contaminated") for _, code in leaks[:10]]
    cases += [(fenced(renamed(without_prose(code))), "contaminated") for _, code in leaks[4:9]]
    cases += [(fenced(without_prose(code)), "contaminated") for _, code in leaks[5:10]]  # reformatted by ast
    cases += [(fenced(commented(code)), "contaminated") for _, code in leaks[10:15]]
    around = "def unrelated(value):\n    return value * 3 + 1\n\n\n"
    cases += [(fenced(around * 3 + code), "contaminated") for _, code in leaks[15:20]]
    body = SEED.replace("parse_rule", "connect")
    secrets = [
        'KEY = "AKIA' + 'Q7XLMZP3RT5VWYKD"',
        'token = "ghp_' + "a8Kd02mXq9LzT5vRw3Yb7NcE1Fh6GjU4sPoI" + '"',
        'password = "' + "h7!kP2vx9Zq" + '"',
        'URL = "postgres://app:' + "q8Zr2Lm9xT" + '@db.internal.acme.io/main"',
        'secret_key = "' + "9f8e7d6c5b4a39281706f5e4d3c2b1a0" + '"',
    ]
    other = "\n".join(f"def rule_{i}(line):\n    return line.split({i!r})[0]\n" for i in range(4))
    cases += [(fenced(f"{secret}\n\n\n{other}"), "secret") for secret in secrets]
    cases += [(fenced(SEED), "seed_copy")]
    cases += [
        (fenced("# A rule parser.\n" + SEED), "seed_copy"),
        (fenced(SEED.replace('"""Read', '"""Parse')), "seed_copy"),
    ]
    cases += [
        (fenced(re.sub(r"^import re\n+", "import re\nimport json\n\n\n", SEED)), "seed_copy"),
        (SEED, "seed_copy"),
    ]
    broken = [
        body.replace("for piece in", "for piece"),
        body.replace("):", ")"),
        body.replace("    return name", "  return name"),
        body.replace('"=")', '"='),
        body.replace("values = dict", "values == = dict"),
    ]
    cases += [(fenced(code), "syntax_error") for code in broken]
    java = "public class Rules {\n  private final java.util.Map<String, String> values = new java.util.HashMap<>();\n"
    java += "  public void put(String key, String value) { values.put(key, value); }\n  public int size() {\n"
    java += "    return values.size();\n  }\n}\n"
    script = "const rules = new Map();\nfunction put(key, value) {\n  rules.set(key, value);\n  return rules.size;\n}\n"
    script += "module.exports = { put };\nconsole.log(put('a', 1));\n"
    rust = "use std::collections::HashMap;\n\npub fn put(rules: &mut HashMap<String, i32>, key: &str) -> usize {\n"
    rust += '    rules.insert(key.to_string(), 1);\n    rules.len()\n}\n\nfn main() {\n    println!("{}", 1);\n}\n'
    cases += [(fenced(java, "java"), "wrong_language"), (fenced(java, ""), "wrong_language")]
    cases += [(fenced(script, "javascript"), "wrong_language"), (fenced(script, ""), "wrong_language")]
    cases += [(fenced(rust, "rust"), "wrong_language")]
    return cases


def judged(answers, index, below=()):
    common = {"recipe": "problem_file", "sample": 0, "lang": "Python", "step": 0, "prompt_hash": "p"}
    asked, answered = [], []
    for row, (text, snippet) in enumerate(answers):
        place = common | {"ordinal": row, "seed": row, "sampling": "{}", "error": None}
        asked.append(place | {"snippet": snippet})
        told = {"model": "m", "model_hash": "h", "prompt_tokens": 1, "output_tokens": 1, "finish": "stop"}
        answered.append(place | told | {"text": text})

    def contaminated(texts, languages):
        found = index.contaminated(texts, langs=languages)
        return [None if match is None else f"{match.benchmark} {match.task}: {match.text}" for match in found]

    responses = pa.Table.from_pylist(answered, schema=RESPONSE)
    requests = pa.Table.from_pylist(asked, schema=REQUEST)
    verdicts = verify(responses, requests, VerifyConfig(), contaminated)
    found = documents(responses, verdicts)
    twins = zip(found["row"].to_pylist(), Duplicates(DEDUP, below, len(answers)).claim(0, found), strict=True)
    verdicts = with_reasons(verdicts, {row: twin for row, twin in twins if twin})
    return list(
        zip(
            ((reason or "").partition(":")[0] for reason in verdicts["reason"].to_pylist()),
            verdicts["evidence"].to_pylist(),
            strict=True,
        )
    )


def test_everything_planted_is_caught_with_its_reason(tasks, index):
    cases = planted(tasks)
    assert len(cases) == 50
    found = judged([(answer, SEED) for answer, _ in cases], index)
    missed = {
        place: (wanted, got)
        for place, ((_, wanted), got) in enumerate(zip(cases, found, strict=True))
        if wanted != got[0]
    }
    assert missed == {}
    assert all(evidence for _, evidence in found)
    leaks = {task for task, _ in solutions(tasks, 30)}
    named = [
        evidence.split(":")[0].split(" ", 1)[1] for reason, evidence in found if reason == "contaminated"
    ]
    # Tasks of HumanEval resemble one another; nearly always the one that was copied is named.
    assert sum(task in leaks for task in named) >= 27


def test_nearly_all_leaks_are_found_without_a_name_or_a_word_left(tasks, index):
    """HumanEval/20 is not: it is made of what other tasks are made of, too."""
    bare = [renamed(without_prose(code)) for _, code in solutions(tasks, 30)]
    found = index.contaminated(bare, langs=["Python"] * len(bare))
    assert sum(match is not None for match in found) >= 29


def clean_files(count):
    """Real Python files of a sensible size from permissively licensed packages that are installed here."""
    files: list[str] = []
    for name in (
        "attr",
        "click",
        "jinja2",
        "networkx",
        "numpy",
        "pygments",
        "rich",
        "torch",
        "starlette",
        "httpx",
    ):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue
        taken = 0
        for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            if (
                1500 < len(text) < 9000
                and text.count("\ndef ") + text.count("\nclass ") > 1
                and taken < count // 5
            ):
                files.append(text)
                taken += 1
    return files[:count]


def test_of_two_hundred_clean_files_at_most_two_are_rejected(index):
    files = clean_files(200)
    assert len(files) == 200
    found = judged(
        [(fenced(text), SEED) for text in files],
        index,
    )
    rejected = [(reason, evidence) for reason, evidence in found if reason]
    assert len(rejected) <= 2, Counter(reason for reason, _ in rejected).most_common() + rejected[:12]


def test_near_duplicates_of_outputs_and_of_the_corpus_are_told_apart(index):
    files = clean_files(12)
    known = pa.table(
        {
            "row": pa.array([5, 9], pa.int32()),
            "repo": ["a", "b"],
            "path": ["x.py", "y.py"],
            "lang": ["Python"] * 2,
            "text": pa.array(files[:2], pa.large_string()),
        }
    )
    from pipelines.dedup.index import LocalPartitions

    below = corpus_index([(3, *file_keys([known], DEDUP))], DEDUP, LocalPartitions(DEDUP))
    checksum = below.checksums()
    texts = [files[0], files[2], files[1] + "\n# the end\n", files[2].replace("self", "this", 2), files[3]]
    found = judged([(f"~~~~python\n{text}\n~~~~", SEED) for text in texts], index, [below])
    reasons = ["duplicate_corpus", "", "duplicate_corpus", "duplicate_output", ""]
    assert [reason for reason, _ in found] == reasons
    assert "shard 3, row 5" in found[0][1]
    assert "shard 3, row 9" in found[2][1]
    assert "chunk 0, row 1" in found[3][1]
    assert below.checksums() == checksum  # the corpus' index is only read
