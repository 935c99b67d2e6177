"""`postern setup`: a first configuration, by flags or by asking, that works as it is."""

import os
import pathlib
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile

import pytest

from conftest import needs_root
from support import example, pages, wait
from support import postern as posterns

HOSTNAME = "mail.example.org"
README = pathlib.Path(pages.ROOT, "README.md").read_text()


@pytest.fixture
def target(scratch):
    return scratch / "postern.conf"


@pytest.fixture
def setup(target, backend):
    """setup("--flag", …, answers=None) -> the result; asks nothing without answers."""
    def run(*flags, answers=None, hostname=HOSTNAME, **options):
        words = ["setup", "--output", target]
        if hostname:
            words += ["--hostname", hostname]
        if answers is None:
            words += ["--yes"]
            if "--backend" not in flags:
                words += ["--backend", backend.address]
        else:
            options["input"] = "".join(f"{each}\n" for each in answers)
        return posterns.run(*words, *flags, **options)
    return run


#: /etc, /usr/local/etc or the like, a host's name, and what to run.
_HOST = """
ip link set lo up; hostname "$1" && mount --bind "$2" /etc && mount --bind "$3" "$4" || exit 77
shift 4
exec "$@"
"""


@pytest.fixture
def host(scratch, target):
    """host("--flag", …, name=…, etc_files={file: text}, answers=…) -> the result, on a host of
    the test's own with no mail server."""
    etc, local = scratch / "host/etc", scratch / "host/local"
    default = re.search(r"\(default: (/.*)/postern/postern.conf\)",
                        posterns.run("setup", "-h").stdout)[1]

    def run(*flags, name="mail", etc_files=(), answers=(), output=target, before=()):
        for directory in etc, local / "postern":
            directory.mkdir(parents=True, exist_ok=True)
        for each in ("passwd", "group", "ld.so.cache"):
            shutil.copy(f"/etc/{each}", etc)
        for each, text in {"nsswitch.conf": "hosts: files\n", "hosts": "", **dict(etc_files)}.items():
            (etc / each).write_text(text)
        result = subprocess.run(
            ["unshare", "--uts", "--mount", "--net", "sh", "-c", _HOST, "sh", name, etc, local,
             default, *before, posterns.BINARY, "setup", *(["--output", output] if output else []),
             *flags],
            env={**os.environ, **posterns.SANITIZERS}, text=True, capture_output=True, check=False,
            input="".join(f"{each}\n" for each in answers), timeout=wait.PATIENCE * 3)
        if result.returncode == 77 or "unshare" in result.stderr:
            pytest.skip(f"no namespaces here: {result.stderr}")
        return result
    return run


def succeeded(result, *missing):
    """`missing`: errors that it ends with. The user is the package's to make."""
    errors = [line for line in result.stderr.splitlines() if "error:" in line
              and 'there is no user "postern"' not in line]
    for line, words in zip(errors, missing):
        assert words in line, line
    assert len(errors) == len(missing), result.stderr
    assert result.returncode == (2 if "error:" in result.stderr else 0), result.stderr
    return result.stdout


def failed(result, *words):
    assert result.returncode == 1, result.stdout
    for word in words:
        assert str(word) in result.stderr, result.stderr


def is_good(path):
    """Once there is a user: the package makes one."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as complete:
        complete.write('user = "nobody"\n' + path.read_text())
        complete.flush()
        return posterns.run("-n", "-c", complete.name).returncode == 0


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def next_commands(said):
    return [line[4:] for line in said.split("\nNext\n")[1].splitlines() if line.startswith("    ")]


# what is written

def test_self_signed_pair_is_usable_at_once(setup, target, scratch):
    said = succeeded(setup("--self-signed"))
    assert next_commands(said) == [f"postern -n -c {target}", f"postern -c {target}",
                                   f"postern doctor -c {target}"]
    assert "/postern/postern.conf and not this file" in said
    assert is_good(target)
    assert mode(scratch / "privkey.pem") == 0o600
    assert sorted(path.name for path in scratch.iterdir()) == \
        ["fullchain.pem", "postern.conf", "privkey.pem"]


def test_next_commands_are_the_readmes(host):
    """Where the file is the one that the unit reads."""
    said = host("--yes", "--hostname", HOSTNAME, "--self-signed", output=None).stdout
    assert next_commands(said) == ["postern -n", "systemctl enable --now postern", "postern doctor"]
    assert next_commands(said) == [line[4:] for line in README.split("\n**Start.**")[1].splitlines()
                                   if line.startswith("    ")][:3]
    assert "not this file" not in said


def test_server_starts_with_it_and_clients_that_know_the_certificate_believe_it(
        setup, scratch, start, backend):
    succeeded(setup("--self-signed"))
    front = start(backend, hostname=HOSTNAME,
                  tls={"certificate": scratch / "fullchain.pem", "key": scratch / "privkey.pem"})
    trusting = ssl.create_default_context(cafile=str(scratch / "fullchain.pem"))
    with socket.create_connection(front.implicit) as plain, \
            trusting.wrap_socket(plain, server_hostname=HOSTNAME) as secured:
        assert secured.recv(4).startswith(b"220")


def test_file_itself_starts_a_server_that_delivers(setup, target, scratch, start, pam, backend):
    succeeded(setup("--self-signed"))
    written = target.read_text()
    front = start(backend, example=written)
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
    assert backend.session().identity["LOGIN"] == "alice"


def test_request_names_the_host_and_fits_its_key(setup, scratch, target):
    said = succeeded(setup("--csr"), "cannot read the certificate")
    assert "request.pem" in said and "fullchain.pem" in said
    request = subprocess.run(
        ["openssl", "req", "-in", scratch / "request.pem", "-noout", "-text", "-verify"],
        capture_output=True, text=True, check=True)
    assert "verify OK" in request.stdout + request.stderr
    assert f"DNS:{HOSTNAME}" in request.stdout
    publics = [subprocess.run(["openssl", *words], capture_output=True, check=True).stdout
               for words in (["req", "-in", scratch / "request.pem", "-noout", "-pubkey"],
                             ["pkey", "-in", scratch / "privkey.pem", "-pubout"])]
    assert publics[0] == publics[1]
    assert mode(scratch / "privkey.pem") == 0o600
    assert f'certificate = "{scratch}/fullchain.pem"' in target.read_text()


def test_certificate_of_ones_own_is_pointed_at(setup, target, certificates):
    succeeded(setup("--certificate", certificates.certificate, "--key", certificates.key))
    assert f'"{certificates.certificate}"' in target.read_text()
    assert is_good(target)


def test_certificate_that_cannot_be_used_is_told_before_anything_is_written(setup, target,
                                                                            certificates):
    failed(setup("--certificate", certificates.certificate, "--key", certificates.other_key),
           "does not belong", "nothing was written")
    assert not target.exists()


@pytest.fixture
def certbot(scratch, certificates):
    """A directory as certbot makes it."""
    live = scratch / "letsencrypt" / "live" / HOSTNAME
    live.mkdir(parents=True)
    for name, source in (("fullchain", certificates.certificate), ("privkey", certificates.key)):
        archived = scratch / "letsencrypt" / f"{name}1.pem"
        archived.write_bytes(source.read_bytes())
        archived.chmod(0o600)
        (live / f"{name}.pem").symlink_to(archived)
    return scratch / "letsencrypt"


@pytest.mark.parametrize("given", [".", f"live/{HOSTNAME}"])
def test_directory_of_lets_encrypt_is_used_with_its_hook(setup, target, certbot, given):
    succeeded(setup("--letsencrypt", certbot / given))
    assert f'"{certbot}/live/{HOSTNAME}/fullchain.pem"' in target.read_text()
    assert is_good(target)
    hook = certbot / "renewal-hooks/deploy/postern"
    assert mode(hook) == 0o755
    assert "systemctl reload postern" in hook.read_text()


@needs_root
@pytest.mark.parametrize("user, flags, status", [
    (True, ["--self-signed"], 0),
    (True, ["--csr"], 2),
    (False, ["--self-signed"], 2),
])
def test_it_ends_well_only_where_a_start_would(setup, target, scratch, user, flags, status):
    """What ends with 0 can be started: the same as `postern -n` says."""
    passwd = scratch / "passwd"
    passwd.write_text("root:x:0:0::/root:/bin/sh\n"
                      + "postern:x:990:990::/:/usr/sbin/nologin\n" * user)
    inside = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"',
              passwd, posterns.BINARY]
    words = ["setup", "--yes", "--hostname", HOSTNAME, "--backend", "127.0.0.1:2599",
             "--output", target, *flags]
    for command, expected in (words, status), (["-n", "-c", target], 1 if status else 0):
        result = subprocess.run([*map(str, inside + command)], capture_output=True, text=True,
                                env={**os.environ, **posterns.SANITIZERS}, check=False)
        if "unshare" in result.stderr or "mount" in result.stderr:
            pytest.skip(f"no mount namespace here: {result.stderr}")
        assert result.returncode == expected, result.stdout + result.stderr
        assert ("useradd --system --no-create-home --shell /usr/sbin/nologin postern"
                in result.stderr) == (not user)


def test_hook_that_is_there_stays(setup, certbot):
    hook = certbot / "renewal-hooks/deploy/postern"
    hook.parent.mkdir(parents=True)
    hook.write_text("mine")
    succeeded(setup("--letsencrypt", certbot))
    assert hook.read_text() == "mine"


def test_directory_without_certificate_is_told(setup, scratch, target):
    failed(setup("--letsencrypt", scratch), "fullchain.pem", "certbot")
    assert not target.exists()


def test_relative_path_counts_from_the_root_in_the_file(scratch, backend):
    succeeded(posterns.run("setup", "--yes", "--hostname", HOSTNAME, "--self-signed", "--backend",
                           backend.address, "--output", "here.conf", cwd=scratch))
    assert f'"{scratch}/privkey.pem"' in (scratch / "here.conf").read_text()


# nothing is lost

@pytest.mark.parametrize("name", ["postern.conf", "fullchain.pem", "privkey.pem"])
def test_no_file_is_overwritten(setup, scratch, name):
    (scratch / name).write_text("precious")
    failed(setup("--self-signed"), name, "--force")
    assert [path.name for path in scratch.iterdir()] == [name]
    assert (scratch / name).read_text() == "precious"


def test_link_to_nowhere_is_not_written_through(setup, scratch):
    (scratch / "privkey.pem").symlink_to(scratch / "elsewhere")
    failed(setup("--self-signed"), "privkey.pem")
    assert not (scratch / "elsewhere").exists()


def test_force_replaces(setup, scratch, target):
    key = scratch / "privkey.pem"
    target.write_text("old")
    key.write_text("old")
    key.chmod(0o644)
    succeeded(setup("--self-signed", "--force"))
    assert mode(key) == 0o600
    assert is_good(target)


SAMPLE = pathlib.Path(__file__).parents[2] / "etc/postern.conf"


def test_sample_that_was_installed_is_replaced(setup, target):
    target.write_bytes(SAMPLE.read_bytes())
    succeeded(setup("--self-signed"))
    assert is_good(target)


def test_sample_that_was_edited_stays(setup, target):
    edited = SAMPLE.read_text().replace("#workers = 1", "workers = 1")
    target.write_text(edited)
    failed(setup("--self-signed"), "--force")
    assert target.read_text() == edited


@pytest.mark.parametrize("flags, said", [
    (["--self-signed", "--csr"], "one is possible"),
    (["--certificate", "/x"], "belong together"),
    (["--self-signed", "--backend", "mail.example.org:25"], "--backend"),
    (["--self-signed", "--backend", '127.0.0.1:25"\n'], "--backend"),
    (["--self-signed", "--backend", "127.0.0.1:2525"], "a port of Postern's own"),
    (["--self-signed", "superfluous"], "usage"),
    (["--no-such"], "usage"),
])
def test_wrong_flag_writes_nothing(setup, scratch, flags, said):
    failed(setup(*flags), said)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("name", ["", "two words", 'x"; user = "root', "a\nb", "-a.example.org",
                                  "a" * 300])
def test_name_that_is_none_writes_nothing(setup, scratch, name):
    failed(setup("--self-signed", hostname=None, *["--hostname", name]), "--hostname")
    assert not list(scratch.iterdir())


# asking

def test_everything_can_be_asked_for(setup, target, backend):
    said = succeeded(setup(hostname=None, answers=[HOSTNAME, "3", backend.address]))
    for question in ("Name that clients connect to", "Which", "Address of the mail server"):
        assert question in said
    assert f'hostname = "{HOSTNAME}"' in target.read_text()
    assert f'"{backend.address}"' in target.read_text()
    assert is_good(target)


def test_short_name_of_the_host_is_neither_offered_nor_taken(host):
    """Clients connect to a whole name."""
    failed(host("--yes", "--self-signed", name="short"), "--hostname", '"short"', "say the whole one")
    said = host("--self-signed", name="short", answers=["", HOSTNAME, ""]).stdout
    assert "Name that clients connect to: a full name such as mail.example.org is wanted\n" in said


#: Files of /etc that name the host, and the greeting of its mail server.
@pytest.mark.parametrize("etc_files, greeting", [
    ({"hosts": f"127.0.1.1 {HOSTNAME} mail\n", "mailname": "example.org\n"}, "x.example.org"),
    ({"mailname": f"{HOSTNAME}\n"}, "x.example.org"),
    ({"hosts": "127.0.1.1 localhost.localdomain mail\n", "mailname": f"{HOSTNAME}"}, "x"),
    ({"hosts": "127.0.1.1 mail\n", "mailname": "mail\n"}, HOSTNAME),
    ({"mailname": 'a"; user = "root.example.org\n'}, HOSTNAME),
    ({"mailname": ""}, HOSTNAME),
], ids=["resolver", "mailname", "localhost", "greeting", "no-name", "empty"])
def test_full_name_of_a_host_with_a_short_one_is_offered_and_taken(host, target, etc_files, greeting):
    server = (sys.executable, "-c", ALONE.replace(HOSTNAME, greeting))
    said = host("--self-signed", etc_files=etc_files, before=server, answers=["", ""]).stdout
    assert f"Name that clients connect to [{HOSTNAME}]: " in said
    assert f'hostname = "{HOSTNAME}"' in target.read_text()
    target.unlink()
    host("--yes", "--self-signed", "--force", etc_files=etc_files, before=server)
    assert f'hostname = "{HOSTNAME}"' in target.read_text()


@pytest.mark.parametrize("flags", [[], ["--yes", "--backend", "127.0.0.1:2599"]])
def test_pair_that_is_left_is_offered_and_taken(setup, target, scratch, certificates, backend, flags):
    """As by a package that was purged."""
    for name, source in (("fullchain", certificates.certificate), ("privkey", certificates.key)):
        (scratch / f"{name}.pem").write_bytes(source.read_bytes())
        (scratch / f"{name}.pem").chmod(0o600)
    said = succeeded(setup(*flags, answers=None if flags else ["", "", "", backend.address]))
    if not flags:
        assert "Which [1]: " in said and f"[{scratch}/fullchain.pem]: " in said
    assert f'"{scratch}/privkey.pem"' in target.read_text()
    assert (scratch / "privkey.pem").read_bytes() == certificates.key.read_bytes()


def test_answer_that_is_no_good_is_asked_for_again(setup, target, backend):
    said = succeeded(setup(hostname=None, answers=[
        "two words", HOSTNAME, "5", "3", "nowhere", backend.address]))
    assert "that is not a host's name" in said and "1, 2, 3 or 4" in said
    assert f'hostname = "{HOSTNAME}"' in target.read_text()


def test_files_can_be_asked_for(setup, target, certificates, backend):
    said = succeeded(setup(answers=["1", "/nonexistent.pem", certificates.certificate,
                                    certificates.key, backend.address]))
    assert '"/nonexistent.pem": No such file or directory' in said
    assert f'"{certificates.key}"' in target.read_text()


@pytest.mark.parametrize("answers", [[], [HOSTNAME], [HOSTNAME, "3"]])
def test_answers_that_end_early_write_nothing(setup, scratch, answers):
    failed(setup(hostname=None, answers=answers), "nothing was written")
    assert not list(scratch.iterdir())


# the mail server

def test_postfix_that_is_ready_needs_nothing(setup, target, postfix):
    said = succeeded(setup("--self-signed", "--backend", "%s:%d" % postfix.address))
    assert "Postfix answers at %s:%d" % postfix.address in said
    assert "Nothing: " in said and "postconf" not in said


@pytest.mark.parametrize("greeting, name, settings", [
    ("220 x ESMTP Postfix (Debian/GNU)", "Postfix", []),
    ("220 x ESMTP Sendmail 8.17.1.9/8.17.1.9", "sendmail", ['identity = "trace"']),
    ("220 x ESMTP OpenSMTPD", "OpenSMTPD", ['identity = "proxy-v2"', "trace = true"]),
    ("220 x ESMTP ready", "Postfix", []),
])
def test_server_is_known_by_what_it_says(setup, target, backend, greeting, name, settings):
    backend.on("connect", greeting)
    said = succeeded(setup("--self-signed"))
    assert f"{name} answers at {backend.address}" in said
    assert f"What {name} needs" in said
    for line in settings:
        assert line in target.read_text()
    assert not any("MAIL" in each.verbs for each in backend.connections)


@pytest.mark.parametrize("greeting, configured, wanted", [
    ("220 x ESMTP Exim 4.96", "exim/proxy/exim4.conf", ("local_interfaces", "hosts_proxy",
                                                        "accept condition")),
])
def test_what_a_server_needs_is_what_its_tested_example_has(setup, backend, greeting, configured,
                                                            wanted):
    backend.on("connect", greeting)
    said = succeeded(setup("--self-signed"))
    tested = [line.strip() for line in example.text(configured, {}).splitlines()]
    for word in wanted:
        (line,) = (each.strip() for each in said.splitlines() if each.strip().startswith(word))
        assert line in tested


def test_server_that_nobody_knows_is_not_guessed(setup, target, backend):
    backend.attributes = None
    assert "A mail server answers" in succeeded(setup("--self-signed"))


def test_silent_server_does_not_hold_it_up(setup):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = succeeded(setup("--self-signed", "--backend",
                               "127.0.0.1:%d" % silent.getsockname()[1]))
    assert "No mail server answers" in said


ALONE = """
import socket, subprocess, sys, threading
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listener = socket.socket()
listener.bind(("127.0.0.1", 26))
listener.listen()
def serve():
    while True:
        one, _ = listener.accept()
        one.sendall(b"220 mail.example.org ESMTP Exim 4.96\\r\\n")
        one.recv(100)
        one.sendall(b"250 x\\r\\n")
        one.recv(100)
        one.close()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""


@needs_root
def test_server_is_found_by_its_port(target):
    """In a network of its own, where nobody else's servers are."""
    result = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", ALONE, posterns.BINARY, "setup", "--yes", "--hostname", HOSTNAME, "--self-signed",
         "--output", str(target)],
        env={**posterns.SANITIZERS, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True, text=True, timeout=wait.PATIENCE * 3, check=False)
    assert "Exim answers at 127.0.0.1:26" in succeeded(result)


#: Another server's listener, at the port given, as long as the command runs.
_TAKEN = """
import socket, subprocess, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


@needs_root
def test_port_that_another_server_has_is_told_before_a_start_fails(host):
    taken = host("--yes", "--hostname", HOSTNAME, "--self-signed",
                 before=(sys.executable, "-c", _TAKEN, "587"))
    said = succeeded(taken, "[::]:587 is taken by python")
    assert 'listen "submission": address: ' in taken.stderr
    assert "(process " in taken.stderr and "or give it another port" in taken.stderr
    assert "Mend the errors above, without which there is no start" in said


@needs_root
def test_port_that_no_listener_uses_may_be_taken(host):
    free = host("--yes", "--hostname", HOSTNAME, "--self-signed",
                before=(sys.executable, "-c", _TAKEN, "588"))
    succeeded(free)
    assert "is taken by" not in free.stderr
