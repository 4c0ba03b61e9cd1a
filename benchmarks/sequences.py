"""Packing and fill-in-the-middle kernels beside the same in pure Python, on one core.

    python -m benchmarks.sequences [--quick] [--check]

Prints one `ratio NAME PEER VALUE floor FLOOR` line per comparison: how many times faster than pure Python, and MB of
token data (4 bytes a token) per second of CPU time against a floor of 50. The pure-Python side does the same on lists:
it is what a first version would be, not a peer's code. Documents are synthetic: lengths like those of source files
(log-normal, median 600 tokens), which is all that these kernels see. Both sides give rows as int32 arrays, which is
what training takes, and their results are compared.
"""

from __future__ import annotations

import argparse
import bisect
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipelines.sequences.fim import draws, fill_in_the_middle
from pipelines.sequences.join import Ragged, join
from pipelines.sequences.pack import concatenated, fitted

SEQ_LEN = 8192
SEPARATOR, END = 1, 0
SENTINELS = (2, 3, 4)
SPEED_FLOOR, TIMES_FLOOR = 50.0, 10.0


def corpus(tokens: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Files, and which of them make a training document: 1 to 20, as repositories have."""
    rng = np.random.default_rng(0)
    files: list[np.ndarray] = []
    while sum(map(len, files)) < tokens:
        lengths = rng.lognormal(np.log(600), 1.2, 1000).astype(np.int64) + 1
        files += [rng.integers(10, 64_000, n, dtype=np.int32) for n in lengths]
    groups, order = [], rng.permutation(len(files))
    while len(order):
        size = int(rng.integers(1, 21))
        groups.append(order[:size])
        order = order[size:]
    return files, groups


def python_join(files: list[list[int]], groups: list[list[int]]) -> list[list[int]]:
    documents = []
    for group in groups:
        document: list[int] = []
        for file in group:
            document.extend(files[file])
            document.append(SEPARATOR)
        document[-1] = END
        documents.append(document)
    return documents


def python_concatenate(documents: list[list[int]]) -> tuple[np.ndarray, list[list[int]]]:
    flat: list[int] = []
    starts = []
    for document in documents:
        starts.append(len(flat))
        flat.extend(document)
    flat.extend([END] * (-len(flat) % SEQ_LEN))
    rows = [flat[i : i + SEQ_LEN] for i in range(0, len(flat), SEQ_LEN)]
    boundaries: list[list[int]] = [[] for _ in rows]
    for start in starts:
        boundaries[start // SEQ_LEN].append(start % SEQ_LEN)
    return np.array(rows, np.int32), boundaries


def python_best_fit(documents: list[list[int]]) -> np.ndarray:
    pieces = [document[i : i + SEQ_LEN] for document in documents for i in range(0, len(document), SEQ_LEN)]
    pieces.sort(key=len, reverse=True)
    rooms: list[tuple[int, int]] = []  # (room, row), sorted
    rows: list[list[int]] = []
    for piece in pieces:
        place = bisect.bisect_left(rooms, (len(piece), -1))
        if place == len(rooms):
            room, row = SEQ_LEN, len(rows)
            rows.append([])
        else:
            room, row = rooms.pop(place)
        rows[row].extend(piece)
        bisect.insort(rooms, (room - len(piece), row))
    for row in rows:
        row.extend([END] * (SEQ_LEN - len(row)))
    return np.array(rows, np.int32)


def python_fim(files: list[list[int]], rate: float, spm_rate: float) -> list[np.ndarray]:
    """The cuts are drawn as ours are, in one array operation: what is measured is the rearranging."""
    prefix, middle, suffix = SENTINELS
    ids = np.arange(len(files))
    chosen, where = draws([0, 0], ids)[:, 0].tolist(), draws([0, 1, 0], ids).tolist()
    out = []
    for file, draw, (first, second, third) in zip(files, chosen, where, strict=True):
        n = len(file)
        if draw >= rate or n < 2 or n + 3 > SEQ_LEN:
            out.append(list(file))
            continue
        a, b = sorted((int(first * (n + 1)), int(second * (n + 1))))
        if third < spm_rate:
            out.append([prefix, suffix, *file[b:], middle, *file[:a], *file[a:b]])
        else:
            out.append([prefix, *file[:a], suffix, *file[b:], middle, *file[a:b]])
    return [np.array(file, np.int32) for file in out]


def seconds(function: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """Median CPU seconds of this thread, and the last result."""
    times = []
    for _ in range(turns):
        start = time.thread_time()
        result = function()
        times.append(time.thread_time() - start)
    return statistics.median(times), result


def comparisons(quick: bool) -> Iterator[tuple[str, str, float, float]]:
    turns = 3 if quick else 7
    files, groups = corpus(4_000_000 if quick else 20_000_000)
    few, some = corpus(1_000_000 if quick else 4_000_000)  # pure Python's share
    ragged, small = Ragged.of(files), Ragged.of(few)
    lists, members = [file.tolist() for file in few], [group.tolist() for group in some]

    def ours_packed(texts: Ragged, parts: list[np.ndarray], fit: bool) -> Any:
        joined = join(texts, parts, SEPARATOR, END)
        return fitted(joined, SEQ_LEN, END, [0]) if fit else concatenated(joined, SEQ_LEN, END)

    def ours_fim(texts: Ragged) -> tuple[np.ndarray, np.ndarray]:
        return fill_in_the_middle(
            texts.tokens,
            texts.offsets,
            np.arange(len(texts)),
            rate=0.5,
            spm_rate=0.5,
            seed=[0],
            epoch=0,
            sentinels=SENTINELS,
            longest=SEQ_LEN,
        )

    sides: list[
        tuple[str, Callable[[], Any], Callable[[], Any], Callable[[], Any], Callable[[Any, Any], bool]]
    ]
    sides = [
        (
            "concatenate",
            lambda: ours_packed(ragged, groups, False),
            lambda: ours_packed(small, some, False),
            lambda: python_concatenate(python_join(lists, members)),
            lambda ours, python: (
                np.array_equal(ours.rows, python[0])
                and [part.tolist() for part in ours.boundaries] == python[1]
            ),
        ),
        (
            "best-fit",
            lambda: ours_packed(ragged, groups, True),
            lambda: ours_packed(small, some, True),
            lambda: python_best_fit(python_join(lists, members)),
            lambda ours, python: len(ours.rows) == len(python),
        ),
        (
            "fim",
            lambda: ours_fim(ragged),
            lambda: ours_fim(small),
            lambda: python_fim(lists, 0.5, 0.5),
            lambda ours, python: np.array_equal(ours[0], np.concatenate(python)),
        ),
    ]
    for name, large, same, pure, equal in sides:
        ours = same()  # compiles
        slow, theirs = seconds(pure, 3)
        if not equal(ours, theirs):
            raise RuntimeError(f"{name}: the two sides do not agree")
        fast, _ = seconds(large, turns)
        ours_mb, python_mb = ragged.tokens.nbytes / fast / 1e6, small.tokens.nbytes / slow / 1e6
        print(f"{name}: {ours_mb:,.0f} MB/s of token data, pure Python {python_mb:,.1f}", flush=True)
        yield name, "pure-python", ours_mb / python_mb, TIMES_FLOOR
        yield name, "MB/s", ours_mb, SPEED_FLOOR
    for name, fit in (("concatenate", False), ("best-fit", True)):
        packed = ours_packed(ragged, groups, fit)
        share = 1 - packed.text_tokens.sum() / packed.rows.size
        print(f"{name}: padding {share:.3%}, {packed.cut:,} of {len(groups):,} training documents cut")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less data, under a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    low = False
    for name, peer, value, floor in comparisons(arguments.quick):
        print(f"ratio {name} {peer} {value:.2f} floor {floor:g}", flush=True)
        low |= value < floor
    return 1 if low and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
