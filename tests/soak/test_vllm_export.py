"""An exported model in vLLM's own implementation: the log-probabilities are those of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pipelines.sequences.tokenizer import train_tokenizer
from train import checkpoints
from train.checkpoints import Pointer, write_pointer
from train.config import ModelConfig, TrainConfig
from train.export import export
from train.model import build_model

PROGRAM = Path(__file__).parents[1] / "programs" / "vllm_logprobs.py"
CFG = TrainConfig(
    model=ModelConfig(layers=2, hidden=128, ffn=192, heads=2, vocab=600, context=64),
    seq_len=64,
    global_batch=2,
    zero_stage=0,
)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_log_probabilities_are_those_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    state = tmp_path / "train/general/checkpoints/one" / checkpoints.TAG
    state.mkdir(parents=True)
    torch.save({"module": build_model(CFG.model, 3).state_dict()}, state / "mp_rank_00_model_states.pt")
    pointer = Pointer(
        position=1,
        checkpoint="checkpoints/one",
        fingerprint={},
        world_size=1,
        global_batch=CFG.global_batch,
        seq_len=CFG.seq_len,
        zero_stage=CFG.zero_stage,
        precision=CFG.precision,
    )
    write_pointer(tmp_path / "train/general", pointer)
    tokenizer = train_tokenizer(["def f(x):\n    return x\n" * 3] * 10, 600, tmp_path / "tokenizer")
    directory = export(tmp_path, "general", CFG, tokenizer)

    ids = [(7 * i) % 250 + 10 for i in range(40)]
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(directory)
        predicted = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1], dim=-1)
    expected = predicted[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].tolist()
    found = subprocess.run(
        [sys.executable, str(PROGRAM), str(directory), *map(str, ids)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert json.loads(found.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-4)
