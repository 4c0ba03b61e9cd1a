"""Decontamination against truth: recall on edited solutions, false alarms on older code, and the speed of each part.

    python -m benchmarks.decontamination --benchmarks DIR --older DIR

`--benchmarks` holds the benchmark files (docs/decontamination.md). `--older` holds package archives (.whl, .zip,
.tar.gz, .tgz) published before the benchmarks; what is found in them is no leak.
"""

from __future__ import annotations

import argparse
import re
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from evaluation.benchmarks import BenchmarkText, load
from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig, Detector
from pipelines.stages.stored_index import build_stored
from tests.pipelines.stages.edited_code import BRACE_EDITS, EDITS, edited, without_docstrings

NAMES = (
    "humaneval",
    "humaneval+",
    "mbpp",
    "mbpp+",
    "evoeval",
    "bigcodebench",
    "bigcodebench_hard",
    "multipl-e",
    "humaneval-x",
)
DETECTORS: tuple[Detector, ...] = ("substring", "ngram", "near_duplicate")
AROUND = "import os\n\n\ndef unrelated(value):\n    return os.fspath(value)\n\n\n"
SUFFIXES = {
    ".py": "Python", ".pyx": "Cython", ".js": "JavaScript", ".ts": "TypeScript", ".c": "C", ".h": "C", ".cpp": "C++",
    ".cc": "C++", ".java": "Java", ".go": "Go", ".rs": "Rust", ".php": "PHP", ".rb": "Ruby", ".json": "JSON",
    ".yml": "YAML", ".yaml": "YAML", ".html": "HTML", ".css": "CSS", ".md": "Markdown", ".rst": "reStructuredText",
    ".ipynb": "Jupyter Notebook", ".txt": "",
}  # fmt: skip


def code_of(text: BenchmarkText) -> str:
    """The solution with its signature, and without the description, which would be found by itself."""
    if text.benchmark.startswith("mbpp"):
        return text.solution
    if text.language == "Python":
        return without_docstrings(text.prompt + "\n" + text.solution)
    return re.sub(r"(?s)/\*.*?\*/|^ *//[^\n]*\n", "", text.prompt, flags=re.MULTILINE) + text.solution


def variants(texts: Sequence[BenchmarkText]) -> Iterator[tuple[str, list[str]]]:
    """(edit, one document per text) for every edit of their language."""
    language = texts[0].language
    codes = [code_of(text) for text in texts]
    if language == "Python":
        for name, edit in EDITS.items():
            yield name, [f"{AROUND}{edited(code, edit)}\n{AROUND}" for code in codes]
    else:
        for name, brace_edit in BRACE_EDITS.items():
            yield name, [brace_edit(code, language) for code in codes]


def older_files(directory: Path) -> Iterator[tuple[str, str, str]]:
    """(name, language, text) of every distinct text file of a known suffix in the archives, in order."""
    seen = set()
    for archive in sorted(directory.iterdir()):
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as opened:
                members = [(name, opened.read(name)) for name in opened.namelist() if not name.endswith("/")]
        elif archive.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(archive) as tar:
                members = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]  # type: ignore[union-attr]
        else:
            continue
        for name, data in members:
            language = SUFFIXES.get(PurePosixPath(name).suffix.lower())
            if language is None or len(data) > 2_000_000 or data in seen:
                continue
            seen.add(data)
            try:
                yield f"{archive.name}: {name}", language, data.decode()
            except UnicodeDecodeError:
                continue


def row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def recall(texts: Sequence[BenchmarkText], indexes: dict[str, BenchmarkIndex]) -> None:
    groups: dict[str, list[BenchmarkText]] = {}
    for text in texts:
        if text.solution and text.benchmark != "bigcodebench_hard":
            name = "evoeval" if text.benchmark.startswith("evoeval") else text.benchmark
            groups.setdefault(name, []).append(text)
    for edits, python in ((EDITS, True), (BRACE_EDITS, False)):
        chosen = {n: g for n, g in groups.items() if (g[0].language == "Python") == python}
        print(row(["edit", *(f"{name} ({len(group)})" for name, group in chosen.items())]))
        print("|---" * (len(chosen) + 1) + "|")
        made = {name: dict(variants(group)) for name, group in chosen.items()}
        for edit in edits:
            cells = []
            for name, group in chosen.items():
                documents, langs = made[name][edit], [group[0].language] * len(group)
                shares = [
                    sum(match is not None for match in index.contaminated(documents, langs=langs))
                    / len(group)
                    for index in indexes.values()
                ]
                cells.append(" / ".join(f"{100 * share:.1f}" for share in shares))
            print(row([edit, *cells]))
        print()


def false_alarms(files: list[tuple[str, str, str]], index: BenchmarkIndex) -> None:
    text = pa.array([content for _, _, content in files], pa.large_string())
    langs = pa.array([language for _, language, _ in files])
    found = list(index.search(text, 100, langs))
    size = sum(len(content.encode()) for _, _, content in files) / 1e6
    print(
        f"{len(found)} of {len(files)} older files ({size:.0f} MB) hit: {Counter(m.detector for _, m in found)}"
    )
    for document, match in found:
        words = " ".join(match.text.split())
        print(
            row(
                [
                    files[document][0],
                    match.benchmark,
                    match.task,
                    match.detector,
                    f"{match.share:.2f}",
                    f"`{words}`",
                ]
            )
        )


def speed(files: list[tuple[str, str, str]], indexes: dict[str, BenchmarkIndex]) -> None:
    for language in ("Python", "JavaScript", "C"):
        chosen = [content for _, lang, content in files if lang == language][:8000]
        if not chosen:
            continue
        text, langs = pa.array(chosen, pa.large_string()), pa.array([language] * len(chosen))
        size = sum(len(content.encode()) for content in chosen) / 1e6
        cells = []
        for index in indexes.values():
            list(index.search(text[:1], 200, langs[:1]))
            best = float("inf")
            for _ in range(3):
                start = time.process_time()
                list(index.search(text, 200, langs))
                best = min(best, time.process_time() - start)
            cells.append(f"{size / best:.0f}")
        print(row([f"{language}, {size:.0f} MB", *cells]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--store", type=Path, help="keep the index here, to see it found again")
    arguments = parser.parse_args()
    texts = [task.text() for name in NAMES for task in load(name, arguments.benchmarks)]
    if arguments.store:
        for _ in range(2):
            start = time.perf_counter()
            stored = build_stored(texts, None, arguments.store)
            print(f"{len(texts)} tasks, index {stored.fingerprint} in {time.perf_counter() - start:.2f} s")
        print(f"{Path(stored.path).stat().st_size / 1e6:.1f} MB")
    sets: dict[str, tuple[Detector, ...]] = {**{name: (name,) for name in DETECTORS}, "all": DETECTORS}
    indexes = {
        name: BenchmarkIndex.build(texts, DecontaminateConfig(detectors=detectors))
        for name, detectors in sets.items()
    }
    print("recall in percent:", " / ".join(indexes))
    recall(texts, indexes)
    if arguments.older:
        files = list(older_files(arguments.older))
        false_alarms(files, indexes["all"])
        print("MB/s of processor time:", row(list(indexes)))
        speed(files, indexes)


if __name__ == "__main__":
    main()
