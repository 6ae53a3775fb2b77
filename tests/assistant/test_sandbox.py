"""The sandbox's limits, proved by programs that try to break them.

Each attack runs as whoever runs the tests and, where that is root, once more as an ordinary user:
the sandbox is made in another way for each.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pocketlm.assistant import sandbox, seccomp
from pocketlm.assistant.sandbox import Limits, run_python
from pocketlm.errors import SandboxError, UnsupportedError

SOURCES = Path(__file__).parents[2] / "src"
SYSTEM_PYTHON = "/usr/bin/python3"
#: Does what an attack calls `tries`, and says whether it was refused.
PRELUDE = """\
import ctypes, os, platform, resource, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def tries(what):
    try:
        found = what()
    except (OSError, ValueError, MemoryError, RuntimeError) as error:
        print("refused", type(error).__name__)
    else:
        print("BROKEN", repr(found)[:200])
def call(*numbers):
    number = numbers[0] if platform.machine() == "x86_64" else numbers[1]
    if libc.syscall(number, *numbers[2:]) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""


@pytest.fixture(scope="module", autouse=True)
def available():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


class Ordinary:
    """Runs code in a sandbox that an ordinary user makes, in another process."""

    def __call__(self, code, limits=Limits(), **_):  # noqa: B008
        asked = json.dumps([code, vars(limits)])
        source = (
            "import json, sys; from pocketlm.assistant.sandbox import *;"
            "code, limits = json.loads(sys.stdin.read());"
            "print(json.dumps(vars(run_python(code, Limits(**limits)))))"
        )
        result = subprocess.run(
            [SYSTEM_PYTHON, "-c", source],
            input=asked,
            env={"PYTHONPATH": str(SOURCES), "POCKETLM_SECRET": "hidden", "PATH": "/usr/bin"},
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return sandbox.Outcome(**json.loads(result.stdout))


def _ordinary() -> Ordinary:
    if os.geteuid() != 0:
        pytest.skip("the tests are an ordinary user's already")
    run = Ordinary()
    try:
        run("pass")
    except (AssertionError, OSError) as error:
        pytest.skip(f"no other user can make a sandbox: {str(error)[-200:]}")
    return run


@pytest.fixture(scope="module", params=["this user", "an ordinary user"])
def run(request):
    return run_python if request.param == "this user" else _ordinary()


ATTACKS = {
    "connect to this machine": "tries(lambda: socket.create_connection(('127.0.0.1', PORT), 2))",
    "connect to the internet": "tries(lambda: socket.create_connection(('1.1.1.1', 53), 2))",
    "send a datagram": "tries(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    ".sendto(b'x', ('1.1.1.1', 53)))",
    "ask a name server": "tries(lambda: socket.getaddrinfo('example.org', 80))",
    "an abstract socket of the machine": "tries(lambda: socket.socket(socket.AF_UNIX)"
    ".connect('\\0' + NAME))",
    "read passwords": "tries(lambda: open('/etc/shadow').read())",
    "read users": "tries(lambda: open('/etc/passwd').read())",
    "read a file by its path": "tries(lambda: open(SECRET).read())",
    "read the home": "tries(lambda: [open(os.path.join(p, f)).read() for p in ('/root', '/home')"
    " for f in os.listdir(p) if os.path.isfile(os.path.join(p, f))][0:1] or (_ for _ in ())"
    ".throw(OSError('nothing')))",
    "read by the first process's root": "tries(lambda: os.listdir('/proc/1/root/work'))",
    "read the kernel's log": "tries(lambda: open('/dev/kmsg').read(1))",
    "read memory": "tries(lambda: open('/dev/mem', 'rb').read(1))",
    "read a disk": "tries(lambda: [open('/dev/' + d, 'rb') for d in ('sda', 'vda', 'nvme0n1')])",
    "open the terminal": "tries(lambda: open('/dev/tty', 'w'))",
    "look at devices": "tries(lambda: os.listdir('/sys'))",
    "write the program": "tries(lambda: open('/main.py', 'a'))",
    "write at the root": "tries(lambda: open('/x', 'w'))",
    "write the system": "tries(lambda: open('/usr/x', 'w'))",
    "write configuration": "tries(lambda: open('/etc/x', 'w'))",
    "write devices": "tries(lambda: open('/dev/x', 'w'))",
    "write shared memory": "tries(lambda: open('/dev/shm/x', 'w'))",
    "write kernel settings": "tries(lambda: open('/proc/sys/kernel/hostname', 'w').write('x'))",
    "press a magic key": "tries(lambda: open('/proc/sysrq-trigger', 'w').write('h'))",
    "make a device": "tries(lambda: os.mknod('/tmp/d', 0o020666, os.makedev(1, 1)))",
    "remount": "tries(lambda: call(165, 40, b'none', b'/', 0, 32, 0))",
    "mount": "tries(lambda: call(165, 40, b'tmpfs', b'/tmp', b'tmpfs', 0, 0))",
    "unmount": "tries(lambda: call(166, 39, b'/tmp', 0))",
    "change the root": "tries(lambda: os.chroot('/tmp'))",
    "a new user namespace": "tries(lambda: call(272, 97, 0x10000000))",
    "a new namespace by clone": "tries(lambda: call(56, 220, 0x10000000 | 17, 0, 0, 0, 0))",
    "a new namespace by clone3": "tries(lambda: call(435, 435, bytes(88), 88))",
    "enter a namespace": "tries(lambda: call(308, 268, os.open('/proc/1/ns/net', os.O_RDONLY), 0))",
    "a sandbox of its own": "tries(lambda: (lambda c: c and (_ for _ in ()).throw(OSError(c)))"
    "(os.spawnlp(os.P_WAIT, 'bwrap', 'bwrap', '--ro-bind', '/', '/', 'true')))",
    "trace a process": "tries(lambda: call(101, 117, 16, 1, 0, 0))",
    "be traced": "tries(lambda: call(101, 117, 0, 0, 0, 0))",
    "read a process": "tries(lambda: call(310, 270, 1, 0, 0, 0, 0, 0))",
    "load a program into the kernel": "tries(lambda: call(321, 280, 0, 0, 0))",
    "io_uring": "tries(lambda: call(425, 425, 8, 0))",
    "kernel keys": "tries(lambda: call(250, 219, 0, -3, 0))",
    "counters": "tries(lambda: call(298, 241, 0, 0, -1, -1, 0))",
    "shared segments": "tries(lambda: call(29, 194, 0, 1 << 20, 0o1600))",
    "hidden files": "tries(lambda: os.memfd_create('x'))",
    "become root": "tries(lambda: os.setresuid(0, 0, 0))",
    "become root by su": "tries(lambda: (lambda c: c and (_ for _ in ()).throw(OSError(c)))"
    "(os.spawnlp(os.P_WAIT, 'su', 'su', '-c', 'true')))",
    "have groups": "tries(lambda: os.setgroups([0]))",
    "the clock": "tries(lambda: time.clock_settime(time.CLOCK_REALTIME, 0))",
    "more memory": "tries(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)))",
    "more processes": "tries(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (99, 99)))",
    "a higher priority": "tries(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))",
}
#: Each of these has a run of its own.
BOMBS = {
    "700 MB": "tries(lambda: bytearray(700 << 20))",
    "700 MB mapped": "import mmap\ntries(lambda: mmap.mmap(-1, 700 << 20))",
    "a file of 20 MB": "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "tries(lambda: [open('/tmp/big', 'ab').write(bytes(1 << 20)) for _ in range(20)])",
    "100 MB in files": "tries(lambda: [open(f'/tmp/{n}', 'wb').write(bytes(10 << 20))"
    " for n in range(10)])",
    "100 open files": "tries(lambda: [os.open('/dev/null', 0) for _ in range(100)])",
    "50 processes": "tries(lambda: [os.fork() or time.sleep(20) for _ in range(50)])",
    "50 threads": "tries(lambda: [threading.Thread(target=time.sleep, args=(20,), daemon=True)"
    ".start() for _ in range(50)])",
}


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """A server, an abstract socket and a file that an attack may look for."""
    secret = tmp_path_factory.mktemp("home") / "secret"
    secret.write_text("hidden")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"pocketlm-test-{os.getpid()}"
        local.bind("\0" + name)
        local.listen()
        yield f"PORT, NAME, SECRET = {server.getsockname()[1]}, {name!r}, {str(secret)!r}\n"


@pytest.fixture(scope="module")
def outcomes(run, surroundings):
    """What came of each attack, all tried in one run, each by a process of its own."""
    code = f"""{PRELUDE}{surroundings}
for name, attack in {ATTACKS!r}.items():
    print("@@", name, flush=True)
    child = os.fork()
    if child == 0:
        try:
            exec(attack)
        finally:
            sys.stdout.flush()
            os._exit(0)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""
    outcome = run(code, Limits(seconds=30))
    assert outcome.code == 0, outcome
    parts = outcome.output.split("@@ ")[1:]
    return {name: said for name, _, said in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(outcomes, name):
    assert "BROKEN" not in outcomes[name]
    refused, ended = outcomes[name].startswith("refused"), outcomes[name].endswith("ended 0\n")
    assert refused if ended else not refused  # some are refused by ending the process


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_small(run, name):
    outcome = run(PRELUDE + BOMBS[name], Limits(seconds=5))
    assert outcome.output.startswith("refused"), outcome


@pytest.mark.parametrize(
    "name",
    ["connect to this machine", "an abstract socket of the machine", "read a file by its path"],
)
def test_outside_of_the_sandbox_it_would_succeed(surroundings, name):
    code = PRELUDE + surroundings + ATTACKS[name]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert found.startswith("BROKEN")


def test_what_a_program_finds(run):
    code = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "root": sorted(os.listdir("/")), "environment": sorted(os.environ),
    "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "capabilities": [int(status[c], 16) for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "filter": int(status["Seccomp"]), "locked": int(status["NoNewPrivs"]),
    "descriptors": len([f for f in range(1000) if os.path.exists(f"/proc/self/fd/{f}")]),
    "user": os.getuid(), "terminal": os.isatty(0), "folder": os.getcwd(),
    "here": os.listdir("."), "hosts": os.uname().nodename,
}))
"""
    found = json.loads(run(code).output)
    allowed = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "main.py"}
    assert set(found["root"]) <= allowed | {"root", "home", "sbin", "tmp", "usr"}
    assert "SDL_VIDEODRIVER" in found["environment"]
    assert not [n for n in found["environment"] if "POCKETLM" in n or "KEY" in n]
    assert len(found["processes"]) <= 3
    assert found["capabilities"] == [0, 0, 0, 0]
    assert (found["filter"], found["locked"]) == (2, 1)
    assert found["descriptors"] <= 4  # the three, and the folder that is being listed
    assert found["user"] != 0
    assert (found["terminal"], found["folder"], found["here"]) == (False, "/tmp", [])
    assert found["hosts"] == "sandbox"


def test_no_process_tells_the_environment(run, monkeypatch):
    monkeypatch.setenv("POCKETLM_SECRET", "hidden")
    code = """
import glob
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    try:
        print(path, open(path).read())
    except OSError as error:
        print(path, error)
"""
    said = run(code).output
    assert "/proc/1/environ" in said
    assert "hidden" not in said
    assert "POCKETLM" not in said


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import signal, time\nfor n in range(1, 65):\n try: signal.signal(n, signal.SIG_IGN)\n"
        " except Exception: pass\ntime.sleep(60)",
        "import os\nfor _ in range(2): os.fork()\nwhile True: pass",
        "import os\nos.close(1); os.close(2)\nwhile True: pass",
        "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
        "import sys\nsys.stdin.read(); import time; time.sleep(60)",
        "10 ** 10 ** 9",
    ],
    ids=["spins", "sleeps", "ignores signals", "spins often", "is silent", "forks", "reads", "C"],
)
def test_time_ends(run, code):
    start = time.monotonic()
    outcome = run(code, Limits(seconds=0.3))
    assert (outcome.code, outcome.stopped) == (None, "time")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "code",
    [
        "while True: print('x' * 99)",
        "import sys\nwhile True: sys.stdout.write('x' * 99999)",
        "import sys\nwhile True: sys.stderr.write('x')",
        "import sys\nwhile True: sys.stdout.buffer.write(b'\\xff\\x00\\x1b')",
        "import os\nos.fork()\nwhile True: os.write(1, b'y' * 99)",
    ],
)
def test_output_ends(run, code):
    outcome = run(code, Limits(seconds=10, output=5000))
    assert outcome.stopped == "output"
    assert len(outcome.output) + len(outcome.errors) <= 5000


def _processes(mark: str) -> list[str]:
    """Processes with a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "cmdline").read_text():
                found.append(folder.name)
    return found


def test_nothing_outlives_a_program(run):
    mark = f"left-behind-{os.getpid()}-{time.monotonic_ns()}"
    code = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3): os.close(descriptor)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(99)", {mark!r}])
    os._exit(0)
print("done")
"""
    outcome = run(code)
    assert (outcome.code, outcome.output) == (0, "done\n")
    end = time.monotonic() + 2  # the kernel is ending them
    while (left := _processes(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    assert left == []


@pytest.mark.parametrize("target", ["-1", "1", "os.getppid()", "OURS"])
def test_signals_reach_nobody_else(run, target):
    target = target.replace("OURS", str(os.getpid()))
    """The one process that may be hit is the sandbox's own."""
    code = f"""
import os, signal
try: os.kill({target}, signal.SIGKILL)
except OSError as error: print(error)
try: os.killpg(0, signal.SIGTERM)
except OSError as error: print(error)
"""
    run(code, Limits(seconds=2))
    # Whoever reads this is alive.
    assert run("print('alive')").output == "alive\n"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 calls are x86-64's alone")
def test_calls_by_other_numbers_end_the_program(run):
    code = PRELUDE + "print('before')\nlibc.syscall(0x40000000 | 39)\nprint('BROKEN')"
    outcome = run(code)
    assert outcome.output == "before\n"
    assert outcome.code == -31  # SIGSYS


def test_a_program_computes_reads_and_writes(run):
    code = """
import math, json, random, threading, pathlib, subprocess, sys, pty, curses
pathlib.Path("/tmp/a").write_text("hello")
thread = threading.Thread(target=lambda: print(pathlib.Path("a").read_text()))
thread.start(); thread.join()
print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout)
master, slave = pty.openpty()
print("é", file=sys.stderr)
sys.exit(3)
"""
    outcome = run(code)
    assert (outcome.code, outcome.output, outcome.errors) == (3, "hello\n42\n\n", "é\n")


def test_input_and_files():
    code = "print(input(), open('/data.txt').read())\nopen('/data.txt', 'w')"
    outcome = run_python(code, stdin="said\n", files={"data.txt": "given"})
    assert outcome.output == "said given\n"
    assert "Read-only" in outcome.errors or "Permission" in outcome.errors


def test_two_runs_share_nothing():
    assert run_python("open('/tmp/a', 'w').write('x')").code == 0
    assert run_python("import os; print(os.listdir('/tmp'))").output == "[]\n"


def test_no_sandbox_no_run(monkeypatch):
    sandbox._obstacle.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda *_, **__: None)
    try:
        with pytest.raises(SandboxError, match="apt install bubblewrap"):
            run_python("print(1)")
    finally:
        sandbox._obstacle.cache_clear()


def test_a_sandbox_that_fails_is_no_sandbox(monkeypatch, tmp_path):
    """As where user namespaces are off: bubblewrap is there, and refuses."""
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    sandbox._obstacle.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda *_, **__: str(broken))
    try:
        with pytest.raises(SandboxError, match="No permissions"):
            run_python("print(1)")
    finally:
        sandbox._obstacle.cache_clear()


def test_a_machine_whose_calls_are_unknown_is_refused():
    assert len(seccomp.program("x86_64")) % 8 == 0
    assert seccomp.program("aarch64") != seccomp.program("x86_64")
    with pytest.raises(UnsupportedError, match="riscv64"):
        seccomp.program("riscv64")


def test_this_interpreter_runs_it():
    found = run_python("import sys; print(sys.version)").output.strip()
    assert found == sys.version.replace("\n", "\n").strip()
