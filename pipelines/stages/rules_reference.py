"""docs/rules.md from the tables and presets: `python -m pipelines.stages.rules_reference > docs/rules.md`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.kernels.repetition import MAX_WORDS
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_table import MEASURE_TABLE, RULE_TABLE, THRESHOLDS, Threshold

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "presets"
COLUMNS = ("starcoder2", "deepseek", "opencoder", "snowcoder")

_NAMED = 6

_HEAD = """# The file rules
Written by `python -m pipelines.stages.rules_reference > docs/rules.md` from `pipelines/stages/rules_table.py` and
`conf/presets/`; a test holds it current.

A rule is either a *fact*, which needs the text or the path, or compares a kept *measurement* with a *limit*. Beyond
the limit, not at it, a document is dropped. The verdict keeps all measurements (float32) and the bitmap of all rules
hit; the first of them in the order below is the reason. Limits are per language: `limits` for all, `languages` for
what differs. A recipe takes a preset as its base and changes what it likes:
```yaml
base: presets/snowcoder.yaml
curation:
  rules:
    limits: {max_prompts: 0.02}
    languages: {Go: {drop_tests: null}}
```

## What a change re-reads
| changed in `curation.rules` | the text is read again |
|---|---|
| a limit, where its group is measured for the language already | no: verdicts come from the recorded measurements |
| a limit switched off, so that no rule needs its group in that language | yes; name the group in `measure` to keep it |
| a limit whose group was not measured for the language | yes: nothing was recorded to compare |
| `drop_no_logic` between values below 1, `drop_tests` | no |
| `measure` | yes, unless the same groups are measured as before |
| phrases, paths, marks, `xml_*`, `text_names`, `test_paths`, `tokenizer` | yes |

Groups that no rule needs in a language are not measured there: that is what makes a small preset fast. To try limits
freely, record everything once with `measure: [markup, words, repetition, lexical, dump, draw]`.
"""

_SOURCES = """## Sources
| name | what |
|---|---|
| The Stack | arXiv 2211.15533 and its tools, bigcode-dataset `preprocessing/filtering.py` |
| SantaCoder | arXiv 2301.03988: options of the same tools |
| StarCoder | arXiv 2305.06161, section 3 |
| StarCoder2 | arXiv 2402.19173, section 2.1; pull requests: section 2.3 |
| DeepSeek-Coder | arXiv 2401.14196, section 2.1 |
| OpenCoder | arXiv 2411.04905, and the thresholds in forks of its repository opc_data_filtering |
| Gopher | arXiv 2112.11446, Table A1, by the definitions of RedPajama v2 |
| go-enry | `data/generated.go`, after GitHub Linguist |
"""


def _notes() -> str:
    return f"""## How things are counted, and what is left out
- *Words* are runs of letters and digits, without regard to ASCII case: RedPajama's, on which OpenCoder's limits are
  set. `snake_case` is two words. Its word splitters for Chinese and Japanese are not used.
- *N-grams* are compared among the first {MAX_WORDS:,} words of a file, *duplicate lines* among as many lines. Lines
  are equal when their words and other characters are, whatever the white space and case; lines of one or two
  characters are never duplicates. Comments count as lines, which OpenCoder takes out first.
- *Lines of code* have something other than comment on them. A share per line of code may exceed 1.
- *Draws*: where OpenCoder drops at random (files without logic, Go tests: 80 %), we drop those whose draw is below
  the share. A draw is 24 bits of the MurmurHash3 of the content, so that a file meets the same fate wherever it is.
- *Preprocessor* lines are not counted in C headers, as in OpenCoder.
- *Generated* files are known by go-enry's rules for the formats that are languages here; it also calls JavaScript and
  CSS minified above 110 bytes a line, which `long_mean_line` says at 100 characters. `minified` is ours.
- *Stars* (SantaCoder: more than 5) cannot be a rule: a document does not carry its repository's stars. The order of
  preference among duplicates (docs/near_duplicates.md) is where they count.
- *Characters per token* (SantaCoder) needs `tokenizer`, and reads a few MB a second.
- *Volume caps* of a language (StarCoder2: Java and JavaScript 200 GB, HTML 100 GB, JSON, XML and YAML 8 GB, others
  1 GB) are about a corpus, not about a file: they are not rules.
- *Syntax* (OpenCoder: Python and JavaScript must parse) is the syntax stage's: docs/language.md.
- OpenCoder's share of long words inside string literals (0.4) is left out.
- *Hexadecimal* in StarCoder2's filter of pull requests is read as words like 0x1F.
"""


def preset(name: str) -> RulesConfig:
    """The rules of conf/presets/<name>.yaml."""
    return RulesConfig.model_validate(_recipe(name)["curation"]["rules"])


def _recipe(name: str) -> dict[str, Any]:
    return yaml.safe_load((PRESETS / f"{name}.yaml").read_text())


def reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, _rules(), _presets(), _measures(), _notes(), _SOURCES]).rstrip() + "\n"


def _rules() -> str:
    rows = [("bit", "rule", "hit when", "what it says", "proposed by")]
    for bit, rule in enumerate(RULE_TABLE):
        when = " or ".join(_condition(threshold) for threshold in rule.thresholds) or "a fact"
        rows.append((str(bit), f"`{rule.name}`", when, rule.meaning, rule.sources))
    return "## Rules, in order\n" + _table(rows)


def _condition(threshold: Threshold) -> str:
    sign = ">" if threshold.side == "max" else "<"
    drawn = f" and `draw` < `{threshold.draw}`" if threshold.draw else ""
    return f"`{threshold.measure}` {sign} `{threshold.limit}`{drawn}"


def _measures() -> str:
    rows = [("measure", "group", "what it is")]
    rows += [(f"`{measure.name}`", measure.group, measure.meaning) for measure in MEASURE_TABLE]
    return (
        "## Measurements\nShares are of all characters (code points) unless it says otherwise; `size` is the bytes in "
        "the source.\n" + _table(rows)
    )


def _presets() -> str:
    configs = {name: preset(name) for name in COLUMNS}
    rows = [("rule", "limit", *(f"`{name}`" for name in COLUMNS))]
    for threshold in THRESHOLDS:
        for limit in filter(None, (threshold.limit, threshold.draw)):
            cells = [_cell(config, limit, threshold) for config in configs.values()]
            rows.append((f"`{threshold.rule}`", f"`{limit}`", *cells))
    facts = [("fact", *(f"`{name}`" for name in COLUMNS))]
    facts.append(("`generated`", *(_generated(config) for config in configs.values())))
    facts.append(("`xml_header`", *(_xml(config) for config in configs.values())))
    facts.append(("`text_name`", *("on" if config.text_names else "–" for config in configs.values())))
    return (
        "## Presets\nThe limit for all languages, then those that differ; – is off. `starcoder2` is what the program "
        "does without a preset. A further one, `starcoder2_pull_requests`, filters the files under a pull request.\n"
        + _table(rows)
        + "\n"
        + _table(facts)
    )


def _cell(config: RulesConfig, limit: str, threshold: Threshold) -> str:
    """The value for most languages, then those that differ; a draw says nothing where its limit is off."""
    usual = config.limits if getattr(config.limits, threshold.limit) is not None else None
    usual_value = getattr(usual, limit) if usual else None
    others: dict[object, list[str]] = defaultdict(list)
    for language in sorted(config.languages):
        own = config.limits_of(language)
        value = getattr(own, limit) if getattr(own, threshold.limit) is not None else None
        if value != usual_value:
            others[value].append(language)
    parts = [_value(usual_value)] if usual_value is not None or not others else []
    parts += [f"{_names(languages)}: {_value(value)}" for value, languages in others.items()]
    return "; ".join(parts)


def _value(value: object) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _names(languages: list[str]) -> str:
    """At most _NAMED of them: the recipe has them all."""
    if len(languages) <= _NAMED + 1:
        return ", ".join(languages)
    return f"{', '.join(languages[:_NAMED])} and {len(languages) - _NAMED} more"


def _generated(config: RulesConfig) -> str:
    if not config.generated_lines and not config.generated_paths:
        return "–"
    return f"{config.generated_lines} lines, names, marks"


def _xml(config: RulesConfig) -> str:
    if not config.xml_characters:
        return "–"
    return "all but " + ", ".join(config.xml_languages) if config.xml_languages else "all"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
