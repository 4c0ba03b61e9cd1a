"""Table 2 of the paper (arXiv 2409.02326v1) as data: greedy pass@1 in per cent, all models below 3.1B.

HumanEval+ has 164 tasks, MBPP+ 378, EvoEval 500 in five categories, BigCodeBench 1,140 (the paper does not
say which form; Complete is the one for base models).
"""

from __future__ import annotations

COLUMNS = ("humaneval+", "mbpp+", "evoeval", "bigcodebench")
TABLE_2: dict[str, tuple[float, float, float, float]] = {
    "StableCode-3B": (26.2, 43.9, 18.6, 25.9),
    "StarCoder2-3B": (27.4, 49.2, 19.0, 21.4),
    "Granite-Code-Base-3B": (29.3, 45.8, 19.8, 20.0),
    "CodeGemma-2B v1.0": (18.3, 46.3, 15.4, 23.9),
    "CodeGemma-2B v1.1": (32.3, 48.9, 19.8, 28.0),
    "Qwen1.5-1.8B": (19.5, 28.3, 5.0, 6.3),
    "Qwen2-1.5B": (31.1, 38.4, 17.2, 16.5),
    "DeepSeek-Coder-1.3B": (28.7, 48.1, 19.2, 22.2),
    "StarCoderBase-3B": (17.7, 36.8, 11.6, 5.9),
    "SmolLM-1.7B": (15.9, 34.7, 10.0, 2.5),
    "Phi-1.5-1.3B": (31.7, 43.7, 20.6, 14.3),
    "Arctic-SnowCoder-1.3B, phase 1": (14.0, 27.8, 7.4, 10.3),
    "Arctic-SnowCoder-1.3B, phase 2": (21.3, 34.7, 12.8, 12.3),
    "Arctic-SnowCoder-1.3B": (28.0, 42.9, 18.0, 19.4),
}


def beside(benchmark: str) -> dict[str, float]:
    """Each model's published pass@1 in per cent on this benchmark; {} where the table has no such column."""
    if benchmark not in COLUMNS:
        return {}
    column = COLUMNS.index(benchmark)
    return {model: row[column] for model, row in TABLE_2.items()}
