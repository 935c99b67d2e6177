"""The administration interface: figures, state, and who may ask for them."""

import grp
import os
import pwd
import re
import socket
import stat
import subprocess

import pytest

from conftest import needs_root
from support import control, promtool, wait
from support.client import SOURCE, Client

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n.\r\n"


def send_a_message(client):
    client.command("MAIL FROM:<alice@example.org>", 250)
    client.command("RCPT TO:<bob@example.org>", 250)
    client.command("DATA", 354)
    client.send(MESSAGE)
    client.reply(250)


def sessions_end(postern):
    wait.until(lambda: control.get(postern, "/status")["sessions"]["total"] == 0,
               "the end of all sessions")


# who may ask

def test_nobody_else_may_use_the_socket(postern):
    mode = control.path_of(postern).stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660


@needs_root
def test_the_group_may_use_the_socket(start, backend):
    group = pwd.getpwnam("nobody").pw_gid
    postern = start(backend, admin={"group": grp.getgrgid(group).gr_name})
    assert control.path_of(postern).stat().st_gid == group
    url = ["--unix-socket", control.path_of(postern), "http://postern/health"]
    inside = subprocess.run(["curl", "-s", *url], user="nobody", group=group, extra_groups=[],
                            capture_output=True, text=True, check=False)
    assert inside.stdout == '{"state":"serving"}\n'
    outside = subprocess.run(["curl", "-s", *url], user="nobody", group=65533, extra_groups=[],
                             capture_output=True, text=True, check=False)
    assert outside.returncode == 7 and not outside.stdout  # could not connect


def test_the_socket_goes_with_its_master(postern):
    postern.stop()
    assert not control.path_of(postern).exists()


def test_a_socket_that_was_left_behind_is_replaced(start, backend, scratch):
    path = scratch / "left"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    start(backend, admin={"socket": path})
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))


def test_a_socket_of_somebody_who_lives_is_not_taken_away(start, backend, scratch):
    path = scratch / "taken"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(5)
        postern = start(backend, admin={"socket": path}, ready=False)
        assert postern.wait() != 0
        postern.abandon()
        assert postern.find_records(level="error",
                                    msg=re.compile(r"/postern\.conf:\d+:\d+: admin: socket: .*"
                                                   "taken cannot be opened: Address"))
        assert path.is_socket()


@needs_root
def test_group_that_is_missing_is_told_with_its_place(start, backend, scratch):
    postern = start(backend, admin={"socket": scratch / "control", "group": "no-such-group"})
    assert re.search(r'/postern\.conf:\d+:\d+: admin: group: there is no group "no-such-group": the '
                     r"socket \S+/control is its owner's", postern.output())


def test_without_a_socket_there_is_no_interface(start, backend):
    postern = start(backend, admin={"socket": ""})
    assert not control.path_of(postern).exists()


def test_a_reload_moves_the_socket(postern):
    moved = postern.directory / "moved"
    postern.configure(admin={"socket": moved})
    postern.reload()
    assert moved.is_socket() and not control.path_of(postern).exists()


def test_a_refused_reload_leaves_the_socket(postern):
    postern.configure(admin={"socket": postern.directory / "moved"}, tls={"key": "/nowhere"})
    postern.reload_refused()
    assert control.get(postern, "/health") == {"state": "serving"}
    assert not (postern.directory / "moved").exists()


# figures for everybody on this host

@pytest.fixture
def figures(start, backend):
    address = ("127.0.0.1", wait.free_port())
    return start(backend, admin={"metrics": "%s:%d" % address}), address


def test_figures_are_shown_on_a_loopback_address(figures):
    postern, address = figures
    assert "postern_sessions" in control.request(postern, "/metrics", address=address)[1]
    assert control.request(postern, "/health", address=address)[0] == 200


def test_nothing_else_is_there(figures):
    postern, address = figures
    for target in ("/status", "/sessions", "/"):
        assert control.request(postern, target, address=address)[0] == 404
    for target in ("/kick?user=alice", "/drain", "/reload", "/log?level=debug"):
        assert control.request(postern, target, "POST", address=address)[0] == 404


@pytest.mark.parametrize("headers", [
    {"Host": "attacker.example"}, {"Host": "attacker.example:9125"}, {"Host": "127.0.0.1.nip.io"},
    {"Origin": "http://attacker.example"}, {"Origin": "null"}, {"Host": ""}])
def test_a_page_in_a_browser_cannot_read_them(figures, headers):
    postern, address = figures
    assert control.request(postern, "/metrics", headers=headers, address=address)[0] == 403


@pytest.mark.parametrize("address", ["0.0.0.0:9125", "192.0.2.1:9125", "[::]:9125", "*:9125",
                                     "unix:/tmp/x", "nonsense"])
def test_figures_are_for_this_host_alone(start, backend, address):
    postern = start(backend)
    postern.configure(admin={"metrics": address})
    error, *_ = postern.reload_refused()
    assert "admin: metrics" in error


# what is shown

def test_the_state_tells_what_has_happened(start, backend):
    postern = start(backend)
    with postern.log_in() as client:
        send_a_message(client)
        during = control.get(postern, "/status")
        assert during["sessions"]["relay"] == during["sessions"]["total"] == 1
        client.quit()
    with postern.connect() as other:
        other.ehlo()
        other.login("alice", "wrong", 535)
        other.quit()
    sessions_end(postern)
    after = control.get(postern, "/status")
    counters = after["counters"]
    assert (counters["connections"], counters["logins"], counters["logins_failed"]) == (2, 1, 1)
    assert (counters["messages"], counters["recipients"]) == (1, 1)
    assert counters["bytes_in"] > len(MESSAGE) and counters["bytes_out"] > 0
    assert after["state"] == "serving" and after["hostname"] == "mail.example.org"
    certificate, = after["certificates"]
    assert certificate["days_left"] > 0
    server, = after["backends"]
    assert (server["state"], server["opened"]) == ("up", 1)


def backend_state(postern):
    server, = control.get(postern, "/status")["backends"]
    return server["state"]


@pytest.mark.parametrize("offers", [None, "NAME ADDR PORT"])
def test_server_that_takes_no_identity_is_not_called_up(start, backend, offers):
    """It answers each probe, and each session is refused all the same."""
    given, backend.attributes = backend.attributes, offers
    postern = start(backend, ready=False)
    postern.wait_for_record(level="warning", msg=re.compile("does not offer every XCLIENT"))
    assert backend_state(postern) == "no_identity"
    with postern.connect() as client:
        client.ehlo()
        client.login("alice", "wonderland", 454)
    backend.attributes = given
    postern.wait_for_record(level="notice", msg=re.compile("offers every XCLIENT attribute"))
    assert backend_state(postern) == "up"
    postern.log_in().quit()


def test_server_for_strangers_alone_needs_no_login(start, backend):
    backend.attributes = "NAME ADDR PORT"
    mx = {"address": f"127.0.0.1:{wait.free_port()}", "role": "mx", "recipients": ["example.org"]}
    postern = start(backend, listen={"mx": mx, "submission": None, "submissions": None}, ready=False)
    postern.wait_until_serving()
    wait.until(lambda: backend_state(postern) == "up", "the probe's answer")
    assert not postern.find_records(level="warning", msg=re.compile("XCLIENT"))


def test_limits_are_listed_as_they_are_configured(start, backend):
    postern = start(backend, limits={"failed_logins": 7, "messages_per_hour": 0})
    limits = control.get(postern, "/status")["limits"]
    assert limits["failed_logins"] == 7 and limits["messages_per_hour"] == 0
    postern.configure(limits={"failed_logins": 8})
    postern.reload()
    assert control.get(postern, "/status")["limits"]["failed_logins"] == 8


def test_reactors_are_added_up(start, backend):
    postern = start(backend, workers=2)
    held = [postern.log_in() for _ in range(12)]
    assert control.get(postern, "/status")["sessions"]["relay"] == 12
    for client in held:
        client.quit()
    sessions_end(postern)
    with_each = {record["pid"] for record in postern.find_records(event="session ended")}
    assert len(with_each) == 2, "twelve connections went to one reactor"
    assert control.metrics(postern)['postern_logins_total{mechanism="PLAIN",result="accepted"}'] \
        == 12


def test_counters_never_go_back_over_a_reload(start, backend):
    postern = start(backend, workers=2)
    held = postern.log_in()
    with postern.log_in() as client:
        send_a_message(client)
        client.quit()
    for _ in range(3):
        postern.reload()
        figures = control.metrics(postern)
        assert figures["postern_messages_total"] == 1
        assert figures['postern_sessions{state="relay"}'] == 1  # of the first generation
    held.quit()
    sessions_end(postern)
    assert control.metrics(postern)['postern_reloads_total{result="done"}'] == 3


def test_what_a_killed_reactor_had_counted_is_kept(postern):
    postern.forgive()
    client = postern.log_in()
    send_a_message(client)
    reactor = postern.sole("reactor")
    os.kill(reactor, 9)
    client.close()
    postern.wait_for_record(msg=re.compile("^reactor 0 is now"))
    figures = wait.until(lambda: _metrics_or_none(postern), "the next reactor")
    assert figures["postern_messages_total"] == 1
    assert figures['postern_sessions{state="relay"}'] == 0
    assert figures['postern_processes_lost_total{process="reactor"}'] == 1


def _metrics_or_none(postern):
    try:
        return control.metrics(postern)
    except OSError:
        return None


def test_smuggling_and_rejected_commands_are_counted(postern):
    with postern.log_in() as client:
        client.command("XCLIENT LOGIN=root", 550)
        client.command("MAIL FROM:<a@example.org>", 250)
        client.command("RCPT TO:<b@example.org>", 250)
        client.command("DATA", 354)
        client.send(b"x\n.\nMAIL FROM:<evil@example.org>\r\n.\r\n")
        client.reply(250)
        client.quit()
    figures = control.metrics(postern)
    assert figures["postern_repaired_line_ends_total"] >= 2
    assert figures['postern_rejected_commands_total{kind="only_proxies"}'] == 1


def test_failed_handshakes_and_limits_are_counted(start, backend):
    postern = start(backend, limits={"connections_per_address": 1, "exempt": []})
    with Client(postern.implicit) as client:
        client.send(b"EHLO not.tls\r\n")
        client.reset()
    held = wait.until(lambda: _connected(postern), "room for one more")
    with Client(postern.starttls) as refused:
        assert refused.reply().code == 421
    held.close()
    figures = control.metrics(postern)
    assert figures["postern_tls_handshake_failures_total"] == 1
    assert figures['postern_limits_hit_total{limit="connections_per_address"}'] >= 1


def _connected(postern):
    try:
        return postern.connect(None)
    except AssertionError:
        return None


def test_prometheus_takes_the_figures(start, backend):
    """With samples of everything that a session can cause."""
    postern = start(backend)
    with postern.log_in() as client:
        client.command("NONSENSE", 500)
        send_a_message(client)
        client.quit()
    _, text, headers = control.request(postern, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert promtool.run("check", "metrics", text=text) == ""


# what is not understood

@pytest.mark.parametrize("request_bytes, status", [
    (b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"GET /status?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /%73tatus HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /../status HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
    (b"OPTIONS /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"BREW /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    (b"GET /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a.example\r\n\r\n", 403),
    (b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, None),
    (b"GET /status HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", None),
    (b"GET /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", None),
    (b"EHLO postern\r\n", None),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
    (b"\0" * 100, None),
])
def test_malformed_requests_harm_nobody(postern, request_bytes, status):
    with postern.log_in() as client:
        reply = control.raw(postern, request_bytes)
        if status:
            assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]
        elif reply:
            assert re.match(rb"HTTP/1.[01] [45]\d\d ", reply), reply[:200]
        client.command("NOOP", 250)
    assert control.get(postern, "/health") == {"state": "serving"}


@pytest.mark.parametrize("target", ["/", "/metrics", "/health", "/nowhere", "/kick"])
def test_head_is_the_answer_to_get_without_its_body(postern, target):
    status, text, headers = control.request(postern, target)
    reply = control.raw(postern, f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 %d " % status) and reply.endswith(b"\r\n\r\n")
    assert reply.count(b"\r\n\r\n") == 1 and text
    if target != "/metrics":  # which goes on counting
        assert f"\r\nContent-Length: {headers['Content-Length']}\r\n".encode() in reply


# whose name is asked for: a foreign one may lead here, in the browser of a postmaster

#: What a request may say that was meant for the socket, or for a port that leads to it.
OWN = ["localhost", "localhost:8025", "LocalHost:8025", "127.0.0.1", "127.0.0.1:8025",
       "127.0.0.2:65535", "[::1]", "[::1]:8025", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:8025"]
#: Of the socket alone, and without a port: who speaks to it needs none, and a page elsewhere does.
NAME = ["postern", "Postern", "POSTERN"]
#: A page of whatever has such a name must not reach us when its name does.
FOREIGN = ["rebound", "rebound:8025", "intranet", "x", "wpad", "postern:8025", "postern.",
           "postern.:8025", "localhost.", "localhost.:8025", "localhost.localdomain", "localhost:",
           "localhost:0", "localhost:65536", "localhost:123456", "localhost:+80", "localhost:8025:1",
           "localhost:80 80", "localhost,rebound", "rebound@localhost", "localhost@rebound",
           "localhost/", "local host", "localhosts", "ocalhost", "foo.localhost", "127.0.0.1.",
           "127.1", "127.0.0.01", "2130706433", "0x7f.0.0.1", "0.0.0.0", "0.0.0.0:8025",
           "128.0.0.1", "192.0.2.1", "10.0.0.1:8025", "::1", "[::1", "::1]", "[::1]8025", "[::1]:",
           "[::]", "[::2]:8025", "[2001:db8::1]", "[localhost]", "[127.0.0.1]", "[::1%25lo]",
           "[]", ":8025", "*", "*:8025", "unix:/run/postern/control", "xn--localhost",
           "localhost" * 40, "127.0.0.1.nip.example"]


def ask(postern, *lines, address=None):
    """The status that a request of these lines is answered with; over TCP with `address`."""
    data = "\r\n".join((*lines, "", "")).encode()
    if address:
        with Client(address) as one:
            one.send(data)
            reply = one.receive_rest()
    else:
        reply = control.raw(postern, data)
    return int(re.match(rb"HTTP/1\.[01] (\d\d\d) ", reply)[1])


def test_socket_is_asked_by_its_own_names(figures):
    postern, address = figures
    for host in OWN + NAME:
        assert ask(postern, "GET /health HTTP/1.1", f"Host: {host}") == 200, host
        assert ask(postern, f"GET http://{host}/health HTTP/1.1", "Host: rebound") == 200, host
    for host in OWN:
        assert ask(postern, "GET /health HTTP/1.1", f"Host: {host}", address=address) == 200, host


def test_name_of_another_site_is_refused_however_it_is_written(figures):
    postern, address = figures
    for host in FOREIGN:
        for where in (None, address):
            assert ask(postern, "GET /health HTTP/1.1", f"Host: {host}", address=where) == 403, host
    for host in (each for each in FOREIGN if " " not in each and "/" not in each):
        assert ask(postern, f"GET http://{host}/health HTTP/1.1", "Host: localhost") in (400, 403), \
            host
    for host in NAME:
        assert ask(postern, "GET /health HTTP/1.1", f"Host: {host}", address=address) == 403, host


@pytest.mark.parametrize("lines", [
    ["GET /health HTTP/1.1"], ["GET /health HTTP/1.0"], ["GET /health HTTP/1.1", "Host:"],
    ["GET http:///health HTTP/1.1", "Host: localhost"]])
def test_request_that_names_no_host_is_refused(figures, lines):
    postern, address = figures
    for where in (None, address):
        assert ask(postern, *lines, address=where) in (400, 403)


@pytest.mark.parametrize("hosts", [
    ["localhost", "rebound"], ["rebound", "localhost"], ["localhost", "localhost"],
    ["localhost", ""], ["localhost", "\r\n rebound"]])
@pytest.mark.parametrize("target", ["/health", "http://localhost/health"])
def test_request_with_several_hosts_is_refused(figures, hosts, target):
    """RFC 9112 section 3.2: one field of that name, or 400."""
    postern, address = figures
    for where in (None, address):
        fields = [f"{name}: {host}" for name, host in zip(("Host", "hOST"), hosts)]
        assert ask(postern, f"GET {target} HTTP/1.1", *fields, address=where) == 400


def test_folded_host_is_refused(figures):
    postern, address = figures
    for where in (None, address):
        assert ask(postern, "GET /health HTTP/1.1", "Host: localhost", " rebound",
                   address=where) in (400, 403)


def test_foreign_site_cannot_give_orders(postern):
    """With a name of one word, which some networks let anybody choose."""
    for order in ("/kick?user=alice", "/drain", "/reload", "/deny?address=192.0.2.1"):
        assert ask(postern, f"POST {order} HTTP/1.1", "Host: rebound", "Content-Length: 0") == 403
    assert control.get(postern, "/health") == {"state": "serving"}


@pytest.mark.parametrize("target, host, status", [
    ("http://postern/status", "postern", 200),
    ("HTTP://127.0.0.1:9125/metrics", "127.0.0.1:9125", 200),
    ("http://[::1]/sessions?user=alice", "[::1]", 200),
    ("http://postern", "postern", 200),
    ("http://postern?user=alice", "postern", 400),
    ("http://postern/nowhere", "postern", 404),
    ("https://postern/status", "postern", 404),
    ("http://attacker.example/status", "postern", 403),
    ("http://postern/status", "attacker.example", 200)])
def test_target_in_absolute_form_is_understood(postern, target, host, status):
    """RFC 9112 section 3.2.2: its host counts, and not what the field Host says."""
    reply = control.raw(postern, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]


def test_target_in_absolute_form_names_this_host(figures):
    postern, address = figures
    for host, status in ((f"127.0.0.1:{address[1]}", 200), ("localhost", 200), ("postern", 403),
                         ("attacker.example", 403), ("attacker.example" * 20, 403), ("", 403)):
        assert control.request(postern, f"http://{host}/metrics", address=address)[0] == status, host


def test_many_connections_take_no_descriptors_from_mail(postern):
    """More than are served at once wait; when they leave, the next are."""
    reactor = postern.sole("reactor")
    wait.until(lambda: control.get(postern, "/status")["auth"]["idle"] == 2, "both workers")
    before = len(os.listdir(f"/proc/{reactor}/fd"))
    held = []
    for _ in range(30):
        made = socket.socket(socket.AF_UNIX)
        made.setblocking(False)
        try:
            made.connect(str(control.path_of(postern)))
        except BlockingIOError:
            pass  # the queue is full
        held.append(made)
    with postern.log_in() as client:
        client.quit()
    assert len(os.listdir(f"/proc/{reactor}/fd")) <= before + 18
    for made in held:
        made.close()
    assert control.get(postern, "/health") == {"state": "serving"}
    wait.until(lambda: len(os.listdir(f"/proc/{reactor}/fd")) <= before,
               "the descriptors of connections that have ended")


def test_nobody_shuts_the_figures_by_asking_slowly(figures):
    """On the loopback address that is every user of this host."""
    postern, address = figures
    held = [socket.create_connection(address) for _ in range(16)]
    for made in held:
        made.sendall(b"GET /health HTTP/1.1\r\nHost: local")
    assert control.request(postern, "/health", address=address)[0] == 200
    held[0].settimeout(wait.PATIENCE)
    assert held[0].recv(1) == b""
    held[-1].sendall(b"host\r\n\r\n")
    held[-1].settimeout(wait.PATIENCE)
    assert held[-1].recv(12) == b"HTTP/1.1 200"
    for made in held:
        made.close()


def test_a_connection_that_stays_does_not_hold_an_old_generation(postern):
    with socket.socket(socket.AF_UNIX) as held:
        held.connect(str(control.path_of(postern)))
        control.get(postern, "/health")
        old = postern.sole("reactor")
        postern.reload()
        assert control.get(postern, "/health") == {"state": "serving"}
    wait.until(lambda: old not in postern.pids("reactor"), "the end of the old reactor")


# what has failed of late

def failures(postern, **wanted):
    return [one for one in control.get(postern, "/failures")["failures"]
            if wanted.items() <= one.items()]


def test_failures_are_listed_the_youngest_first(start, backend):
    postern = start(backend, workers=2)
    for user in ("mallory", 'eve"<b>'):
        with postern.connect() as one:
            one.ehlo()
            one.login(user, "wrong", 535)
    found = failures(postern, kind="login")
    assert [one["user"] for one in found] == ['eve"<b>', "mallory"]
    assert all(one["client"] == SOURCE and one["reason"] for one in found)


def test_equal_failures_are_counted_whichever_reactor_saw_them(start, backend):
    postern = start(backend, workers=2)
    for _ in range(6):
        with postern.connect() as one:
            one.ehlo()
            one.login("mallory", "wrong", 535)
    rows = failures(postern, kind="login", user="mallory")
    assert sum(one["times"] for one in rows) == 6
    assert len(rows) <= 2  # each may have found the other's row half written
    assert all(one["first"] <= one["time"] for one in rows)


def test_hour_has_a_point_from_the_start_on(start, backend):
    postern = start(backend, workers=2)
    with postern.log_in() as one:
        one.quit()
    history = control.get(postern, "/history")
    at = {name: index for index, name in enumerate(history["columns"])}
    points = history["points"]
    assert points and all(len(point) == len(at) for point in points)
    assert points[0][at["logins"]] == 0 and points[0][at["sessions"]] == 0
    ages = [point[at["age_ms"]] for point in points]
    assert ages == sorted(ages, reverse=True)


def test_hour_grows_point_by_point(postern):
    with postern.log_in() as one:
        one.quit()
    at = control.get(postern, "/history")["columns"].index("logins")
    wait.until(lambda: control.get(postern, "/history")["points"][-1][at] == 1,
               "the next point")


def test_failures_outlive_a_reload(postern):
    with postern.connect() as one:
        one.ehlo()
        one.login("mallory", "wrong", 535)
    postern.reload()
    assert failures(postern, kind="login", user="mallory")


def test_a_handshake_that_fails_is_a_failure(postern):
    with socket.create_connection(postern.implicit) as one:
        one.sendall(b"EHLO plain.example\r\n")
        one.settimeout(wait.PATIENCE)
        while one.recv(4096):
            pass
    wait.until(lambda: failures(postern, kind="handshake", client="127.0.0.1"), "the failure")


def test_a_backend_that_is_away_is_a_failure(start):
    postern = start(("127.0.0.1", wait.free_port()))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert failures(postern, kind="backend", user="alice")
