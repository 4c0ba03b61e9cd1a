"""MinHash and the claim beside what others do, on the Python files of this environment, in one process.

    python benchmarks/near_duplicates.py [--quick] [--check]

Prints one `ratio NAME PEER VALUE floor FLOOR` line per comparison; `--check` exits with 1 below a floor.
Peers: `datatrove-arithmetic`, a stand-in for datatrove's signatures (sha1 of each shingle, numpy
`(a * h + b) % p`, 112 permutations) that leaves out its spaCy tokenizer, which would make it slower; and
`datasketch`, if it can be imported. Speeds are per second of CPU time: a busy machine does not blur them.
"""

from __future__ import annotations

import argparse
import hashlib
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

import numpy as np
import pyarrow as pa

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import DocumentKeys, document_keys
from pipelines.kernels.minhash import estimate_jaccard, minhash, signatures

FLOOR = 20.0
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
    """One signature at a time: 64-bit sha1 of each shingle, 112 affine permutations modulo 2**61 - 1."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._prime = np.uint64((1 << 61) - 1)
        self._a = rng.integers(1, self._prime, 112, dtype=np.uint64)
        self._b = rng.integers(0, self._prime, 112, dtype=np.uint64)

    def signature(self, text: str) -> np.ndarray | None:
        hashes = [
            int.from_bytes(hashlib.sha1(shingle).digest()[:8], "little") for shingle in shingles_of(text)
        ]
        if not hashes:
            return None
        column = np.array(hashes, np.uint64)[:, None]
        return ((column * self._a + self._b) % self._prime).min(axis=0)


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def edited_pairs(texts: list[str]) -> list[tuple[str, str]]:
    """Files and copies with 1 to 70 % of their lines dropped or doubled: pairs of every similarity."""
    rng = random.Random(0)
    pairs = []
    for text in texts:
        share = rng.choice((0.01, 0.05, 0.1, 0.2, 0.4, 0.7))
        lines = [
            line * rng.choice((0, 2)) if rng.random() < share else line for line in text.splitlines(True)
        ]
        pairs.append((text, "".join(lines)))
    return [(a, b) for a, b in pairs if len(shingles_of(a)) >= 50 and shingles_of(b)]


def print_accuracy(texts: list[str]) -> None:
    pairs = edited_pairs(texts)
    sets = [(set(shingles_of(a)), set(shingles_of(b))) for a, b in pairs]
    exact = np.array([len(a & b) / len(a | b) for a, b in sets])
    left, right = (
        minhash(pa.array([pair[side] for pair in pairs], pa.large_string())).bins for side in (0, 1)
    )
    ours = estimate_jaccard(signatures(left), signatures(right))
    peer = DatatroveArithmetic()
    theirs = np.array([np.mean(peer.signature(a) == peer.signature(b)) for a, b in pairs])
    for name, estimate in (
        ("ours, 128 one-byte bins", ours),
        ("datatrove-arithmetic, 112 permutations", theirs),
    ):
        rmse = np.sqrt(((estimate - exact) ** 2).mean())
        print(f"accuracy  RMSE {rmse:.4f}  bias {(estimate - exact).mean():+.4f}  {len(pairs)} pairs  {name}")
    cfg = DedupConfig()
    keys = [
        document_keys(pa.array([pair[side] for pair in pairs], pa.large_string()), cfg) for side in (0, 1)
    ]
    found = (keys[0].bands == keys[1].bands).any(axis=1)
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
        inside = (exact >= low) & (exact < high)
        curve = np.mean([cfg.probability(j) for j in exact[inside]])
        hit = found[inside].mean()
        print(f"banding   J {low}-{min(high, 1)}: found {hit:.3f} of {inside.sum()}, curve {curve:.3f}")


def print_claims(documents: int) -> None:
    """Claims of random keys, one document in three a near duplicate of an earlier one, in shards of 5,000."""
    cfg = DedupConfig(partitions=2, expected_documents=documents)
    rng = np.random.default_rng(0)
    index, seconds, kept = Index(LocalPartitions(cfg)), 0.0, 0
    bands = rng.integers(0, 2**64, (documents, cfg.bands), dtype=np.uint64)
    copies = np.flatnonzero(rng.random(documents) < 1 / 3)
    bands[copies, 3] = bands[(rng.random(len(copies)) * copies).astype(np.int64), 3]
    signature = rng.integers(0, 256, (5000, cfg.bins)).astype(np.uint8)
    exact = rng.integers(0, 2**64, (documents, 2), dtype=np.uint64)
    for shard, start in enumerate(range(0, documents, 5000)):
        part = slice(start, start + 5000)
        keys = DocumentKeys(exact[part], bands[part], signature, np.zeros(5000, np.bool_))
        begin = time.process_time()
        table = claim_shard(shard, np.arange(5000, dtype=np.int32), keys, index, cfg)
        seconds += time.process_time() - begin
        kept += table["reason"].null_count
    held = sum(part["bytes"] for part in index.stats())
    print(
        f"claim     {documents / seconds:,.0f} documents/s, "
        f"{documents * (cfg.bands + 1) / seconds / 1e6:.1f} M keys/s, "
        f"{held / kept:.0f} bytes per kept document ({kept:,} of {documents:,} kept)"
    )


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
    cfg = DedupConfig()
    document_keys(column[:10], cfg)  # compile

    speeds = {}
    for name, work in (
        ("minhash", lambda: minhash(column)),
        ("keys (exact, bands, signature)", lambda: document_keys(column, cfg)),
    ):
        speeds[name] = megabytes / median_seconds(work, 5)
        print(f"speed     {speeds[name]:8.1f} MB/s  {len(texts):,} files, {megabytes:.1f} MB  {name}")

    peers: dict[str, Callable[[str], object]] = {"datatrove-arithmetic": DatatroveArithmetic().signature}
    try:
        from datasketch import MinHash
    except ImportError as missing:
        print(f"datasketch left out: {missing}")
    else:
        peers["datasketch"] = lambda text: MinHash(num_perm=128).update_batch(shingles_of(text))
    part = texts[: len(texts) // 4]
    size = sum(len(text.encode()) for text in part) / 1e6
    below = False
    for name, signature in peers.items():
        speed = size / median_seconds(lambda: [signature(text) for text in part], 1)  # noqa: B023
        print(f"speed     {speed:8.1f} MB/s  {len(part):,} files, {size:.1f} MB  {name}")
        ratio = speeds["keys (exact, bands, signature)"] / speed
        print(f"ratio minhash {name} {ratio:.1f} floor {FLOOR:.0f}")
        below |= ratio < FLOOR

    print_accuracy(texts[: 200 if options.quick else 1500])
    print_claims(50_000 if options.quick else 500_000)
    print(f"peak RSS  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    return int(options.check and below)


if __name__ == "__main__":
    sys.exit(main())
