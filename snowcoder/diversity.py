"""How diverse a run's generated files are, against their seeds and the raw corpus, into synthesis/diversity.json."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.annotator.encoder import Encoder
from pipelines.annotator.selection import Selection
from pipelines.phases.enhanced import teed_documents
from pipelines.schema import ordinal
from pipelines.scoring import Scoring
from pipelines.sources import read_shard
from pipelines.synthesis.diversity import self_similarity, spread, uses
from snowcoder.files import write_atomically
from snowcoder.progress import say

if TYPE_CHECKING:
    from snowcoder.run import Run

SETS = ("generated", "seeds", "corpus")

_SHARDS = 8  # of the raw corpus, spread over the order, that its sample is from

Texts = dict[str, list[str]]
"""Language -> texts."""


def measure_diversity(run: Run) -> None:
    """Compare equal numbers of files in equal languages of the three sets. Needs a finished phase 3."""
    root = run.root / "synthesis"
    verify = json.loads((run.root / "ledger" / "stages.json").read_text())["verify"]
    most = run.config.synthesis.diversity_sample
    generated = _sampled(_generated(root / f"accepted-{verify}"), most)
    wanted = {lang: len(texts) for lang, texts in generated.items()}
    sets = {
        "generated": generated,
        "seeds": _sampled(_seeds(run), 0, wanted),
        "corpus": _sampled(_raw(run), 0, wanted),
    }
    # The smallest set decides how many of each language are compared.
    sizes = {lang: min(len(sets[name].get(lang, ())) for name in SETS) for lang in wanted}
    sets = {
        name: {lang: texts.get(lang, [])[:size] for lang, size in sizes.items() if size}
        for name, texts in sets.items()
    }
    encoder = Encoder(run.config.annotator.encoder)
    found: dict[str, Any] = {
        "languages": {lang: size for lang, size in sizes.items() if size},
        "encoder": run.config.annotator.encoder.path,
        "sets": {name: _measured(texts, encoder) for name, texts in sets.items()},
    }
    write_atomically(root / "diversity.json", json.dumps(found, indent=1))
    vendi = {name: found["sets"][name]["spread"]["vendi"] for name in SETS}
    say(
        f"enhanced: diversity of {sum(sizes.values())} files (Vendi score): generated {vendi['generated']:.1f}, "
        f"seeds {vendi['seeds']:.1f}, corpus {vendi['corpus']:.1f}"
    )


def _measured(texts: Texts, encoder: Encoder) -> dict[str, Any]:
    every = [text for lang in sorted(texts) for text in texts[lang]]
    lengths = [len(text.encode("utf-8", "replace")) for text in every]
    return {
        "files": len(every),
        "median_bytes": float(np.median(lengths)) if lengths else 0.0,
        "spread": spread(_embedded(every, encoder)),
        "self_similarity": self_similarity(every),
        "python": uses(texts.get("Python", ())),
    }


def _embedded(texts: list[str], encoder: Encoder) -> np.ndarray:
    """A unit vector per text: of the mean over its first window's tokens, as the annotator sees it."""
    if not texts:
        return np.zeros((0, encoder.dimensions), np.float32)
    windows = encoder.windows(pa.chunked_array([pa.array(texts, pa.large_string())]))
    first = np.searchsorted(windows.document, np.arange(len(texts)))
    vectors = encoder.embed(windows)[first]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _sampled(texts: Iterator[tuple[str, str]], most: int, wanted: dict[str, int] | None = None) -> Texts:
    """The texts of lowest hash: at most `most` in all, or `wanted` of each language."""
    by_hash: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for lang, text in texts:
        if text and (wanted is None or lang in wanted):
            by_hash[lang].append((mmh3.hash64(text.encode("utf-8", "replace"), signed=False)[0], text))
            # Bounded: what is far from the lowest is dropped now and then.
            room = most if wanted is None else wanted[lang]
            if len(by_hash[lang]) > 2 * room + 64:
                by_hash[lang] = sorted(by_hash[lang])[:room]
    ranked = sorted((digest, lang, text) for lang, items in by_hash.items() for digest, text in items)
    if wanted is None:
        ranked = ranked[:most]
    taken: Counter[str] = Counter()
    result: Texts = defaultdict(list)
    for _, lang, text in ranked:
        if wanted is None or taken[lang] < wanted[lang]:
            taken[lang] += 1
            result[lang].append(text)
    return dict(result)


def _generated(folder) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["lang", "text"])
        yield from zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True)


def _seeds(run: Run) -> Iterator[tuple[str, str]]:
    selection = Selection.read(run.root / "selection.json")
    tee = str(run.root / "tee")
    scoring = Scoring(run.corpus.curation, run.annotator, "continued", selection.thresholds, tee_root=tee)
    seeds: set[int] = set()
    for path in sorted((run.root / "synthesis" / "plan").glob("*.parquet")):
        seeds.update(pq.read_table(path, columns=["seed"])["seed"].to_pylist())
    wanted = np.array(sorted(seeds), np.int64)
    for shard, table in teed_documents(run.corpus, scoring)(["row", "lang", "text"]):
        here = np.isin(np.asarray(ordinal(shard, table["row"].to_numpy().astype(np.int64))), wanted)
        table = table.filter(pa.array(here))
        yield from zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True)


def _raw(run: Run) -> Iterator[tuple[str, str]]:
    """Documents as the source has them, before any stage."""
    shards = run.corpus.shards
    for place in np.unique(np.linspace(0, len(shards) - 1, min(_SHARDS, len(shards))).astype(int)):
        for table in read_shard(shards[place], run.config.source):
            yield from zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True)
