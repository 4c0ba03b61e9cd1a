"""Stream a corpus over five times the object store into training, in a Ray of its own; prints what was measured.

Run by tests/pipelines/test_bounded.py as `python stream_large.py DIRECTORY`.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from snowcoder.config import RunConfig
from snowcoder.run import Run

STORE = 80 << 20
UNIQUE = 8 << 20
COPIES = 52


def write_corpus(directory: Path) -> int:
    """The standard library's modules, 52 times under other repository names, one Parquet file a copy."""
    library = Path(sysconfig.get_paths()["stdlib"])
    texts, paths, size = [], [], 0
    for path in sorted(library.rglob("*.py")):
        if "site-packages" in path.parts or size >= UNIQUE:
            continue
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue
        paths.append(str(path.relative_to(library)))
        size += len(texts[-1].encode())
    directory.mkdir(parents=True)
    for copy in range(COPIES):
        table = pa.table({"text": texts, "path": paths, "repo": [f"copy-{copy}"] * len(texts)})
        pq.write_table(table, directory / f"{copy:02d}.parquet", compression="zstd")
    return size * COPIES


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
            # More than the corpus holds would end the stream early; this is nearly all of its kept text.
            "general": {"tokens": 2_400_000, "epochs": 1, "schedule": {"warmup_tokens": 16_384}},
            "ray": {"num_cpus": 4, "object_store_bytes": STORE},
        }
    )
    run = Run(config, root / "run")
    summary = run.general()
    # What the stream judged ahead of training's last step is in the ledger too; judge the rest for the accounting.
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    spilled = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address))
    store = spilled.store_stats
    written = [
        path
        for path in (root / "run").rglob("*")
        if path.is_file() and "ray" not in path.relative_to(root / "run").parts and "model" not in path.parts
    ]
    judged = len(list((root / "run" / "ledger").glob("claim-*/*.arrow")))
    print(
        json.dumps(
            {
                "raw": raw,
                "store": STORE,
                "spilled": store.spilled_bytes_total,
                "written": sum(path.stat().st_size for path in written),
                "steps": summary["steps"],
                "judged": judged,
                "shards": len(run.corpus.shards),
                "seconds": summary["wall_seconds"],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
