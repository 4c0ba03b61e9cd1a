"""What does not need an engine: how its answers leave the stream."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.synthesis.vllm_engine import as_they_come


@pytest.mark.timeout(240)
def test_a_block_is_there_before_the_next_one_is_made(ray_session, tmp_path: Path) -> None:
    """Each block but the first is made only once the one before has arrived: held back, none would come."""
    import ray.data

    count = 3

    def make(batch):
        number = int(batch["id"][0].as_py())
        deadline = time.monotonic() + 60
        while number and not (tmp_path / f"arrived-{number - 1}").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"block {number - 1} is held back")
            time.sleep(0.01)
        return batch

    stream = ray.data.range(count, override_num_blocks=count).map_batches(
        make, batch_size=None, batch_format="pyarrow", num_cpus=0.1
    )
    for block in as_they_come(stream):
        (tmp_path / f"arrived-{block['id'][0].as_py()}").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"arrived-{n}" for n in range(count)]
