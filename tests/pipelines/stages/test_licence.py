"""Licences as they are stated in real headers and real metadata, policies over them, and owners who object."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.licenses import of_core_metadata
from pipelines.stages.licence import (
    VERDICT,
    LicenceConfig,
    amend_licence,
    judge_licence,
    rejudge,
)
from pipelines.stages.spdx import PERMISSIVE, licences, normalise, parsed, satisfied
from snowcoder.base import UserError
from tests.pipelines.stages.documents import documents

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software"""
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted provided that
the following conditions are met: 1. Redistributions of source code must retain the above copyright notice, this list
of conditions and the following disclaimer."""
ISC = """Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted{}. THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES"""
NOTICE = ", provided that the above copyright notice and this permission notice appear in all copies"
GPL = """This program is free software; you can redistribute it and/or modify it under the terms of the GNU {}General
Public License as published by the Free Software Foundation; either version {} of the License, or (at your option) any
later version. You should have received a copy of the GNU {}General Public License along with it."""
HEADERS = {
    "Licensed under the Apache License, Version 2.0 (the \"License\"); you may not use this file": "Apache-2.0",
    "http://www.apache.org/licenses/LICENSE-2.0": "Apache-2.0",
    "Part of the LLVM Project, under the Apache License v2.0 with LLVM Exceptions.": "Apache-2.0 WITH LLVM-exception",
    MIT: "MIT",
    "Released under the MIT license": "MIT",
    "License: MIT": "MIT",
    BSD: "BSD-2-Clause",
    BSD + " Neither the name of the author may be used to endorse or promote products": "BSD-3-Clause",
    BSD + " 3. All advertising materials mentioning features or use of this software must": "BSD-4-Clause",
    "Use of this source code is governed by a BSD-style license": "BSD-3-Clause",
    "# License: BSD 3 clause": "BSD-3-Clause",
    "under the Simplified BSD License": "BSD-2-Clause",
    ISC.format(NOTICE): "ISC",
    ISC.format(""): "0BSD",
    GPL.format("", "2", ""): "GPL-2.0-or-later",
    GPL.format("", "3", ""): "GPL-3.0-or-later",
    GPL.format("Lesser ", "2.1", "Lesser "): "LGPL-2.1-or-later",
    GPL.format("Library ", "2", "Library "): "LGPL-2.0-or-later",
    GPL.format("Affero ", "3", "Affero "): "AGPL-3.0-or-later",
    "GNU General Public License version 2 only, as published by": "GPL-2.0-only",
    "GNU General Public License v3.0+ (see COPYING)": "GPL-3.0-only",
    "distributed under the terms of the GPL": "GPL-1.0-or-later",
    "License: GPLv3+": "GPL-3.0-or-later",
    GPL.format("", "2", "") + " with the Classpath Exception": "GPL-2.0-or-later WITH Classpath-exception-2.0",
    "subject to the terms of the Mozilla Public License, v. 2.0.": "MPL-2.0",
    "Mozilla Public License Version 1.1": "MPL-1.1",
    "available under the terms of the Eclipse Public License v1.0": "EPL-1.0",
    "Eclipse Public License v. 2.0 which is available at": "EPL-2.0",
    "Distributed under the Boost Software License, Version 1.0.": "BSL-1.0",
    "For conditions of distribution and use, see copyright notice in zlib.h": "Zlib",
    "This is free and unencumbered software released into the public domain.": "Unlicense",
    "To the extent possible under law, CC0 1.0 Universal, license": "CC0-1.0",
    "This code is in the public domain.": "LicenseRef-scancode-public-domain",
    "under the same terms as Perl itself": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "Licensed to PSF under a Contributor Agreement.": "PSF-2.0",
    "Proprietary and confidential. All rights reserved. Licensed to nobody": "LicenseRef-scancode-proprietary-license",
    "Licensed under either of Apache License, Version 2.0 or the MIT license, at your option": "Apache-2.0 OR MIT",
    "SPDX-License-Identifier: (GPL-2.0-only OR MIT) */": "GPL-2.0-only OR MIT",
    "spdx-license-identifier: apache-2.0": "Apache-2.0",
    '"SPDX-License-Identifier: MIT\\n"': "MIT",
    "SPDX-License-Identifier: LicenseRef-Acme": "LicenseRef-Acme",
    "SPDX-License-Identifier: MIT\nSPDX-License-Identifier: ISC": "ISC AND MIT",
    "SPDX-License-Identifier: NotALicence-9 but the MIT license holds": "MIT",
    "See the LICENSE file for the license": "",
    "check_license(key)": "",
    "permit = unlicensed_user.commit(permission)": "",
    "": "",
}  # fmt: skip
STYLES = {
    "Python": lambda text: "".join(f"# {line}\n" for line in text.splitlines()) + "\nimport os\n",
    "C": lambda text: "/*\n" + "".join(f" * {line}\n" for line in text.splitlines()) + " */\nint x;\n",
    "SQL": lambda text: "".join(f"-- {line}\n" for line in text.splitlines()) + "SELECT 1;\n",
    "HTML": lambda text: f"<!--\n{text}\n-->\n<p>x</p>\n",
    "": lambda text: text,
}


def judged(
    texts: list[str | None], license: list[str] | str = "", cfg: LicenceConfig | None = None, **kwargs
) -> list:
    docs = documents(texts, **kwargs)
    stated = [license] * len(texts) if isinstance(license, str) else license
    docs = docs.set_column(docs.column_names.index("license"), "license", pa.array(stated, pa.string()))
    return judge_licence(docs, cfg or LicenceConfig()).to_pylist()


@pytest.mark.parametrize("lang", STYLES)
def test_headers_in_the_comments_of_each_language(lang: str) -> None:
    verdicts = judged([STYLES[lang](text) for text in HEADERS], lang=lang)
    said = [(row["spdx"], row["source"]) for row in verdicts]
    assert said == [(spdx, "header" if spdx else "none") for spdx in HEADERS.values()]


def test_the_license_key_of_a_manifest() -> None:
    texts = [
        '[package]\nlicense = "MIT OR Apache-2.0"\n',
        '{\n  "license": "Unlicense/MIT",',
    ]
    assert [row["spdx"] for row in judged(texts)] == ["Apache-2.0 OR MIT", "MIT OR Unlicense"]


METADATA = {
    "MIT": "MIT",
    "mit": "MIT",
    "MIT OR Apache-2.0": "Apache-2.0 OR MIT",
    "MIT/Apache-2.0": "Apache-2.0 OR MIT",
    "(MIT AND ISC)": "ISC AND MIT",
    "License :: OSI Approved :: MIT License": "MIT",
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "new BSD": "BSD-3-Clause",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GPL-2.0+": "GPL-2.0-or-later",
    "GPLv2": "GPL-2.0-only",
    "LGPL-3.0": "LGPL-3.0-only",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "The Unlicense (Unlicense)": "Unlicense",
    "Public Domain": "LicenseRef-scancode-public-domain",
    "zlib/libpng License": "Zlib",
    "Expat": "MIT",
    "OSI Approved, MIT License": "MIT",
    "MIT License, Apache Software License": "Apache-2.0 AND MIT",
    "Proprietary": "LicenseRef-scancode-proprietary-license",
    "UNKNOWN": "",
    "NOASSERTION": "",
    "SEE LICENSE IN LICENSE.md": "",
    "": "",
}


@pytest.mark.parametrize(("words", "spdx"), METADATA.items())
def test_metadata_in_the_sources_own_words(words: str, spdx: str) -> None:
    assert normalise(words) == spdx


def test_the_licences_of_this_environment_are_understood() -> None:
    """The real metadata of a few hundred packages; what is not understood is a custom text or says nothing."""
    stated = {of_core_metadata(package.metadata) for package in importlib.metadata.distributions()} - {
        "",
        "UNKNOWN",
    }
    understood = [words for words in stated if normalise(words)]
    assert len(stated) >= 20
    assert len(understood) >= 0.85 * len(stated), sorted(stated - set(understood))


def test_headers_agree_with_what_their_packages_state() -> None:
    """Truth of others, where no Debian corpus is: Python files of packages under one licence, at most 60 of each.

    Vendored files are under another licence than their package, which is why the floor is not higher.
    """
    texts, stated = [], []
    for package in importlib.metadata.distributions():
        spdx = normalise(of_core_metadata(package.metadata))
        if len(licences(spdx)) == 1:
            files = [
                Path(str(file.locate()))
                for file in package.files or ()
                if file.suffix == ".py" and "_vendor" not in file.parts
            ]
            # A list of files may name some that the installation left out.
            for path in [path for path in files if path.is_file()][:60]:
                texts.append(path.read_bytes()[:4096].decode("utf-8", "ignore"))
                stated.append(spdx)
    said = [row["spdx"] for row in judged(texts)]
    named = [(header, package) for header, package in zip(said, stated, strict=True) if header]
    assert len(named) >= 100
    assert sum(header == package for header, package in named) >= 0.85 * len(named)
    alike = sum(satisfied(header, PERMISSIVE) == satisfied(package, PERMISSIVE) for header, package in named)
    assert alike >= 0.97 * len(named)


def test_a_header_wins_and_a_conflict_is_recorded() -> None:
    rows = judged(
        ["# License: MIT\n", "# License: MIT\n", "# License: MIT\n", "x\n", "x\n", "x\n"],
        license=[
            "GPL-3.0-only",
            "MIT OR Apache-2.0",
            "words of nobody",
            "GPL-3.0-only",
            "words of nobody",
            "unknown",
        ],
    )
    assert [(row["spdx"], row["source"], row["conflict"]) for row in rows] == [
        ("MIT", "header", True),
        ("MIT", "header", False),
        ("MIT", "header", False),
        ("GPL-3.0-only", "metadata", False),
        ("", "metadata", False),
        ("", "none", False),
    ]


STATED = [
    "MIT",
    "GPL-3.0-only",
    "MIT OR GPL-3.0-only",
    "MIT AND GPL-3.0-only",
    "words of nobody",
    "",
    "MPL-2.0",
]


@pytest.mark.parametrize(
    ("cfg", "passes"),
    [
        (LicenceConfig(), [1, 1, 1, 1, 1, 1, 1]),
        (LicenceConfig(policy="permissive"), [1, 0, 1, 0, 0, 0, 0]),
        (LicenceConfig(policy="permissive_or_none"), [1, 0, 1, 0, 0, 1, 0]),
        (LicenceConfig(policy="list", allowed=("GPL-3.0-only", "MPL-2.0")), [0, 1, 1, 0, 0, 0, 1]),
        (LicenceConfig(policy="list"), [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_policies(cfg: LicenceConfig, passes: list[int]) -> None:
    reasons = [row["reason"] for row in judged(["x\n"] * len(STATED), license=STATED, cfg=cfg)]
    assert reasons == [None if passed else "licence" for passed in passes]


def test_rejudging_from_the_ledger_equals_judging(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("repo\n")
    docs = documents(
        ["# License: MIT\n", "# License: GPLv3\n", None, "x"], fault=[None, None, "too_large", None]
    )
    verdicts = judge_licence(docs, LicenceConfig())
    for cfg in (
        LicenceConfig(policy="permissive"),
        LicenceConfig(policy="list", allowed=("GPL-3.0-only",)),
        LicenceConfig(opt_out=(str(tmp_path / "out.txt"),)),
    ):
        assert rejudge(verdicts, docs, cfg).to_pylist() == judge_licence(docs, cfg).to_pylist()


names = st.sampled_from(["MIT", "GPL-3.0-only", "ISC", "MPL-2.0"])
trees = st.recursive(names, lambda part: st.tuples(part, st.sampled_from(["AND", "OR"]), part), max_leaves=6)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_or_needs_one_and_needs_all(tree: object) -> None:
    def text(node: object) -> str:
        return node if isinstance(node, str) else f"({text(node[0])} {node[1]} {text(node[2])})"  # type: ignore[index]

    def allowed(node: object) -> bool:
        if isinstance(node, str):
            return node in PERMISSIVE
        left, right = allowed(node[0]), allowed(node[2])  # type: ignore[index]
        return (left or right) if node[1] == "OR" else (left and right)  # type: ignore[index]

    assert satisfied(parsed(text(tree)), PERMISSIVE) == allowed(tree)


def test_an_exception_grants_more() -> None:
    assert satisfied(parsed("Apache-2.0 WITH LLVM-exception"), PERMISSIVE)
    assert not satisfied(parsed("GPL-2.0-only WITH Classpath-exception-2.0"), PERMISSIVE)
    assert satisfied(parsed("GPL-2.0-only WITH Classpath-exception-2.0"), frozenset({"GPL-2.0-only"}))


def test_every_permissive_id_is_an_spdx_id() -> None:
    assert [name for name in sorted(PERMISSIVE) if licences(parsed(name)) != {name}] == []


def test_opt_out_lists(tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    listed.write_text(
        "# owners who wrote to us\nAcme/Secret\nacme-*/x  # all of theirs\n\nrequests\n", encoding="utf-8"
    )
    cfg = LicenceConfig(opt_out=(str(listed),))
    repos = [
        "acme/secret",
        "ACME/SECRET",
        "acme-lab/x",
        "acme/other",
        "requests@2.31.0",
        "requests-oauth@1",
        "",
        "my/requests",
    ]
    docs = documents(["x"] * len(repos))
    docs = docs.set_column(docs.column_names.index("repo"), "repo", pa.array(repos, pa.string()))
    reasons = judge_licence(docs, cfg)["reason"].to_pylist()
    assert reasons == ["opted_out", "opted_out", "opted_out", None, "opted_out", None, None, None]
    before = cfg.fingerprint()
    listed.write_text("other/repository\n", encoding="utf-8")
    assert cfg.fingerprint() != before
    assert judge_licence(docs, cfg)["reason"].to_pylist() == [None] * len(repos)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\xff\xfe", "not UTF-8"), (b"a b\n", ":1: 'a b' is no")],
)
def test_a_bad_opt_out_list_is_the_users_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "out.txt"
    if content is not None:
        path.write_bytes(content)
    cfg = LicenceConfig(opt_out=(str(path),))
    with pytest.raises(UserError, match=message):
        judge_licence(documents(["x"]), cfg)


def test_headers_are_taken_off_if_configured() -> None:
    text = "#!/bin/sh\n# Copyright 2020 A\n# License: MIT\n\necho é\n"
    docs = documents([text, None, "echo\n"], lang="Shell", fault=[None, "too_large", None])
    keep, strip = LicenceConfig(), LicenceConfig(strip_headers=True)
    verdicts = judge_licence(docs, strip)
    assert verdicts.schema == VERDICT
    assert amend_licence(docs, verdicts, keep) is docs
    amended = amend_licence(docs, verdicts, strip)
    assert amended["text"].to_pylist() == ["#!/bin/sh\necho é\n", None, "echo\n"]
    assert amended.drop_columns("text") == docs.drop_columns("text")
    again = amend_licence(amended, judge_licence(amended, strip), strip)
    assert again["text"].to_pylist() == amended["text"].to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="MIT licenseGPL/*# \n\r\x00\ufeffé\u0301©", max_size=60), max_size=4))
def test_any_text_has_a_verdict_and_can_be_amended(texts: list[str]) -> None:
    docs, cfg = documents(texts, lang="C"), LicenceConfig(strip_headers=True)
    verdicts = judge_licence(docs, cfg)
    assert verdicts.num_rows == len(texts)
    amended = amend_licence(docs, verdicts, cfg)["text"].to_pylist()
    assert all(len(after) <= len(before) for before, after in zip(texts, amended, strict=True))
