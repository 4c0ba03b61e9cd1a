"""The paper's decoder, built from `transformers`, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError
from train.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

SHAPE = (  # fields of a saved configuration that decide which weights there are
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "tie_word_embeddings",
)


def llama_config(cfg: ModelConfig, attention: str = "sdpa") -> LlamaConfig:
    """The `transformers` configuration of this model; saved models load from it without our code."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        num_hidden_layers=cfg.layers,
        hidden_size=cfg.hidden,
        intermediate_size=cfg.ffn,
        num_attention_heads=cfg.heads,
        num_key_value_heads=cfg.kv_heads or cfg.heads,
        vocab_size=cfg.vocab,
        max_position_embeddings=cfg.context,
        rope_parameters={"rope_type": "default", "rope_theta": cfg.rope_theta},
        rms_norm_eps=cfg.norm_eps,
        initializer_range=cfg.init_std,
        tie_word_embeddings=cfg.tie_embeddings,
        hidden_act="silu",
        attention_bias=False,
        mlp_bias=False,
        use_cache=False,
        # Special tokens belong to the tokenizer; a default id could be an ordinary token of this vocabulary.
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = attention
    return config


def build_model(cfg: ModelConfig, seed: int = 0, attention: str = "sdpa") -> LlamaForCausalLM:
    """A freshly initialised fp32 model on the CPU, the same for the same seed. Reseeds torch's generator."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config(cfg, attention))


def load_model(directory: Path, attention: str = "sdpa") -> PreTrainedModel:
    """The causal language model of a Hugging Face directory, of whatever family, in fp32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation=attention, local_files_only=True
    )
    model.config.use_cache = False
    return model


def empty_model(cfg: TrainConfig) -> PreTrainedModel:
    """A model of the shape that is trained, its weights still to be loaded, as a user would want it configured."""
    from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

    if not cfg.init_from:
        config = llama_config(cfg.model)
        config.use_cache = True  # off in training
        return LlamaForCausalLM(config)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(cfg.init_from, local_files_only=True))


def vocabulary(cfg: TrainConfig) -> int:
    """Rows of the model's embedding."""
    return _saved_config(Path(cfg.init_from))["vocab_size"] if cfg.init_from else cfg.model.vocab


def trained_flops_per_token(cfg: TrainConfig) -> int:
    """`flops_per_token` of the model that is trained; of a foreign one, by the fields that its family shares."""
    if not cfg.init_from:
        return flops_per_token(cfg.model, cfg.seq_len)
    import torch

    with torch.device("meta"):
        model = empty_model(cfg)
    total = sum(p.numel() for p in model.parameters())
    shape = model.config
    looked_up = 0 if shape.tie_word_embeddings else shape.vocab_size * shape.hidden_size
    heads = shape.num_attention_heads * (
        getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    )
    return 6 * (total - looked_up) + 6 * shape.num_hidden_layers * heads * cfg.seq_len


def _saved_config(directory: Path) -> dict[str, Any]:
    try:
        return json.loads((directory / "config.json").read_text())
    except FileNotFoundError:
        raise UserError(f"{directory}: no config.json; is this a Hugging Face model directory?") from None


def check_weights(directory: Path, cfg: TrainConfig) -> None:
    """Raises UserError when the model in a Hugging Face directory is not of the shape that is trained."""
    found = _saved_config(directory)
    if cfg.init_from:
        wanted = _saved_config(Path(cfg.init_from))
        if found.get("model_type") != wanted.get("model_type"):
            raise UserError(
                f"{directory}/config.json: model_type is {found.get('model_type')}, "
                f"train.init_from has {wanted.get('model_type')}"
            )
    else:
        wanted = llama_config(cfg.model).to_dict()
    source = "train.init_from" if cfg.init_from else "train.model"
    for field in SHAPE:
        if found.get(field) != wanted.get(field):
            raise UserError(
                f"{directory}/config.json: {field} is {found.get(field)}, {source} says {wanted.get(field)}"
            )


def parameter_count(cfg: ModelConfig) -> int:
    """Weights in all. 1.364B for the paper's model; `embedding_count` of them are the embedding."""
    head = cfg.hidden // cfg.heads
    attention = 2 * cfg.hidden * cfg.hidden + 2 * cfg.hidden * head * (cfg.kv_heads or cfg.heads)
    block = attention + 3 * cfg.hidden * cfg.ffn + 2 * cfg.hidden
    embeddings = embedding_count(cfg) * (1 if cfg.tie_embeddings else 2)
    return embeddings + cfg.layers * block + cfg.hidden


def embedding_count(cfg: ModelConfig) -> int:
    """Weights of one embedding matrix."""
    return cfg.vocab * cfg.hidden


def flops_per_token(cfg: ModelConfig, seq_len: int) -> int:
    """Floating point operations of one trained token: forward and backward, without recomputation.

    6 per weight that multiplies (the output head does, the input look-up does not), and 6 * hidden * seq_len
    a block for attention under a causal mask: scores and values are 4 * hidden * context forward, three times
    that with the backward pass, and a causal row sees half the context on average. (PaLM, appendix B, halved
    for causality.)
    """
    multiplied = parameter_count(cfg) - (0 if cfg.tie_embeddings else embedding_count(cfg))
    return 6 * multiplied + 6 * cfg.layers * cfg.hidden * seq_len
