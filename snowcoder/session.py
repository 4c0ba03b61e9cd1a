"""The Ray session of a run."""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from snowcoder.metrics import Exporter

if TYPE_CHECKING:
    from snowcoder.config import RayConfig


def start_ray(settings: RayConfig, root: Path) -> None:
    """Join the cluster that the job runs on, the one that is named, or start one here."""
    import ray
    import ray.data

    if not ray.is_initialized():
        address = settings.address or os.environ.get("RAY_ADDRESS", "")
        # What workers print stays in Ray's own logs: the run's progress is told from what they record.
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if address:
            os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")  # fills the dashboard's Train tab
            ray.init(address=address, **quiet)
            exporter = Exporter(root)
            exporter.start()
            atexit.register(exporter.stop)  # before Ray's own: the end of the run is seen too
        else:
            cpus = settings.num_cpus or max(4, os.cpu_count() or 1)
            ray.init(
                num_cpus=cpus,
                object_store_memory=settings.object_store_bytes,
                include_dashboard=False,
                **quiet,
            )
    # What libraries log is in Ray's session directory too; here it would bury the run's own lines.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*exclude_resources.*")  # Ray Train's own use of Ray Data
    ray.data.DataContext.get_current().enable_progress_bars = False
