"""The trusted half of a sandboxed run: fork the candidate, outlive it, and sweep away all it started.

Started by `process.py` as a plain file, `python -I supervisor.py REPORT_FD`; needs Linux. The request is one
JSON line on stdin, and stdin stays open as the lifeline: when its other end closes, on purpose or because
the evaluation died, the candidate is killed. The report is one JSON line on REPORT_FD.

The candidate's sources run one after the other in one namespace, each compiled alone, so that an unclosed
string in one cannot swallow the next. Only after the last has ended is a random token taken out of one pipe
and put into another: a program that stops early (`sys.exit(0)`, `os._exit(0)`) has nothing to show.
"""

import contextlib
import json
import os
import resource
import secrets
import select
import signal
import sys
import time
import types

LIFELINE = 0
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
SWEEP_SECONDS = 5.0


def read_request() -> dict:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(LIFELINE, 1 << 16)
        if not chunk:
            sys.exit("the request on stdin is cut off")
        line += chunk
    return json.loads(line)


def run_candidate(request: dict, token_fd: int, receipt_fd: int) -> None:
    """In the forked child; never returns into the supervisor's code."""
    for name, value in request["limits"].items():
        kind = getattr(resource, name)
        _, ceiling = resource.getrlimit(kind)
        value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(kind, (value, value))
    sources = request["sources"]
    programs = [compile(source, f"part{i}.py", "exec", dont_inherit=True) for i, source in enumerate(sources)]
    # Not "__main__", so that a demonstration below `if __name__ == "__main__"` does not run; but a real
    # module, since dataclasses and pickle look theirs up in sys.modules.
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    for program in programs:
        exec(program, module.__dict__)
    os.write(receipt_fd, os.read(token_fd, 64))


def child(request: dict, token_fd: int, receipt_fd: int) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
        run_candidate(request, token_fd, receipt_fd)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            # Without atexit handlers and without waiting for threads: the program has had its say.
            os._exit(code & 0xFF)


def become_subreaper() -> None:
    """Orphans of the candidate become our children, also those in sessions of their own."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def sweep(isolated: bool) -> None:
    """Kill and reap every descendant that is left."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        if isolated:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everything in our process namespace but ourselves
        else:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                for pid in file.read().split():
                    os.kill(int(pid), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def main() -> None:
    report_fd = int(sys.argv[1])
    request = read_request()
    isolated = os.getpid() == 1
    if not isolated:
        become_subreaper()
    token = secrets.token_bytes(16)
    token_out, token_in = os.pipe()
    receipt_out, receipt_in = os.pipe()
    os.write(token_in, token)
    os.close(token_in)
    pid = os.fork()
    if pid == 0:
        os.close(report_fd)
        os.close(receipt_out)
        child(request, token_out, receipt_in)
    os.close(receipt_in)
    ended = os.pidfd_open(pid)
    ready, _, _ = select.select([ended, LIFELINE], [], [])
    if ended not in ready:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    sweep(isolated)
    os.set_blocking(receipt_out, False)
    try:
        completed = os.read(receipt_out, len(token) + 1) == token
    except BlockingIOError:
        completed = False
    report = {
        "completed": completed,
        "exit_code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 4),
    }
    os.write(report_fd, json.dumps(report).encode() + b"\n")
    os._exit(0)


main()
