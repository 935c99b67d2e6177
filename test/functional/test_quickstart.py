"""The quick start, where it cannot have its ports. (That it works is a part of test/run of its own.)"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys

import pytest

from support import pages, wait

TOOLS = ("sh", "dirname", "mktemp", "rm", "id", "cat", "python3")


@pytest.fixture
def quickstart(scratch):
    """quickstart(ports) -> the result. Nothing is installed: it sees no Debian, and no compiler."""
    for tool in TOOLS:
        (scratch / tool).symlink_to(sys.executable if tool == "python3" else shutil.which(tool))

    def run(ports):
        environment = {"PATH": str(scratch), "TMPDIR": str(scratch)}
        if ports is not None:
            environment["QUICKSTART_PORTS"] = ports
        return subprocess.run(["sh", "etc/quickstart", "--once"], cwd=pages.ROOT, env=environment,
                              text=True, capture_output=True, timeout=wait.PATIENCE, check=False)
    return run


@contextlib.contextmanager
def taken(count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
               for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_taken_port_is_told_with_the_variable_that_changes_it(quickstart, scratch, count):
    with taken(count) as ports:
        wanted = ports + [wait.free_port() for _ in range(3 - count)]
        result = quickstart(" ".join(map(str, wanted)))
    assert result.returncode == 1
    told, variable, command = result.stderr.splitlines()
    assert told == "quickstart: " + ", ".join(f"port {port} is taken" for port in ports)
    assert "QUICKSTART_PORTS" in variable
    offered = re.fullmatch(r' +QUICKSTART_PORTS="(\d+) (\d+) (\d+)" sh etc/quickstart', command)
    for port in offered.groups():
        socket.create_server(("127.0.0.1", int(port))).close()
    assert not list(scratch.glob("postern-quickstart.*")), "something was left behind"


@pytest.mark.parametrize("ports", ["2465 2587", "2465", "2465 2587 2525 25", "2465 2465 2525",
                                   "2465 smtp 2525", "2465 2587 70000", " "])
def test_ports_that_are_none_are_no_error_of_the_shell(quickstart, ports):
    result = quickstart(ports)
    assert result.returncode == 1
    assert result.stderr.startswith("quickstart: three ports are needed, and these are: "), \
        result.stderr
    assert 'QUICKSTART_PORTS="' in result.stderr and "not set" not in result.stderr


def test_free_ports_are_no_reason_to_stop(quickstart):
    """It goes on to the build, which is not to be had here."""
    ports = " ".join(str(wait.free_port()) for _ in range(3))
    result = quickstart(ports)
    assert "Building" in result.stdout and "port" not in result.stderr
