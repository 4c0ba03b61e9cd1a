"""A committed checkpoint as a Hugging Face directory: what evaluation and vLLM load."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from snowcoder.base import UserError
from train import checkpoints
from train.checkpoints import checkpoint_storage
from train.config import TrainConfig
from train.model import empty_model, vocabulary

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def export(run_dir: Path, phase: str, cfg: TrainConfig, tokenizer_dir: Path | None = None) -> Path:
    """Write RUN/model/<phase> from the phase's committed checkpoint and return it. Replaces it as a whole.

    Weights are in `cfg.precision`. With a tokenizer, its files are copied and its special token ids are named
    in the model's configuration. Raises UserError when nothing is committed or the tokenizer does not fit.
    """
    storage = checkpoint_storage(cfg, phase, run_dir / "train" / phase)
    pointer = checkpoints.read_pointer(storage)
    if pointer is None:
        raise UserError(f"{storage.root}: no committed checkpoint to export; train the phase first")
    target = run_dir / "model" / phase
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{phase}.{uuid.uuid4().hex}")
    try:
        with checkpoints.fetched(storage, pointer.checkpoint) as checkpoint:
            _write_model(checkpoint, cfg, temporary, tokenizer_dir)
        if target.exists():
            old = target.with_name(f".{phase}.{uuid.uuid4().hex}")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_model(checkpoint: Path, cfg: TrainConfig, directory: Path, tokenizer_dir: Path | None) -> None:
    import torch

    dtype = torch.bfloat16 if cfg.precision == "bf16" else torch.float32
    model = empty_model(cfg)
    config, size = model.config, vocabulary(cfg)
    if tokenizer_dir is not None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir, local_files_only=True)
        if len(tokenizer) > size:
            raise UserError(f"{tokenizer_dir}: {len(tokenizer)} tokens do not fit model.vocab {size}")
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    config.dtype = dtype
    model.load_state_dict(weights(checkpoint, cfg))
    model.to(dtype).save_pretrained(directory)
    for path in [tokenizer_dir / name for name in TOKENIZER_FILES] if tokenizer_dir else []:
        if path.exists():
            shutil.copyfile(path, directory / path.name)


def weights(checkpoint: Path, cfg: TrainConfig) -> dict:
    """fp32 weights of a checkpoint by parameter name: ZeRO's master copy, not its bf16 weights."""
    if cfg.zero_stage == 0:
        import torch

        path = checkpoint / checkpoints.TAG / "mp_rank_00_model_states.pt"
        # Written by ourselves; DeepSpeed's file also holds its counters, which `weights_only` refuses.
        return torch.load(path, map_location="cpu", weights_only=False)["module"]
    if cfg.zero_stage == 1 and cfg.precision == "bf16":
        return _joined_partitions(checkpoint / checkpoints.TAG)
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    state = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag=checkpoints.TAG)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _joined_partitions(directory: Path) -> dict:
    """The master copy of DeepSpeed's BF16_Optimizer (stage 1 in bf16), which `zero_to_fp32` takes for no ZeRO state.

    Each rank holds an equal part of each parameter group, flat, the last one padded.
    """
    import torch

    def load(path: Path) -> dict:
        return torch.load(path, map_location="cpu", weights_only=False)

    model = load(directory / "mp_rank_00_model_states.pt")
    paths = directory.glob("bf16_zero_pp_rank_*_mp_rank_00_optim_states.pt")
    ranks = sorted(paths, key=lambda path: int(path.name.split("_")[4]))
    parts = [load(path)["optimizer_state_dict"]["single_partition_of_fp32_groups"] for path in ranks]
    found = {}
    for group, shapes in enumerate(model["param_shapes"]):
        flat = torch.cat([part[group] for part in parts])
        begin = 0
        for name, shape in shapes.items():
            found[name] = flat[begin : begin + shape.numel()].view(shape).clone()
            begin += shape.numel()
    for alias, name in dict(model["shared_params"]).items():
        found[alias] = found[name]
    return found
