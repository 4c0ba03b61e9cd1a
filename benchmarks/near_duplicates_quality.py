"""Which near duplicates are found and removed, against every exact Jaccard similarity, on real packages.

    python benchmarks/near_duplicates_quality.py CORPUS [--peers-python PATH] [--documents N] [--quick] [--check]

CORPUS: a folder made by `benchmarks/corpus.py` (default: the small one in the cache). From it comes a sample of whole
packages that are there in several versions, and of other files; every pair of it is compared exactly. `PATH`: an
interpreter with `text-dedup` and `datatrove`, which then run at their defaults on the same texts.

A removal is right if a kept document is at least as similar as the threshold. What should still have gone: documents
that keep-first with exact similarities would remove from the kept ones. Precision, recall and F1 follow, and depend
neither on which of the copies is kept nor on how clusters are formed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.banding_curve import DRAWS, Pairs, curve
from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.exact import ShingleSets, shingle_sets, similar_pairs
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import document_keys
from pipelines.kernels.minhash import estimate_jaccard

LEAST = 0.3  # similarity from which pairs are looked at
RECALL_FLOOR = 0.95  # of pairs of Jaccard similarity 0.85 and above
DEFAULT = "default: 16 x 8 of 128, verify at 0.7"
OURS = {
    DEFAULT: DedupConfig(),
    "  without verify": DedupConfig(verify=False),
    "  with link: chain": DedupConfig(verify=False, link="chain"),
    "similarity 0.7, bins 256: 25 x 10": DedupConfig(similarity=0.7, bins=256),
    "similarity 0.85: 8 x 16 of 128": DedupConfig(similarity=0.85),
    "similarity 0.85, 16 x 8": DedupConfig(similarity=0.85, bands=16, rows=8),
}
F1_FLOOR = 1.0  # of the default by that of a peer at its own


def sample(corpus: Path, documents: int) -> list[str]:
    """Texts, in a seeded order: three quarters from packages in several versions, whole packages at a time.

    Without those that have no shingle: text-dedup drops them, the others keep them, and there is no similarity.
    """
    table = pq.read_table(corpus, columns=["package", "version", "path", "content"])
    places, versions = defaultdict(list), defaultdict(set)
    for place, (package, version) in enumerate(
        zip(table["package"].to_pylist(), table["version"].to_pylist(), strict=True)
    ):
        places[package].append(place)
        versions[package].add(version)
    rng = random.Random(0)
    several = sorted(package for package in places if len(versions[package]) > 1)
    rng.shuffle(several)
    chosen: list[int] = []
    for package in several:
        if len(chosen) + len(places[package]) <= documents * 3 // 4:
            chosen += places[package]
    rest = sorted(place for package in places if len(versions[package]) == 1 for place in places[package])
    chosen += rng.sample(rest, min(len(rest), documents - len(chosen)))
    rng.shuffle(chosen)
    text = table["content"].take(pa.array(chosen))
    return text.filter(pa.array(~document_keys(text, DedupConfig()).short)).to_pylist()


def removal_scores(kept: np.ndarray, pairs: Pairs, threshold: float) -> tuple[float, float, float]:
    """(precision, recall, F1) of removing all but `kept` bool[n]."""
    near = pairs.jaccard >= threshold
    left, right = pairs.left[near], pairs.right[near]
    explained = np.zeros(len(kept), np.bool_)
    explained[left[~kept[left] & kept[right]]] = True
    explained[right[~kept[right] & kept[left]]] = True
    both = kept[left] & kept[right]
    gone = np.zeros(len(kept), np.bool_)
    for i, j in zip(left[both].tolist(), right[both].tolist(), strict=True):  # ascending in i: keep-first
        gone[j] |= not gone[i]
    right_removals, residual = int(explained.sum()), int(gone.sum())
    precision = right_removals / max(1, int((~kept).sum()))
    recall = right_removals / max(1, right_removals + residual)
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def word_sets(texts: list[str]) -> ShingleSets:
    """The sets that text-dedup compares: 5-grams of the lower-case text split at every `\\W`."""
    split = re.compile(r"\W")
    sets = []
    for text in texts:
        words = split.split(text.lower())
        grams = (" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4))
        sets.append(np.unique(np.array([mmh3.hash64(gram, signed=False)[0] for gram in grams], np.uint64)))
    sizes = np.cumsum([0, *(len(one) for one in sets)])
    return ShingleSets(sizes, np.concatenate(sets))


def print_curve(texts: list[str], sets: ShingleSets, exact: Pairs, cfg: DedupConfig) -> tuple[float, float]:
    """Pairs found by banding per interval of similarity, beside the curve.

    Returns (recall from 0.85 on, share of the intervals that lie in the theory's band).
    """
    keys = document_keys(pa.array(texts, pa.large_string()), cfg)
    found = (keys.bands[exact.left] == keys.bands[exact.right]).any(axis=1)
    error = estimate_jaccard(keys.signature[exact.left], keys.signature[exact.right]) - exact.jaccard
    print(
        f"estimate  RMSE {np.sqrt((error**2).mean()):.4f}, bias {error.mean():+.4f} on {len(error):,} pairs"
    )
    intervals = list(curve(sets, exact, cfg))
    for one in intervals:
        measured = f"found {one.found:.4f} ± {one.error:.4f} over {DRAWS} hash functions"
        theory = f"theory {one.sampled:.4f}, with independent bins {one.independent:.4f}"
        print(f"curve     J {one.low:.2f} to {one.high:.2f}: {one.pairs:6,} pairs, {measured}; {theory}")
    inside = sum(one.inside for one in intervals) / len(intervals)
    return float(found[exact.jaccard >= 0.85].mean()), inside


def ours(texts: list[str], cfg: DedupConfig) -> np.ndarray:
    keys = document_keys(pa.array(texts, pa.large_string()), cfg)
    index = Index(LocalPartitions(cfg.model_copy(update={"partitions": 1, "expected_documents": len(texts)})))
    table = claim_shard(0, np.arange(len(texts), dtype=np.int32), keys, index, cfg)
    return table["reason"].is_null().to_numpy()


def peer(name: str, python: str, texts: list[str]) -> tuple[np.ndarray, float] | None:
    """(kept bool[n], seconds) of a peer in its own environment; None, and why, when it does not run."""
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "in" / "documents.jsonl"
        documents.parent.mkdir()
        lines = (json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts))
        documents.write_text("\n".join(lines) + "\n")
        script = Path(__file__).with_name("near_duplicate_peers.py")
        run = subprocess.run(
            [python, str(script), name, str(documents), folder],
            capture_output=True,
            text=True,
            env={**os.environ, "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""},
        )
    if run.returncode:
        print(
            f"{name} left out: {run.stderr.strip().splitlines()[-1] if run.stderr.strip() else run.returncode}"
        )
        return None
    seconds, *ids = run.stdout[run.stdout.index("seconds ") :].splitlines()
    kept = np.zeros(len(texts), np.bool_)
    kept[[int(i) for i in ids]] = True
    return kept, float(seconds.split()[1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", nargs="?", type=Path, default=Path.home() / ".cache/snowcoder/corpus-small")
    parser.add_argument("--peers-python", help="an interpreter that has text-dedup and datatrove")
    parser.add_argument("--documents", type=int, default=8000)
    parser.add_argument("--quick", action="store_true", help="1,000 documents")
    parser.add_argument("--check", action="store_true", help="exit with 1 below a floor")
    options = parser.parse_args()
    if not options.corpus.exists():
        print(f"{options.corpus}: no corpus; make one with benchmarks/corpus.py")
        return int(options.check)
    texts = sample(options.corpus, 1000 if options.quick else options.documents)
    column = pa.array(texts, pa.large_string())
    print(f"sample    {len(texts):,} documents, {sum(map(len, texts)) / 1e6:.1f} M characters")
    begin = time.perf_counter()
    sets = shingle_sets(column, DedupConfig())
    exact = Pairs(*similar_pairs(sets, LEAST))
    seconds = time.perf_counter() - begin
    print(f"oracle    {len(exact.left):,} pairs of Jaccard similarity {LEAST} and above, {seconds:.0f} s")
    truths = {"our shingles": exact, "text-dedup's": Pairs(*similar_pairs(word_sets(texts), LEAST))}

    recall, inside = print_curve(texts, sets, exact, DedupConfig())
    print(f"ratio recall-from-0.85 oracle {recall:.3f} floor {RECALL_FLOOR}")
    print(f"ratio curve-in-band theory {inside:.3f} floor 1.0")
    below = recall < RECALL_FLOOR or inside < 1
    kept = {name: ours(texts, cfg) for name, cfg in OURS.items()}
    for name in ("text-dedup", "datatrove") if options.peers_python else ():
        found = peer(name, options.peers_python, texts)
        if found:
            kept[name] = found[0]
            print(f"peer      {name}: {found[1]:.0f} s")
    for truth, pairs in truths.items():
        for threshold in (0.7, 0.85):
            scores = {name: removal_scores(one, pairs, threshold) for name, one in kept.items()}
            for name, (precision, recall, f1) in scores.items():
                print(
                    f"removal   {truth}, from {threshold}: precision {precision:.3f} recall {recall:.3f} F1 {f1:.3f} "
                    f"removed {int((~kept[name]).sum()):5,}  {name}"
                )
            for name in sorted(set(scores) - set(OURS)):
                ratio = scores[DEFAULT][2] / scores[name][2]
                print(
                    f"ratio f1-{threshold}-by-{truth.replace(' ', '-')} {name} {ratio:.3f} floor {F1_FLOOR}"
                )
                below |= ratio < F1_FLOOR
    return int(options.check and bool(below))


if __name__ == "__main__":
    sys.exit(main())
