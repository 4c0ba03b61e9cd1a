"""Programs that want everything: time, memory, processes, output, files. Each meets its limit, neighbours do not."""

# ruff: noqa: E501, ISC004

from __future__ import annotations

import pytest

from evaluation.sandbox.tiers import Tier
from tests.evaluation.hostile import HONEST, court, parametrize_tiers

EXHAUSTION = {
    "endless loop on import": ("while True: pass", ("cpu_limit",)),
    "endless loop": ("def f(x):\n    while True: pass", ("cpu_limit",)),
    "endless loop on the last input": (
        "def f(x):\n    while x == 4: pass\n    return [x, x * 2.5, str(x)]",
        ("cpu_limit",),
    ),
    "catches everything for ever": (
        "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        ("cpu_limit",),
    ),
    "ignores every signal": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass",
        ("cpu_limit",),
    ),
    "blocks every signal": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        ("cpu_limit",),
    ),
    "sleeps": ("import time\ntime.sleep(600)", ("wall_limit",)),
    "a time bomb": (
        "import time\n" + HONEST + "g = f\ndef f(x):\n    time.sleep(600 if x == 3 else 0)\n    return g(x)",
        ("wall_limit",),
    ),
    "waits for input": ("import os\nos.read(3, 1)", ("wall_limit",)),
    "waits for itself": ("import signal\nsignal.pause()", ("wall_limit",)),
    "deadlock": (
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        ("wall_limit",),
    ),
    "a catastrophic expression": (
        "import re\ndef f(x): return re.match('(a+)+$', 'a' * 40 + 'b')",
        ("cpu_limit",),
    ),
    "long arithmetic in C": (
        "def f(x): return str(3 ** 10 ** 8)",
        ("cpu_limit", "error:ValueError", "memory"),
    ),
    "a memory bomb": ("x = [0] * (1 << 28)", ("memory",)),
    "a memory bomb in the function": (
        "def f(x):\n    a = []\n    while True: a.append(bytearray(1 << 20))",
        ("memory",),
    ),
    "a memory bomb that is caught": (
        "def f(x):\n    a = []\n    while True:\n        try: a.append(bytearray(1 << 20))\n        except MemoryError: pass",
        ("cpu_limit", "memory"),
    ),
    "memory by mmap": (
        "import mmap\na = [mmap.mmap(-1, 1 << 26) for _ in range(64)]",
        ("error:OSError", "memory"),
    ),
    "a shared bomb of lists": (
        "def f(x):\n    a = []\n    for _ in range(60): a = [a, a]\n    return a",
        ("cpu_limit", "memory", "output_limit", "unserialisable"),
    ),
    "a long output": (
        "def f(x): return 'x' * (1 << 27)",
        ("output_limit", "wrong_output", "memory", "unserialisable"),
    ),
    "endless output": ("while True: print('x' * 1000)", ("output_limit",)),
    "endless errors": ("import os\nwhile True: os.write(2, b'x' * 65536)", ("output_limit",)),
    "endless lines on the channel": (
        "import os\nwhile True: os.write(3, b'=\\n' * 1000)",
        ("wrong_output", "forged"),
    ),
    "an endless line on the channel": (
        "import os\nwhile True: os.write(3, b'=' + b'1' * 65536)",
        ("forged", "output_limit", "wrong_output", "cpu_limit"),
    ),
    "fills its folder": (
        "n = 0\nwhile True:\n    n += 1\n    open(f'file{n}', 'wb').write(bytes(8 << 20))",
        ("error:OSError", "memory", "cpu_limit", "wall_limit"),
    ),
    "one large file": ("open('big', 'wb').write(bytes(20 << 20))", ("error:OSError",)),
    "many descriptors": ("a = [open('/dev/null') for _ in range(1000)]", ("error:OSError",)),
    "recursion": ("def f(x): return f(x)", ("error:RecursionError",)),
    "recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef g(a): return [g(a) for _ in [1]]\ndef f(x): return sorted([1, 2], key=f)",
        ("signalled", "memory", "error:RecursionError", "cpu_limit", "error:MemoryError"),
    ),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", ("signalled",)),
    "aborts": ("import os\nos.abort()", ("signalled",)),
    "kills itself": ("import os\ndef f(x): os.kill(os.getpid(), 9)", ("signalled",)),
    "stops itself": ("import os\ndef f(x): os.kill(os.getpid(), 19)", ("wall_limit",)),
    "many threads": (
        "import threading, time\n"
        "a = [threading.Thread(target=time.sleep, args=(60,), daemon=True) for _ in range(5000)]\n"
        "[t.start() for t in a]",
        ("error:RuntimeError", "memory"),
    ),
    "a source of many brackets": (
        "x = " + "(" * 5000 + ")" * 5000,
        ("error:SyntaxError", "memory", "error:MemoryError", "signalled"),
    ),
    "a source of many operators": (
        "x = " + "-" * 100_000 + "1",
        ("error:RecursionError", "memory", "error:SyntaxError", "signalled"),
    ),
}
# Processes are refused to candidates in the tier landlock.
PROCESSES = {
    "a fork bomb": (
        "import os\nwhile True: os.fork()",
        ("error:BlockingIOError", "error:OSError", "wall_limit", "cpu_limit", "memory"),
    ),
    "a fork bomb that tries again": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        ("wall_limit", "cpu_limit", "memory", "signalled"),
    ),
    "memory by many children": (
        "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        a = b'x' * (100 << 20); time.sleep(60); os._exit(0)\n"
        "time.sleep(60)",
        ("memory",),
    ),
}


@parametrize_tiers("namespaces", "landlock")
@pytest.mark.parametrize("name", EXHAUSTION)
def test_the_limit_is_met(name: str, tier: Tier) -> None:
    program, reasons = EXHAUSTION[name]
    with court(tier) as judge:
        outcome = judge.judge(program, wall_seconds=1 if reasons == ("wall_limit",) else 60)
    assert outcome.reason in reasons, outcome


@parametrize_tiers("bubblewrap", "namespaces")
@pytest.mark.parametrize("name", PROCESSES)
def test_processes_meet_their_limit(name: str, tier: Tier) -> None:
    program, reasons = PROCESSES[name]
    with court(tier) as judge:
        outcome = judge.judge(program, wall_seconds=10)
    assert outcome.reason in reasons, outcome


HARMLESS = {
    "deletes its folder": "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\n",
    "leaves its folder": "import os\nos.chdir('/')\n",
    "threads that go on": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n",
    "an exit handler that never ends": "import atexit, time\natexit.register(time.sleep, 60)\n",
    "binds itself to one core": "import os\nos.sched_setaffinity(0, {0})\n",
    "asks for all cores": "import os\nos.sched_setaffinity(0, range(os.cpu_count()))\n",
    "turns the collector off": "import gc\ngc.disable()\n",
    "writes into its folder": "open('here', 'w').write('x')\n",
    "a lot of output": "print('x' * 50_000)\n",
}


@parametrize_tiers("namespaces", "landlock")
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_strange_still_passes(name: str, tier: Tier) -> None:
    with court(tier) as judge:
        assert judge.judge(HARMLESS[name] + HONEST).reason == "passed"
