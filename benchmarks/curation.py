"""Curation beside what people use for it: rules, decontamination, and the whole way through near duplicates.

    python -m benchmarks.curation [--quick] [--check] [--corpus DIR] [--benchmarks DIR] [--rows WORK,...]

Prints a table of speeds and one `ratio NAME PEER VALUE floor FLOOR` line per comparison (PEER is MB/s where the
floor is a speed); `--check` exits with 1 below a floor. `--quick` takes less than three minutes.

Every side has a process of its own and is started and warmed up before it is measured. Sides take turns, and the
median of three turns counts. The works of one core are compared by processor time, the pipelines by wall time, from
which the time that the same pipeline takes on one file per task is subtracted as its start. A slow side is given a
part of what the fast one gets: seeded samples of one corpus, so that MB/s can be compared. The corpus is that of
`python -m benchmarks.corpus bench`, or the Python files of this environment where none was built.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import ours, peers_python
from benchmarks.measure import Side, Time, median
from evaluation.benchmarks import BENCHMARKS, BenchmarkText, available, load

CACHE = Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder")
BENCHMARK_FILES = Path(__file__).resolve().parents[2] / "shared" / "data" / "benchmarks"
MIN_NEEDLE = 30  # characters without white space: the index's own minimum
CORES = 2


@dataclass(frozen=True)
class Plan:
    """How many turns, and megabytes for each side."""

    turns: int
    rules: float
    preset: float
    decontamination: float
    nested: float
    ngrams: float
    ngrams_plain: float
    pipeline: float


FULL = Plan(3, rules=60, preset=200, decontamination=200, nested=8, ngrams=4, ngrams_plain=20, pipeline=80)
QUICK = Plan(1, rules=10, preset=20, decontamination=20, nested=2, ngrams=1, ngrams_plain=3, pipeline=16)


@dataclass(frozen=True)
class Speed:
    work: str
    side: str
    megabytes: float
    time: Time
    peak_mib: float

    @property
    def wall(self) -> float:
        return _rate(self.megabytes, self.time.wall)

    @property
    def cpu(self) -> float:
        return _rate(self.megabytes, self.time.cpu)


def _rate(megabytes: float, seconds: float) -> float:
    """NaN where a busy machine made the start last longer than the whole."""
    return megabytes / seconds if seconds > 0 else math.nan


@dataclass
class Bench:
    """The corpus, its samples on disk, and what was measured so far."""

    corpus: pa.Table
    folder: Path | None  # where the corpus lies; None: it was not read from Parquet files
    known: list[BenchmarkText]
    benchmarks: Path
    plan: Plan
    work: Path
    speeds: list[Speed] = field(default_factory=list)
    below: list[str] = field(default_factory=list)

    def sample(self, megabytes: float) -> tuple[str, float]:
        """(file of documents, its exact megabytes of text)"""
        path = self.work / f"documents-{megabytes:g}.parquet"
        taken = ours.sample(self.corpus, megabytes)
        if not path.exists():
            ours.write_documents(taken, path)
        return str(path), _megabytes(taken)

    def take_turns(self, work: str, sides: list[tuple[Side, float]]) -> None:
        """Measure sides of one core; each with the megabytes that it is given."""
        with ExitStack() as stack:
            for side, _ in sides:
                stack.enter_context(side)
            for _ in range(self.plan.turns):
                for side, _ in sides:
                    side.run()
        for side, megabytes in sides:
            self.record(Speed(work, side.name, megabytes, median(side.times), side.peak_mib))

    def record(self, speed: Speed) -> None:
        self.speeds.append(speed)
        print(
            f"{speed.work:16} {speed.side:30} {speed.megabytes:7.1f} MB  {speed.wall:8.2f} MB/s  "
            f"{speed.cpu:8.2f} MB per CPU second  peak {speed.peak_mib:6.0f} MiB",
            flush=True,
        )

    def ratio(self, name: str, peer: str, value: float, floor: float) -> None:
        print(f"ratio {name} {peer} {value:.1f} floor {floor:g}", flush=True)
        if not value >= floor:
            self.below.append(f"{name} {peer}")

    def speed(self, work: str, side: str) -> Speed:
        return next(s for s in self.speeds if (s.work, s.side) == (work, side))

    def times_faster(self, work: str, peer: str) -> float:
        """By processor time."""
        return self.speed(work, "snowcoder").cpu / self.speed(work, peer).cpu


def _megabytes(corpus: pa.Table) -> float:
    return pc.sum(corpus["size"]).as_py() / 1e6


def rules(bench: Bench) -> None:
    """StarCoder2's basic rules on one core."""
    from benchmarks import peers_datatrove

    documents, megabytes = bench.sample(bench.plan.rules)
    sides = [
        Side("snowcoder", ours.rules, (documents, "starcoder2")),
        Side("datatrove", peers_datatrove.rules, (documents,)),
        Side("per-char-python", peers_python.per_character, (documents,)),
    ]
    bench.take_turns("rules", [(side, megabytes) for side in sides])
    mine = np.array(sides[0].result)
    for side in sides[1:]:
        differ = int((mine != np.array(side.result)).sum())
        print(f"rules: {side.name} judges {differ} of {len(mine)} files otherwise; we keep {mine.sum()}")
    for peer, floor in (("datatrove", 10), ("per-char-python", 25)):
        bench.ratio("rules", peer, bench.times_faster("rules", peer), floor)
    bench.ratio("rules", "MB/s", bench.speed("rules", "snowcoder").cpu, 100)


def preset(bench: Bench) -> None:
    """Language, rules, licence and secrets of the `snowcoder` preset on one core, and what each costs; with
    decontamination besides."""
    documents, megabytes = bench.sample(bench.plan.preset)
    side = Side("snowcoder", ours.stages, (documents, bench.known, "snowcoder"))
    bench.take_turns("preset", [(side, megabytes)])
    seconds: dict[str, float] = side.result
    total = sum(spent for name, spent in seconds.items() if "/" not in name)
    for name, spent in seconds.items():
        print(f"preset: {name:40} {spent:8.3f} s  {spent / total:6.1%}")
    speed = bench.speed("preset", "snowcoder").cpu
    # Decontamination has its own row, with other benchmarks its own price, and is in no preset.
    bench.ratio("preset", "MB/s", speed * total / (total - seconds["decontaminate"]), 40)
    bench.ratio("preset-with-decontamination", "MB/s", speed, 0)


def decontamination(bench: Bench) -> None:
    """The same benchmarks' texts, looked for on one core."""
    from benchmarks import peers_datatrove

    plan, known = bench.plan, bench.known
    whole, nested, ngrams, plain = (
        bench.sample(size) for size in (plan.decontamination, plan.nested, plan.ngrams, plan.ngrams_plain)
    )
    peer = peers_datatrove.decontamination
    sides = [
        (Side("snowcoder", ours.decontamination, (whole[0], known)), whole[1]),
        (Side("nested-in", peers_python.nested_in, (nested[0], known, MIN_NEEDLE)), nested[1]),
        (Side("datatrove-ngrams", peer, (ngrams[0], known, False)), ngrams[1]),
        (Side("datatrove-ngrams-plain-words", peer, (plain[0], known, True)), plain[1]),
    ]
    bench.take_turns("decontamination", sides)
    for side, megabytes in sides:
        print(f"decontamination: {side.name} finds {side.result} files in {megabytes:.0f} MB")
    for (side, _), floor in zip(sides[1:], (15, 3, 3), strict=True):
        bench.ratio("decontamination", side.name, bench.times_faster("decontamination", side.name), floor)


def pipeline(bench: Bench) -> None:
    """Rules, decontamination, exact and near duplicates on two cores, against datatrove's rules and near duplicates."""
    from benchmarks import peers_datatrove

    tiny, part = bench.work / "tiny", bench.work / "part"
    taken = ours.sample(bench.corpus, bench.plan.pipeline)
    ours.write_parts(bench.corpus.slice(0, CORES), tiny, CORES)
    ours.write_parts(taken, part, 8)
    if (whole := bench.folder) is None:
        whole = bench.work / "whole"
        ours.write_parts(bench.corpus, whole, 16)
    own = Side("snowcoder", ours.curation, ("starcoder2", str(bench.benchmarks), CORES), CORES)
    peers = [
        Side("datatrove", peers_datatrove.pipeline, (False,), CORES),
        Side("datatrove-plain-words", peers_datatrove.pipeline, (True,), CORES),
    ]
    runs = [
        Run("snowcoder", own, part, _megabytes(taken)),
        Run("snowcoder-whole-corpus", own, whole, _megabytes(bench.corpus)),
        *(Run(peer.name, peer, part, _megabytes(taken)) for peer in peers),
    ]
    with ExitStack() as stack:
        for side in (own, *peers):
            stack.enter_context(side)
            side.run(str(tiny))
        for _ in range(bench.plan.turns):
            for run in runs:
                start = run.side.run(str(tiny))
                run.times.append(run.side.run(str(run.folder)) - start)
                run.starts.append(start)
                run.kept = run.side.result
    for run in runs:
        bench.record(Speed("pipeline", run.name, run.megabytes, median(run.times), run.side.peak_mib))
        print(f"pipeline: {run.name} keeps {run.kept} files; its start took {median(run.starts).wall:.1f} s")
    for peer, floor in (("datatrove", 50), ("datatrove-plain-words", 15)):
        other = bench.speed("pipeline", peer)
        for name in ("snowcoder", "snowcoder-whole-corpus"):
            own_speed = bench.speed("pipeline", name)
            wall, cpu = own_speed.wall / other.wall, own_speed.cpu / other.cpu
            print(f"pipeline: {name} to {peer}: {wall:.1f} by wall time, {cpu:.1f} by processor time")
        bench.ratio("pipeline", peer, wall, floor)  # of the whole corpus


@dataclass
class Run:
    """One pipeline over one folder: its times without the start, its starts, what it kept."""

    name: str
    side: Side
    folder: Path
    megabytes: float
    times: list[Time] = field(default_factory=list)
    starts: list[Time] = field(default_factory=list)
    kept: int = 0


WORKS = {"rules": rules, "preset": preset, "decontamination": decontamination, "pipeline": pipeline}


def find_corpus(given: Path | None) -> Path | None:
    """The folder that is given, else the largest corpus that was built; None when there is none."""
    folders = [given] if given else [CACHE / f"corpus-{name}" for name in ("bench", "full", "small")]
    found = next((folder for folder in folders if any(folder.glob("*.parquet"))), None)
    if given and not found:
        sys.exit(f"{given}: no Parquet file; build a corpus with python -m benchmarks.corpus")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small samples, one turn: below three minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    parser.add_argument("--corpus", type=Path, help="folder of Parquet files (default: the cache's)")
    parser.add_argument("--benchmarks", type=Path, default=BENCHMARK_FILES, help="folder of benchmark files")
    parser.add_argument("--rows", default=",".join(WORKS), help="which works, by comma (default: all)")
    arguments = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # leave through the sides' exits, which end their processes

    names = ("numba", "pyarrow", "ahocorasick_rs", "ray", "datatrove", "spacy")
    try:
        versions = {name: importlib.metadata.version(name) for name in names}
    except importlib.metadata.PackageNotFoundError as error:
        remedy = "pip install --no-deps --require-hashes -r requirements/benchmarks.lock"
        sys.exit(f"{error.name}: not installed; {remedy}")
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"Python {platform.python_version()}, {versions}, {machine}")
    found = [name for name in BENCHMARKS if available(name, arguments.benchmarks)]
    known = [task.text() for name in found for task in load(name, arguments.benchmarks)]
    folder = find_corpus(arguments.corpus)
    corpus = ours.corpus_documents(folder) if folder else ours.environment_documents()
    where = folder or "the Python files of this environment"
    sizes = corpus.group_by("lang").aggregate([("size", "sum")]).sort_by([("size_sum", "descending")])
    most = ", ".join(f"{row['lang']} {row['size_sum'] / 1e6:.0f}" for row in sizes.to_pylist()[:12])
    print(f"corpus: {where}: {corpus.num_rows} files, {_megabytes(corpus):.0f} MB")
    print(f"corpus: {sizes.num_rows} languages, MB: {most}, ...")
    print(f"benchmarks: {len(known)} tasks of {len(found)} benchmarks: {', '.join(found)}")
    with tempfile.TemporaryDirectory(prefix="curation-") as work:
        plan = QUICK if arguments.quick else FULL
        bench = Bench(corpus, folder, known, arguments.benchmarks, plan, Path(work))
        for row in arguments.rows.split(","):
            WORKS[row](bench)
    if bench.below:
        print(f"below the floor: {', '.join(bench.below)}")
    return 1 if bench.below and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
