"""The forms of a text under which documents may count as equal."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from pipelines.kernels.normal_form import normal_form

NormalForm = Literal["none", "whitespace", "case"]


def normalised(text: pa.Array | pa.ChunkedArray, form: NormalForm) -> pa.Array | pa.ChunkedArray:
    """The texts in this form; `none` returns them as they are."""
    return text if form == "none" else normal_form(text, fold_case=form == "case")
