"""Programs that want to be called right without being it: they lie about values, tests and results."""

# ruff: noqa: ISC004

from __future__ import annotations

import pytest

from tests.evaluation.hostile import HONEST, court, parametrize_tiers

WRONG = "def f(x):\n    return None\n"
FORGERIES = {
    "object that equals everything": (
        "class Same:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "def f(x): return Same()",
        "unserialisable",
    ),
    "list that equals everything": (
        "class Same(list):\n    def __eq__(self, other): return True\ndef f(x): return Same([1])",
        "unserialisable",
    ),
    "int that equals everything": (
        "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def f(x): return [Same(), Same(), Same()]",
        "unserialisable",
    ),
    "str that equals everything": (
        "class Same(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
        "def f(x): return [x, x * 2.5, Same()]",
        "unserialisable",
    ),
    "class that claims to be list": (
        "class Fake:\n    __class__ = list\n    def __iter__(self): return iter([1])\ndef f(x): return Fake()",
        "unserialisable",
    ),
    "metaclass that equals and hashes like list": (
        "class Meta(type):\n    def __eq__(self, other): return True\n    def __hash__(self): return hash(list)\n"
        "class Same(metaclass=Meta):\n    def __eq__(self, other): return True\n"
        "def f(x): return Same()",
        "unserialisable",
    ),
    "pickle bomb": (
        "class Bomb:\n    def __reduce__(self): return (__import__('os').system, ('touch /tmp/MARK',))\n"
        "def f(x): return Bomb()",
        "unserialisable",
    ),
    "reads the caller's frames": (
        "import sys\n"
        "def f(x):\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        for name, value in list(frame.f_locals.items()):\n"
        "            if 'expect' in name: return value\n"
        "        frame = frame.f_back\n",
        "wrong_output",
    ),
    "searches all objects": (
        "import gc\n"
        "def f(x):\n"
        "    for item in gc.get_objects():\n"
        "        if isinstance(item, dict) and 'expected' in item: return item['expected']\n",
        "wrong_output",
    ),
    "sets the result in the frame and leaves": (
        "import sys, os\n"
        "def f(x):\n"
        "    frame = sys._getframe(1)\n"
        "    while frame:\n"
        "        frame.f_locals.update(stat=1, details=[True] * 5, passed=True); frame = frame.f_back\n"
        "    os._exit(0)\n",
        "exited_early",
    ),
    "exits before the tests": ("import sys\nsys.exit(0)", "exited_early"),
    "exits in the function": ("def f(x): raise SystemExit(0)", "exited_early"),
    "_exit before the tests": ("import os\nos._exit(0)", "exited_early"),
    "_exit in the function": ("import os\ndef f(x): os._exit(0)", "exited_early"),
    "quit": ("def f(x): quit()", ("exited_early", "error:NameError")),
    "prints passed": ("print('passed')\nprint('=[0,0.0,\"0\"]')\n" + WRONG, "wrong_output"),
    "writes outputs on the channel": (
        "import os\nos.write(3, b'=\\n' + b'=[0,0.0,\"0\"]\\n' * 5)\nos._exit(0)",
        ("wrong_output", "exited_early", "forged"),
    ),
    "floods the channel with right beginnings": (
        'import os\nos.write(3, b\'=\\n=[0,0.0,"0"]\\n=[1,2.5,"1"]\\n=[2,5.0,"2"]\\n\')\n' + WRONG,
        ("wrong_output", "forged"),
    ),
    "more outputs than inputs": (
        HONEST + "import atexit, os\nhonest = f\ndef f(x):\n    value = honest(x)\n"
        "    if x == 4: os.write(3, b'=[4,10.0,\"4\"]\\n')\n    return value\n",
        "forged",
    ),
    "noise on the channel": ("import os\nos.write(3, b'\\xff\\x00\\n')\n" + HONEST, "forged"),
    "empty lines on the channel": ("import os\nos.write(3, b'\\n\\n\\n')\n" + HONEST, "forged"),
    "a tag that runs code": (
        'import os\nos.write(3, b\'=\\n={"py/object": ["os.system", "id"]}\\n\')\nos._exit(0)',
        "forged",
    ),
    "a broken tag": ("import os\nos.write(3, b'=\\n={\"s\": [[1],[2]]}\\n')\nos._exit(0)", "forged"),
    "deep nesting on the channel": (
        "import os\nos.write(3, b'=\\n=' + b'[' * 3000 + b']' * 3000 + b'\\n')\nos._exit(0)",
        ("forged", "wrong_output"),
    ),
    "colliding keys": (
        "def f(x):\n    return {number * (2 ** 61 - 1) for number in range(2000)}",
        ("wrong_output", "forged"),
    ),
    "an exception with a long name": (
        "Bad = type('E' * 5000, (Exception,), {})\ndef f(x): raise Bad",
        "forged",
    ),
    "an exception named passed": (
        "Bad = type('passed', (Exception,), {})\ndef f(x): raise Bad",
        "error:passed",
    ),
    "an exception that cannot be printed": (
        "class Bad(Exception):\n    def __str__(self): raise Bad\n    __repr__ = __str__\ndef f(x): raise Bad",
        "error:Bad",
    ),
    "asks on every descriptor": (
        "import os\n"
        "for fd in range(3, 256):\n"
        "    try: os.write(fd, b'passed\\n')\n"
        "    except OSError: pass\n" + HONEST,
        "forged",
    ),
    "closes every descriptor": ("import os\nos.closerange(0, 256)\n" + HONEST, ("exited_early", "signalled")),
    "puts a file in place of the channel": (
        "import os\nfd = os.open('MARK', os.O_CREAT | os.O_RDWR)\nos.dup2(fd, 3)\n" + HONEST,
        "exited_early",
    ),
    "patches json": (
        "import json\njson.dumps = json.loads = json.JSONEncoder.encode = lambda *a, **k: 'true'\n" + WRONG,
        ("wrong_output", "forged"),
    ),
    "patches the serialiser": (
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.endswith('tagged'): module.encode = lambda value: 'true'; module._write = module.encode\n"
        "    if name.endswith('runner'): module.encode = lambda value: '[0,0.0,\"0\"]'\n" + WRONG,
        ("wrong_output", "error:AttributeError"),
    ),
    "patches builtins": (
        "import builtins\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.len = lambda *a: 5\nbuiltins.type = lambda *a: list\n"
        "builtins.all = builtins.any = lambda *a: True\n" + WRONG,
        ("wrong_output", "unserialisable", "error:TypeError", "exited_early", "forged"),
    ),
    "patches sys": (
        "import sys\nsys.exit = sys.excepthook = lambda *a: None\nsys.modules.clear()\nsys.stdout = sys.stderr = None\n"
        + WRONG,
        ("wrong_output", "exited_early"),
    ),
    "replaces the runner's code": (
        "import sys\nframe = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\n"
        "for name, value in list(sys.modules['evaluation.sandbox.inside.runner'].__dict__.items()):\n"
        "    if callable(value) and hasattr(value, '__code__'): value.__code__ = (lambda *a, **k: '=').__code__\n"
        + WRONG,
        ("forged", "wrong_output", "exited_early", "error:TypeError"),
    ),
    "an import hook": (
        "import sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None): raise SystemExit(0)\n"
        "sys.meta_path.insert(0, Hook())\nsys.path_hooks.clear()\n" + WRONG,
        ("wrong_output", "exited_early"),
    ),
    "a trace function": (
        "import sys, threading\n"
        "def trace(frame, event, arg):\n"
        "    for name in frame.f_locals:\n"
        "        if name == 'expected': raise SystemExit(0)\n"
        "    return trace\n"
        "sys.settrace(trace); sys.setprofile(trace); threading.settrace(trace)\n" + WRONG,
        ("wrong_output", "exited_early"),
    ),
    "atexit says passed": (
        "import atexit, os\natexit.register(lambda: os._exit(0))\n" + WRONG,
        "wrong_output",
    ),
    "redefines the test's names": (
        "def check(f): pass\ndef candidate(*a): return True\nclass Same:\n    __eq__ = lambda *a: True\n"
        + WRONG,
        "wrong_output",
    ),
    "an open string": ('def f(x): return 1\nx = """', "error:SyntaxError"),
    "null bytes": ("def f(x): return 1\n\0", ("error:SyntaxError", "error:ValueError")),
    "no function": ("g = 1", "error:NameError"),
    "a function that is data": ("f = [1, 2, 3]", "error:TypeError"),
    "a generator in place of a list": ("def f(x): yield from [x, x * 2.5, str(x)]", "unserialisable"),
    "not a number": ("def f(x): return float('nan')", "wrong_output"),
    "a list that holds itself": ("def f(x):\n    a = []; a.append(a); return a", "unserialisable"),
    "a huge integer": ("def f(x): return 7 ** 2_000_000", ("wrong_output", "cpu_limit")),
    "a surrogate": ("def f(x): return ['\\ud800', chr(0xdfff)]", "wrong_output"),
    "not UTF-8 on stdout": ("import os\nos.write(1, bytes(range(256)) * 10)\n" + WRONG, "wrong_output"),
}


@parametrize_tiers()
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_does_not_pass(name: str, tier: str) -> None:
    program, reasons = FORGERIES[name]
    with court(tier) as judge:  # type: ignore[arg-type]
        outcome = judge.judge(program)
    assert outcome.reason in ((reasons,) if isinstance(reasons, str) else reasons), outcome


@parametrize_tiers()
def test_an_honest_program_passes(tier: str) -> None:
    with court(tier) as judge:  # type: ignore[arg-type]
        assert judge.judge("print('hello')\n" + HONEST).reason == "passed"
