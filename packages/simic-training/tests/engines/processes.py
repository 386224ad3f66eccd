"""Looking at other processes, and waiting for what they will do."""

import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

PATIENCE = float(os.environ.get("TAMIYO_TEST_PATIENCE", "600"))
"""Seconds after which a test gives up waiting for something. No test needs them; a slow machine may need more."""


def wait_until(what: str, true: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for something that other threads or processes will do.

    Args:
        what: in words, for who reads that it did not come.
        true: whether it has come.
        process: who will do it; it must not end before.
    """
    last = time.monotonic() + PATIENCE
    while not true():
        ended = process is not None and process.poll() is not None
        assert not ended or true(), f"the process ended before {what}: {process and process.communicate()}"
        assert time.monotonic() < last, f"waited {PATIENCE:.0f} seconds in vain until {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> set[int]:
    """All processes under this one; threads start some of them."""
    found: set[int] = set()
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= {int(child), *descendants(int(child))}
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        pass
    return found


def command_line(pid: int) -> str:
    """The words that started a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def listening(pid: int) -> Iterator[tuple[IPv4Address | IPv6Address, int]]:
    """Addresses and ports of the sockets of a process that anybody could connect to or send to."""
    mine = open_sockets(pid)
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, its_state, *_ = words = row.split()
            if its_state == state and words[9] in mine:
                yield _address(local)


def socket_files(pid: int) -> Iterator[Path]:
    """The paths of the sockets in the file system that a process has open."""
    mine = open_sockets(pid)
    for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = row.split(maxsplit=7)
        if len(words) == 8 and words[7].startswith("/") and words[6] in mine:
            yield Path(words[7])


def open_sockets(pid: int) -> set[str]:
    """The kernel's numbers of the sockets of a process."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has just been closed
                kind, _, number = str(entry.readlink()).partition(":")
                if kind == "socket":
                    found.add(number.strip("[]"))
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        pass
    return found


def _address(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """From the kernel's form: words of 32 bits in the byte order of the machine, and a port."""
    host, _, port = text.partition(":")
    words = struct.pack(f"={len(host) // 8}I", *(int(host[at : at + 8], 16) for at in range(0, len(host), 8)))
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    address = ip_address(socket.inet_ntop(family, words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, int(port, 16)
