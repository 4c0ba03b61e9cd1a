"""The one leaf that every room may import: the error a user caused, and the base of every configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """Bad input or configuration. The message is one line: the file, the row, the field, and the remedy.

    The command line prints it without a traceback and exits with 2.
    """


class Config(BaseModel):
    """Frozen, and an unknown key is an error: a typo in a recipe must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
