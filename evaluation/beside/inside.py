"""Inside the sandbox, beside the candidate: run the unittest module on it and say how each test ended.

`python -I inside.py ENTRY_POINT` in a folder with candidate.py and tests.py; messages go to fd 3, a JSON line
each: [outcome, test, detail], and ["end", "", ""] only after the suite has run. The candidate shares this
process and could say the same: that is what the overseer's canaries are for.
"""

import functools
import json
import os
import sys
import traceback
import types
import unittest
import unittest.mock

MESSAGES = 3
MODULE = "__test__"  # the name that the benchmark's own judge uses; some tests patch it
DETAIL = 1500


def main(entry_point: str) -> None:
    channel = os.dup(MESSAGES)
    os.close(MESSAGES)
    write, dumps = os.write, json.dumps

    def tell(kind: str, name: str, text: str = "") -> None:
        write(channel, (dumps([kind, name, text[-DETAIL:]]) + "\n").encode())

    before = fingerprint()
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    module.__file__ = os.path.abspath("candidate.py")
    for name in ("candidate.py", "tests.py"):
        path = os.path.abspath(name)
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            source = file.read()
        if name == "candidate.py":
            module.__dict__.setdefault("__builtins__", __builtins__)
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        if name == "candidate.py":
            if fingerprint() != before:
                tell("fault", "unittest was changed")
            guard(module, entry_point, os.path.abspath("candidate.py"))
    tests = module.TestCases
    names = [
        name for name in sorted(dir(tests)) if name.startswith("test") and callable(getattr(tests, name))
    ]
    result = Result(tell)
    unittest.suite.TestSuite([tests(name) for name in names]).run(result)  # type: ignore[arg-type]
    if fingerprint() != before:
        tell("fault", "unittest was changed")
    tell("end", "")


class Result:
    """What `unittest` tells of each test, told on when the test is over."""

    failfast = buffer = tb_locals = False

    def __init__(self, tell) -> None:
        self._tell = tell
        self._outcome: dict[str, tuple[str, str]] = {}
        self.shouldStop = False

    def startTest(self, test) -> None:
        self._outcome.pop(test._testMethodName, None)

    def stopTest(self, test) -> None:
        kind, text = self._outcome.pop(test._testMethodName, ("none", ""))
        self._tell(kind, test._testMethodName, text)

    def _say(self, test, kind: str, text: str = "") -> None:
        name = getattr(test, "_testMethodName", None)
        if name is None:  # a class's or module's fixture failed: none of its tests runs
            self._tell("fault", f"fixture: {text[-180:]}")
        else:
            self._outcome.setdefault(name, (kind, text))

    def addSuccess(self, test) -> None:
        self._say(test, "success")

    def addFailure(self, test, error) -> None:
        self._say(test, "failure", text_of(error))

    def addError(self, test, error) -> None:
        self._say(test, "error", text_of(error))

    def addSkip(self, test, reason: str) -> None:
        self._say(test, "skipped", str(reason))

    def addExpectedFailure(self, test, error) -> None:
        self._say(test, "success")

    def addUnexpectedSuccess(self, test) -> None:
        self._say(test, "unexpected success")

    def addSubTest(self, test, subtest, error) -> None:
        if error is not None:
            self._say(test, "failure" if issubclass(error[0], AssertionError) else "error", text_of(error))

    def addDuration(self, test, elapsed: float) -> None:
        pass

    def startTestRun(self) -> None:
        pass

    def stopTestRun(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def wasSuccessful(self) -> bool:
        return True


def text_of(error) -> str:
    return "".join(traceback.format_exception(*error, limit=-3))


def fingerprint() -> list:
    """Which objects `unittest` consists of: another one in place of any is a candidate's doing."""
    found: list = []
    for module in (unittest, unittest.case, unittest.suite, unittest.mock, traceback, json):
        for name, value in sorted(vars(module).items()):
            if name.startswith("__") or name in ("warnings", "sys"):
                continue
            if isinstance(value, (types.FunctionType, type)):
                found.append((module.__name__, name, id(value)))
            if isinstance(value, type) and value.__module__ == module.__name__:
                found += [
                    (module.__name__, name, key, id(item))
                    for key, item in sorted(vars(value).items())
                    if isinstance(item, (types.FunctionType, property, classmethod, staticmethod))
                ]
    return found


def guard(module, entry_point: str, path: str) -> None:
    """Refuse results that bring their own equality: such an object passes any `assertEqual`."""
    function = module.__dict__.get(entry_point)
    if not isinstance(function, types.FunctionType):
        return

    @functools.wraps(function)
    def guarded(*args, **kwargs):
        found = function(*args, **kwargs)
        for value in parts(found):
            if own_equality(type(value), path):
                raise AssertionError(f"the result's {type(value).__name__} decides itself what it equals")
        return found

    module.__dict__[entry_point] = guarded


def parts(value, depth: int = 2):
    yield value
    if depth and type(value) in (list, tuple, set):
        for item in list(value)[:100]:
            yield from parts(item, depth - 1)
    elif depth and type(value) is dict:
        for item in list(value.values())[:100]:
            yield from parts(item, depth - 1)


def own_equality(kind: type, path: str) -> bool:
    if kind is type(unittest.mock.ANY):
        return True
    for base in kind.__mro__:
        for name in ("__eq__", "__ne__"):
            method = vars(base).get(name)
            if getattr(getattr(method, "__code__", None), "co_filename", "") == path:
                return True
    return False


if __name__ == "__main__":
    code = 1
    try:
        main(sys.argv[1])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads and handlers of the candidate have had their say
