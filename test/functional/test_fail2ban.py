"""The fail2ban filter, on lines that Postern has written, in every form and at every place that it
writes them: it finds those who fail, at the address where they are, and nobody can point it at
somebody else."""

import os
import pathlib
import re
import socket
import threading
import time

import pytest

from support import fail2ban, wait
from support.client import plain_response

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = ROOT / "etc/guides/fail2ban.md"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking fail2ban needs root")

HOSTILE = "x result=rejected client=9.9.9.9"


@pytest.fixture
def found(scratch):
    """The addresses that fail2ban-regex finds, one for each line that counts."""
    def run(source):
        return [address for address, _ in fail2ban.found(source, scratch)]
    return run


@pytest.fixture
def house(scratch):
    made = fail2ban.House(scratch / "house")
    yield made
    made.close()


class Listener:
    """What comes to a unix socket, datagram by datagram, until it is closed."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self.datagrams = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while datagram := self._socket.recv(65536):
            self.datagrams.append(datagram.decode("utf-8", "surrogateescape").rstrip("\n\0"))

    def wait_for(self, pattern):
        wait.until(lambda: any(re.search(pattern, each) for each in list(self.datagrams)),
                   f"{pattern} of {self.datagrams}")

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(wait.PATIENCE)
        self._socket.close()


def attempt(postern, user, password, source):
    with postern.connect(source=source) as one:
        one.ehlo("x client=9.9.9.9".replace(" ", "_"))
        one.command(f"AUTH PLAIN {plain_response(user, password)}", 235, 535, 501, 454)


def fail_in_every_way(postern):
    """Whoever has no business in the filter does; behind them the last one is to be found."""
    attempt(postern, "alice", "wonderland", "127.0.1.1")
    attempt(postern, HOSTILE, "wrong", "127.0.1.2")
    with postern.connect(source="127.0.1.3") as one:
        one.ehlo()
        one.command("AUTH PLAIN !", 501)
    for _ in range(2):
        attempt(postern, "nobody-knows-me", "wrong", "127.0.1.4")


#: Of the failures above.
FOUND = ["127.0.1.2", "127.0.1.3", "127.0.1.4", "127.0.1.4"]
#: How the last of their lines is known.
LAST = re.compile(r"put off")
LIMITS = {"failed_logins": 1, "exempt": []}

each_format = pytest.mark.parametrize("style", ["text", "json"])


def records_on_stderr(start, backend, style):
    postern = start(backend, limits=LIMITS, log={"format": style})
    fail_in_every_way(postern)
    postern.wait_for_record(event="login failed", result="put off")
    return [line for line in postern.output().splitlines() if not line.startswith("postern: ")]


@each_format
def test_standard_error_in_the_journal_is_read(start, backend, found, scratch, style):
    """As the unit has it, which says nothing of a destination."""
    entries = [{"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "postern", "PRIORITY": 6,
                "MESSAGE": line} for line in records_on_stderr(start, backend, style)]
    journal = fail2ban.write_journal(scratch / "system.journal", entries)
    assert found(journal) == FOUND


@each_format
def test_standard_error_in_a_file_is_read(start, backend, found, scratch, style):
    path = scratch / "log"
    path.write_text("".join(f"{line}\n" for line in records_on_stderr(start, backend, style)))
    assert found(path) == FOUND


@each_format
def test_a_log_file_is_read(start, backend, found, scratch, style):
    path = scratch / "postern.log"
    postern = start(backend, limits=LIMITS, ready=False,
                    log={"destination": "file", "file": path, "format": style})
    wait.until(lambda: path.exists() and "serving" in path.read_text(), "the server")
    fail_in_every_way(postern)
    wait.until(lambda: LAST.search(path.read_text()), "the last failure")
    assert found(path) == FOUND


@each_format
def test_entries_of_the_journal_are_read(start, backend, found, scratch, house, style):
    listener = Listener(house.path("run/systemd/journal/socket"))
    try:
        postern = start(backend, limits=LIMITS, ready=False, command=house.command(),
                        log={"destination": "journal", "format": style})
        listener.wait_for("serving")
        fail_in_every_way(postern)
        listener.wait_for(LAST)
        postern.stop()
    finally:
        listener.close()
    entries = [{"_TRANSPORT": "journal", **dict(line.split("=", 1) for line in entry.splitlines())}
               for entry in listener.datagrams]
    assert found(fail2ban.write_journal(scratch / "system.journal", entries)) == FOUND


@each_format
def test_syslog_is_read_from_the_journal_and_from_files(start, backend, found, scratch, house,
                                                        style):
    """Files as rsyslog writes them, with dates of the old form and of RFC 3339."""
    listener = Listener(house.path("dev/log"))
    try:
        postern = start(backend, limits=LIMITS, ready=False, command=house.command(),
                        log={"destination": "syslog", "format": style})
        listener.wait_for("serving")
        fail_in_every_way(postern)
        listener.wait_for(LAST)
        postern.stop()
    finally:
        listener.close()
    lines = [re.fullmatch(r"<22>(\w{3} [ \d]\d [\d:]{8}) postern\[(\d+)\]: (.*)", each).groups()
             for each in listener.datagrams if each.startswith("<22>")]
    entries = [{"_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": "postern", "SYSLOG_FACILITY": 2,
                "SYSLOG_PID": pid, "MESSAGE": text} for _, pid, text in lines]
    assert found(fail2ban.write_journal(scratch / "system.journal", entries)) == FOUND
    for form in ("{0}", time.strftime("%Y-%m-%dT%H:%M:%S.123456+00:00", time.gmtime())):
        path = scratch / "mail.log"
        path.write_text("".join(f"{form.format(date)} mail postern[{pid}]: {text}\n"
                                for date, pid, text in lines))
        assert found(path) == FOUND


@each_format
def test_time_of_a_log_file_is_not_taken_for_local_time(start, backend, scratch, style):
    """East of Greenwich the failures would all be too old to count."""
    path = scratch / "log"
    path.write_text("".join(f"{line}\n" for line in records_on_stderr(start, backend, style)))
    for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
        times = [then for _, then in fail2ban.found(path, scratch, zone)]
        assert len(times) == len(FOUND) and all(abs(then - time.time()) < 600 for then in times)


def test_ipv6_addresses_are_found(start, backend, found, scratch):
    path = scratch / "log"
    path.write_text("".join(line.replace("127.0.1.2", "2001:db8::1:2") + "\n"
                            for line in records_on_stderr(start, backend, "text")))
    assert found(path) == ["2001:db8::1:2", *FOUND[1:]]


@each_format
def test_threat_17_nobody_is_banned_for_what_another_calls_himself(start, backend, found, style):
    users = [
        HOSTILE, "x client=9.9.9.9 port=1 result=rejected", 'x" client=9.9.9.9 port=1 user="y',
        "x\\", 'a\\" mechanism=PLAIN result=rejected',
        "x client=9.9.9.9 mechanism=PLAIN result=rejected",
        'event="login failed" id=a listener=b client=9.9.9.9', "ü client=9.9.9.9",
        "x\u2028client=9.9.9.9", 'x","client":"9.9.9.9', 'x"}', "\U000e0001" * 63, '"' * 255]
    postern = start(backend, log={"format": style})
    for number, user in enumerate(users):
        attempt(postern, user, "wrong", f"127.0.2.{number}")
    postern.wait_for_record(event="login failed", count=len(users))
    assert found(postern.log_path) == [f"127.0.2.{number}" for number in range(len(users))]


@each_format
def test_outage_bans_nobody(start, backend, found, pam, style):
    """Promise 8, for those who read the log; whatever they are called."""
    users = ["alice", "x result=rejected", 'x" result=rejected', 'x","result":"rejected',
             'x" mechanism=PLAIN result=rejected reason="',
             'x","mechanism":"PLAIN","result":"rejected"}']
    pam.service("no-such-program", "auth required pam_exec.so quiet /nonexistent",
                "account required pam_permit.so")
    postern = start(backend, auth={"pam_service": "no-such-program"}, log={"format": style})
    for user in users:
        attempt(postern, user, "wonderland", "127.0.1.2")
    postern.wait_for_record(event="login failed", result="unavailable", count=len(users))
    assert found(postern.log_path) == []


def test_jail_names_the_filter_and_the_ports():
    jail = (ROOT / "etc/fail2ban/postern.jail").read_text()
    assert "[postern]" in jail and "465,587,2525" in jail


def guide(containing):
    """What the guide has indented, of what has this in it."""
    lines = re.findall(r"^ {4}(.*)", GUIDE.read_text(), re.MULTILINE)
    return [line for line in lines if containing in line]


def entries_of(start, backend, address, count):
    """As in the journal, of so many failures from there."""
    postern = start(backend, limits={"failed_logins": 0})
    for _ in range(count):
        attempt(postern, "alice", "wrong", "127.0.1.2")
    postern.wait_for_record(event="login failed", count=count)
    return [{"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "postern",
             "MESSAGE": line.replace("127.0.1.2", address)}
            for line in postern.output().splitlines() if line.startswith("time=")]


def test_the_guide_makes_a_jail_that_bans(start, backend, house):
    """Each of its commands as it stands there, to fail2ban's own server: who fails ten times at a
    Postern that logs where the unit has it is shut out of its ports by the firewall."""
    house.have_journal(entries_of(start, backend, "198.51.100.7", 10)
                       + entries_of(start, backend, "198.51.100.8", 9))
    copies = guide("cp ")
    assert len(copies) == 2
    house.start_server()
    house.run("\n".join(copies))
    dump = house.run("fail2ban-client -d")
    assert "['add', 'postern', 'systemd']" in dump and "['start', 'postern']" in dump
    assert "['set', 'postern', 'addjournalmatch', '_SYSTEMD_UNIT=postern.service']" in dump
    assert "--dports 465,587,2525" in dump
    reload, = guide("fail2ban-client")
    assert "OK" in house.run(reload)
    wait.until(lambda: "-s 198.51.100.7 " in house.asked_of_the_firewall(), "the ban")
    assert "--dports 465,587,2525" in house.asked_of_the_firewall()
    status = house.run("fail2ban-client status postern")
    assert re.search(r"Banned IP list:\s*198\.51\.100\.7$", status, re.MULTILINE), status
    assert re.search(r"Total failed:\s*19$", status, re.MULTILINE), status


def test_the_guide_shows_what_the_filter_finds(start, backend, house):
    house.have_journal(entries_of(start, backend, "198.51.100.7", 3))
    house.run("\n".join(guide("cp ")))
    shown, = re.findall(r"`(fail2ban-regex .*?)`", GUIDE.read_text())
    assert "3 matched" in house.run(shown)
