"""Secrets of a job by reference: the job carries names of variables and of files, the values stay on the nodes.

A leaf that imports nothing heavy: Ray runs `load_secrets` in every worker process of a job.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from snowcoder.base import UserError

VARIABLE = "SNOWCODER_SECRET_FILES"
"""JSON: name of an environment variable -> absolute path of the file with its value."""


def load_secrets() -> None:
    """Set the variables that `SNOWCODER_SECRET_FILES` names, each from its file. UserError for a missing file."""
    for name, place in json.loads(os.environ.get(VARIABLE, "{}")).items():
        try:
            os.environ[name] = Path(place).read_text().strip()
        except OSError as error:
            raise UserError(
                f"{place}: cannot be read for {name} ({error.strerror}); put the secret there on every node"
            ) from error
