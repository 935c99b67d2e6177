"""Looking at and ending processes through /proc, without any tool."""

import os
import signal

from support import wait


def stat(pid):
    """(parent, state) of a process, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[1]), fields[0]


def ticks(pid):
    """Processor time that a process has used, in the kernel's ticks."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def alive(pid):
    """Zombies do not count."""
    now = stat(pid)
    return now is not None and now[1] not in "ZX"


def _children(pid, states):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            now = stat(int(entry))
            if now and now[0] == pid and states(now[1]):
                found.append(int(entry))
    return sorted(found)


def freeze(pid):
    """As a debugger, a full swap or a stalled file system does it; returns when it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait.until(lambda: stat(pid)[1] == "T", f"the stop of process {pid}")


def children(pid):
    """Pids of the living children, oldest first."""
    return _children(pid, lambda state: state not in "ZX")


def zombies(pid):
    """Pids of those that it has not waited for."""
    return _children(pid, lambda state: state == "Z")


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def title(pid):
    """What ps shows: the arguments, as the process has set them."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status(pid, key):
    """A line of /proc/PID/status: status(81, "NoNewPrivs") -> "1"."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == key:
                return value.strip()
    raise KeyError(key)


def descriptors(pid):
    """{number: what it is}: "socket:[123]", "/dev/null" …"""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
    return found


def resident_bytes(pid):
    return int(status(pid, "VmRSS").split()[0]) * 1024


def memory(pid):
    """All that a process could write to and has touched, in blocks; needs root."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as contents:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) // page for part in span.split("-"))
            # The sanitizers reserve terabytes that nobody has touched.
            if not rights.startswith("rw") or end - start > 1 << 20:
                continue
            for first, last in _touched(pagemap, start, end):
                contents.seek(first * page)
                yield contents.read((last - first) * page)


def _touched(pagemap, start, end):
    """Runs of pages that exist: bit 63 (present) or 62 (swapped) of each entry is set."""
    pagemap.seek(start * 8)
    flags = pagemap.read((end - start) * 8)[7::8]
    first = None
    for number, flag in enumerate(flags):
        if flag & 0xc0:
            first = number if first is None else first
        elif first is not None:
            yield start + first, start + number
            first = None
    if first is not None:
        yield start + first, start + len(flags)


def end(process, signal_number=signal.SIGTERM, timeout=wait.PATIENCE):
    """Ends a subprocess.Popen, at the worst with SIGKILL; returns its status."""
    if process.poll() is None:
        process.send_signal(signal_number)
    try:
        return process.wait(timeout)
    except Exception:
        process.kill()
        process.wait()
        raise
