"""MinHash beside what others do, on the Python files of this environment, in one process and one thread.

    python benchmarks/near_duplicates.py [--quick] [--check]

Prints one `ratio NAME PEER VALUE floor FLOOR` line per comparison; `--check` exits with 1 below a floor. Speeds are
per second of CPU time: a busy machine blurs them less. All peers get the shingles of our own cheap tokenizer, and
their fastest way from there: `rensa` (Rust, a batch of byte strings), `datasketch` (`update_batch`), and
`datatrove-arithmetic`, our rendering of datatrove's signature step (64-bit hash of each shingle, `(a * h + b) % p`
for 112 permutations) with `mmh3` for `xxhash` and without its spaCy tokenizer, which takes most of its time. What is
not installed is left out, and said.

See also near_duplicates_index.py (claims through Ray) and near_duplicates_quality.py (what is found and removed).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import random
import re
import resource
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import document_keys
from pipelines.kernels.minhash import estimate_jaccard, minhash, signatures

SPEED_FLOOR = 60.0  # MB/s per core
FLOORS = {"rensa": 8.0, "datasketch": 20.0, "datatrove-arithmetic": 20.0}
RMSE_FLOOR = 1.0  # peer's error by ours
_TOKEN = re.compile(rb"[A-Za-z0-9_]+")


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


def shingles_of(text: str) -> list[bytes]:
    tokens = _TOKEN.findall(text.encode())
    return [b" ".join(tokens[i : i + 5]) for i in range(len(tokens) - 4)]


class DatatroveArithmetic:
    """One signature at a time: 64-bit hashes of the shingles, 112 affine permutations modulo 2**61 - 1."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._prime = np.uint64((1 << 61) - 1)
        self._a = rng.integers(1, self._prime, 112, dtype=np.uint64)
        self._b = rng.integers(0, self._prime, 112, dtype=np.uint64)

    def signatures(self, texts: list[str]) -> np.ndarray:
        return np.array([self._signature(text) for text in texts])

    def _signature(self, text: str) -> np.ndarray:
        hashes = [mmh3.hash64(shingle, signed=False)[0] for shingle in shingles_of(text)]
        column = np.array(hashes or [0], np.uint64)[:, None]
        return ((column * self._a + self._b) % self._prime).min(axis=0)


def peers() -> dict[str, Callable[[list[str]], np.ndarray]]:
    """name -> signatures [n, permutations] of texts."""
    found: dict[str, Callable[[list[str]], np.ndarray]] = {
        "datatrove-arithmetic": DatatroveArithmetic().signatures
    }
    try:
        from datasketch import MinHash
    except ImportError as missing:
        print(f"datasketch left out: {missing}")
    else:

        def datasketch(texts: list[str]) -> np.ndarray:
            rows = []
            for text in texts:
                one = MinHash(num_perm=128)
                one.update_batch(shingles_of(text))
                rows.append(one.hashvalues)
            return np.array(rows)

        found["datasketch"] = datasketch
    try:
        from rensa import RMinHash
    except ImportError as missing:
        print(f"rensa left out: {missing}")
    else:
        found["rensa"] = lambda texts: np.array(
            RMinHash.digests_from_token_sets([shingles_of(text) for text in texts], 128, 42), np.uint32
        )
    return found


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def edited_pairs(texts: list[str]) -> list[tuple[str, str]]:
    """Files, each with four copies with 1 to 70 % of their lines dropped or doubled: pairs of every similarity."""
    rng = random.Random(0)
    pairs = []
    for text in texts * 4:
        share = rng.choice((0.01, 0.05, 0.1, 0.2, 0.4, 0.7))
        lines = [
            line * rng.choice((0, 2)) if rng.random() < share else line for line in text.splitlines(True)
        ]
        pairs.append((text, "".join(lines)))
    return [(a, b) for a, b in pairs if len(shingles_of(a)) >= 50 and shingles_of(b)]


def print_accuracy(texts: list[str], others: dict[str, Callable[[list[str]], np.ndarray]]) -> bool:
    """Errors of the estimates on the same pairs; whether ours is the worse one anywhere."""
    pairs = edited_pairs(texts)
    sets = [(set(shingles_of(a)), set(shingles_of(b))) for a, b in pairs]
    exact = np.array([len(a & b) / len(a | b) for a, b in sets])
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    cfg = DedupConfig()
    keys = [document_keys(pa.array(side, pa.large_string()), cfg) for side in (left, right)]
    estimates = {}
    for bins in (128, 256):
        ours = [
            signatures(minhash(pa.array(side, pa.large_string()), bins=bins).bins) for side in (left, right)
        ]
        estimates[f"ours, {bins} one-byte bins"] = estimate_jaccard(*ours)
    for name, signature in others.items():
        estimates[name] = (signature(left) == signature(right)).mean(axis=1)
    errors = {name: np.sqrt(((estimate - exact) ** 2).mean()) for name, estimate in estimates.items()}
    for name, estimate in estimates.items():
        print(
            f"accuracy  RMSE {errors[name]:.4f}  bias {(estimate - exact).mean():+.4f}  {len(pairs)} pairs  {name}"
        )
    worse = False
    for name in others:
        ratio = errors[name] / errors["ours, 128 one-byte bins"]
        print(f"ratio rmse {name} {ratio:.3f} floor {RMSE_FLOOR}")
        worse |= bool(ratio < RMSE_FLOOR)
    found = (keys[0].bands == keys[1].bands).any(axis=1)
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
        inside = (exact >= low) & (exact < high)
        curve = np.mean([cfg.probability(j) for j in exact[inside]])
        hit = found[inside].mean()
        print(f"banding   J {low}-{min(high, 1)}: found {hit:.3f} of {inside.sum()}, curve {curve:.3f}")
    return worse


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    options = parser.parse_args()

    versions = " ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("numba", "numpy", "pyarrow", "mmh3")
    )
    print(f"Python {platform.python_version()} {versions}")
    texts = python_files(4 if options.quick else 40)
    column = pa.array(texts, pa.large_string())
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    configs = {
        "minhash": lambda text: minhash(text),
        "minhash, 256 bins": lambda text: minhash(text, bins=256),
        "keys (exact, bands, signature)": lambda text: document_keys(text, DedupConfig()),
        "keys, normalise: whitespace": lambda text: document_keys(text, DedupConfig(normalise="whitespace")),
    }
    speeds = {}
    for name, work in configs.items():
        work(column[:10])  # compile
        speeds[name] = megabytes / median_seconds(lambda: work(column), 5)  # noqa: B023
        print(f"speed     {speeds[name]:8.1f} MB/s  {len(texts):,} files, {megabytes:.1f} MB  {name}")
    ours = speeds["keys (exact, bands, signature)"]
    print(f"ratio minhash MB/s-per-core {ours:.1f} floor {SPEED_FLOOR:.0f}")
    below = ours < SPEED_FLOOR

    others = peers()
    part = texts[: len(texts) // 4]
    size = sum(len(text.encode()) for text in part) / 1e6
    for name, signature in others.items():
        speed = size / median_seconds(lambda: signature(part), 3)  # noqa: B023
        print(f"speed     {speed:8.1f} MB/s  {len(part):,} files, {size:.1f} MB  {name}")
        print(f"ratio minhash {name} {ours / speed:.1f} floor {FLOORS[name]:.0f}")
        below |= ours / speed < FLOORS[name]

    below |= print_accuracy(texts[: 200 if options.quick else 1500], others) and not options.quick
    print(f"peak RSS  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    return int(options.check and below)


if __name__ == "__main__":
    sys.exit(main())
