"""Connections to the backend from the client's own address, between network namespaces:

    client 203.0.113.9 ── 203.0.113.1 front 198.51.100.1 ── 198.51.100.25 mail server
           2001:db8:c::9 … ::1              2001:db8:b::1 …          ::25

Postern runs in the front, with the routing rules of postern.conf(5).
"""

import os
import pathlib
import re
import socket
import subprocess

import pytest

from support import client, systemd
from support import postern as posterns
from support.backend import Backend
from support.links import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CLIENT, CLIENT_6 = "203.0.113.9", "2001:db8:c::9"
FRONT, FRONT_6 = "203.0.113.1", "2001:db8:c::1"
SERVER, SERVER_6 = "198.51.100.25", "2001:db8:b::25"

#: As the manual has them; the interface is the one towards the mail server.
ELSEWHERE = ["ip rule add iif inside ipproto tcp sport {port} lookup 25",
             "ip route add local default dev lo table 25",
             "ip -6 rule add iif inside ipproto tcp sport {port} lookup 25",
             "ip -6 route add local default dev lo table 25"]
SAME_HOST = ["ip rule add from 127.0.0.1 iif lo ipproto tcp sport {port} lookup 25",
             "ip route add local default dev lo table 25",
             "ip -6 rule add from ::1 iif lo ipproto tcp sport {port} lookup 25",
             "ip -6 route add local default dev lo table 25"]


class Network:
    def __init__(self):
        self.client, self.front, self.server = Namespace(), Namespace(), Namespace()
        self.client.tie("out", [f"{CLIENT}/24", f"{CLIENT_6}/64"],
                        self.front, "outside", [f"{FRONT}/24", f"{FRONT_6}/64"])
        self.front.tie("inside", ["198.51.100.1/24", "2001:db8:b::1/64"],
                       self.server, "out", [f"{SERVER}/24", f"{SERVER_6}/64"])
        self.server.run("ip route add default via 198.51.100.1",
                        "ip -6 route add default via 2001:db8:b::1")
        self._backends = []

    def backend(self, where, host):
        with where.inside():
            made = Backend(host=host)
        self._backends.append(made)
        return made

    def route(self, rules, backend):
        port = backend.address.rpartition(":")[2]
        self.front.run(*(rule.format(port=port) for rule in rules))

    def connect(self, postern, host):
        with self.client.inside():
            made = client.Client((host, postern.implicit[1]), tls=True, source=None)
        made.greeting()
        return made

    def close(self):
        for each in self._backends:
            each.close()
        for each in (self.client, self.front, self.server):
            each.close()


@pytest.fixture
def network():
    made = Network()
    yield made
    made.close()


@pytest.fixture
def begin(start, network):
    def make(backend, command=(), **keys):
        postern = start(backend, command=[*network.front.command, *command], listen={
            "submissions": {"address": "[::]:10465", "tls": "implicit"}},
            backend={"identity": "transparent", **keys})
        postern.implicit = ("::", 10465)
        return postern
    return make


@pytest.mark.parametrize("host, source, server", [(FRONT, CLIENT, SERVER),
                                                  (FRONT_6, CLIENT_6, SERVER_6)])
def test_backend_elsewhere_sees_the_clients_own_address(network, begin, host, source, server):
    backend = network.backend(network.server, server)
    network.route(ELSEWHERE, backend)
    postern = begin(backend)
    one = network.connect(postern, host)
    one.ehlo()
    one.login("alice", "wonderland")
    one.send_message("a@b.test", ["c@d.test"], b"x" * 70 + b"\r\n")
    session = backend.session()
    assert session.peer[:2] == (source, one.port)
    assert session.messages == [b"x" * 70 + b"\r\n.\r\n"]
    one.quit()


@pytest.mark.parametrize("host, source, server", [(FRONT, CLIENT, "127.0.0.1"),
                                                  (FRONT_6, CLIENT_6, "::1")])
def test_backend_on_the_same_host_sees_the_clients_own_address(network, begin, host, source,
                                                               server):
    backend = network.backend(network.front, server)
    network.route(SAME_HOST, backend)
    postern = begin(backend)
    one = network.connect(postern, host)
    one.ehlo()
    one.login("alice", "wonderland")
    one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
    assert backend.session().peer[:2] == (source, one.port)
    one.quit()


def test_rights_of_the_drop_in_suffice(network, begin):
    """And there is no start without one of them."""
    backend = network.backend(network.server, SERVER)
    network.route(ELSEWHERE, backend)
    postern = begin(backend, systemd.rights(systemd.drop_in('identity = "transparent"')))
    one = network.connect(postern, FRONT)
    one.ehlo()
    one.login("alice", "wonderland")
    one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
    assert backend.session().peer[:2] == (CLIENT, one.port)
    one.quit()


@pytest.mark.parametrize("given", ["CAP_NET_ADMIN", "CAP_SYS_CHROOT"])
def test_right_that_is_missing_is_named_before_the_start(network, begin, given):
    (missing,) = {"CAP_NET_ADMIN", "CAP_SYS_CHROOT"} - {given}
    backend = network.backend(network.server, SERVER)
    postern = begin(backend, systemd.rights(systemd.drop_in('identity = "transparent"')))
    checked = subprocess.run(
        [*systemd.rights(f"CapabilityBoundingSet={given}"), posterns.BINARY, "-n", "-c",
         postern.configuration_path], env={**os.environ, **posterns.SANITIZERS},
        capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert f"cannot be opened as configured without {missing}" in checked.stderr


def test_port_that_is_taken_gives_way(network, begin):
    """Somebody in the front has the client's address and port already."""
    backend = network.backend(network.server, SERVER)
    network.route(ELSEWHERE, backend)
    postern = begin(backend)
    one = network.connect(postern, FRONT)
    one.ehlo()
    with network.front.inside():
        squatter = socket.socket()
    squatter.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
    squatter.bind((CLIENT, one.port))
    squatter.listen(1)
    one.login("alice", "wonderland")
    one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
    host, port = backend.session().peer[:2]
    assert host == CLIENT and port != one.port
    one.quit()
    squatter.close()


def test_client_of_another_family_is_not_let_through_as_somebody_else(network, begin):
    """Threat 6: refused, and the log says why."""
    backend = network.backend(network.server, SERVER)
    network.route(ELSEWHERE, backend)
    postern = begin(backend)
    with network.connect(postern, FRONT_6) as one:
        one.ehlo()
        one.login("alice", "wonderland", 421, 451, 454)
    assert not backend.sessions
    postern.wait_for_record(event=re.compile("session|backend"),
                            end=re.compile("no address of the client's family"))


def test_missing_route_is_a_deadline_and_no_other_address(network, begin):
    backend = network.backend(network.server, SERVER)
    postern = begin(backend)
    postern.configure(timeouts={"backend_connect": 1})
    postern.reload()
    with network.connect(postern, FRONT) as one:
        one.ehlo()
        one.login("alice", "wonderland", 421, 451, 454)
    assert not backend.sessions


@pytest.mark.parametrize("rule", sorted({*ELSEWHERE, *SAME_HOST}))
def test_rules_that_work_are_those_of_the_manual(rule):
    manual = pathlib.Path(__file__).parents[2] / "etc/postern.conf.5.in"
    assert rule.format(port=25) in manual.read_text().splitlines()


def test_probe_comes_from_the_host_itself(network, begin):
    backend = network.backend(network.server, SERVER)
    begin(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "a probe")
    assert backend.connections[0].peer[0] == "198.51.100.1"
