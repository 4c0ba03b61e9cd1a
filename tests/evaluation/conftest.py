"""A real, tiny, random Llama with a BPE tokenizer trained on the benchmark's own prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.benchmarks import Task, load


@pytest.fixture(scope="session")
def humaneval() -> list[Task]:
    return load("humaneval")


def save_model(folder: Path, texts: list[str], seed: int, positions: int) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=600,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=positions,
            initializer_range=0.2,  # far from uniform, so that a misplaced token changes the sum
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, humaneval: list[Task]) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), [task.prompt for task in humaneval], 0, 512)


@pytest.fixture(scope="session")
def short_sighted_model(tmp_path_factory: pytest.TempPathFactory, humaneval: list[Task]) -> Path:
    """Sees 64 tokens: most prompts are cut, and some solutions need several windows."""
    return save_model(tmp_path_factory.mktemp("short"), [task.prompt for task in humaneval], 1, 64)
