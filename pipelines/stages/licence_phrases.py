"""What licences sound like: phrases of headers and metadata, and the SPDX expression that they add up to.

Phrases are in the normal form of `pipelines.kernels.headers.head_words`: lower-case words, one space between
them. They are found all at once; which of them a text has is a bit mask of *signs*, and one decision per mask
gives the expression. Wording after the SPDX licence list and the licences themselves.
"""

from __future__ import annotations

from functools import lru_cache

import ahocorasick_rs
import numpy as np

_VERSIONS = {
    "2": (
        "version 2 of the license", "version 2 of the licence", "version 2 of the gnu", "license version 2",
        "license v2", "license 2", "version 2 as published", "version 2 or at", "version 2 or later",
        "version 2 or any", "gplv2", "gpl v2", "gpl 2", "gpl2", "gpl version 2", "gplv2+", "gpl v2+",
        "gpl 2+", "gpl2+", "lgplv2", "lgplv2+", "version 2 only", "either version 2", "lgpl 2", "lgpl 2+",
        "lgpl v2", "lgpl v2+", "license version 2+",
    ),
    "2.1": (
        "version 2 1 of the license", "version 2 1 of the licence", "version 2 1 of the gnu",
        "license version 2 1", "license v2 1", "license 2 1", "version 2 1 as published", "version 2 1 or",
        "lgplv2 1", "lgpl v2 1", "lgpl 2 1", "lgpl version 2 1", "lgplv2 1+", "lgpl 2 1+", "lgpl v2 1+",
        "lgpl2 1", "lgpl2 1+",
    ),
    "3": (
        "version 3 of the license", "version 3 of the licence", "version 3 of the gnu", "license version 3",
        "license v3", "license 3", "version 3 as published", "version 3 or at", "version 3 or later",
        "version 3 or any", "gplv3", "gpl v3", "gpl 3", "gpl3", "gpl version 3", "gplv3+", "gpl v3+",
        "gpl 3+", "gpl3+", "lgplv3", "lgplv3+", "lgpl 3", "lgpl 3+", "lgpl v3", "lgpl v3+", "agplv3",
        "agplv3+", "agpl 3", "agpl 3+", "agpl v3", "agpl v3+", "version 3 only", "either version 3",
        "license version 3+",
    ),
}  # fmt: skip

SIGNS: dict[str, tuple[str, ...]] = {
    "Apache-2.0": (
        "apache license version 2 0", "apache license v 2 0", "apache license 2 0", "apache license v2 0",
        "apache license v2", "apache licence version 2 0", "apache software license version 2 0",
        "apache software license 2 0", "apache org licenses license 2 0", "apache 2 0 license",
        "apache 2 license", "apache v2 license", "license apache 2 0", "license apache 2",
        "apache2 license", "license apache2", "apache license version 2",
        "licensed under the apache license", "under apache 2 0", "under the apache 2 0",
        "apache 2 0 licence",
    ),
    "apache": ("apache license", "apache licence", "apache software license", "license apache"),
    "Apache-1.1": ("apache software license version 1 1", "apache license version 1 1", "apache license 1 1"),
    "LLVM-exception": ("llvm exceptions", "llvm exception"),
    "MIT": (
        "permission is hereby granted free of charge to any person obtaining a copy of this software and",
        "to deal in the software without restriction including without limitation the rights to use copy modify",
        "mit license", "mit licence", "mit licensed", "license mit", "licence mit", "licensed mit",
        "under the mit", "under mit", "mit expat license", "expat license", "mit x11 license",
        "mit style license", "licenses mit", "of the mit license", "see copyright notice in lua h",
        "license expat", "license the mit",
    ),
    "bsd text": (
        "redistributions of source code must retain the above copyright notice",
        "redistribution and use in source and binary forms with or without modification are permitted provided",
        "redistribution and use in source and binary forms with or without modification are permitted",
    ),
    "bsd endorse": ("used to endorse or promote products derived from this software", "neither the name of"),
    "bsd advert": ("all advertising materials mentioning features or use of this software",),
    "BSD-3-Clause": (
        "bsd 3 clause", "3 clause bsd", "three clause bsd", "new bsd", "modified bsd", "revised bsd",
        "license bsd 3", "bsd3", "bsd 3 license", "bsd license 3 clause", "eclipse distribution license",
        "bsd new", "bsd three clause", "bsd c3",
    ),
    "BSD-2-Clause": (
        "bsd 2 clause", "2 clause bsd", "two clause bsd", "simplified bsd", "freebsd license",
        "license bsd 2", "bsd2", "bsd two clause",
    ),
    "0BSD": ("0bsd", "bsd zero clause", "zero clause bsd"),
    "bsd": (
        "bsd style license", "bsd license", "bsd licence", "bsd licensed", "license bsd", "licence bsd",
        "licensed bsd", "under bsd", "under the bsd", "bsd style", "bsd like",
    ),
    "isc text": (
        
        "permission to use copy modify and or distribute this software for any purpose with or without fee is hereby",
        "permission to use copy modify and distribute this software for any purpose with or without fee is hereby",
    ),
    "ISC": ("isc license", "isc licence", "license isc", "licensed isc", "under the isc"),
    "isc notice": (
        "provided that the above copyright notice and this permission notice appear in all copies",
    ),
    "HPND": (
        "permission to use copy modify and distribute this software and its documentation for any purpose",
    ),
    "gpl": (
        "gnu general public license", "gnu general public licence", "gnu public license", "gnu gpl",
        "license gpl", "gplv2", "gplv3", "gplv2+", "gplv3+", "gpl v2", "gpl v3", "gpl 2", "gpl 3", "gpl2",
        "gpl3", "gpl 2+", "gpl 3+", "gpl v2+", "gpl v3+", "gpl license", "gpl licence", "gpl version 2",
        "gpl version 3", "under the gpl", "under gpl", "the gpl", "gpl licensed", "general public license",
    ),
    "lgpl": (
        "gnu lesser general public license", "gnu library general public license",
        "lesser general public license", "library general public license",
        "gnu lesser general public licence", "gnu lesser public license", "gnu lgpl", "license lgpl",
        "lgplv2", "lgplv3", "lgplv2+", "lgplv3+", "lgplv2 1", "lgplv2 1+", "lgpl v2 1", "lgpl 2 1",
        "lgpl v3", "lgpl 3", "lgpl 2 1+", "lgpl license", "under the lgpl", "the lgpl", "lgpl version 2 1",
        "lgpl 3+", "lgpl 2+", "lgpl 2",
    ),
    "agpl": ("affero general public license", "affero gpl", "agpl", "agplv3", "agplv3+", "license agpl"),
    "version 2": _VERSIONS["2"],
    "version 2.1": _VERSIONS["2.1"],
    "version 3": _VERSIONS["3"],
    "later": (
        "any later version", "or later", "or newer", "or any later", "or above", "or greater", "version 2+",
        "version 3+", "gplv2+", "gplv3+", "gpl v2+", "gpl v3+", "gpl 2+", "gpl 3+", "gpl2+", "gpl3+",
        "lgplv2+", "lgplv3+", "lgplv2 1+", "lgpl v2 1+", "lgpl 2 1+", "lgpl 3+", "lgpl v3+", "lgpl 2+",
        "agplv3+", "agpl v3+", "agpl 3+", "subsequent version", "license version 2+", "license version 3+",
        "lgpl2 1+",
    ),
    "Classpath-exception-2.0": ("classpath exception",),
    "GCC-exception-3.1": ("gcc runtime library exception",),
    "MPL-2.0": (
        "mozilla public license v 2 0", "mozilla public license version 2 0", "mozilla public license 2 0",
        "mozilla org mpl 2 0", "mpl 2 0", "mplv2 0", "mpl v2 0", "mozilla public license v2 0",
    ),
    "MPL-1.1": (
        "mozilla public license version 1 1", "mozilla public license 1 1", "mpl 1 1",
        "mozilla org mpl mpl 1 1",
    ),
    "EPL-1.0": (
        "eclipse public license v1 0", "eclipse public license version 1 0", "eclipse public license 1 0",
        "epl 1 0", "epl v10", "license epl 1", "eclipse public license v 1 0",
    ),
    "EPL-2.0": (
        "eclipse public license v2 0", "eclipse public license version 2 0", "eclipse public license 2 0",
        "epl 2 0", "epl v20", "eclipse public license v 2 0",
    ),
    "BSL-1.0": ("boost software license", "license bsl 1 0", "boost org license 1 0", "license boost 1 0"),
    "Zlib": (
        "altered source versions must be plainly marked as such", "zlib license", "zlib libpng license",
        "license zlib", "conditions of distribution and use see copyright notice in zlib h",
        "see copyright notice in zlib h",
    ),
    "Unlicense": (
        "this is free and unencumbered software released into the public domain", "the unlicense",
        "license unlicense",
    ),
    "CC0-1.0": (
        "cc0 1 0", "cc0 license", "license cc0", "publicdomain zero 1 0", "under cc0", "cc0 public domain",
    ),
    "LicenseRef-scancode-public-domain": (
        "placed in the public domain", "is in the public domain", "into the public domain",
        "to the public domain",
        "in the public domain", "license public domain", "public domain code", "public domain software",
        "are in the public domain",
    ),
    "PSF-2.0": (
        "python software foundation license", "psf license",
        "licensed to psf under a contributor agreement", "license psf", "psf license agreement",
        "license psfl",
    ),
    "perl": ("same terms as perl itself", "same terms as perl", "same terms as the perl"),
    "Artistic-2.0": (
        "artistic license 2 0", "artistic license version 2 0", "artistic 2 0", "artistic license v 2 0",
    ),
    "Artistic-1.0": ("artistic license 1 0", "artistic license",),
    "WTFPL": ("do what the fuck you want to public license", "wtfpl"),
    "CDDL-1.0": ("common development and distribution license", "cddl 1 0", "license cddl"),
    "CC-BY-SA-4.0": ("licenses by sa 4 0", "cc by sa 4 0", "attribution sharealike 4 0"),
    "CC-BY-SA-3.0": ("licenses by sa 3 0", "cc by sa 3 0", "attribution sharealike 3 0"),
    "CC-BY-4.0": ("licenses by 4 0", "cc by 4 0", "creative commons attribution 4 0"),
    "CC-BY-3.0": ("licenses by 3 0", "cc by 3 0", "creative commons attribution 3 0"),
    "CC-BY-NC-4.0": ("licenses by nc 4 0", "cc by nc 4 0", "attribution noncommercial 4 0"),
    "CC-BY-NC-SA-4.0": ("licenses by nc sa 4 0", "cc by nc sa 4 0"),
    "OFL-1.1": ("sil open font license", "ofl 1 1"),
    "MS-PL": ("microsoft public license", "ms pl"),
    "JSON": ("the software shall be used for good not evil",),
    "PHP-3.01": ("version 3 01 of the php license", "php license version 3 01", "php license 3 01"),
    "Ruby": ("same terms as ruby", "license ruby", "ruby license"),
    "NCSA": ("university of illinois open source license", "university of illinois ncsa", "license ncsa"),
    "curl": ("curl se docs copyright html", "curl haxx se docs copyright html"),
    "blessing": ("the author disclaims copyright to this source code in place of a legal notice",),
    "BlueOak-1.0.0": ("blue oak model license", "blueoak 1 0 0"),
    "UPL-1.0": ("universal permissive license",),
    "MulanPSL-2.0": ("mulan psl v2", "mulanpsl 2 0"),
    "EUPL-1.2": ("european union public licence v 1 2", "eupl 1 2", "eupl v 1 2"),
    "BUSL-1.1": ("business source license",),
    "SSPL-1.0": ("server side public license",),
    "Elastic-2.0": ("elastic license 2 0", "elastic license"),
    "LicenseRef-scancode-proprietary-license": (
        "proprietary and confidential", "unauthorized copying of this file", "confidential and proprietary",
        "license proprietary", "license commercial", "proprietary license", "commercial license",
        "all rights reserved unauthorized",
    ),
    "either": (
        "dual license", "dual licensed", "dually licensed", "either of the following", "either license",
        "license or the mit", "or the mit license", "or mit license", "or the apache license",
        "license or apache", "mit or apache 2 0", "apache 2 0 or mit", "licenses license 2 0 or",
        "alternatively", "under the terms of either", "under either", "your option of",
        "at your option this", "tri license", "either the mit", "either the apache", "either the gnu",
        "bsd or", "or the bsd", "mit or", "unlicense or", "or the gnu", "or gplv2", "or gplv3", "mit gpl",
        "bsd gpl", "you may choose", "or the eclipse", "or the unlicense", "apache or mit", "gpl or",
        "gpl mit", "mit apache", "or under the",
    ),
}  # fmt: skip
"""Sign -> its phrases. A sign that is an SPDX id means that licence; the others only help to decide."""

_NAMES = tuple(SIGNS)
_PHRASES = tuple((phrase, sign) for sign, name in enumerate(_NAMES) for phrase in SIGNS[name])
_SIGN_OF = np.array([sign for _, sign in _PHRASES])
_LOW = 62  # signs in the first of two masks


@lru_cache(maxsize=1)
def _automaton() -> ahocorasick_rs.BytesAhoCorasick:
    needles = [f" {phrase} ".encode() for phrase, _ in _PHRASES]
    return ahocorasick_rs.BytesAhoCorasick(needles, implementation=ahocorasick_rs.Implementation.DFA)


def expressions(words: np.ndarray, starts: np.ndarray) -> list[str]:
    """The SPDX expression of each head of `head_words`, "" where it names no licence that we know."""
    found = _automaton().find_matches_as_indexes(words.data, overlapping=True)
    if not found:
        return [""] * (len(starts) - 1)
    matches = np.array(found)
    owners = np.searchsorted(starts, matches[:, 1], side="right") - 1
    signs = np.unique(owners * len(_NAMES) + _SIGN_OF[matches[:, 0]])
    masks = np.zeros((len(starts) - 1, 2), np.int64)
    owner, sign = signs // len(_NAMES), signs % len(_NAMES)
    np.add.at(masks, (owner, sign // _LOW), np.int64(1) << (sign % _LOW))
    return [_decided(low, high) for low, high in masks.tolist()]


@lru_cache(maxsize=1 << 14)
def _decided(low: int, high: int) -> str:
    mask = low | high << _LOW
    return decide({name for bit, name in enumerate(_NAMES) if mask >> bit & 1})


def decide(signs: set[str]) -> str:
    """The expression of a set of signs: all licences named, joined by OR if the text offers a choice.

    A GPL without a version is GPL-1.0-or-later, as SPDX has it; a BSD of unknown kind the 3-clause one, which asks
    the most of the kinds in use.
    """
    licences = [*_gnu(signs), *_bsd(signs)]
    if "perl" in signs:
        licences.append("Artistic-1.0-Perl OR GPL-1.0-or-later")
        licences = [one for one in licences if one not in ("GPL-1.0-or-later", "Artistic-1.0")]
        signs = signs - {"Artistic-1.0"}
    if "apache" in signs and not signs & {"Apache-1.1", "Apache-2.0"}:
        signs = signs | {"Apache-2.0"}
    known = [name for name in _NAMES if name in signs and name not in _HELPERS]
    for special, general in (("Artistic-2.0", "Artistic-1.0"), ("Unlicense", _PUBLIC), ("CC0-1.0", _PUBLIC)):
        if special in known and general in known:
            known.remove(general)
    if "isc text" in signs and not {"ISC", "0BSD"} & signs:
        # The zero-clause BSD licence is the ISC licence without the duty to keep the notice.
        known.append("ISC" if "isc notice" in signs else "0BSD")
    if "ISC" in known and "HPND" in known:
        known.remove("HPND")  # an older wording of the ISC licence also speaks of the documentation
    if "Apache-2.0" in known and "LLVM-exception" in signs:
        known[known.index("Apache-2.0")] = "Apache-2.0 WITH LLVM-exception"
    # Whose only licence is the public domain says so; beside another licence it is about some part.
    licences += [name for name in known if name != _PUBLIC] or (
        [] if licences else [name for name in known if name == _PUBLIC]
    )
    joined = " OR " if "either" in signs else " AND "
    return joined.join(f"({one})" if " OR " in one and len(licences) > 1 else one for one in licences)


_PUBLIC = "LicenseRef-scancode-public-domain"
_HELPERS = {
    "apache", "LLVM-exception", "bsd text", "bsd endorse", "bsd advert", "bsd", "BSD-3-Clause",
    "BSD-2-Clause", "isc text", "isc notice", "gpl", "lgpl", "agpl", "version 2", "version 2.1",
    "version 3", "later", "Classpath-exception-2.0", "GCC-exception-3.1", "perl", "either",
}  # fmt: skip


def _gnu(signs: set[str]) -> list[str]:
    family = next((name for name in ("agpl", "lgpl", "gpl") if name in signs), "")
    if not family:
        return []
    suffix = "or-later" if "later" in signs else "only"
    if family == "agpl":
        return [f"AGPL-3.0-{suffix}"]
    versions = {"lgpl": ("2.1", "3", "2"), "gpl": ("3", "2")}[family]
    version = next((v for v in versions if f"version {v}" in signs), "")
    if not version:
        return ["LGPL-2.0-or-later" if family == "lgpl" else "GPL-1.0-or-later"]
    if family == "gpl" and {"version 2", "version 3"} <= signs:
        version = "2" if "later" in signs else "3"
    name = f"{family.upper()}-{version if '.' in version else version + '.0'}-{suffix}"
    for exception in ("Classpath-exception-2.0", "GCC-exception-3.1"):
        if exception in signs:
            return [f"{name} WITH {exception}"]
    return [name]


def _bsd(signs: set[str]) -> list[str]:
    if "bsd text" in signs:
        if "bsd advert" in signs:
            return ["BSD-4-Clause"]
        return ["BSD-3-Clause" if "bsd endorse" in signs else "BSD-2-Clause"]
    named: list[str] = [name for name in ("BSD-3-Clause", "BSD-2-Clause") if name in signs]
    return named[:1] or (["BSD-3-Clause"] if "bsd" in signs and "0BSD" not in signs else [])
