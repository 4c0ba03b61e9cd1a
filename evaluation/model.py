"""A trained model as evaluation sees it: a directory in Hugging Face's layout, tokenizer included."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from snowcoder.base import UserError

_SAYS_WHAT_IT_SAYS = {".json", ".safetensors", ".bin", ".model", ".txt"}


def require_model(model_dir: Path) -> None:
    """UserError unless the directory holds a model."""
    if not (model_dir / "config.json").is_file():
        raise UserError(f"{model_dir}: no model here (config.json is missing): train one or correct the path")


def fingerprint(model_dir: Path) -> str:
    """sha256 over the names and contents of the config, the weights and the tokenizer."""
    require_model(model_dir)
    digest = hashlib.sha256()
    for path in sorted(model_dir.iterdir()):
        if path.suffix in _SAYS_WHAT_IT_SAYS:
            with path.open("rb") as file:
                digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_model(model_dir: Path) -> tuple[Any, Any]:
    """Model and tokenizer; fp32 on a CPU, on a GPU the directory's own dtype."""
    require_model(model_dir)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on_gpu = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, local_files_only=True, dtype="auto" if on_gpu else torch.float32
    )
    model = model.to("cuda" if on_gpu else "cpu").eval()
    return model, AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
