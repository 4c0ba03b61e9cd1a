"""What every rule of every preset says of two pinned corpora, kept as data beside this file.

    python -m tests.golden.rules        # after a change that is meant to change it; look at the diff

`rules_positives.json`: the wheels of requirements/positives.lock, which every test run has. `rules_small_corpus.json`:
the corpus of `python -m benchmarks.corpus small --out DIR`, found in $SNOWCODER_CORPUS or the cache.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.language import detect
from pipelines.schema import DOCUMENT
from pipelines.stages.rules import RULES, RULES_VERSION, judge_rules
from pipelines.stages.rules_reference import PRESETS, preset

HERE = Path(__file__).parent
POSITIVES, SMALL = HERE / "rules_positives.json", HERE / "rules_small_corpus.json"

Counts = dict[str, dict[str, object]]


def cache() -> Path:
    return Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder")


def positives() -> pa.Table | None:
    """The source files of the pinned wheels as DOCUMENTs; None where `make` has not fetched them."""
    wheels = sorted((cache() / "positives").glob("*.whl"))
    rows = []
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            for path in sorted(archive.namelist()):
                content = archive.read(path)
                if lang := detect(path, content):
                    rows.append((wheel.name, path, lang, content.decode()))
    return _documents(*zip(*rows, strict=True)) if rows else None


def small_corpus() -> pa.Table | None:
    """The small corpus as DOCUMENTs; None where it has not been built."""
    root = Path(os.environ.get("SNOWCODER_CORPUS") or cache() / "corpus-small")
    parts = sorted(root.glob("part-*.parquet"))
    if not parts:
        return None
    table = pa.concat_tables(pq.read_table(part) for part in parts)
    return _documents(table["package"], table["path"], table["lang"], table["content"])


def _documents(repo: object, path: object, lang: object, text: object) -> pa.Table:
    texts = (
        text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([pa.array(text, pa.large_string())])
    )
    count = len(texts)
    columns = {
        "row": pa.array(range(count), pa.int32()),
        "repo": repo,
        "path": path,
        "lang": lang,
        "license": [""] * count,
        "size": pc.binary_length(texts),
        "text": texts,
        "fault": pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=DOCUMENT)


def counts(docs: pa.Table) -> Counts:
    """Preset -> kept documents, and for each rule that is hit: [documents it hits, documents it is the reason of]."""
    found: Counts = {}
    for name in sorted(path.stem for path in PRESETS.glob("*.yaml")):
        verdicts = judge_rules(docs, preset(name))
        bits = verdicts["hits"].to_numpy()
        hits = {
            rule: int((bits >> np.uint64(place) & np.uint64(1)).sum()) for place, rule in enumerate(RULES)
        }
        reasons = Counter(verdicts["reason"].cast(pa.string()).to_pylist())
        rules = {rule: [number, reasons.get(rule, 0)] for rule, number in hits.items() if number}
        found[name] = {"documents": docs.num_rows, "kept": reasons.get(None, 0), "rules": rules}
    return found


def write() -> None:
    for path, docs in ((POSITIVES, positives()), (SMALL, small_corpus())):
        if docs is None:
            print(f"{path.name}: no corpus, left as it is")
            continue
        record = {"rules_version": RULES_VERSION, "presets": counts(docs)}
        path.write_text(_lines(record))
        print(f"{path.name}: written")


def _lines(record: dict[str, object]) -> str:
    """JSON with a rule on a line, so that a diff shows which counts moved."""
    text = json.dumps(record, indent=1)
    return re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", text) + "\n"


if __name__ == "__main__":
    write()
