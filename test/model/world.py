"""The Posterns under test: every role, every identity and TLS on both sides, a listener for each.

Two run at once, one for each setting of bare_newline. Each listener has a backend port of its own,
so that the model's backend knows how it is spoken to.
"""

import dataclasses
import os
import pathlib
import socket

from support import certificates as certificates_module
from support import control, pam as pam_module, postern as posterns, wait

#: Seconds until Postern gives up a backend that does not answer.
BACKEND_REPLY_S = 20
#: A program that is a mail server: it hands its session on to the backend's port.
BRIDGE = "/usr/bin/busybox nc"
OUR_DOMAINS = ["example.org"]


@dataclasses.dataclass
class Door:
    """A listener with its backend; `port` and `backend_port` are chosen when it is built."""

    name: str
    role: str = "submission"
    tls: str = "implicit"          # of the client's side: "implicit", "starttls"
    identity: str = "xclient"
    backend_tls: str = "off"
    trace: bool = False
    withhold: tuple = ()
    share: float = 1.0             # of the sessions
    transport: str = "tcp"         # or "unix", "program"
    bare: str = "normalize"
    port: int = 0
    backend_port: int = 0
    listener: socket.socket | None = None
    path: str = ""


def _doors(bare):
    if bare == "reject":
        return [Door("reject-xclient", share=0.7),
                Door("reject-trace", identity="trace", trace=True),
                Door("reject-mx", "mx", "starttls", "trace", trace=True, share=0.7)]
    as_root = [
        Door("program", identity="program", transport="program", share=0.1),
        Door("transparent", identity="transparent", share=0.3),
    ] if os.geteuid() == 0 else []
    return as_root + [
        Door("xclient"),
        Door("auth-param", tls="starttls", identity="auth-param"),
        Door("trace", identity="trace", trace=True, share=1.5),
        Door("trace-tls", identity="trace", trace=True, backend_tls="implicit"),
        Door("proxy-v1", tls="starttls", identity="proxy-v1", trace=True, share=0.5),
        Door("proxy-v2", identity="proxy-v2", backend_tls="starttls"),
        Door("none", identity="none", withhold=("DSN", "8BITMIME", "SIZE"), share=0.5),
        Door("withheld", identity="auth-param", trace=True, withhold=("CHUNKING", "PIPELINING"),
             share=0.3),
        Door("unix", transport="unix", share=0.5),
        Door("mx-xclient", "mx", "starttls"),
        Door("mx-trace", "mx", "starttls", "trace", trace=True, share=1.5),
        Door("mx-proxy-v2", "mx", "starttls", "proxy-v2", backend_tls="starttls", share=0.7),
        Door("mx-none", "mx", "implicit", "none", backend_tls="implicit", share=0.5),
    ]


class House:
    """One Postern with its doors; the listening sockets of the backends are open."""

    def __init__(self, directory, certificates, pam, bare):
        self.bare = bare
        self.doors = _doors(bare)
        directory.mkdir()
        directory.chmod(0o755)
        for door in self.doors:
            door.bare = bare
            door.port = wait.free_port()
            self._listen(door, directory)
        self.postern = posterns.Postern(
            directory / "postern", certificates, pam, "", bare_newline=bare,
            auth={"pam_service": "permit", "workers": 4},
            timeouts={"backend_reply": BACKEND_REPLY_S, "idle": 60, "drain": 10},
            listen={door.name: self._listen_section(door) for door in self.doors},
            backend={door.name: self._backend_section(door, certificates) for door in self.doors})
        self.reactors = self.postern.pids("reactor")

    def _listen(self, door, directory):
        if door.transport == "unix":
            door.path = str(directory / "backend")
            door.listener = socket.socket(socket.AF_UNIX)
            door.listener.bind(door.path)
            os.chmod(door.path, 0o666)
        else:
            door.listener = socket.socket()
            door.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.listener.bind(("127.0.0.1", 0))
            door.backend_port = door.listener.getsockname()[1]
        door.listener.setblocking(False)
        door.listener.listen(512)

    def _listen_section(self, door):
        section = {"address": f"127.0.0.1:{door.port}", "tls": door.tls, "role": door.role,
                   "backend": [door.name]}
        if door.role == "mx":
            section["recipients"] = OUR_DOMAINS
        if door.withhold:
            section["withhold"] = list(door.withhold)
        return section

    def _backend_section(self, door, certificates):
        section = {"identity": door.identity, "tls": door.backend_tls, "trace": door.trace}
        if door.transport == "program":
            section.update(program=f"{BRIDGE} 127.0.0.1 {door.backend_port}", user="nobody")
        else:
            section["address"] = f"unix:{door.path}" if door.path else \
                f"127.0.0.1:{door.backend_port}"
        if door.backend_tls != "off":
            section["ca"] = certificates.certificate
        return section

    # what must be as before

    def crash(self):
        """What has happened to its processes; None: nothing."""
        if self.postern.pids("reactor") != self.reactors:
            output = self.postern.output()
            at = output.find("ERROR: ")
            part = output[max(at - 200, 0):at + 4000] if at >= 0 else output[-3000:]
            return f"a reactor died:\n{part}"
        return None

    def descriptors(self):
        """How many the reactors have open."""
        try:
            return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.reactors)
        except FileNotFoundError:  # it died, which crash() tells
            return 0

    def open_sessions(self):
        samples = control.metrics(self.postern)
        return sum(value for name, value in samples.items() if name.startswith("postern_sessions"))

    def leftovers(self, descriptors):
        """Findings at the end of a run, when no client is there any more."""
        try:
            wait.until(lambda: self.open_sessions() == 0, "no session is left over")
            wait.until(lambda: self.descriptors() <= descriptors, "no descriptor is left over")
        except wait.Lost as lost:
            return [f"left over: {self.bare}: {lost}: {self.open_sessions()} sessions, "
                    f"{self.descriptors()} descriptors, {descriptors} at first"]
        return []

    def stop(self):
        """Findings at the end of the processes: a sanitizer's report, a bad exit."""
        try:
            self.postern.stop()
            return []
        except AssertionError as failure:
            return [f"{self.bare}: {failure}"]
        finally:
            for door in self.doors:
                door.listener.close()


class World:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        for name in ("certificates", "pam"):
            (directory / name).mkdir()
        self.certificates = certificates_module.Certificates(directory / "certificates")
        self._pam = pam_module.Pam(directory / "pam")
        self.houses = [House(directory / bare, self.certificates, self._pam, bare)
                       for bare in ("normalize", "reject")]
        self.doors = [door for house in self.houses for door in house.doors]

    def stop(self):
        findings = [each for house in self.houses for each in house.stop()]
        self._pam.close()
        return findings
