"""How alike the files of a set are: in what they mean, in their words, and in what they use.

All measures depend on the size of the set, so sets are compared at equal size, and in equal languages.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.kernels.minhash import shingle_hashes

SHINGLE = 5
_LISTED = 25  # modules and functions named in the result


def self_similarity(texts: Sequence[str], shingle: int = SHINGLE) -> dict[str, float]:
    """n-gram self-similarity of a set.

    `repeated`: mean over files of the share of a file's distinct shingles that another file has too; `repeated_p90`:
    the value that a tenth of the files exceeds. `distinct`: distinct shingles over all shingles (distinct-n).
    """
    sets, total = [], 0
    for hashes in shingle_hashes(pa.array(texts, pa.large_string()), shingle):
        total += len(hashes)
        sets.append(np.unique(hashes))
    everywhere, files = np.unique(np.concatenate([*sets, np.zeros(0, np.uint64)]), return_counts=True)
    shares = [float((files[np.searchsorted(everywhere, own)] > 1).mean()) for own in sets if len(own)]
    return {
        "repeated": float(np.mean(shares)) if shares else 0.0,
        "repeated_p90": float(np.quantile(shares, 0.9)) if shares else 0.0,
        "distinct": len(everywhere) / total if total else 0.0,
    }


def spread(embeddings: np.ndarray) -> dict[str, float]:
    """Spread of unit vectors float [n, d].

    `mean_cosine` over all pairs. `vendi`: the Vendi score (arXiv 2210.02410), exp of the entropy of the eigenvalues of
    the similarity matrix over n: from 1, all files alike, to n, all orthogonal.
    """
    n = len(embeddings)
    if n < 2:
        return {"mean_cosine": 1.0 if n else 0.0, "vendi": float(n)}
    vectors = np.asarray(embeddings, np.float64)
    # The eigenvalues of X X^T are those of X^T X, and zeros.
    small = vectors.T @ vectors if vectors.shape[1] < n else vectors @ vectors.T
    values = np.clip(np.linalg.eigvalsh(small / n), 0, None)
    values = values[values > 1e-12]
    total = np.square(vectors.sum(0)).sum()
    return {
        "mean_cosine": float((total - n) / (n * (n - 1))),
        "vendi": float(np.exp(-(values * np.log(values)).sum())),
    }


def uses(codes: Iterable[str]) -> dict[str, Any]:
    """What Python files import, and which functions of it they call. Files that do not parse count as unparsed.

    `modules`, `functions`: the most frequent with the number of files; `effective_modules`, `effective_functions`: exp
    of the entropy of those numbers, as if so many were used equally often. `third_party`: share of the files that
    import something outside of the standard library.
    """
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    files = unparsed = outside = 0
    for code in codes:
        tree = _tree(code)
        if tree is None:
            unparsed += 1
            continue
        files += 1
        names = _imported(tree)
        found = {name.partition(".")[0] for name in names.values() if name}
        modules.update(found)
        functions.update(_called(tree, names))
        outside += any(name not in sys.stdlib_module_names for name in found)
    return {
        "files": files,
        "unparsed": unparsed,
        "third_party": outside / files if files else 0.0,
        "effective_modules": _effective(modules),
        "effective_functions": _effective(functions),
        "modules": dict(sorted(modules.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]),
        "functions": dict(sorted(functions.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]),
    }


def _tree(code: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _imported(tree: ast.Module) -> dict[str, str]:
    """Name in the file -> what it stands for, dotted. A relative import stands for nothing known."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _called(tree: ast.Module, names: dict[str, str]) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts: list[str] = []
            target: ast.expr = node.func
            while isinstance(target, ast.Attribute):
                parts.append(target.attr)
                target = target.value
            if isinstance(target, ast.Name) and target.id in names:
                found.add(".".join([names[target.id], *reversed(parts)]))
    return found


def _effective(counts: Counter[str]) -> float:
    if not counts:
        return 0.0
    shares = np.array(list(counts.values()), np.float64)
    shares /= shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
