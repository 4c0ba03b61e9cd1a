"""The language model of last resort: Magika's small network over the first and last kilobyte of a file.

Magika 1.0 (arXiv 2409.13768) carries its weights in its wheel. A document is a batch of its own: in larger batches
the scores differ in the fourth digit (measured with onnxruntime 1.32), a verdict must not depend on its neighbours,
and a batch is no faster.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.language import canonical

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL = "standard_v3_3"
"""Part of the verdict's version: other weights, other verdicts."""

_OURS = {
    "asm": "Assembly", "batch": "Batchfile", "gemfile": "Ruby", "gemspec": "Ruby", "gradle": "Groovy",
    "latex": "TeX", "lisp": "Common Lisp", "matlab": "MATLAB", "objectivec": "Objective-C", "rst": "reStructuredText",
    "proto": "Protocol Buffer", "shell": "Shell", "ipynb": "JSON", "vcxproj": "XML", "csproj": "XML", "svg": "XML",
}  # fmt: skip


class Guess(NamedTuple):
    lang: str  # "" for what is no language of ours: plain text, patches, logs, binary data
    confidence: float
    """Softmax score of the label, 0 when Magika's own threshold for it is not reached."""


class _Model(NamedTuple):
    session: InferenceSession
    start: int  # bytes of the head
    end: int  # and of the tail
    block: int  # from which white space is stripped first
    padding: int
    shortest: int
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]


def guess(text: bytes) -> Guess:
    """What the network says of one document; the same whatever was asked before."""
    model = _model()
    features = _features(text, model)
    if features is None:
        return Guess("", 0.0)
    scores = model.session.run(["target_label"], {"bytes": features[None]})[0][0]
    best = int(np.argmax(scores))
    confidence = float(scores[best])
    return Guess(_language(model.labels[best]), confidence if confidence >= model.thresholds[best] else 0.0)


def _features(text: bytes, model: _Model) -> np.ndarray | None:
    """As Magika takes them: int32[start + end], padded; None for a text that is too short to tell."""
    head = text[: model.block].lstrip()[: model.start]
    tail = text[-model.block :].rstrip()[-model.end :]
    if len(head) < model.shortest:
        return None
    features = np.full(model.start + model.end, model.padding, np.int32)
    features[: len(head)] = np.frombuffer(head, np.uint8)
    features[len(features) - len(tail) :] = np.frombuffer(tail, np.uint8)
    return features


@cache
def _language(label: str) -> str:
    return _OURS.get(label) or canonical(label)


@cache
def _model() -> _Model:
    import onnxruntime

    folder = files("magika") / "models" / MODEL
    config = json.loads((folder / "config.min.json").read_text())
    options = onnxruntime.SessionOptions()
    # A task is given one core.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    labels = tuple(config["target_labels_space"])
    usual = config["medium_confidence_threshold"]
    return _Model(
        session=session,
        start=config["beg_size"],
        end=config["end_size"],
        block=config["block_size"],
        padding=config["padding_token"],
        shortest=config["min_file_size_for_dl"],
        labels=labels,
        thresholds=tuple(config["thresholds"].get(label, usual) for label in labels),
    )
