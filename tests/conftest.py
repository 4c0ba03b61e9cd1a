"""One Ray session for all tests that need one: starting it costs seconds."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import pytest


@pytest.fixture(scope="session")
def ray_session():
    """Four logical CPUs: two training workers and room for the data stream, also on a machine with two cores."""
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=True, object_store_memory=512 << 20)
    yield ray
    ray.shutdown()
