from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import SourceConfig, notebooks
from pipelines.sources.notebooks import NOTEBOOK, BadNotebook, as_scripts, to_script
from pipelines.sources.text import Documents, document_table


def notebook(*cells: tuple[str, Any], language: str | None = "python", **fields: Any) -> bytes:
    metadata = {"kernelspec": {"language": language}} if language else {}
    made = [{"cell_type": kind, "source": source, "metadata": {"tags": ["a"]}} for kind, source in cells]
    return json.dumps(
        {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5, **fields}
    ).encode()


def test_cells_become_a_script_and_nothing_else_does() -> None:
    code = {
        "cell_type": "code",
        "source": ["%time\n", "x = 1\n", "!ls"],
        "outputs": [{"output_type": "stream", "text": ["the output"]}],
        "execution_count": 7,
        "metadata": {"collapsed": True},
        "attachments": {"a.png": {"image/png": "aGVsbG8="}},
    }
    cells = [
        {"cell_type": "markdown", "source": "# Title\ntext"},
        code,
        {"cell_type": "raw", "source": "raw"},
    ]
    script = to_script(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}).encode())
    assert script.decode() == (
        "# %% [markdown]\n# # Title\n# text\n\n# %%\n# %time\nx = 1\n# !ls\n\n# %% [raw]\n# raw\n"
    )
    ast.parse(script)


@pytest.mark.parametrize(
    ("language", "first"),
    [
        ("python", "# %%"), ("R", "# %%"), ("julia", "# %%"), ("C++17", "// %%"), ("scala", "// %%"),
        ("haskell", "-- %%"), ("no such language", "# %%"), (None, "# %%"),
    ],
)  # fmt: skip
def test_the_comment_sign_is_the_kernel_s(language: str | None, first: str) -> None:
    assert to_script(notebook(("code", "x"), language=language)).decode() == f"{first}\nx\n"


def test_the_language_may_stand_in_either_place() -> None:
    info = {"metadata": {"kernelspec": "?", "language_info": {"name": "scala"}}}
    assert to_script(notebook(("code", "x"), **info)).startswith(b"// %%")


def test_the_format_before_version_4() -> None:
    old = {
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": "Title"},
                    {"cell_type": "code", "input": ["x = 1"], "outputs": []},
                ]
            }
        ]
    }
    assert to_script(json.dumps(old).encode()) == b"# %% [markdown]\n# ## Title\n\n# %%\nx = 1\n"


BAD = [
    b"", b"{", b"[]", b"1", b"{}", b'{"cells": 1}', b'{"cells": [1]}', b"[" * 100_000,
    b'{"cells": [{"cell_type": "code", "source": 1}]}', b'{"cells": [{"cell_type": "code", "source": [1]}]}',
    b'{"cells": [{"cell_type": "film", "source": ""}]}', b'{"cells": [{"source": ""}]}',
    b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}', b'{"worksheets": [{"cells": [null]}]}',
    b'{"cells": [], "n": ' + b"9" * 5000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_notebook_is_a_fault(content: bytes) -> None:
    with pytest.raises(BadNotebook) as raised:
        to_script(content)
    assert raised.value.fault == "bad_notebook"


def test_there_are_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "MAX_CELLS", 3)
    monkeypatch.setattr(notebooks, "MAX_SOURCE_CHARACTERS", 10)
    to_script(notebook(*[("code", "abc")] * 3))
    for cells in ([("code", "")] * 4, [("code", "12345678901")]):
        with pytest.raises(BadNotebook) as raised:
            to_script(notebook(*cells))
        assert raised.value.fault == "too_large"


_LINE = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["%%bash", "%matplotlib inline", "!ls", "# %%", "# + x", "?", "'''", "\\", "x = 1"]),
)
_CELL = st.tuples(st.sampled_from(["code", "markdown", "raw"]), st.lists(_LINE, max_size=4).map("\n".join))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(_CELL, max_size=4),
    st.sampled_from(["python", "R", "scala", "C++", "bash", "SoS", "octave", "ocaml", "", "x\ny", "{}"]),
)
def test_any_cells_make_the_same_script_twice(cells: list[tuple[str, str]], language: str) -> None:
    content = notebook(*cells, language=language)
    script = to_script(content)
    assert to_script(content) == script
    script.decode()


@settings(deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "cells",
                        "cell_type",
                        "source",
                        "metadata",
                        "kernelspec",
                        "language",
                        "worksheets",
                        "level",
                        "input",
                    ]
                ),
                inner | st.sampled_from(["code", "heading"]),
            )
        ),
    )
)
def test_any_json_is_a_script_or_a_bad_notebook(stored: Any) -> None:
    faults: list[str | None] = [None]
    scripts = as_scripts([NOTEBOOK], pa.array([json.dumps(stored).encode()], pa.large_binary()), faults)
    assert faults == ([None] if scripts.null_count == 0 else ["bad_notebook"])


def test_only_notebooks_are_turned_and_only_bad_ones_have_a_fault() -> None:
    good = notebook(("code", "x = 1"))
    lang = ["Jupyter Notebook", "JSON", "Jupyter Notebook", "Jupyter Notebook", "Jupyter Notebook"]
    stored = [good, good, b"{", None, b"\xff"]
    columns = {
        "repo": [""] * 5,
        "path": [""] * 5,
        "lang": lang,
        "license": [""] * 5,
        "size": [len(b or b"") for b in stored],
    }
    for languages in (lang, pa.array(lang)):
        faults: list[str | None] = [None, None, None, "too_large", None]
        table = document_table(0, {**columns, "lang": languages}, pa.array(stored, pa.large_binary()), faults)
        assert table["text"].to_pylist() == ["# %%\nx = 1\n", good.decode(), None, None, None]
        assert table["fault"].to_pylist() == [None, None, "bad_notebook", "too_large", "invalid_utf8"]
        assert table["size"].to_pylist() == columns["size"]
    assert as_scripts(["JSON"], pa.array([b"{"], pa.large_binary()), [None]).to_pylist() == [b"{"]


def test_notebooks_can_be_asked_for_as_stored() -> None:
    good = notebook(("code", "x = 1"))
    documents = Documents("json")
    tables = [*documents.add(good, path="a.ipynb", lang="Jupyter Notebook"), *documents.finish()]
    assert tables[0]["text"].to_pylist() == [good.decode()]
    with_scripts, as_stored = (SourceConfig(notebooks=form).reading() for form in ("script", "json"))
    assert with_scripts != as_stored


def test_notebooks_of_a_directory_are_scripts(tmp_path: Path, read_source) -> None:
    (tmp_path / "repo").mkdir()
    content = b"\xef\xbb\xbf" + notebook(("markdown", "a"), ("code", "print(1)"))
    (tmp_path / "repo/a.ipynb").write_bytes(content)
    (tmp_path / "repo/b.ipynb").write_bytes(b"not a notebook")
    rows = read_source(SourceConfig(kind="directory", paths=(str(tmp_path),)))
    assert [row["text"] for row in rows] == ["# %% [markdown]\n# a\n\n# %%\nprint(1)\n", None]
    assert [row["fault"] for row in rows] == [None, "bad_notebook"]
    assert rows[0]["size"] == len(content)
