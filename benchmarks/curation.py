"""Rules and decontamination, side by side with BigCode's way, on the Python files of this environment.

    python benchmarks/curation.py [--quick] [--check] [--benchmarks DIR]

Prints one `ratio NAME PEER VALUE floor FLOOR` line per comparison; `--check` exits with 1 below a floor.
Everything runs in one thread of one process, and processor time is what counts, so that a busy machine does
not decide. Peers do what `bigcode-dataset` does, file by file as `datasets.map` would call them:
`per-char-python` takes four statistics with generators over characters (ours takes ten and judges all rules);
`nested-in` searches each needle with `in`, in the lower-cased file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import random
import resource
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.benchmarks import BenchmarkText, available, load
from pipelines.kernels.line_stats import line_stats
from pipelines.kernels.squeeze import squeeze
from pipelines.schema import DOCUMENT
from pipelines.stages.decontaminate import BenchmarkIndex, DecontaminateConfig, judge_contamination
from pipelines.stages.rules import judge_rules, rejudge, rules_hit
from pipelines.stages.rules_config import RulesConfig

RULES_FLOOR, DECONTAMINATE_FLOOR = 25.0, 15.0


def python_files(megabytes: float) -> list[str]:
    """A seeded sample of the environment's Python files, up to this many megabytes of text."""
    paths = sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py"))
    random.Random(0).shuffle(paths)
    texts, left = [], megabytes * 1e6
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="ignore")
        left -= len(text.encode())
        if left < 0:
            break
        texts.append(text)
    return texts


def documents(texts: list[str]) -> pa.Table:
    n = len(texts)
    columns = {name: [""] * n for name in ("repo", "path", "license")}
    sizes = [len(text.encode()) for text in texts]
    rows = {"row": range(n), "lang": ["Python"] * n, "size": sizes, "text": texts, "fault": [None] * n}
    return pa.table({**columns, **rows}).select(DOCUMENT.names).cast(DOCUMENT)


PEER_RULES = ("long_line", "long_mean_line", "low_alphanumeric", "low_alphabetic")


def per_character_python(text: str) -> tuple[bool, ...]:
    """PEER_RULES, as the basic filter of `bigcode-dataset` takes them."""
    lengths = [len(line) for line in text.splitlines()] or [0]
    alphanumeric = sum(c.isalnum() for c in text) / max(len(text), 1)
    alphabetic = sum(c.isalpha() for c in text) / max(len(text), 1)
    return max(lengths) > 1000, sum(lengths) / len(lengths) > 100, alphanumeric < 0.25, alphabetic < 0.25


def nested_in(text: str, needles: list[str]) -> bool:
    """The substring search of `bigcode-dataset`."""
    lowered = text.lower()
    return any(needle in lowered for needle in needles)


def raw_needles(texts: list[BenchmarkText]) -> list[str]:
    """What `nested_in` searches: prompts and solutions of at least our minimum length, lower-cased."""
    minimum = DecontaminateConfig().min_characters
    parts = (part.strip().lower() for text in texts for part in (text.prompt, text.solution))
    return sorted({part for part in parts if len(squeeze(part)) >= minimum})


def speed(run: Callable[[], object], megabytes: float, repeats: int) -> float:
    """MB/s of processor time of the fastest of `repeats` runs, after one that compiles and warms up."""
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return megabytes / best


def peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def compare_rules(texts: list[str], peer_texts: list[str]) -> float:
    docs, cfg = documents(texts), RulesConfig()
    megabytes, peer_megabytes = (
        sum(len(text.encode()) for text in part) / 1e6 for part in (texts, peer_texts)
    )
    verdicts = judge_rules(docs, cfg)
    ours = speed(lambda: judge_rules(docs, cfg), megabytes, 5)
    kernel = speed(lambda: line_stats(docs["text"]), megabytes, 5)
    again = speed(lambda: rejudge(verdicts, cfg), megabytes, 3)
    peer = speed(lambda: [per_character_python(text) for text in peer_texts], peer_megabytes, 1)
    named = [rules_hit(hits) for hits in verdicts["hits"][: len(peer_texts)].to_pylist()]
    mine = [tuple(rule in hit for rule in PEER_RULES) for hit in named]
    differ = sum(
        a != per_character_python(text) for a, text in zip(mine, peer_texts, strict=True) if text.strip()
    )
    reasons = verdicts["reason"].combine_chunks().value_counts().to_pylist()
    counts = ", ".join(f"{count['values'] or 'kept'} {count['counts']}" for count in reasons)
    print(f"rules: {megabytes:.0f} MB in {len(texts)} files: {counts}")
    print(f"rules: {ours:.0f} MB/s, its kernel {kernel:.0f}, rejudging {again:.0f}; peer {peer:.1f} MB/s")
    print(f"rules: {differ} of {len(peer_texts)} files judged otherwise by the peer's rules")
    return ours / peer


def compare_decontamination(texts: list[str], peer_texts: list[str], known: list[BenchmarkText]) -> float:
    docs, cfg = documents(texts), DecontaminateConfig()
    megabytes, peer_megabytes = (
        sum(len(text.encode()) for text in part) / 1e6 for part in (texts, peer_texts)
    )
    start = time.perf_counter()
    index, needles = BenchmarkIndex.build(known, cfg), raw_needles(known)
    built = time.perf_counter() - start
    ours = speed(lambda: judge_contamination(docs, index, cfg), megabytes, 3)
    peer = speed(lambda: [nested_in(text, needles) for text in peer_texts], peer_megabytes, 1)
    hits = judge_contamination(docs, index, cfg)["task"].drop_null().to_pylist()
    planted = [text.prompt + text.solution for text in known]
    found = sum(match is not None for match in index.contaminated(planted))
    size = sum(map(len, index.needles))
    print(f"decontamination: {len(index.needles)} needles of together {size} bytes, built in {built:.2f} s")
    print(f"decontamination: {ours:.0f} MB/s; peer {peer:.1f} MB/s with {len(needles)} needles")
    print(f"decontamination: {len(hits)} of {len(texts)} files hit {hits}")
    print(f"decontamination: {found} of {len(planted)} planted tasks found")
    return ours / peer


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer files, some ten seconds")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    parser.add_argument(
        "--benchmarks", type=Path, help="directory with benchmark files besides the installed ones"
    )
    arguments = parser.parse_args()
    packages = {name: importlib.metadata.version(name) for name in ("numba", "pyarrow", "ahocorasick_rs")}
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {packages}")

    names = [name for name in ("humaneval", "mbpp") if available(name, arguments.benchmarks)]
    known = [task.text() for name in names for task in load(name, arguments.benchmarks)]
    print(f"benchmarks: {names}, {len(known)} tasks")
    texts = python_files(20 if arguments.quick else 200)
    peer_texts = texts[: max(1, len(texts) // (10 if arguments.quick else 20))]
    low = False
    for name, peer, floor, ratio in (
        ("rules", "per-char-python", RULES_FLOOR, compare_rules(texts, peer_texts)),
        (
            "decontaminate",
            "nested-in",
            DECONTAMINATE_FLOOR,
            compare_decontamination(texts, peer_texts, known),
        ),
    ):
        print(f"ratio {name} {peer} {ratio:.1f} floor {floor:g}")
        low |= ratio < floor
    size = sum(map(len, texts)) >> 20
    print(f"peak RSS {peak_rss()} MiB; the files are {size} MiB of it twice, as str and as Arrow")
    return 1 if low and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
