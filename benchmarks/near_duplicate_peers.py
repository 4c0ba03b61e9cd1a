"""Near duplicates by a peer, at its defaults, in the peer's own environment: which documents it keeps.

    PEERS_PYTHON benchmarks/near_duplicate_peers.py text-dedup|datatrove DOCUMENTS.jsonl FOLDER

Reads JSON lines with `id` (`d0`, `d1` ...) and `text`; prints the numbers kept, one a line, after a line `seconds S`.
It needs none of the project. `benchmarks/near_duplicates_quality.py` runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def text_dedup(documents: Path, folder: Path) -> list[int]:
    """text_dedup.minhash: 250 permutations, threshold 0.7, lower-case word 5-grams, connected components."""
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(documents)]
    command += ["--split", "train", "--cache_dir", str(folder / "cache"), "--output", str(folder / "out")]
    command += ["--column", "text", "--batch_size", "10000", "--num_proc", "1"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    from datasets import load_from_disk

    return [int(name[1:]) for name in load_from_disk(str(folder / "out"))["id"]]


def datatrove(documents: Path, folder: Path) -> list[int]:
    """The four steps with one task each where they allow it: 14 x 8, spaCy words of simplified text, 5-grams."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    def reader() -> JsonlReader:
        return JsonlReader(str(documents.parent), glob_pattern=documents.name)

    def run(tasks: int, *steps: object) -> None:
        LocalPipelineExecutor(
            pipeline=list(steps),
            tasks=tasks,
            workers=1,
            logging_dir=str(folder / f"log{tasks}{type(steps[-1]).__name__}"),
        ).run()

    config = MinhashConfig()
    signatures, buckets, removed = (str(folder / name) for name in ("signatures", "buckets", "removed"))
    run(1, reader(), MinhashDedupSignature(signatures, config=config))
    run(config.num_buckets, MinhashDedupBuckets(signatures, buckets, config=config))
    run(1, MinhashDedupCluster(buckets, removed, config=config))
    run(1, reader(), MinhashDedupFilter(removed), JsonlWriter(str(folder / "out"), compression=None))
    kept = []
    for path in sorted((folder / "out").glob("*.jsonl")):
        kept += [int(json.loads(line)["id"][1:]) for line in path.read_text().splitlines()]
    return kept


PEERS: dict[str, Callable[[Path, Path], list[int]]] = {"text-dedup": text_dedup, "datatrove": datatrove}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in PEERS:
        # `make benchmarks` runs every file here; this one is run by another.
        print(__doc__)
        sys.exit(0 if "--quick" in sys.argv else 2)
    begin = time.perf_counter()
    found = PEERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(f"seconds {time.perf_counter() - begin:.1f}")
    print(*found, sep="\n")
