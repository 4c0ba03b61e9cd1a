"""How every page is made: escaped, strict about what is missing, hostile text spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snowcoder.evidence import visible
from snowcoder.plots import short

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """The templates of this package, with the filters that all of them use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("snowcoder"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": "{:,.0f}".format, "short": short}
    return made
