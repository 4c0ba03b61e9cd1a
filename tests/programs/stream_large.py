"""Stream a corpus over five times the object store into training, in a Ray of its own; prints what was measured.

Run by tests/pipelines/test_bounded.py as `python stream_large.py DIRECTORY`.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from pipelines.phases.general import general
from snowcoder.config import RunConfig
from snowcoder.run import Run

STORE = 80 << 20
UNIQUE, FRESH = 8 << 20, 60_000  # bytes: what all copies share, and what each has of its own
COPIES = 60
TOKENS = 4_915_200  # of the 5.1M that are kept: more than the first seven eighths of the order give


def modules(root: Path, size: int) -> Iterator[tuple[str, str]]:
    """(path, text) of this many bytes of modules, in the order of their names."""
    for path in sorted(root.rglob("*.py")):
        if size <= 0:
            return
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if "site-packages" not in path.relative_to(root).parts and len(text) < FRESH:
            size -= len(text.encode())
            yield str(path.relative_to(root)), text


def write_corpus(directory: Path) -> int:
    """Bytes written: the standard library's modules under many repository names, each with some modules of its own, so
    that training needs the last of them too. One Parquet file a copy."""
    paths = sysconfig.get_paths()
    shared = list(modules(Path(paths["stdlib"]), UNIQUE))
    own = modules(Path(paths["purelib"]) / "transformers", 2 * COPIES * FRESH)
    directory.mkdir(parents=True)
    total = 0
    for copy in range(COPIES):
        rows, size = list(shared), 0
        while size < FRESH:
            rows.append(next(own))
            size += len(rows[-1][1].encode())
        names, texts = zip(*rows, strict=True)
        table = pa.table({"text": texts, "path": names, "repo": [f"copy-{copy}"] * len(rows)})
        pq.write_table(table, directory / f"{copy:02d}.parquet", compression="zstd")
        total += sum(len(text.encode()) for text in texts)
    return total


def main(root: Path) -> None:
    raw = write_corpus(root / "source")
    config = RunConfig.model_validate(
        {
            "source": {
                "kind": "parquet",
                "paths": [str(root / "source")],
                "columns": {"text": "text", "path": "path", "repo": "repo"},
            },
            "curation": {
                "benchmarks": ["humaneval"],
                "dedup": {"partitions": 1, "expected_documents": 10_000},
            },
            "tokenizer": {"vocab_size": 1000, "sample_bytes": 300_000},
            "sequences": {"seq_len": 256, "interleave": 8, "deal_batches": 4},
            "train": {
                "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "context": 256},
                "num_workers": 2,
                "global_batch": 64,
                "micro_batch": 32,
                "checkpoint_every_steps": 1000,
            },
            "general": {"tokens": TOKENS, "epochs": 1, "schedule": {"warmup_tokens": 16_384}},
            "ray": {"num_cpus": 4, "object_store_bytes": STORE},
        }
    )
    run = Run(config, root / "run")
    summary = run.general()
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    spilled = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address))
    store = spilled.store_stats
    written = [
        path
        for path in (root / "run").rglob("*")
        if path.is_file() and "ray" not in path.relative_to(root / "run").parts and "model" not in path.parts
    ]
    plan = general(
        run.corpus, 1
    )  # judging is far ahead of training; what was packed, training has seen or waited for
    packed = [shard for shard in run.corpus.shards if plan.packing.count(shard) is not None]
    print(
        json.dumps(
            {
                "raw": raw,
                "store": STORE,
                "spilled": store.spilled_bytes_total,
                "written": sum(path.stat().st_size for path in written),
                "steps": summary["steps"],
                "streamed": sum(shard.bytes for shard in packed),
                "seconds": summary["wall_seconds"],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
