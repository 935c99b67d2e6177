"""Starting: what is checked before anything is served, and what the processes are allowed."""

import os
import pathlib
import pwd
import re
import resource
import signal
import socket
import subprocess
import sys

import pytest

from conftest import needs_root
from support import client, processes, wait
from support import postern as posterns
from support.postern import Word

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def settings(certificates, pam):
    """Good ones, which a test spoils."""
    return {
        "hostname": "mail.example.org",
        "user": "nobody",
        "tls": {"certificate": certificates.certificate, "key": certificates.key},
        "listen": {"submission": {"address": f"127.0.0.1:{wait.free_port()}"}},
        "auth": {"pam_service": "users", "pam_confdir": pam.directory},
    }


def where(path, key, section=""):
    """The beginning of a message about a key: a pattern of the file, its line and column."""
    inside, found = "", None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if words[-1] == "{":
            inside = " ".join(words[:-1])
        elif words == ["}"]:
            inside = ""
        elif words[0] == key and inside == section:
            found = f"{number}:{line.index(key) + 1}"
    assert found, f"{key} is not in the file"
    return ": ".join(filter(None, [re.escape(f"{path}:{found}"), re.escape(section), key])) + ": "


def check(scratch, settings, *arguments):
    path = scratch / "postern.conf"
    path.write_text(settings if isinstance(settings, str) else posterns.configuration(settings))
    return path, posterns.run("-c", path, *(arguments or ("-n",)))


# the command line

def test_good_configuration_is_called_good(scratch, settings):
    path, result = check(scratch, settings)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{path}: good\n"


def test_long_options_do_the_same(scratch, settings):
    path, _ = check(scratch, settings)
    assert posterns.run(f"--config={path}", "--check").returncode == 0
    assert posterns.run("--version").stdout == posterns.run("-V").stdout
    assert posterns.run("--help").stdout == posterns.run("-h").stdout


def test_version_and_help_say_what_they_are_for():
    version, usage = posterns.run("-V"), posterns.run("-h")
    assert version.returncode == usage.returncode == 0
    assert re.match(r"postern \d+\.\d+\.\d+ ", version.stdout)
    for option in ("-c", "--config", "-n", "--check", "-V", "-h", "/postern/postern.conf"):
        assert option in usage.stdout


@pytest.mark.parametrize("arguments", [["-x"], ["--no-such"], ["-c"], ["superfluous"]])
def test_wrong_option_is_not_ignored(arguments):
    result = posterns.run(*arguments)
    assert result.returncode == 1
    assert "usage: postern" in result.stderr
    result = posterns.run("frobnicate")
    assert result.returncode == 1 and 'there is no command "frobnicate"' in result.stderr


def test_checking_opens_no_port(scratch, settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings["listen"]["submission"]["address"] = "127.0.0.1:%d" % taken.getsockname()[1]
        assert check(scratch, settings)[1].returncode == 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("addresses", [("*", "0.0.0.0"), ("0.0.0.0", "*"), ("*", "127.0.0.1"),
                                       ("[::1]", "[::]"), ("0.0.0.0", "127.0.0.1")])
def test_listener_that_takes_anothers_connections_is_told_by_the_check(scratch, settings, addresses):
    """Such a pair cannot be bound: the check says what the start would."""
    port = wait.free_port()
    settings["listen"] = {name: {"address": f"{address}:{port}"}
                          for name, address in zip(("first", "second"), addresses)}
    path, result = check(scratch, settings)
    place = where(path, "address", 'listen "second"')
    assert result.returncode == 1
    line, = result.stderr.splitlines()
    assert re.match(f"postern: error: {place}"
                    f'"{re.escape(addresses[1])}:{port}" cannot be bound beside '
                    f'"{re.escape(addresses[0])}:{port}" of listen "first"', line)
    result = posterns.run("-c", path)
    assert result.returncode == 1
    assert re.search(f"{place}cannot listen on .*: Address already in use", result.stderr)


def test_port_that_is_taken_is_told_with_what_finds_its_owner(scratch, settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        settings["listen"]["submission"]["address"] = address
        path, _ = check(scratch, settings)
        result = posterns.run("-c", path)
    assert result.returncode == 1
    assert (f"cannot listen on {address}: Address already in use: "
            '"postern doctor" says which process has it\n') in result.stderr


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("addresses", [("127.0.0.1", "[::1]"), ("0.0.0.0", "[::1]"),
                                       ("127.0.0.1", "127.0.0.2")])
def test_listeners_beside_each_other_are_good(scratch, settings, addresses):
    port = wait.free_port()
    settings["listen"] = {address: {"address": f"{address}:{port}"} for address in addresses}
    _, result = check(scratch, settings)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_sockets_that_are_there_beside_each_other_are_no_fault(scratch, settings):
    """systemd has made them, each for one family, and passes them at the start."""
    with _ipv6_only() as six, socket.socket() as four:
        port = six.getsockname()[1]
        four.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        four.bind(("0.0.0.0", port))
        four.listen()
        settings["listen"] = {"four": {"address": f"0.0.0.0:{port}"}, "six": {"address": f"*:{port}"}}
        _, result = check(scratch, settings)
        assert (result.returncode, result.stderr) == (0, "")


# the file

def test_missing_file_is_named(scratch):
    result = posterns.run("-c", scratch / "nowhere.conf", "-n")
    assert result.returncode == 1
    assert f"{scratch}/nowhere.conf" in result.stderr


@pytest.mark.parametrize("section, key, value, said", [
    ("", "hostnam", "x", "hostnam"),
    ("tls", "cert", "x", "cert"),
    ("", "workers", 0, "workers"),
    ("", "workers", Word("many"), "workers"),
    ("", "bare_newline", "ignore", "bare_newline"),
    ("", "hostname", "two words", "hostname"),
    ("tls", "minimum", "1.1", "minimum"),
    ("auth", "mechanisms", ["PLAIN", "CRAM-MD5"], "CRAM-MD5"),
    ("auth", "pam_service", "../shadow", "pam_service"),
    ("auth", "timeout", -1, "timeout"),
    ("auth", "legacy_ehlo", Word("perhaps"), "legacy_ehlo"),
    ("backend", "address", "mail.example.org:25", "address"),
    ("backend", "address", "127.0.0.1:99999", "address"),
    ("backend", "address", "*:25", "address"),
    ("backend", "identity", "proxy", "identity"),
    ("backend", "identity_required", ["ADDR", "SHOESIZE"], "SHOESIZE"),
    ("limits", "connections", 0, "connections"),
    ("timeouts", "login", "soon", "login"),
    ("log", "destination", "paper", "destination"),
])
def test_every_mistake_is_told_with_file_line_and_key(scratch, settings, section, key, value, said):
    changes = {section: {key: value}} if section else {key: value}
    text = posterns.configuration(posterns.merge(settings, changes))
    path, result = check(scratch, text)
    assert result.returncode == 1, "it was accepted"
    wanted = next(number for number, line in enumerate(text.splitlines(), 1)
                  if line.split("=")[0].strip() == key and posterns._value(value) in line)
    assert re.search(rf"{re.escape(str(path))}:{wanted}:\d+: .*{re.escape(said)}", result.stderr), \
        result.stderr


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_what_must_be_given_is_missed(scratch, settings, missing):
    del settings["tls"][missing]
    _, result = check(scratch, settings)
    assert result.returncode == 1
    assert missing in result.stderr


def test_unfinished_file_is_an_error(scratch, settings):
    text = posterns.configuration(settings)
    path, result = check(scratch, text[:text.rindex("}")])
    assert result.returncode == 1
    assert str(path) in result.stderr


def test_all_mistakes_are_told_at_once(scratch, settings):
    settings["workers"] = 0
    settings["log"] = {"level": "loud"}
    _, result = check(scratch, settings)
    assert "workers" in result.stderr and "level" in result.stderr


def test_bad_configuration_starts_nothing(scratch, settings):
    settings["workers"] = 0
    _, result = check(scratch, settings, "-c", scratch / "postern.conf")
    assert result.returncode == 1
    port = int(settings["listen"]["submission"]["address"].rpartition(":")[2])
    assert not wait.port_answers(("127.0.0.1", port))


def test_sample_configuration_is_good(scratch, certificates):
    sample = (ROOT / "etc/postern.conf").read_text()
    sample = re.sub(r'certificate = ".*"', f'certificate = "{certificates.certificate}"', sample)
    sample = re.sub(r'\bkey = ".*"', f'key = "{certificates.key}"', sample)
    sample = 'user = "nobody"\n' + sample
    _, result = check(scratch, sample)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("names", [None, ["two"]])
def test_backend_that_no_listener_uses_is_a_warning(scratch, settings, names):
    """Its postmaster believes that mail goes there; a listener that names none has the first."""
    settings["backend"] = {"one": {"address": "127.0.0.1:2501"}, "two": {"address": "127.0.0.1:2502"}}
    if names:
        settings["listen"]["submission"]["backend"] = names
    unused = "one" if names else "two"
    path, result = check(scratch, settings)
    line = path.read_text().splitlines().index(f'backend "{unused}" {{') + 1
    assert result.returncode == 0
    assert re.fullmatch(rf'postern: warning: {re.escape(str(path))}:{line}:1: backend "{unused}": '
                        r'no listener uses it.*\n', result.stderr)
    settings["listen"]["submission"]["backend"] = ["one", "two"]
    assert check(scratch, settings)[1].stderr == ""


def test_backend_whose_programs_one_stranger_could_hold_is_a_warning(scratch, settings):
    """Threat 42: a share of sessions that is no less than all of its programs."""
    settings["listen"]["mx"] = {"address": f"127.0.0.1:{wait.free_port()}", "role": "mx",
                                "recipients": ["example.org"]}
    settings["backend"] = {"program": "/bin/cat", "user": "nobody", "program_limit": 20}
    result = check(scratch, settings)[1]
    assert result.returncode == 0 and "program_limit: a single address" in result.stderr
    settings["limits"] = {"mx_sessions_per_address": 0}
    assert "program_limit: a single address" in check(scratch, settings)[1].stderr
    settings["limits"] = {"mx_sessions_per_address": 19}
    assert check(scratch, settings)[1].stderr == ""


# files that are included

def test_included_files_belong_to_what_is_served_and_reloaded(start, backend):
    postern = start(backend)
    directory = postern.directory / "conf.d"
    directory.mkdir()
    port = wait.free_port()
    more = directory / "more.conf"
    more.write_text(f'listen "more" {{\n  address = "127.0.0.1:{port}"\n}}\n')
    text = postern.configuration_path.read_text()
    postern.write_configuration(text + 'include "conf.d/*.conf"\n')
    postern.reload()
    assert wait.port_answers(("127.0.0.1", port))
    more.write_text("\nworkers = many\n")
    assert postern.reload_refused()[0] == \
        f'{more}:2:11: workers: "many" is not a whole number'
    assert wait.port_answers(("127.0.0.1", port))
    more.unlink()
    postern.reload()
    wait.until(lambda: not wait.port_answers(("127.0.0.1", port)), "the end of its listener")


def test_time_may_have_a_unit(scratch, settings):
    settings["timeouts"] = {"idle": Word("10m"), "reload": Word("1d")}
    assert check(scratch, settings)[1].returncode == 0
    settings["timeouts"]["idle"] = Word("25h")
    assert "timeouts: idle: 25h is not from 1 to 86400 seconds" in check(scratch, settings)[1].stderr


# certificate and key

@pytest.mark.parametrize("attribute, option, said", [
    ("other_key", "key", "does not belong to the certificate"),
    ("readable_key", "key", "can be read by others"),
    ("private_certificate", "key", "no usable private key"),
    ("key", "certificate", "no usable certificate"),
    ("directory", "key", "not a regular file"),
])
@pytest.mark.parametrize("only_check", [True, False])
def test_certificate_that_cannot_be_used_is_told_in_words(scratch, settings, certificates,
                                                          attribute, option, said, only_check):
    settings["tls"][option] = getattr(certificates, attribute)
    arguments = ["-n"] if only_check else ["-c", scratch / "postern.conf"]
    path, result = check(scratch, settings, *arguments)
    assert result.returncode == 1
    assert re.search(where(path, option, "tls") + rf"{settings['tls'][option]}: .*{said}",
                     result.stderr), result.stderr


@pytest.mark.parametrize("attribute, said", [("expired_certificate", "expired"),
                                             ("future_certificate", "not valid yet")])
def test_certificate_at_another_time_is_a_warning(scratch, settings, certificates, attribute, said):
    """Clients decide, and this machine's clock may be wrong."""
    settings["tls"]["certificate"] = getattr(certificates, attribute)
    _, result = check(scratch, settings)
    assert result.returncode == 0 and "warning" in result.stderr
    assert said in result.stderr and str(settings["tls"]["certificate"]) in result.stderr


@pytest.mark.parametrize("option", ["certificate", "key"])
def test_missing_certificate_or_key_is_named(scratch, settings, option):
    settings["tls"][option] = scratch / "nowhere.pem"
    path, result = check(scratch, settings)
    assert result.returncode == 1
    assert re.search(where(path, option, "tls") + f"{scratch}/nowhere.pem: .*No such file",
                     result.stderr), result.stderr


def test_certificate_and_key_that_are_swapped_are_called_so(scratch, settings):
    tls = settings["tls"]
    tls["certificate"], tls["key"] = tls["key"], tls["certificate"]
    path, result = check(scratch, settings)
    assert result.returncode == 1
    line, = result.stderr.splitlines()
    assert re.fullmatch("postern: error: " + where(path, "certificate", "tls") +
                        f"{tls['certificate']}: no usable certificate in it, but a private key: "
                        "are the two files swapped\\?", line), line
    tls["certificate"] = tls["key"]
    path, result = check(scratch, settings)
    assert re.search(where(path, "key", "tls") + f"{tls['key']}: no usable private key in it, but "
                     "a certificate", result.stderr), result.stderr


@pytest.mark.parametrize("key, value", [("ciphers", "NO-SUCH"), ("ciphersuites", "NO-SUCH"),
                                        ("groups", "NO-SUCH")])
def test_cipher_that_does_not_exist_is_named_with_its_place(scratch, settings, key, value):
    settings["tls"][key] = value
    path, result = check(scratch, settings)
    assert result.returncode == 1
    assert re.search(where(path, key, "tls") + f'OpenSSL does not accept "{value}"',
                     result.stderr), result.stderr


def test_warning_about_a_certificate_names_its_place(scratch, settings):
    settings["hostname"] = "elsewhere.example"
    path, result = check(scratch, settings)
    assert result.returncode == 0
    assert re.search("warning: " + where(path, "certificate", "tls") +
                     ".* does not name elsewhere.example", result.stderr), result.stderr


@pytest.mark.parametrize("name, key, changes", [
    ('certificate "b"', "key", {"certificate": {"b": {"certificate": "{certificate}",
                                                      "key": "/nowhere"}}}),
    ("tls", "ticket_secret", {"tls": {"ticket_secret": "/nowhere"}}),
    ('listen "submission"', "client_ca", {"listen": {"client_certificates": "require",
                                                     "client_ca": "/nowhere"}}),
    ('listen "submission"', "client_crl",
     {"listen": {"client_certificates": "require", "client_ca": "{certificate}",
                 "client_crl": "/nowhere"}}),
    ("backend", "ca", {"backend": {"tls": "implicit", "ca": "/nowhere"}}),
])
def test_file_that_cannot_be_read_is_named_with_its_place(scratch, settings, certificates, name,
                                                          key, changes):
    for section, keys in changes.items():
        keys = {each: str(value).format(certificate=certificates.certificate)
                if isinstance(value, str) else
                {one: text.format(certificate=certificates.certificate)
                 for one, text in value.items()} for each, value in keys.items()}
        if section == "listen":
            settings["listen"]["submission"].update(keys)
        else:
            settings.setdefault(section, {}).update(keys)
    path, result = check(scratch, settings)
    assert result.returncode == (0 if name == 'certificate "b"' else 1)  # the others serve on
    assert re.search(where(path, key, name) + "/nowhere: .*No such file", result.stderr), \
        result.stderr


def test_certificate_of_another_host_is_a_warning(scratch, settings):
    settings["hostname"] = "other.example.org"
    _, result = check(scratch, settings)
    assert result.returncode == 0
    assert "warning" in result.stderr and "other.example.org" in result.stderr


# the ports

def test_port_that_is_taken_stops_the_start(scratch, settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        settings["listen"]["submission"]["address"] = address
        _, result = check(scratch, settings, "-c", scratch / "postern.conf")
    assert result.returncode == 1
    assert address in result.stderr and "submission" in result.stderr


_TAKE_SOCKETS = """
import os, sys
for number, descriptor in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sys.argv[1].split(","))))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def passing(start, backend):
    """passing(socket, …) -> a Postern that has got the sockets from a supervisor."""
    if "libsystemd: yes" not in posterns.run("-V").stdout:
        pytest.skip("built without libsystemd")

    def run(*sockets, **settings):
        # Above all that dup2() will overwrite.
        descriptors = [os.dup(each.fileno()) for each in sockets]
        postern = start(backend, pass_fds=descriptors, command=[
            sys.executable, "-c", _TAKE_SOCKETS, ",".join(map(str, descriptors))], **settings)
        for each in sockets:
            each.close()
        for each in descriptors:
            os.close(each)
        return postern
    return run


def greet(address):
    with client.Client(address) as one:
        one.greeting()
        one.quit()


def test_sockets_of_the_supervisor_are_served(passing):
    """Also one that nobody unprivileged could bind."""
    passed, address = posterns.listening_socket()
    postern = passing(passed, listen={"submission": {"address": "%s:%d" % address}})
    greet(address)
    postern.reload()
    greet(address)


@pytest.mark.parametrize("name", ["*", "[::]"])
def test_socket_for_all_addresses_of_ipv4_serves_all(passing, name):
    """It is what a socket unit makes of a port where IPv6 is switched off."""
    passed, (_, port) = posterns.listening_socket("0.0.0.0")
    postern = passing(passed, workers=2, listen={"submission": {"address": f"{name}:{port}"}})
    for _ in range(2):
        greet(("127.0.0.1", port))
        postern.reload()
    assert not postern.find_records(msg=re.compile("not in the configuration"))
    taken = postern.find_records(level="warning", msg=re.compile(rf'^listen "submission": the socket '
                                 rf"on {re.escape(name)}:{port} that was passed here takes IPv4 only"))
    assert bool(taken) == socket.has_dualstack_ipv6()
    own = f"127.0.0.1:{wait.free_port()}"
    postern.configure(listen={"submission": {"address": own}})
    postern.reload()
    postern.wait_for_record(level="warning", msg=re.compile("not in the configuration: closed"))
    wait.until(lambda: not wait.port_answers(("127.0.0.1", port)), "the end of the socket")


def _ipv6_only():
    made = socket.socket(socket.AF_INET6)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("::", 0))
    made.listen()
    return made


def _udp():
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind(("::", 0))
    return made


def _silent():
    made = socket.socket(socket.AF_INET6)
    made.bind(("::", 0))
    return made


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("make, said", [
    (_ipv6_only, "takes IPv6 only (a socket unit needs BindIPv6Only=both)"),
    (_udp, "is not for TCP (a socket unit needs ListenStream)"),
    (_silent, "does not listen (a socket unit needs Accept=no)"),
])
def test_passed_socket_that_would_leave_clients_out_stops_the_start(passing, make, said):
    passed = make()
    address = f"*:{passed.getsockname()[1]}"
    postern = passing(passed, ready=False, listen={"submission": {"address": address}})
    assert postern.wait() == 1
    postern.abandon()
    assert f'listen "submission": the socket on {address} that was passed here {said}' \
        in postern.output()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_sockets_for_each_family_are_served_where_both_are_named(passing):
    six = _ipv6_only()
    port = six.getsockname()[1]
    four = socket.socket()
    four.bind(("0.0.0.0", port))
    four.listen()
    passing(six, four, listen={"six": {"address": f"[::]:{port}"},
                               "four": {"address": f"0.0.0.0:{port}"}})
    greet(("127.0.0.1", port))
    greet(("::1", port))


def test_supervisor_is_told_of_start_reload_and_stop(start, backend, scratch):
    if "libsystemd: yes" not in posterns.run("-V").stdout:
        pytest.skip("built without libsystemd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(scratch / "notify"))
        notified.settimeout(wait.PATIENCE)

        def told(what):
            while True:
                if what in notified.recv(4096).decode().splitlines():
                    return

        postern = start(backend, environment={"NOTIFY_SOCKET": str(scratch / "notify")})
        told("READY=1")
        postern.signal(signal.SIGHUP)
        told("RELOADING=1")
        told("READY=1")
        postern.stop()
        told("STOPPING=1")


# privileges

@needs_root
def test_reactor_has_no_rights_and_an_empty_root(postern):
    reactor = postern.sole("reactor")
    nobody = "\t".join([str(pwd.getpwnam("nobody").pw_uid)] * 4)
    assert processes.status(reactor, "Uid") == nobody
    assert processes.status(reactor, "Groups") == ""
    assert processes.status(reactor, "NoNewPrivs") == "1"
    assert int(processes.status(reactor, "CapEff"), 16) == 0
    assert int(processes.status(reactor, "CapPrm"), 16) == 0
    assert os.listdir(f"/proc/{reactor}/root/") == []


#: All file systems below "$1" are read-only for the program that follows, but for "$2".
_READ_ONLY_ROOT = """
mount --make-rprivate / 2>/dev/null || :
mount --rbind / "$1" && mount --bind "$2" "$1/$2" && mount -o remount,ro,bind "$1" || exit
grep -q " /tmp " /proc/self/mountinfo && { mount -o remount,ro,bind "$1/tmp" || exit; }
root=$1
shift 2
exec chroot "$root" "$@"
"""


@needs_root
def test_read_only_root_is_served_from(start, backend, scratch):
    """As in a container that is started with one; the reactor sees nothing of it."""
    (scratch / "root").mkdir()
    (scratch / "own").mkdir()
    postern = start(backend, admin={"socket": scratch / "own/control"}, command=[
        "unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _READ_ONLY_ROOT, "sh",
        scratch / "root", scratch / "own"])
    for _ in range(2):
        reactor = postern.sole("reactor")
        root = pathlib.Path(f"/proc/{reactor}/root")
        assert not any(os.path.exists(root / name) for name in ("etc", "proc", "tmp", "0"))
        with pytest.raises(OSError):
            (root / "made").touch()
        with postern.log_in() as one:
            one.quit()
        postern.reload()
        wait.until(lambda reactor=reactor: postern.pids("reactor") not in ([reactor], []),
                   "another reactor")
    assert not postern.find_records(level="warning", msg=re.compile("empty root"))


#: chroot(2) is refused to the program that follows and its children: prctl(PR_SET_SECCOMP) with
#: a filter that loads the call's number and compares it.
_NO_CHROOT = """
import ctypes, os, struct, sys
number = {"x86_64": 161, "aarch64": 51}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)]
program = b"".join(struct.pack("HBBI", *each) for each in code)
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
assert ctypes.CDLL(None).prctl(22, 2, ctypes.c_char_p(filter), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@needs_root
@pytest.mark.skipif("libseccomp: yes" not in posterns.run("-V").stdout,
                    reason="built without libseccomp")
def test_reactor_without_an_empty_root_serves_under_its_filter_and_says_so(start, backend):
    postern = start(backend, command=[sys.executable, "-c", _NO_CHROOT])
    postern.wait_for_record(level="warning", process="reactor",
                            msg=re.compile("^no empty root can be had: .*Operation not permitted"))
    assert processes.status(postern.sole("reactor"), "Seccomp") == "2"
    with postern.log_in() as one:
        one.quit()


@needs_root
@pytest.mark.skipif("libseccomp: yes" not in posterns.run("-V").stdout,
                    reason="built without libseccomp")
def test_reactor_may_call_the_kernel_for_little(postern):
    assert processes.status(postern.sole("reactor"), "Seccomp") == "2"


@needs_root
def test_no_process_leaves_a_core_file(postern):
    for pid in (postern.pid, *postern.pids("reactor"), *postern.team("auth worker", 2)):
        limits = pathlib.Path(f"/proc/{pid}/limits")
        wait.until(lambda limits=limits: re.search(r"Max core file size\s+0\s+0\s",
                                                   limits.read_text()), processes.title(pid))


@needs_root
def test_memory_of_the_reactor_is_closed_to_its_own_user(postern):
    """What is not dumpable belongs to root in /proc, whoever runs it."""
    reactor = postern.sole("reactor")
    assert os.stat(f"/proc/{reactor}/mem").st_uid == 0


def test_descriptors_are_raised_to_the_hard_limit(postern):
    reactor = postern.sole("reactor")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = pathlib.Path(f"/proc/{reactor}/limits").read_text()
    assert re.search(rf"Max open files\s+{hard}\s+{hard}\s", limits)


def test_processes_say_what_they_are(postern):
    assert processes.title(postern.pid) == "postern: master"
    postern.sole("reactor")
    postern.team("auth worker", 2)


# what the host must have

USERADD = (" on this system; make one with: useradd --system --no-create-home --shell "
           "/usr/sbin/nologin no-such-user")


@needs_root
@pytest.mark.parametrize("changes, said", [
    ({"user": "no-such-user"}, f'there is no user "no-such-user"{USERADD}'),
    ({"user": "root"}, '"root" is root'),
    ({"auth": {"user": "no-such-user"}}, f'there is no user "no-such-user"{USERADD}'),
    ({"log": {"destination": "file", "file": "/nowhere/log"}},
     "/nowhere/log cannot be opened: No such file or directory"),
    ({"log": {"destination": "file", "file": "/tmp"}},
     "/tmp cannot be opened: Is a directory"),
])
@pytest.mark.parametrize("only_check", [True, False])
def test_what_the_host_lacks_is_told_in_one_line(scratch, settings, changes, said, only_check):
    arguments = ["-n"] if only_check else ["-c", scratch / "postern.conf"]
    path, result = check(scratch, posterns.merge(settings, changes), *arguments)
    assert result.returncode == 1 and not result.stdout
    line, = result.stderr.splitlines()
    (section, value), = changes.items()
    place = where(path, [*value][-1], section) if isinstance(value, dict) else where(path, section)
    assert re.match(f"postern: error: {place}{said}", line), line


@needs_root
def test_who_may_not_change_users_is_told_of_one_that_is_not_there(scratch, settings,
                                                                   certificates):
    """The check is made by one, and the start perhaps by root."""
    settings["tls"]["certificate"], settings["tls"]["key"] = certificates.install("good", scratch)
    settings["user"] = "no-such-user"
    for path in settings["tls"].values():
        os.chown(path, 65534, 65534)
    binary = posterns.for_everybody(posterns.BINARY, scratch)
    path, _ = check(scratch, settings)
    result = subprocess.run([binary, "-c", path, "-n"], user=65534, group=65534, extra_groups=[],
                            env={**os.environ, **posterns.SANITIZERS}, text=True,
                            capture_output=True, timeout=wait.PATIENCE, check=False)
    assert result.returncode == 0, result.stderr
    assert f'warning: {path}:2:1: user: there is no user "no-such-user"' in result.stderr


@pytest.mark.parametrize("make, said", [
    (lambda path: None, "cannot be made: there is no directory "),
    (lambda path: (path.parent.mkdir(parents=True), path.write_text("")),
     "is there, and is no socket"),
])
def test_admin_socket_that_cannot_be_made_is_told_by_the_check(scratch, settings, make, said):
    """The start would end with it."""
    place = scratch / "one/two/control"
    settings["admin"] = {"socket": place, "group": ""}
    make(place)
    path, result = check(scratch, settings)
    assert result.returncode == 1
    line, = result.stderr.splitlines()
    assert re.match(f"postern: error: {where(path, 'socket', 'admin')}{place} {said}", line)
    assert posterns.run("-c", path).returncode == 1
    settings["admin"]["socket"] = scratch / "new/control"
    assert check(scratch, settings)[1].returncode == 0
    assert not (scratch / "new").exists()


def test_checking_makes_no_log_file(scratch, settings):
    settings["log"] = {"destination": "file", "file": scratch / "postern.log"}
    _, result = check(scratch, settings)
    assert result.returncode == 0, result.stderr
    assert not (scratch / "postern.log").exists()


def test_pam_service_that_is_not_there_is_a_warning(scratch, settings):
    """Nobody can log in until it is there, but mail from other servers may come."""
    settings["auth"]["pam_service"] = "no-such-service"
    path, result = check(scratch, settings)
    assert result.returncode == 0
    line, = result.stderr.splitlines()
    place = where(path, "pam_service", "auth")
    assert re.match(rf'postern: warning: {place}PAM service "no-such-service": no readable file of that '
                    rf'name in {settings["auth"]["pam_confdir"]}', line)


def test_pam_module_that_cannot_be_loaded_is_a_warning(scratch, settings, pam):
    """It is not found out by the first who logs in."""
    settings["auth"]["pam_service"] = "broken"
    path, result = check(scratch, settings)
    assert result.returncode == 0
    line, = result.stderr.splitlines()
    assert re.match(f"postern: warning: {where(path, 'pam_service', 'auth')}no_such_module.so: "
                    ".*cannot open shared object file", line), line
    pam.service("gappy", "-auth optional no_such_module.so", "auth required pam_permit.so",
                "account required pam_permit.so")
    settings["auth"]["pam_service"] = "gappy"
    assert check(scratch, settings)[1].stderr == ""


def test_pam_module_that_cannot_be_loaded_is_a_warning_at_each_start(start, backend, pam):
    postern = start(backend, auth={"pam_service": "broken"})
    word = re.compile(r"auth: pam_service: no_such_module\.so: ")
    line, = [each for each in postern.output().splitlines() if word.search(each)]
    assert "warning" in line
    postern.reload()
    postern.wait_for_record(level="warning", msg=word)
    assert "postern: PAM modules" not in map(processes.title, processes.children(postern.pid))


def test_module_that_hangs_while_it_is_loaded_holds_up_no_start_for_ever(start, backend, pam, scratch):
    source, module = scratch / "stuck.c", scratch / "stuck.so"
    source.write_text("#include <unistd.h>\n"
                      "__attribute__((constructor)) static void begin(void) { for (;;) pause(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", module, source], check=True)
    pam.service("stuck_module", f"auth required {module}", "account required pam_permit.so")
    postern = start(backend, auth={"pam_service": "stuck_module"})
    postern.kill()
    postern.abandon()


@pytest.mark.parametrize("changes", [{"auth": {"mechanisms": ["EXTERNAL"]}}, {"role": "mx"}])
def test_pam_service_that_nobody_needs_is_not_missed(scratch, settings, certificates, changes):
    settings["auth"]["pam_service"] = "no-such-service"
    listen = settings["listen"]["submission"]
    if "auth" in changes:
        settings["auth"].update(changes["auth"])
        listen.update(client_certificates="require", client_ca=certificates.certificate,
                      external="cn")
    else:
        listen.update(changes)
    _, result = check(scratch, settings)
    assert (result.returncode, result.stderr) == (0, "")


@needs_root
def test_reload_for_a_user_who_is_not_there_changes_nothing(start, backend):
    postern = start(backend)
    reactors = postern.team("reactor", 1)
    postern.configure(user="no-such-user")
    assert re.fullmatch(where(postern.configuration_path, "user") +
                        f'there is no user "no-such-user"{USERADD}',
                        *postern.reload_refused()[:-1])
    assert postern.pids("reactor") == reactors


@needs_root
def test_works_without_root_and_says_so(start, backend, certificates, scratch):
    certificate, key = certificates.install("good", scratch)
    for path in (certificate, key):
        os.chown(path, 65534, 65534)
    postern = start(backend, tls={"certificate": certificate, "key": key}, timeouts={"drain": 1},
                    admin=None,  # the default place, which takes root
                    command=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"])
    postern.wait_for_record(level="warning", msg=re.compile("not started as root"))
    with postern.log_in() as one:
        one.quit()
    assert backend.session().identity["LOGIN"] == "alice"
    for pid in (postern.pid, *postern.pids("reactor"), *postern.team("auth worker", 2)):
        # A worker has its name before it has run its first line.
        wait.until(lambda pid=pid: os.stat(f"/proc/{pid}/mem").st_uid == 0,
                   f"{processes.title(pid)} can be read")
