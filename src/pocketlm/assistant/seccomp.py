"""A filter of system calls, as the program that Linux runs before each of them (seccomp, BPF).

Knows what a program that only computes never needs, and what would let it hold memory that no
limit counts, look into other processes, or reach rarely walked parts of the kernel. Such a call
fails with "operation not permitted". Knows nothing of who runs under it.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence

from pocketlm.errors import UnsupportedError

#: System calls by name, with their numbers on x86-64 and on ARM64 (None: it has no such call).
_DENIED: Mapping[str, tuple[int | None, int | None]] = {
    # Memory that outlives a process or lies outside its address space.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # Other processes.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440),
    # Other namespaces, mounts, roots.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "fsopen": (430, 430),
    "move_mount": (429, 429), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # The kernel itself.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "vhangup": (153, 58), "personality": (135, 92),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    # clone3's arguments lie in memory, which a filter cannot read; C libraries then use clone.
    "clone3": (435, 435),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ENOSYS, _EPERM = 0x7FFF0000, 0x80000000, 0x00050026, 0x00050001
#: Where the kernel puts the number, the architecture and the first argument.
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16
#: Bit 30 marks the numbers of the x32 calls, the same ones by other names.
_X32 = 0x40000000
#: CLONE_NEWNS, _CGROUP, _UTS, _IPC, _USER, _PID, _NET, _TIME.
_NEW_NAMESPACES = 0x7E020080


def program(machine: str | None = None) -> bytes:
    """The filter for a machine (this one), as an array of `struct sock_filter`.

    Raises UnsupportedError for a machine whose system calls are not known here.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        known = " and ".join(_ARCHITECTURES)
        raise UnsupportedError(f"the sandbox knows {known}, and this machine is {machine}")
    column, architecture, clone = _ARCHITECTURES[machine]
    numbers = {name: each[column] for name, each in _DENIED.items()}
    lines: list[Sequence[int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_ABOVE, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in numbers.items():
        if number is not None:
            lines.append((_JUMP_EQUAL, 0, 1, number))
            lines.append((_RETURN, 0, 0, _ENOSYS if name == "clone3" else _EPERM))
    lines += [
        (_JUMP_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST),
        (_JUMP_SET, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
