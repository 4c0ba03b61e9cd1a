"""Code that everyone writes: never a leak, though a benchmark has it. Each entry says why it is here."""

from __future__ import annotations

from typing import NamedTuple


class Trivial(NamedTuple):
    code: str
    reason: str
    language: str = "Python"


BODIES = (
    Trivial("return n**2", "one operator on the argument; HumanEval/41"),
    Trivial("return x + y", "one operator on the arguments; HumanEval/53"),
    Trivial("return len(string)", "a call passed on; HumanEval/23"),
    Trivial("return ''.join(strings)", "the idiom of joining; HumanEval/28"),
)
"""Whole solutions that no detector searches, not even with their signature (BigCode's allow-list)."""

BOILERPLATE = (
    Trivial(
        'def main():\n    pass\n\n\nif __name__ == "__main__":\n    main()\n',
        "how every script ends",
    ),
    Trivial(
        'parser = argparse.ArgumentParser(description="")\n'
        'parser.add_argument("--name", type=str, default="", help="")\n'
        'parser.add_argument("--count", type=int, required=True, help="")\n'
        "args = parser.parse_args()\nreturn args\n",
        "how every script reads its arguments",
    ),
    Trivial(
        "if not os.path.exists(directory):\n    os.makedirs(directory)\n"
        "if not os.path.isdir(directory):\n    os.makedirs(directory)\n"
        "dirname = os.path.dirname(filename)\nif dirname and not os.path.exists(dirname):\n    os.makedirs(dirname)\n",
        "making a directory that is not there; BigCodeBench/832",
    ),
    Trivial(
        "def f(path):\n    with open(path) as f:\n        data = json.load(f)\n    return data\n",
        "reading JSON",
    ),
    Trivial(
        'def f(path):\n    with open(path, "r") as f:\n        lines = f.readlines()\n    return lines\n',
        "reading lines",
    ),
    Trivial("def f(a, b):\n    return a + b\n", "one operator on the arguments"),
    Trivial("def f(a, b):\n    c = a + b\n    return c\n", "one operator on the arguments; Mbpp/972"),
    Trivial("def f(a, b):\n    a += b\n    return a\n", "one operator on the arguments; Mbpp/750"),
    Trivial("def f(values):\n    return [v[0] for v in values]\n", "the first of each; Mbpp/460"),
    Trivial("def f(x):\n    v = set(x)\n    return v\n", "one call on the argument; Mbpp/945"),
    Trivial('def f(text):\n    return text.replace(" ", "")\n', "one call on the argument; Mbpp/800"),
    Trivial('def f(text):\n    return re.sub(r"\\s+", " ", text)\n', "one call on the argument; Mbpp/451"),
    Trivial("def f(values):\n    return list(map(f, values))\n", "one call on the argument; Mbpp/569"),
    Trivial("def f(values):\n    return sum(map(f, values))\n", "one call on the argument; Mbpp/614"),
    Trivial("def f(values):\n    return sum(values) / len(values)\n", "the mean; Mbpp/959"),
    Trivial(
        "def f(values):\n    total = 0\n    for v in values:\n        total += v\n    return total\n\n\n"
        "def f(values):\n    total = 0\n    for v in values:\n        total = total + v\n    return total\n",
        "the sum; Mbpp/798",
    ),
    Trivial(
        "def f(values):\n    n = 0\n    for v in values:\n        n += 1\n    return n\n\n\n"
        "def f(values):\n    n = 0\n    for v in values:\n        n = n + 1\n    return n\n",
        "the number; Mbpp/242",
    ),
    Trivial(
        "def f(values):\n    p = 1\n    for v in values:\n        p *= v\n    return p\n",
        "the product; Mbpp/919",
    ),
    Trivial("def f(values, n):\n    return values[:n], values[n:]\n", "cutting in two; Mbpp/262"),
    Trivial(
        "return [values[i:i + n] for i in range(0, len(values), n)]\n",
        "cutting into pieces; EvoEval creative/27",
    ),
    Trivial("return [v for v in values if isinstance(v, int)]\n", "selecting by type; HumanEval/22"),
    Trivial("return [v for v in values if v.startswith(prefix)]\n", "selecting by prefix; HumanEval/29"),
    Trivial("def f(a, b):\n    return [x for x in a if x not in b]\n", "the difference; Mbpp/161"),
    Trivial("def f(values):\n    return all(v == values[0] for v in values[1:])\n", "all equal; Mbpp/741"),
    Trivial(
        "def f(values):\n    result = []\n    for v in values:\n        if v not in result:\n"
        "            result.append(v)\n    return result\n",
        "the distinct ones in order; Mbpp/932",
    ),
    Trivial(
        "result = {}\nfor k, v in pairs:\n    result.setdefault(k, []).append(v)\nreturn result\n",
        "grouping; Mbpp/174",
    ),
    Trivial(
        "def f(a, b):\n    c = a.copy()\n    c.update(b)\n    return c\n", "merging dictionaries; Mbpp/263"
    ),
    Trivial(
        "def f(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n\n\n"
        "def f(a, b):\n    while b != 0:\n        a, b = b, a % b\n    return a\n",
        "Euclid's algorithm; HumanEval/13, Mbpp/151",
    ),
    Trivial(
        "for i in range(len(a)):\n    for j in range(len(a[0])):\n        pass\n"
        "for i in range(len(a)):\n    for j in range(i + 1, len(a)):\n        pass\n"
        "for i in range(n):\n    for j in range(m):\n        pass\n",
        "nested loops over indices",
    ),
    Trivial(
        "for (int i = 0; i < n; i++) {\n    for (int j = i + 1; j < n; j++) {\n        if (a[i] == a[j]) {\n",
        "nested loops over indices",
        "C++",
    ),
    Trivial(
        "for (let i = 0; i < a.length; i++) {\n    for (let j = i + 1; j < a.length; j++) {\n"
        "        if (a[i] == a[j]) {\n",
        "nested loops over indices",
        "JavaScript",
    ),
)
"""Passages whose grams are not searched in any solution: a task that is nothing else is not searched by grams."""
