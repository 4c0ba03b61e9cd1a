from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import mmh3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.annotator.config import PositivesConfig, PositiveSource
from pipelines.annotator.positives import POSITIVE, code_of, load_positives, named_language
from snowcoder.base import UserError

GCD = "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n"
SUM = "def total(values):\n    result = 0\n    for v in values:\n        result += v\n    return result\n"
FILES: dict[str, str | bytes] = {
    "algo/__init__.py": "from algo.maths.gcd import gcd, a_long_enough_line_that_is_not_a_stub\n" * 3,
    "algo/maths/gcd.py": GCD,
    "algo/maths/copy_of_gcd.py": "\n" + GCD + "\n",
    "algo/sums/total.py": SUM,
    "algo/stub.py": "x = 1\n",
    "algo/native.c": "int main(void) { return 0; } /* long enough to be a document of its own */\n",
    "tests/test_gcd.py": "from algo.maths.gcd import gcd\n\n\ndef test_gcd():\n    assert gcd(4, 6) == 2\n",
    "algo/latin1.py": b"# caf\xe9, in an encoding that the file does not name, and long enough to count\n",
}


def _nothing(texts: list[str]) -> list[None]:
    return [None] * len(texts)


def _wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def _sdist(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in sorted(FILES.items()):
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(f"algo-1.0/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("algo-1.0/algo/link.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/somewhere/else.py"
        archive.addfile(link)
    return path


def _load(*sources: PositiveSource, contaminated=_nothing, **limits):
    return load_positives(PositivesConfig(sources=sources, min_bytes=40, **limits), contaminated)


@pytest.mark.parametrize("make", [_wheel, _sdist])
def test_archives_are_read_in_place_and_every_file_is_accounted_for(tmp_path, make):
    name = "algo-1.0-py3-none-any.whl" if make is _wheel else "algo-1.0.tar.gz"
    make(tmp_path / name)
    table, report = _load(PositiveSource(kind="archive", paths=(str(tmp_path),)))
    assert table.schema == POSITIVE
    by_path = {row["path"]: row for row in table.to_pylist()}
    assert set(by_path) == {"algo/maths/copy_of_gcd.py", "algo/sums/total.py", "algo/latin1.py"}
    assert by_path["algo/sums/total.py"] == {
        "text": SUM, "lang": "Python", "group": "algo-1.0/algo/sums", "source": "algo-1.0",
        "path": "algo/sums/total.py", "hash": mmh3.hash_bytes(SUM.strip()).hex(),
    }  # fmt: skip
    assert (report.read, report.kept["algo-1.0"]) == (5, 3)
    assert report.read == sum(report.kept.values()) + sum(report.dropped.values())
    assert report.dropped["duplicate"] == report.dropped["too_short"] == 1


def test_benchmark_hits_are_dropped_and_counted(tmp_path):
    wheel = _wheel(tmp_path / "algo-1.0-py3-none-any.whl")
    source = PositiveSource(kind="archive", paths=(str(wheel),))
    table, report = _load(
        source, contaminated=lambda texts: ["HumanEval/13" if GCD in t else None for t in texts]
    )
    assert report.dropped["contaminated"] == 1
    assert not any(GCD in text for text in table["text"].to_pylist())
    with pytest.raises(UserError, match="no usable positive"):
        _load(source, contaminated=lambda texts: ["hit"] * len(texts))


ROWS: list[dict] = [
    {"solution": f"Use Euclid:\n```python\n{GCD}```\nIt stops.", "lang": "python", "task": "a"},
    {"solution": SUM, "lang": "cpp", "task": "a"},
    {"solution": f"```js\n// {'x' * 60}\n```\n", "lang": None, "task": "b"},
]


def _write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    lines = "\n".join(map(json.dumps, rows)) if ".jsonl" in path.suffixes else json.dumps(rows)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.parquet"])
def test_instruction_data_in_all_its_containers(tmp_path, name):
    path = _write(tmp_path / name, ROWS)
    table, report = _load(PositiveSource(kind="instructions", paths=(str(path),), group_field="task"))
    assert table["text"].to_pylist() == [GCD, SUM, f"// {'x' * 60}\n"]
    assert table["lang"].to_pylist() == ["Python", "", "JavaScript"]
    assert table["group"].to_pylist() == [f"{name}/a", f"{name}/a", f"{name}/b"]
    assert table["path"].to_pylist() == ["1", "2", "3"]
    assert report.kept == {name: 3}
    source = PositiveSource(kind="instructions", paths=(str(path),), language_field="lang", code="whole")
    table, _ = _load(source)
    assert table["lang"].to_pylist() == ["Python", "C++", ""]
    assert table["text"][0].as_py().startswith("Use Euclid")
    assert table["group"].to_pylist() == [f"{name}/row {i}" for i in (1, 2, 3)]


def test_a_sample_is_seeded_and_accounted_for(tmp_path):
    path = _write(tmp_path / "a.jsonl", [{"solution": f"value = {i}\n" * 9} for i in range(40)])
    source = PositiveSource(kind="instructions", paths=(str(path),), max_documents=10)
    table, report = _load(source)
    assert len(table) == report.kept["a.jsonl"] == 10
    assert report.dropped["not_sampled"] == 30
    assert table.equals(_load(source)[0])


@pytest.mark.parametrize(
    ("answer", "code", "tag"),
    [
        ("x = 1", "x = 1", ""),
        ("a\n```py\nx = 1\n```\nb\n~~~\n```\ny = 2\n```", "x = 1\n\ny = 2\n", "py"),
        ("```c++\nint x;\n", "```c++\nint x;\n", ""),  # never closed: no fence
        ("1. do\n   ```go title=x\n   x := 1\n   ```", "   x := 1\n", "go"),
    ],
)
def test_fenced_code(answer, code, tag):
    assert code_of(answer) == (code, tag)


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Write a C++ program that calculates an area.", "C++"),
        ("Create a Python script; use no library.", "Python"),
        ("Write a Go function that adds.", "Go"),
        ("Write a C program", "C"),
        ("Go through the list and sort it, grade C or better", ""),
        ("Translate this Java method to Kotlin", ""),
        ("Use JavaScript, and only JavaScript", "JavaScript"),
        ("Read node.js sources", ""),
        ("", ""),
    ],
)
def test_the_language_that_a_question_names(question, language):
    assert named_language(question) == language


def test_the_question_tells_the_language_where_the_answer_does_not(tmp_path):
    rows = [{"solution": SUM, "task": "Write a Ruby method"}, {"solution": GCD, "task": "Write it"},
            {"solution": f"```go\n{'y' * 60}\n```", "task": "Write a Ruby method"}]  # fmt: skip
    path = _write(tmp_path / "a.jsonl", rows)
    table, _ = _load(PositiveSource(kind="instructions", paths=(str(path),), task_field="task"))
    assert table["lang"].to_pylist() == ["Ruby", "", "Go"]


LONG = "\n".join(f"    total_{i} = first_{i} * {i} + second_{i % 7}" for i in range(60))


def test_near_copies_are_dropped_across_sources_and_provenance_names_files(tmp_path):
    first = _write(tmp_path / "a.jsonl", [{"solution": f"def one():\n{LONG}\n"}])
    edited = LONG.replace("total_30 ", "result ")
    second = _write(tmp_path / "b.jsonl", [{"solution": f"def one():\n{edited}\n"}, {"solution": SUM}])
    sources = [PositiveSource(kind="instructions", paths=(str(path),)) for path in (first, second)]
    table, report = _load(*sources)
    assert table["source"].to_pylist() == ["a.jsonl", "b.jsonl"]
    assert report.dropped["near_duplicate"] == 1
    assert [use.dropped for use in report.sources] == [{}, {"near_duplicate": 1}]
    assert report.sources[1].sha256 == {"b.jsonl": hashlib.sha256(second.read_bytes()).hexdigest()}


def test_what_stands_in_is_used_only_when_the_other_is_not_there(tmp_path):
    path = _write(tmp_path / "a.jsonl", [{"solution": SUM}])
    other = str(tmp_path / "published.jsonl")
    published = PositiveSource(name="published", kind="instructions", paths=(other,), optional=True)
    ours = PositiveSource(kind="instructions", paths=(str(path),), stands_in_for="published", optional=True)
    table, report = _load(published, ours)
    assert report.absent == ["published"]
    assert [use.stands_in_for for use in report.sources] == ["published"]
    assert table["source"].to_pylist() == ["a.jsonl"]
    _write(Path(other), [{"solution": GCD}])
    table, report = _load(published, ours)
    assert table["source"].to_pylist() == ["published.jsonl"]
    with pytest.raises(UserError, match="none of gone is there"):
        _load(PositiveSource(name="gone", kind="instructions", paths=("nowhere.jsonl",), optional=True))


def test_half_a_surrogate_pair_is_a_drop_not_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"solution": "' + "x" * 50 + '\\ud800"}\n' + json.dumps(ROWS[1]))
    table, report = _load(PositiveSource(kind="instructions", paths=(str(path),)))
    assert len(table) == report.dropped["not_unicode"] == 1


def test_bad_input_names_file_row_and_remedy(tmp_path):
    with pytest.raises(UserError, match="name archives or instruction data"):
        _load()
    with pytest.raises(UserError, match=re.escape("pip download")):
        _load(PositiveSource(kind="archive", paths=(str(tmp_path),)))
    path = _write(tmp_path / "a.jsonl", [ROWS[0], {"answer": "x"}])
    with pytest.raises(UserError, match=r"a\.jsonl: row 2 has no text in 'solution'"):
        _load(PositiveSource(kind="instructions", paths=(str(path),)))
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        _load(PositiveSource(kind="instructions", paths=(str(path),)))
    for name, kind in (("a.whl", "archive"), ("a.tar.gz", "archive"), ("a.parquet", "instructions"),
                       ("a.jsonl.gz", "instructions")):  # fmt: skip
        (tmp_path / name).write_bytes(b"not what its name says" * 9)
        with pytest.raises(UserError, match="not readable"):
            _load(PositiveSource(kind=kind, paths=(str(tmp_path / name),)))
    with pytest.raises(ValueError, match="unknown language 'Pyton'"):
        PositiveSource(kind="archive", paths=("x",), languages=("Pyton",))


def test_the_lock_pins_every_package_by_hash():
    lock = Path(__file__).parents[3] / "requirements" / "positives.lock"
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= 5
    assert all(re.fullmatch(r"[\w-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}  # [\w.-]+", line) for line in lines)
