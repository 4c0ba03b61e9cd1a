"""What several commands share: their options, and a run from a recipe or a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snowcoder.base import UserError

if TYPE_CHECKING:
    from snowcoder.run import Run

ConfigFile = Annotated[Path, typer.Option("--config", help="Recipe (YAML); conf/ has those that come along.")]
Out = Annotated[Path, typer.Option("--out", help="Run directory; the same one again continues the run.")]
Set = Annotated[
    list[str],
    typer.Option("--set", help="Override one setting: key.path=value. May be given often.", metavar="K=V"),
]


def open_run(config: Path, out: Path, overrides: list[str], accept_new_data: bool = False) -> Run:
    """The run of a recipe with overrides. UserError for a wrong one."""
    from snowcoder.config import load_config
    from snowcoder.run import Run

    return Run(load_config(config, overrides), out, accept_new_data)


def existing(run_dir: Path) -> Path:
    """The directory, if it is a run's. UserError."""
    if not (run_dir / "config.yaml").exists():
        raise UserError(f"{run_dir}: not a run directory (no config.yaml); give the --out of a run")
    return run_dir
