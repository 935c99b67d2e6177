"""Backends that are programs: started for each session by the opener, told who the client is,
and ended with it."""

import os
import pwd
import re
import signal

import pytest

from conftest import needs_root
from support import postern as posterns, processes, wait
from support.client import SOURCE
from support.program import Program

ROOT = os.geteuid() == 0
USER = "daemon" if ROOT else ""
LINE = "-oMa %{address}.%{port} -oMaa %{mechanism} -oMai %{login} '%{helo} %{protocol}' end"


@pytest.fixture
def program(scratch):
    made = Program(scratch / "program")
    yield made
    for word in ("hang", "stubborn", "slow", "deliver"):
        (made.directory / word).unlink(missing_ok=True)


@pytest.fixture
def begin(start, program):
    """begin(key=value …): a Postern with the program behind it; keys are those of the backend."""
    def make(settings=None, **keys):
        return start(None, backend={"address": None, "program": program.line(LINE), "user": USER,
                                    **keys}, **(settings or {}))
    return make


def opener(postern):
    """Once it runs, which Postern itself does not wait for."""
    return postern.sole("opener")


#: A session's program that had its five seconds to end by itself.
NOT_ENDED = re.compile("not end with its session")


def mail(one, text=b"text\r\n"):
    one.send_message("a@b.test", ["c@d.test"], text)


def refused(one):
    one.login("alice", "wonderland", 421, 451, 454)


# what it is told

def test_message_goes_through_a_program(begin, program):
    postern = begin()
    one = postern.log_in()
    mail(one, b"first\r\n")
    mail(one, b"..second\r\n")
    one.quit()
    assert program.session().messages == [b"first\r\n", b"..second\r\n"]


def test_program_hears_who_and_where_the_client_is(begin, program):
    postern = begin(relayclient="")
    with postern.log_in() as one:
        port = one.port
        session = program.session()
    assert session.arguments == ["-oMa", f"{SOURCE}.{port}", "-oMaa", "PLAIN", "-oMai", "alice",
                                 "client.example esmtpsa", "end"]
    environment = dict(session.environment)
    environment.pop("LC_CTYPE", None)  # Python's own
    assert environment.pop("PATH").startswith("/usr/local/sbin:")
    assert environment == {
        "PROTO": "TCP", "TCPREMOTEIP": SOURCE, "TCPREMOTEPORT": str(port),
        "TCPREMOTEINFO": "alice", "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(postern.implicit[1]), "TCPLOCALHOST": "mail.example.org",
        "ESMTP_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "RELAYCLIENT": ""}


@pytest.mark.parametrize("value", [None, "@relay.test"])
def test_relayclient_is_there_when_it_is_configured(begin, program, value):
    postern = begin(**({} if value is None else {"relayclient": value}))
    with postern.log_in():
        assert program.session().environment.get("RELAYCLIENT") == value


def test_probe_may_not_relay(begin, program):
    """Postern's own question needs no such right, and whoever gets hold of it has none."""
    begin(program=program.line("%{login} %{protocol}"), relayclient="")
    (probe,) = wait.until(lambda: [each for each in program.all if each.is_probe], "a probe")
    assert "RELAYCLIENT" not in probe.environment
    assert probe.arguments == ["postern-probe", "esmtp"]


def test_environment_of_postern_stays_outside(start, program):
    postern = start(None, backend={"address": None, "program": program.line(), "user": USER},
                    environment={"LD_PRELOAD_LIKE": "x", "TCPREMOTEINFO": "root", "HOME": "/root",
                                 "RELAYCLIENT": ""})
    with postern.log_in():
        environment = program.session().environment
    assert environment["TCPREMOTEINFO"] == "alice"
    assert not {"LD_PRELOAD_LIKE", "HOME", "RELAYCLIENT", "ASAN_OPTIONS"} & set(environment)


# what it is given

def test_threat_21_program_holds_its_session_and_its_log_only(begin, program):
    postern = begin()
    with postern.log_in():
        session = program.session()
        assert set(session.descriptors) <= {"0", "1", "2", "3"}  # 3: that of listing them
        assert session.descriptors["0"] == session.descriptors["1"] and session.same
        assert session.descriptors["2"].startswith("pipe:")
        assert session.descriptors.get("3", "/proc/").startswith("/proc/")


def test_program_starts_with_nothing_unusual(begin, program):
    postern = begin()
    with postern.log_in():
        session = program.session()
    assert session.leader and session.directory == "/"
    assert session.core == [0, 0] and session.files[0] <= 1024
    assert int(session.status["SigBlk"], 16) == 0
    # SIGPIPE and SIGXFSZ are ignored by Python itself.
    assert int(session.status["SigIgn"], 16) & ~(1 << 12 | 1 << 24) == 0
    assert session.status["Umask"] == "0022"
    assert session.status["NoNewPrivs"] == "0"


@needs_root
def test_program_runs_as_its_user_and_nothing_more(begin, program):
    postern = begin()
    with postern.log_in():
        session = program.session()
    user = pwd.getpwnam(USER)
    assert session.ids[:2] == [[user.pw_uid] * 3, [user.pw_gid] * 3]
    assert session.ids[2] == sorted(os.getgrouplist(USER, user.pw_gid))
    assert int(session.status["CapPrm"], 16) == int(session.status["CapAmb"], 16) == 0


@needs_root
def test_program_may_be_roots_if_that_is_written(begin, program):
    postern = begin(user="root")
    with postern.log_in():
        session = program.session()
    assert session.ids[0] == [0] * 3
    assert session.status["CapPrm"] == session.status["CapBnd"] != "0" * 16


@needs_root
def test_opener_keeps_what_programs_need_of_root_and_no_more(begin):
    pid = opener(begin())
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    wait.until(lambda: processes.status(pid, "Uid").split() == [nobody] * 4, "the change of user")
    kill, setgid, setuid = 5, 6, 7
    kept = 1 << kill | 1 << setgid | 1 << setuid
    wait.until(lambda: int(processes.status(pid, "CapPrm"), 16) == kept, "the end of the others")
    assert int(processes.status(pid, "CapInh"), 16) == 0
    assert processes.status(pid, "Groups") == ""


@needs_root
def test_threat_21_opener_holds_nothing_of_the_masters(begin):
    postern = begin()

    def foreign():
        """While it looks its user up, the C library has files open."""
        return [what for what in processes.descriptors(opener(postern)).values()
                if not re.match(r"socket:|anon_inode:|pipe:|/dev/null$", what)
                and what != str(postern.log_path)]
    wait.until(lambda: not foreign(), f"the end of all but sockets: {foreign()}")
    listening = {line.split()[9] for line in open("/proc/net/tcp", encoding="ascii")
                 if line.split()[3] == "0A"}
    for what in processes.descriptors(opener(postern)).values():
        assert what[len("socket:["):-1] not in listening


# what a client cannot do

@pytest.mark.parametrize("helo", ["-C/tmp/evil", "--help", "-"])
def test_client_cannot_give_an_option(begin, program, helo):
    """Threat 10: nothing is started, and the client is told to come back."""
    postern = begin(program=program.line("%{helo}"))
    with postern.connect() as one:
        one.command(f"EHLO {helo}", 250)
        refused(one)
    postern.wait_for_record(level="warning", msg=re.compile("begins like an option"))
    assert not program.sessions


@pytest.mark.parametrize("helo", ["$(id)", "`id`", "a;id", "a|id", "a'b", 'a"b', "%{login}", "*",
                                  "a\\b", "-C"])
def test_no_shell_reads_what_a_client_says(begin, program, helo):
    postern = begin(program=program.line("x%{helo} 'y %{helo}' end"))
    with postern.connect() as one:
        one.command(f"EHLO {helo}", 250)
        one.login("alice", "wonderland")
        assert program.session().arguments == [f"x{helo}", f"y {helo}", "end"]


# its end

def test_program_ends_with_its_session(begin, program):
    postern = begin()
    one = postern.log_in()
    pid = program.session().pid
    one.close()
    wait.until(lambda: not processes.alive(pid), "the end of the program")
    wait.until(lambda: processes.stat(pid) is None, "and of its remains")


def test_program_that_does_not_end_is_ended(begin, program):
    program.tell("hang")
    postern = begin()
    one = postern.log_in()
    pid = program.session().pid
    one.quit()
    postern.wait_for_record(level="warning", msg=re.compile(rf"program {pid} does not end.*15"))
    wait.until(lambda: processes.stat(pid) is None, "the end of the program")


def test_program_that_does_not_listen_is_killed(begin, program):
    program.tell("stubborn")
    postern = begin()
    one = postern.log_in()
    pid = program.session().pid
    one.close()
    postern.wait_for_record(level="warning", msg=re.compile(rf"program {pid} does not end.*9"),
                            timeout=2 * wait.PATIENCE)
    wait.until(lambda: processes.stat(pid) is None, "the end of the program")


def test_session_ends_with_its_program(begin, program):
    program.tell("die")
    postern = begin()
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("DATA\r\n")
        one.reply(421)
    pid = program.session().pid
    postern.wait_for_record(level="warning", msg=re.compile(rf"program {pid} was ended by signal 9"))


def test_reactor_that_dies_takes_its_programs_along(begin, program):
    program.tell("hang")
    postern = begin()
    postern.log_in()
    pid, old = program.session().pid, opener(postern)
    reactor = postern.sole("reactor")
    os.kill(reactor, signal.SIGKILL)
    wait.until(lambda: processes.stat(pid) is None, "the end of the program", 2 * wait.PATIENCE)
    wait.until(lambda: not processes.alive(old), "the end of the opener")
    postern.sole("opener")
    with postern.log_in():
        program.session(1)


def test_opener_that_dies_is_replaced(begin, program):
    postern = begin()
    lost = postern.log_in()
    pid, old = program.session().pid, opener(postern)
    os.kill(old, signal.SIGKILL)
    postern.wait_for_record(level="error", msg=re.compile("the opener of reactor .* ended: signal 9"))
    wait.until(lambda: processes.stat(pid) is None, "the end of its programs")
    wait.until(lambda: postern.pids("opener") not in ([], [old]), "a new one")
    with postern.log_in() as one:
        mail(one)
    lost.close()


def test_reload_ends_the_old_opener_with_the_last_session(begin, program):
    postern = begin()
    live = postern.log_in()
    old = opener(postern)
    postern.configure(backend={"relayclient": "@new"})
    postern.reload()
    with postern.log_in():
        assert program.session(1).environment["RELAYCLIENT"] == "@new"
    mail(live)
    live.quit()
    wait.until(lambda: not processes.alive(old), "the end of the old opener")


def test_stop_leaves_no_program_behind(begin, program):
    postern = begin()
    one = postern.log_in()
    pid = program.session().pid
    postern.signal(signal.SIGTERM)
    one.reply(421)
    assert postern.wait() == 0
    wait.until(lambda: processes.stat(pid) is None, "the end of the program")
    assert postern.find_records(level="error") == []


def test_stop_that_is_asked_for_twice_waits_for_no_program(begin, program):
    program.tell("hang")
    postern = begin({"timeouts": {"drain": 600}})
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    pid = program.session().pid
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    wait.until(lambda: processes.stat(pid) is None, "the end of the program")
    assert not postern.find_records(msg=NOT_ENDED), "it was waited for"
    one.close()


# its children

#: A shell gives what it starts in the background another standard input.
WRAPPERS = {"in the foreground": ['"$@"', "exit $?"],
            "in the background": ["exec 3<&0", '"$@" <&3 3<&- &']}
every_wrapper = pytest.mark.parametrize("lines", WRAPPERS.values(), ids=WRAPPERS)


def gone(*pids):
    wait.until(lambda: not any(map(processes.alive, pids)), f"the end of {pids}",
               2 * wait.PATIENCE)


@every_wrapper
def test_server_behind_a_wrapper_serves_its_session_and_ends_with_it(begin, program, lines):
    postern = begin(program=program.wrapper(*lines))
    with postern.log_in() as one:
        mail(one, b"first\r\n")
        mail(one, b"second\r\n")
        one.quit()
    assert program.session().messages == [b"first\r\n", b"second\r\n"]
    gone(program.session().pid)
    wait.until(lambda: not processes.zombies(opener(postern)), "the end of all remains")


@every_wrapper
@pytest.mark.parametrize("word", ["hang", "stubborn"])
def test_server_behind_a_wrapper_that_does_not_end_is_ended(begin, program, lines, word):
    program.tell(word)
    postern = begin(program=program.wrapper(*lines))
    with postern.log_in() as one:
        pid = program.session().pid
        one.quit()
    postern.wait_for_record(level="warning", msg=re.compile("do not end with its session: signal 15"))
    gone(pid)
    wait.until(lambda: not processes.zombies(opener(postern)), "the end of all remains")


@every_wrapper
def test_stop_leaves_no_server_behind_a_wrapper(begin, program, lines):
    program.tell("hang")
    postern = begin(program=program.wrapper(*lines))
    with postern.log_in() as one:
        pid = program.session().pid
        postern.signal(signal.SIGTERM)
        one.reply(421)
    assert postern.wait() == 0
    gone(pid)


@every_wrapper
def test_stop_that_is_asked_for_twice_ends_servers_behind_wrappers(begin, program, lines):
    program.tell("hang")
    postern = begin({"timeouts": {"drain": 600}}, program=program.wrapper(*lines))
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    pid = program.session().pid
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    gone(pid)
    assert not postern.find_records(msg=NOT_ENDED), "it was waited for"
    one.close()


def test_server_that_its_wrapper_has_left_has_its_place(begin, program):
    """As long as it has its session, and no longer."""
    postern = begin(program=program.wrapper(*WRAPPERS["in the background"]), program_limit=2)
    wait.until(lambda: program.all and not processes.alive(program.all[0].pid), "the probe's end")
    one = wait.until(lambda: logged_in(postern, "127.0.0.10"), "the first place")
    pid = program.session().pid
    wait.until(lambda: processes.zombies(opener(postern)), "the end of the wrapper")
    with postern.connect(source="127.0.0.10") as other:
        other.ehlo()
        refused(other)
    mail(one)
    one.quit()
    gone(pid)
    wait.until(lambda: logged_in(postern, "127.0.0.10"), "a place").quit()


def logged_in(postern, source):
    """A client that has been let in, or None."""
    one = postern.connect(source=source)
    one.ehlo()
    if one.login("alice", "wonderland", 235, 421, 451, 454).code == 235:
        return one
    one.close()
    return None


def test_session_ends_when_a_server_that_its_wrapper_has_left_does(begin, program):
    program.tell("die")
    postern = begin(program=program.wrapper(*WRAPPERS["in the background"]))
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("DATA\r\n")
        one.reply(421)


@every_wrapper
def test_message_that_is_not_answered_yet_is_still_taken(begin, program, lines):
    """Nobody is ended while it may still say that it has a message, but after its grace."""
    program.tell("slow")
    postern = begin(program=program.wrapper(*lines))
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send(b"text\r\n.\r\n")
    session = program.session()
    wait.until(lambda: session.has_whole_message, "the message at the program")
    one.close()
    os.kill(postern.sole("reactor"), signal.SIGKILL)
    postern.wait_for_record(level="error", msg=re.compile("its sessions are lost"))
    program.tell("go on")
    wait.until(lambda: session.messages == [b"text\r\n"], "the message")
    gone(session.pid)


@pytest.mark.parametrize("ended", ["by itself", "by force"])
def test_delivery_goes_on_when_its_program_has_ended(begin, program, ended):
    """A mail server that has taken a message may leave a process behind that delivers it, as Exim
    does; it belongs to no session."""
    program.tell("deliver")
    postern = begin()
    if ended == "by force":
        program.tell("hang")
    with postern.log_in() as one:
        mail(one)
        one.quit()
    first = program.session()
    wait.until(lambda: first.delivery, "the delivery")
    wait.until(lambda: processes.stat(first.pid) is None, "the end of its program")
    program.tell("hang")
    # What a process of the session would have got by now, as this one gets it.
    with postern.log_in() as two:
        two.quit()
    wait.until(lambda: processes.stat(program.session(1).pid) is None, "the end of the second")
    postern.stop()
    delivery, asked = first.delivery
    assert processes.alive(delivery) and not asked


# too many, and none at all

def test_programs_are_bounded(begin, program):
    postern = begin(program_limit=2)
    wait.until(lambda: program.all and processes.stat(program.all[0].pid) is None,
               "the end of the probe")
    live = [postern.log_in(), postern.log_in(source="127.0.0.10")]
    with postern.connect(source="127.0.0.11") as one:
        one.ehlo()
        refused(one)
    assert len(program.sessions) == 2
    live[0].quit()
    wait.until(lambda: processes.stat(program.session(0).pid) is None, "the end of the first")
    with postern.log_in() as one:
        mail(one)
    live[1].quit()


def test_one_client_takes_no_more_than_half_of_the_programs(begin, program):
    """Nor does his being refused put the program out of service for others."""
    postern = begin(program_limit=4)
    live = [postern.log_in(), postern.log_in()]
    with postern.connect() as one:
        one.ehlo()
        refused(one)
    postern.wait_for_record(event="session refused", cause=re.compile("has its share"))
    with postern.log_in(source="127.0.0.10") as other:
        mail(other)
        other.quit()
    for one in live:
        one.quit()


@needs_root
def test_program_that_its_user_cannot_execute_is_told(begin, program):
    program.path.chmod(0o700)
    postern = begin()
    with postern.connect() as one:
        one.ehlo()
        refused(one)
    postern.wait_for_record(level="error",
                            msg=re.compile("smtpd cannot be executed: Permission denied"))


def test_what_a_program_says_on_standard_error_is_in_the_log(begin, program):
    """Threat 17: a line is one record, whatever stands in it."""
    program.tell("complain")
    postern = begin()
    with postern.log_in():
        pass
    said = postern.wait_for_record(level="warning", event="backend's program says",
                                   text=re.compile("cannot open"))
    assert said["backend"] == "default"
    postern.wait_for_record(event="backend's program says", text="level=error fake=record")
    assert not postern.find_records(fake="record")
    long = postern.wait_for_record(event="backend's program says", text=re.compile("^x+$"))
    assert len(long["text"]) <= 1000


# the configuration

REFUSED = {
    "/nonexistent/smtpd": "cannot be executed: No such file",
    "smtpd -bs": "does not begin with /",
    "/bin/true %{logn}": "there is no %{logn}",
    "/bin/true 'x": "the quote ' is not closed",
    "/bin": "is not a program",
    "/etc/passwd": "cannot be executed: Permission denied",
}


@pytest.mark.parametrize("line", REFUSED)
def test_bad_program_is_refused_before_the_start(start, program, line, certificates):
    postern = start(None, backend={"address": None, "program": program.line(), "user": USER})
    postern.configure(backend={"program": line})
    result = posterns.run("-n", "-c", postern.configuration_path)
    assert result.returncode == 1
    assert re.search(rf"postern\.conf:\d+:\d+: backend: program: .*{re.escape(REFUSED[line])}",
                     result.stderr), result.stderr


@needs_root
@pytest.mark.parametrize("user, why", [("", "must be given"), ("no-such-user", "no such user")])
def test_program_of_root_has_a_user(begin, user, why):
    postern = begin()
    postern.configure(backend={"user": user})
    assert any(why in line for line in postern.reload_refused())
    result = posterns.run("-n", "-c", postern.configuration_path)
    assert result.returncode == 1 and why in result.stderr


TOGETHER = {
    "another way": ({"identity": "xclient"}, {}, 'identity: "xclient" is not for a program'),
    "no program": ({"identity": "program", "program": ""}, {}, "program: must be given"),
    "no login at an mx": ({"program": "/bin/true %{login}"}, {"role": "mx"},
                          "nobody logs in at an mx"),
    "a socket's own address": ({"identity": "transparent", "program": "",
                                "address": "unix:/run/mta"}, {}, "cannot be reached from"),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_what_does_not_fit_together_is_refused(begin, case):
    backend, listen, why = TOGETHER[case]
    postern = begin()
    postern.configure(backend=backend, listen={
        "submission": {"address": "%s:%d" % postern.starttls, **listen}})
    errors = postern.reload_refused()
    assert any(re.search(r"postern\.conf:\d+:\d+: ", each) and why in each for each in errors), errors
    with postern.log_in() as one:
        mail(one)


def test_program_of_an_mx_hears_that_nobody_has_logged_in(begin, program):
    postern = begin(program=program.line("%{address} %{protocol}"), relayclient="")
    postern.configure(listen={"submission": {"address": "%s:%d" % postern.starttls, "role": "mx"}})
    postern.reload()
    with postern.connect(None) as one:
        one.ehlo()
        mail(one)
        session = program.session()
    assert session.arguments == [SOURCE, "esmtp"]
    assert not {"TCPREMOTEINFO", "RELAYCLIENT", "ESMTP_TLS"} & set(session.environment)
