"""Inside the sandbox, trusted: start the tests in another process, believe only what adds up, sign the result.

`python -I -S overseer.py`, in a folder with secret.json (read and emptied before anything untrusted runs),
inside.py, candidate.py and tests.py. Last line on stdout: the secret's nonce and the outcome as JSON. The
process that runs candidate and tests cannot know the nonce: it is a fresh program, and this one cannot be
traced or read by it.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_DUMPABLE = 4  # <linux/prctl.h>; 0: no ptrace, and /proc/<pid> belongs to root
DETAIL = 2000
MESSAGES = 100_000  # lines: more is no test suite


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    with open("secret.json") as file:
        secret = json.load(file)
    os.truncate("secret.json", 0)  # it is another user's, and cannot be removed
    messages_out, messages_in = os.pipe()
    signed = os.dup(1)  # not inherited
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-B", "-X", "utf8", "inside.py", secret["entry_point"]],
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, 2, 1),
            (os.POSIX_SPAWN_DUP2, messages_in, 3),
        ],
    )
    os.close(messages_in)
    outcome = gather(messages_out, secret["expected"])
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    outcome |= {"exit_code": code, "cpu_seconds": round(cpu, 3)}
    # The kernel's clock for the limit and the accounting's differ by some ticks, more on a busy machine.
    killed = code in (-signal.SIGXCPU, -signal.SIGKILL)
    outcome["cpu_limit"] = killed and cpu >= 0.8 * secret["cpu_seconds"]
    os.write(signed, f"\n{secret['nonce']} {json.dumps(outcome)}\n".encode())


def gather(fd: int, expected: dict) -> dict:
    """Hear the tests' process out: {"seen": {test: outcome}, "detail", "ended", "fault"}.

    A fault is what an honest process never says: an unknown test, one twice, anything after the end.
    """
    seen, detail, ended, fault = {}, "", False, ""
    with open(fd, "rb") as messages:
        for number, line in enumerate(messages):
            try:
                kind, name, text = json.loads(line)
            except (ValueError, TypeError):
                fault = fault or "a message that is none"
                continue
            if ended or number > MESSAGES:
                fault = fault or "a message after the end"
            elif kind == "end":
                ended = True
            elif kind == "fault":
                fault = fault or str(name)[:200]
            elif name not in expected or name in seen:
                fault = fault or "a test that is none, or one twice"
            else:
                seen[name] = str(kind)[:40]
                if kind != expected[name] and not detail:
                    detail = f"{name}: {text}"[:DETAIL]
    return {"seen": seen, "detail": detail, "ended": ended, "fault": fault}


if __name__ == "__main__":
    main()
