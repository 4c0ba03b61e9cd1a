"""Recall of edited solutions, and false alarms: floors under the tables of docs/decontamination.md."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from evaluation.benchmarks import BenchmarkText, load
from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig, fingerprint
from pipelines.stages.decontaminate import VERDICT, judge_contamination
from pipelines.stages.stored_index import build_stored, store
from pipelines.stages.trivial_code import BODIES, BOILERPLATE
from tests.pipelines.stages.documents import documents
from tests.pipelines.stages.edited_code import BRACE_EDITS, EDITS, edited, without_docstrings
from tests.pipelines.stages.test_decontaminate import FILLER, HUMANEVAL, SAMPLE, Text

DATA = Path(__file__).parents[4] / "shared" / "data" / "benchmarks"
NEEDS_DATA = pytest.mark.skipif(
    not DATA.exists(), reason="the benchmarks' files are not here; they are downloads of their owners"
)


@pytest.fixture(scope="module")
def index() -> BenchmarkIndex:
    return BenchmarkIndex.build(HUMANEVAL)


@pytest.fixture(scope="module")
def everything() -> tuple[dict[str, list[BenchmarkText]], BenchmarkIndex]:
    names = (
        "humaneval",
        "humaneval+",
        "mbpp",
        "mbpp+",
        "evoeval",
        "bigcodebench",
        "multipl-e",
        "humaneval-x",
    )
    texts = {name: [task.text() for task in load(name, DATA)] for name in names}
    return texts, BenchmarkIndex.build([text for group in texts.values() for text in group])


def recall(index: BenchmarkIndex, codes: Sequence[str], language: str | None = "Python") -> float:
    found = index.contaminated([f"{FILLER}{code}\n{FILLER}" for code in codes], langs=[language] * len(codes))
    return sum(match is not None for match in found) / len(codes)


FLOORS = {
    "none": 0.97,
    "renamed": 0.88,
    "comments added": 0.96,
    "comments and docstrings removed": 0.96,
    "docstrings added": 0.95,
    "type hints added": 0.95,
    "type hints removed": 0.95,
    "other quotes": 0.97,
    "other white space": 0.97,
    "functions reordered": 0.97,
    "into a class": 0.95,
    "combined": 0.87,
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_solutions_of_humaneval(edit: str, index: BenchmarkIndex) -> None:
    codes = [edited(without_docstrings(text.prompt + text.solution), EDITS[edit]) for text in HUMANEVAL]
    assert recall(index, codes) >= FLOORS[edit]
    assert recall(index, codes, language=None) >= FLOORS[edit]  # what is a comment, guessed


@NEEDS_DATA
@pytest.mark.parametrize(
    ("name", "renamed", "combined"), [("mbpp", 0.92, 0.88), ("mbpp+", 0.85, 0.83), ("evoeval", 0.95, 0.95)]
)
def test_edited_solutions_of_the_others(everything, name: str, renamed: float, combined: float) -> None:
    texts, index = everything
    codes = [
        text.solution if "mbpp" in name else without_docstrings(text.prompt + "\n" + text.solution)
        for text in texts[name][::2]
    ]
    assert recall(index, [edited(code, EDITS["renamed"]) for code in codes]) >= renamed
    assert recall(index, [edited(code, EDITS["combined"]) for code in codes]) >= combined


@NEEDS_DATA
@pytest.mark.parametrize("language", ["C++", "Go", "Java", "JavaScript", "Rust"])
def test_edited_solutions_of_other_languages(everything, language: str) -> None:
    """The bodies alone, neither description nor signature."""
    texts, index = everything
    codes = [text.solution for text in texts["humaneval-x"] if text.language == language]
    assert len(codes) == 164
    for edit in ("renamed", "combined"):
        changed = [BRACE_EDITS[edit](code, language) for code in codes]
        found = index.contaminated(changed, langs=[language] * len(codes))
        assert sum(match is not None for match in found) >= 0.88 * len(codes), edit


@NEEDS_DATA
def test_descriptions_in_every_language_are_found(everything) -> None:
    texts, index = everything
    prompts = [text.prompt for text in texts["multipl-e"] + texts["humaneval-x"] + texts["bigcodebench"]]
    found = index.contaminated(prompts)
    assert sum(match is not None for match in found) >= 0.99 * len(prompts)


@NEEDS_DATA
def test_the_standard_library_has_next_to_no_solutions(everything) -> None:
    """Older than the benchmarks in all but details; what is found is the same code (see the docs)."""
    _, index = everything
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(root.glob("*.py")) + sorted(root.glob("[a-z]*/*.py"))
    texts = [path.read_text("utf-8", "replace") for path in files if "site-packages" not in path.parts]
    assert sum(map(len, texts)) > 10_000_000
    found = index.contaminated(texts, langs=["Python"] * len(texts))
    hits = {str(path): match for path, match in zip(files, found, strict=False) if match}
    assert len(hits) <= 3, hits


def test_what_everyone_writes_is_not_found(index: BenchmarkIndex) -> None:
    codes = [f"def f(x):\n    {body.code}\n" for body in BODIES] + [item.code for item in BOILERPLATE]
    assert all(item.reason for item in (*BODIES, *BOILERPLATE))
    assert index.contaminated(codes) == [None] * len(codes)


RENAMED = "def turn(items, n):\n    n %= len(items)\n    return items[n:] + items[:n]\n"


def test_each_detector_finds_what_it_is_for_and_says_so() -> None:
    named = {
        "substring": SAMPLE.prompt + SAMPLE.solution,
        "ngram": SAMPLE.solution.replace("\n    return", "  # first\n    return").replace("by:", "(by):"),
        "near_duplicate": RENAMED,
    }
    index = BenchmarkIndex.build([SAMPLE])
    for detector, text in named.items():
        (match,) = index.contaminated([text], langs=["Python"])
        assert match is not None, detector
        assert match.detector == detector
        assert match.share == 1
        alone = BenchmarkIndex.build([SAMPLE], DecontaminateConfig(detectors=(detector,)))
        assert alone.contaminated([text])[0] is not None
        others = tuple(other for other in named if other != detector)
        if detector == "near_duplicate":
            assert BenchmarkIndex.build([SAMPLE], DecontaminateConfig(detectors=others)).contaminated(
                [text]
            ) == [None]


def test_a_verdict_names_detector_share_and_words() -> None:
    index = BenchmarkIndex.build([SAMPLE])
    verdicts = judge_contamination(documents([FILLER, FILLER + RENAMED + FILLER]), index, index.settings)
    assert verdicts.schema == VERDICT
    verdict = verdicts.to_pylist()[1]
    assert verdict.pop("match") in RENAMED
    assert verdict == {
        "row": 101,
        "reason": "contaminated",
        "benchmark": "sample",
        "task": "sample/0",
        "detector": "near_duplicate",
        "share": 1.0,
    }


def test_an_index_of_other_settings_is_refused() -> None:
    index = BenchmarkIndex.build([SAMPLE], DecontaminateConfig(near_share=0.9))
    with pytest.raises(ValueError, match="another configuration"):
        judge_contamination(documents([FILLER]), index, DecontaminateConfig())


def test_grams_far_apart_are_no_copy() -> None:
    """The halves of a solution, with a long file between them."""
    text = HUMANEVAL[10]
    index = BenchmarkIndex.build([text], DecontaminateConfig(detectors=("near_duplicate",), near_share=0.8))
    lines = text.solution.splitlines(keepends=True)
    first, second = "".join(lines[: len(lines) // 2]), "".join(lines[len(lines) // 2 :])
    assert index.contaminated([f"{FILLER}def f(string):\n{first}{second}"])[0] is not None
    assert index.contaminated([f"def f(string):\n{first}\n{FILLER * 20}def g(string):\n{second}"]) == [None]


def test_of_a_gram_of_many_tasks_little_remains() -> None:
    """Twenty unrelated tasks with one passage in common: the passage is an idiom, the rest still betrays."""
    idiom = (
        "    for key, value in sorted(table.items(), key=lambda pair: pair[1]):\n        print(key, value)\n"
    )
    signs = "+ - * / % // ** << >> & | ^ == < > <= >= != @ in"
    own = [
        f"    a = [len(x) {sign} 7 for x in rows if x.size {sign} {n}]\n"
        f"    b = max(a, default={n}) {sign} min(a) {sign} sum(a) {sign} {n}\n"
        f"    return [x.size {sign} b.size {sign} {n} {sign} x.weight for x in a]\n"
        for n, sign in enumerate(signs.split())
    ]
    texts = [Text("b", str(n), "", f"def f(table):\n{idiom}{body}") for n, body in enumerate(own)]
    index = BenchmarkIndex.build(texts, DecontaminateConfig(detectors=("near_duplicate",)))
    assert index.contaminated([f"def g(t):\n{idiom}    return t\n"]) == [None]
    found = index.contaminated([f"def g(table):\n{body}" for body in own])
    assert [match and match.task for match in found] == [str(n) for n in range(len(own))]


def test_an_index_is_built_once_and_found_again(tmp_path: Path, monkeypatch) -> None:
    stored = build_stored(HUMANEVAL, None, tmp_path)
    assert stored.fingerprint == fingerprint(HUMANEVAL, DecontaminateConfig())
    built, opened = BenchmarkIndex.build(HUMANEVAL), stored.open()
    assert opened == built
    text = pa.array([EDITS["combined"](without_docstrings(t.prompt + t.solution)) for t in HUMANEVAL])
    assert list(opened.search(text, 200)) == list(built.search(text, 200))
    monkeypatch.setattr(BenchmarkIndex, "build", lambda *_: pytest.fail("built again"))
    assert build_stored(HUMANEVAL, None, tmp_path) == stored
    assert len(list(tmp_path.iterdir())) == 1


def test_an_index_of_nothing_and_of_one_detector_is_stored(tmp_path: Path) -> None:
    for texts, detectors in (((), ("substring", "ngram")), ((SAMPLE,), ("near_duplicate",))):
        index = BenchmarkIndex.build(texts, DecontaminateConfig(detectors=detectors))
        opened = store(index, tmp_path).open()
        assert opened == index
        assert [match is not None for match in opened.contaminated([RENAMED, ""])] == [bool(texts), False]


def test_broken_text_is_judged() -> None:
    index = BenchmarkIndex.build([SAMPLE])
    texts = [
        "",
        "\x00",
        "\ufeff" + RENAMED,
        RENAMED.replace("\n", "\r\n"),
        "(" * 100_000,
        '"""' + RENAMED,
        None,
    ]
    found = index.contaminated(texts, langs=["Python", None, "Python", "Python", "C", "", None])
    assert [match is not None for match in found] == [False, False, True, True, False, True, False]
