"""The plan at the paper's figures, against the rooms' own formulas, and what it refuses and warns of."""

from __future__ import annotations

import pytest
from rich.console import Console

from pipelines.dedup.config import DedupConfig
from snowcoder.base import UserError
from snowcoder.plan import PlanInput, flops_per_token, make_plan, parameters
from snowcoder.plan_table import render, summary
from train.config import ModelConfig
from train.model import flops_per_token as trained_flops
from train.model import parameter_count

PAPER = make_plan(PlanInput())


def text(given: PlanInput) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(make_plan(given)))
    return console.export_text()


def test_steps_of_the_paper() -> None:
    assert PAPER.given.global_batch * PAPER.given.seq_len == 4_194_304
    assert [phase.steps for phase in PAPER.phases] == [119_209, 11_920, 1_192]


def test_parameters_of_the_paper() -> None:
    assert round(PAPER.parameters.total / 1e9, 3) == 1.364
    assert round(PAPER.parameters.non_embedding / 1e9, 3) == 1.233


def test_compute_of_the_paper() -> None:
    """4.5e21 FLOPs for 555 B tokens by 6ND, about 3.2k H100-hours at 40 % of peak."""
    assert PAPER.flops_6nd == pytest.approx(4.5e21, rel=0.02)
    assert PAPER.gpu_hours_6nd == pytest.approx(3200, rel=0.01)
    assert sum(phase.gpu_hours for phase in PAPER.phases) > PAPER.gpu_hours_6nd, "attention comes on top"


def test_epochs_of_the_paper() -> None:
    assert [phase.epochs for phase in PAPER.phases] == [1.25, 4.0, 2.5]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [16, 4])
def test_model_figures_are_those_of_the_training_room(tied: bool, kv_heads: int) -> None:
    given = PlanInput(tied_embeddings=tied, kv_heads=kv_heads, seq_len=2048)
    model = ModelConfig(tie_embeddings=tied, kv_heads=kv_heads)
    assert parameters(given).total == parameter_count(model)
    assert sum(flops_per_token(given)) == trained_flops(model, 2048)


def test_index_memory_is_that_of_the_index() -> None:
    given = PAPER.given
    kept = int(given.raw_bytes / given.mean_document_bytes * given.kept_fraction)
    index = DedupConfig(expected_documents=kept, partitions=8)
    assert sum(PAPER.dedup_bytes.values()) == pytest.approx(index.index_bytes, rel=0.03)


def test_zero_stages_shard_what_they_say() -> None:
    n = PAPER.parameters.total
    alone = make_plan(PlanInput(train_gpus=1)).state_bytes
    assert alone == dict.fromkeys(range(4), 20 * n)
    assert make_plan(PlanInput(train_gpus=4)).state_bytes == {0: 20 * n, 1: 11 * n, 2: 6.5 * n, 3: 5 * n}


def test_twice_the_gpus_take_half_the_time_and_the_same_gpu_hours() -> None:
    one, two = PAPER.phases[0], make_plan(PlanInput(train_gpus=64)).phases[0]
    assert two.hours == pytest.approx(one.hours / 2)
    assert two.gpu_hours == pytest.approx(one.gpu_hours)
    assert two.cpu_cores == pytest.approx(2 * one.cpu_cores)


def test_a_measured_speed_replaces_peak_and_mfu() -> None:
    given = PlanInput(gpu="cpu", train_gpus=2, train_tokens_per_second=2_000.0, tokens={"general": 14.4e6})
    (phase,) = make_plan(given).phases
    assert phase.hours == pytest.approx(1.0)
    assert phase.supply["training"] == pytest.approx(4_000.0)


def test_the_bottleneck_is_the_smallest_supply() -> None:
    slow = make_plan(PlanInput(cpu_cores=1))
    assert slow.phases[0].bottleneck == "cpu"
    assert PAPER.phases[0].bottleneck == "training"
    scored = make_plan(PlanInput(annotator_gpus=10_000, generator_gpus=100_000, cpu_cores=10_000))
    assert {phase.bottleneck for phase in scored.phases} == {"training"}
    assert scored.warnings == ()


def test_cores_are_what_keeps_the_stream_ahead() -> None:
    phase = PAPER.phases[0]
    just = make_plan(PlanInput(cpu_cores=round(phase.cpu_cores * 1000), train_gpus=32_000)).phases[0]
    assert just.supply["cpu"] == pytest.approx(just.supply["training"], rel=0.01)


def test_ledger_stays_under_two_per_cent_or_warns() -> None:
    assert PAPER.ledger_bytes / PAPER.given.raw_bytes == pytest.approx(0.01)
    fat = make_plan(PlanInput(mean_document_bytes=1000.0))
    assert any("the limit is 2 %" in line for line in fat.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpu_memory_bytes": 16e9}, "do not fit a GPU"),
        ({"train_gpus": 24}, "does not divide"),
        ({"raw_bytes": 5e11}, "fewer than the unique tokens"),
        ({"tokens": {"general": 1000.0}}, "less than one global batch"),
    ],
)
def test_warnings(change: dict, words: str) -> None:
    assert any(words in line for line in make_plan(PlanInput(**change)).warnings)
    assert not any(words in line for line in PAPER.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpu": "NVIDIA Unknown"}, "no known dense bf16 peak"),
        ({"tokens": {"general": 1e9, "other": 1e9}}, "unique_tokens has no other"),
        ({"raw_bytes": -1.0}, "raw_bytes"),
        ({"kernel_mb_per_second": {"read": -1.0, "tokenise": 1.0}}, "kernel_mb_per_second"),
        ({"train_gpus": 0}, "train_gpus"),
    ],
)
def test_refusals_are_one_line(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        make_plan(PlanInput(**change))
    assert "\n" not in str(error.value)


def test_every_input_is_shown_with_its_source() -> None:
    shown = text(PlanInput())
    for name in PlanInput.__dataclass_fields__:
        if name != "sources":
            assert PAPER.given.source(name), name
            assert name in shown


def test_a_changed_value_no_longer_claims_the_papers_authority() -> None:
    assert PlanInput().source("seq_len").startswith("paper")
    assert PlanInput(seq_len=1024).source("seq_len") == "configuration"
    given = PlanInput(seq_len=1024, sources={"seq_len": "measured: benchmarks/x.md"})
    assert given.source("seq_len") == "measured: benchmarks/x.md"


def test_table_shows_the_figures_and_the_warnings() -> None:
    shown = text(PlanInput())
    for figure in ("119,209", "1.25", "1.364 B", "4.54e+21", "annotator"):
        assert figure in shown
    assert PAPER.warnings[0] in " ".join(shown.split())
    assert {what for what, _, _ in summary(PAPER)} >= {"duplicate index", "verdict ledger", "checkpoints"}
