"""A small model learns: half an hour of training on real code, validated on code that no phase sees.

13M parameters over three phases (all documents, the annotator's best, the best with Python raised to half; real
documents in phase 3, so that no generator is needed) and the control on random documents. Validation bits per byte
go to docs/img/learning.svg and a JSON file beside it, whichever of continued and control wins. SNOWCODER_LEARNING
scales the tokens: 1 is the whole, 0.02 a smoke run, which asserts only that everything is recorded.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from snowcoder.config import load_config
from snowcoder.run import Run
from train.validation import read_record

SHARE = float(os.environ.get("SNOWCODER_LEARNING", "1"))
IMAGES = Path("docs/img") if SHARE >= 1 else None
BATCH = 8 * 512  # tokens of a step
PHASES = ("general", "continued", "control", "enhanced")


def tokens(steps: int) -> int:
    return max(8, int(steps * SHARE)) * BATCH


def settings() -> list[str]:
    sizes = {"general": tokens(320), "continued": tokens(100), "enhanced": tokens(50)}
    every = max(4, int(10 * SHARE))
    return [
        "sequences.seq_len=512",
        "tokenizer.vocab_size=8192",
        "train.model={layers: 8, hidden: 320, ffn: 960, heads: 5, context: 512}",
        f"train.checkpoint_every_steps={every}",
        "validation={held_out_shards: 1, documents_per_language: 16, document_bytes: 4096, benchmarks: [humaneval]}",
        f"validation.every_checkpoints={2 if SHARE >= 1 else 1}",
        "source.max_bytes=24000000",
        "curation.benchmarks=[humaneval]",
        f"general.tokens={sizes['general']}",
        f"continued.tokens={sizes['continued']}",
        f"enhanced.tokens={sizes['enhanced']}",
        "enhanced.data=real",
        f"corpus.synthetic_tokens={sizes['enhanced'] // 2}",
        *(f"{phase}.schedule.warmup_tokens={size // 16}" for phase, size in sizes.items()),
        "continued.repeats=4",
        "train.track.tensorboard=false",
        "ray.score_actors=1",  # the session of tests has four logical CPUs
    ]


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_validation_bits_per_byte_fall_in_every_phase(ray_session, tmp_path: Path) -> None:
    run = Run(load_config("conf/demo.yaml", settings()), tmp_path / "run")
    run.general()
    run.continued()
    run.enhanced()
    curves = {phase: read_record(run.root / "train" / phase) for phase in PHASES}
    if IMAGES:
        (IMAGES / "learning.json").write_text(json.dumps(curves, indent=1) + "\n")
    plot(curves, (IMAGES or tmp_path) / "learning.svg")
    shutil.copy(run.root / "model" / "README.md", tmp_path / "card.md")  # the last phase's, through the link

    for phase in PHASES:
        assert curves[phase], phase
        assert all({"held_out", "humaneval", "held_out/Python"} <= line.keys() for line in curves[phase])
    if SHARE < 1:
        return
    starts = {
        "general": curves["general"][0],
        "continued": curves["general"][-1],
        "enhanced": curves["continued"][-1],
    }
    for phase, start in starts.items():
        end = curves[phase][-1]
        print(f"{phase}: {start['held_out']:.4f} -> {end['held_out']:.4f} bits per byte")
        assert end["held_out"] < start["held_out"], phase
    print(f"control: {curves['control'][-1]['held_out']:.4f}")


def plot(curves: dict[str, list[dict]], path: Path) -> None:
    """Held-out code and HumanEval's solutions over the tokens of the whole road; the control in parallel."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharex=True)
    begin = {"general": 0}
    for phase, before in (("continued", "general"), ("control", "general"), ("enhanced", "continued")):
        begin[phase] = begin[before] + curves[before][-1]["tokens"]
    for axis, figure_name in zip(axes, ("held_out", "humaneval"), strict=True):
        for phase in PHASES:
            x = [(begin[phase] + line["tokens"]) / 1e6 for line in curves[phase]]
            style = "--" if phase == "control" else "-"
            axis.plot(x, [line[figure_name] for line in curves[phase]], style, marker=".", label=phase)
        axis.set(title=figure_name.replace("_", "-"), xlabel="tokens (millions)", ylabel="bits per byte")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
