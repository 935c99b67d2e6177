"""What the pages tell people to type does what they say: every command of README, guides, examples
and manual pages is run by a test, as it stands there but for places that are a test's own; or it is
said here why it cannot be."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from conftest import needs_root
from support import control, namespace, newcomer, postern as posterns, promtool, typed, wait
from support.redis import Redis

ROOT = typed.ROOT
BUILD = posterns.BINARY.rpartition("/")[0]


class No(str):
    """Why no test runs it."""


#: Everything that a build can use.
PACKAGES = ("apt-get install build-essential meson pkg-config libevent-dev libssl-dev libpam0g-dev "
            "libsystemd-dev libseccomp-dev libhiredis-dev")

#: What a package needs beyond that.
PACKAGING = "apt-get install debhelper dh-apparmor libcmocka-dev libpam-wrapper"

#: The test that runs it.
RUNNERS = {
    "apt install": "test_it_says_why_it_does_not_start_yet",
    PACKAGES: "test_packages_are_those_of_the_quick_start",
    PACKAGING: "test_readme_names_what_the_package_needs",
    "apt-get install libsasl2-modules": "test_threat_43_port_25_is_as_it_was",
    "cat > /etc/letsencrypt/renewal-hooks/deploy/postern <<'END'":
        "test_renewal_hook_reloads_postern",
    "cat /usr/share/doc/postern/examples/qmail/apparmor >>/etc/apparmor.d/local/postern":
        No("Debian has no qmail-smtpd"),
    "certbot --key-type rsa": No("takes an authority, and a name in the DNS"),
    "chmod 600 /etc/postern/ticket-secret": "test_ticket_secret_is_made_as_the_page_says",
    "chmod 640": No("is said of the configuration, and is not whole"),
    "chmod 755 /etc/letsencrypt/renewal-hooks/deploy/postern": "test_renewal_hook_reloads_postern",
    "cp etc/fail2ban/postern.filter /etc/fail2ban/filter.d/postern.conf":
        "test_the_guide_makes_a_jail_that_bans",
    "cp etc/fail2ban/postern.jail /etc/fail2ban/jail.d/postern.conf":
        "test_the_guide_makes_a_jail_that_bans",
    "cp /usr/share/doc/postern/examples/qmail/systemd.conf /etc/systemd/system/postern.service.d/qmail.conf":
        No("Debian has no qmail-smtpd"),
    "curl --unix-socket /run/postern/control http://postern/status":
        "test_curl_asks_the_administration",
    "curl --unix-socket /run/postern/control 'http://postern/sessions?user=alice'":
        "test_curl_asks_the_administration",
    "curl --unix-socket /run/postern/control -X POST 'http://postern/kick?user=alice'":
        "test_curl_asks_the_administration",
    "curl http://127.0.0.1:9125/metrics": "test_curl_gets_the_figures",
    "docker compose -f etc/containers/compose.yml up -d":
        "test_compose_takes_mail_of_a_user_of_the_file_to_postfix",
    'echo "alice:$(openssl passwd -6)" >>etc/containers/postern/users':
        "test_compose_takes_mail_of_a_user_of_the_file_to_postfix",
    "fail2ban-client reload": "test_the_guide_makes_a_jail_that_bans",
    "fail2ban-regex systemd-journal postern": "test_the_guide_shows_what_the_filter_finds",
    "ip -6 route add local default dev lo table 25":
        "test_backend_elsewhere_sees_the_clients_own_address",
    "ip -6 rule add from ::1 iif lo ipproto tcp sport 25 lookup 25":
        "test_backend_on_the_same_host_sees_the_clients_own_address",
    "ip -6 rule add iif inside ipproto tcp sport 25 lookup 25":
        "test_backend_elsewhere_sees_the_clients_own_address",
    "ip route add local default dev lo table 25":
        "test_backend_elsewhere_sees_the_clients_own_address",
    "ip rule add from 127.0.0.1 iif lo ipproto tcp sport 25 lookup 25":
        "test_backend_on_the_same_host_sees_the_clients_own_address",
    "ip rule add iif inside ipproto tcp sport 25 lookup 25":
        "test_backend_elsewhere_sees_the_clients_own_address",
    "journalctl POSTERN_USER=alice": "test_journal_is_searched_for_a_user",
    "journalctl -u postern": No("takes a systemd that runs the unit"),
    "meson setup build -Dbuildtype=release --prefix=/usr --sysconfdir=/etc && meson install -C build":
        "test_readme_installs_it_from_the_source",
    "ninja -C build uninstall": "test_uninstall_leaves_what_may_be_edited",
    "openssl rand -out /etc/postern/ticket-secret 32": "test_ticket_secret_is_made_as_the_page_says",
    "openssl rand -out FILE 32": "test_a_secret_for_tickets_is_made_as_the_manual_says",
    "podman build -t postern -f etc/Containerfile .": No("test_container.py has buildah do it"),
    "podman system service": "test_compose_takes_mail_of_a_user_of_the_file_to_postfix",
    "podman exec postern postern doctor": "test_compose_lets_nobody_relay_who_has_not_logged_in",
    "podman kill -s HUP postern": No("test_first_process.py sends the signal"),
    "podman stop -t 750 postern": No("test_container.py stops it with docker-compose"),
    "postern -n": "test_piece_of_a_page_is_a_good_configuration",
    "postern doctor": "test_lines_for_people_say_the_same",
    "postern setup": "test_everything_can_be_asked_for",
    "posternctl reopen": "test_posternctl_opens_the_file_again_and_waits_for_it",
    "posternctl deny": No("is named; it is run with an address"),
    "posternctl deny 198.51.100.0/24": "test_posternctl_does_what_the_pages_have",
    "posternctl drain": "test_posternctl_does_what_the_pages_have",
    "posternctl kick": No("is named; it is run with a user"),
    "posternctl kick --user alice": "test_posternctl_does_what_the_pages_have",
    "posternctl permit": No("is named; it is run with an address"),
    "posternctl permit 192.0.2.7 --user printer --for 2h":
        "test_posternctl_does_what_the_pages_have",
    "posternctl revoke": No("is named; test_permits.py runs it"),
    "posternctl sessions --address 198.51.100.0/24": "test_posternctl_does_what_the_pages_have",
    "posternctl status": "test_posternctl_does_what_the_pages_have",
    "posternctl tail": "test_login_message_and_end_are_seen_as_they_happen",
    "posternctl tail --user alice --event message": "test_mail_of_one_user_is_seen",
    **{command: "test_threat_43_port_25_is_as_it_was"
       for command in typed.commands(ROOT / "etc/examples/postfix/README.md")
       if command.startswith("postconf -Me")},
    **{command: "test_rules_of_the_page_keep_other_users_of_the_host_away"
       for command in typed.commands(ROOT / "etc/examples/postfix/README.md")
       if command.startswith("iptables")},
    "postconf -M | grep 10025; ss -ltn | grep 10025": "test_port_that_postfix_has_already_is_seen_before",
    "postconf -MX 127.0.0.1:10025/inet": "test_what_was_typed_is_taken_back",
    "postconf -Pe 127.0.0.1:10025/inet/smtpd_sender_login_maps=hash:/etc/postfix/senders":
        "test_user_sends_only_as_who_they_are",
    "postconf -Pe 127.0.0.1:10025/inet/smtpd_sender_restrictions=reject_sender_login_mismatch":
        "test_user_sends_only_as_who_they_are",
    "postconf -Pe": No("is named; it is run with what is changed"),
    "postfix reload": "test_threat_43_port_25_is_as_it_was",
    "postfix start": "test_doctor_says_how_the_forgotten_package_gets_the_service_going",
    "postfix stop": "test_doctor_says_how_the_forgotten_package_gets_the_service_going",
    "postmap hash:/etc/postfix/senders": "test_user_sends_only_as_who_they_are",
    "promtool check rules alerts.yml": "test_promtool_takes_the_rules",
    "redis-cli keys 'postern:*'": "test_redis_shows_what_is_counted",
    "redis-cli pttl KEY": "test_redis_shows_what_is_counted",
    "sh etc/debian/build /tmp/postern-package": "test_lintian_has_nothing_to_say",
    "sh etc/quickstart": No("test/run does, with --once: its part try"),
    "sh test/run": No("runs this"),
    "sh test/run flaky 5": "test_unsteady_tests_are_found_by_running_all_often",
    "sh test/run model --seconds 1800 --seed 7": No("test/run does, for two minutes"),
    "sh test/run model mutants": No("builds a Postern for each of its faults"),
    "sh test/run mutants": No("builds a Postern for each of its changes"),
    "ssh -N -L 8025:/run/postern/control mail.example.org":
        "test_page_comes_through_ssh_as_the_manual_says",
    "swaks --server mail.example.org:465 --tlsc --auth PLAIN --auth-user alice "
    "--from alice@example.org --to bob@example.net":
        "test_message_that_the_readme_sends_by_hand_arrives",
    "systemctl edit postern": No("is an editor"),
    "systemctl disable --now postern": No("takes a systemd that runs the unit"),
    "systemctl enable --now postern": "test_readme_has_a_user_and_a_service",
    "systemctl reload postern": "test_renewal_hook_reloads_postern",
    "test/bench/run": No("takes an hour, and a machine for itself"),
    "test/lint --list": "test_lint_names_its_checks",
    "test/run": No("runs this"),
    "test/soak/run": No("takes ten minutes"),
    "test/soak/run --faults": No("takes ten minutes"),
    "useradd --system --no-create-home --shell /usr/sbin/nologin postern":
        "test_readme_has_a_user_and_a_service",
}


@pytest.mark.parametrize("page", typed.MARKDOWN + typed.MANUALS,
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_run(page):
    """Those of a stock server's page in test_stock_servers."""
    for command in set(typed.commands(page)) - newcomer.typed():
        assert command in RUNNERS, command


def test_packages_are_those_of_the_quick_start():
    """Which installs them, and builds with them."""
    (listed,) = re.findall(r'^packages="((?:[^"]|\n)*)"', (ROOT / "etc/quickstart").read_text(), re.MULTILINE)
    named = set(typed.shown(PACKAGES).split()[2:])
    assert named == {each for each in listed.replace("\\\n", " ").split()
                     if each == "build-essential" or each == "meson" or each == "pkg-config"
                     or each.endswith("-dev")}


def test_commands_are_found():
    assert len(typed.commands(ROOT / "README.md")) > 10


@pytest.mark.parametrize("command", sorted(RUNNERS))
def test_command_is_shown_and_its_test_exists(command):
    typed.shown(command)
    runner = RUNNERS[command]
    if isinstance(runner, No):
        return
    tests = [path.read_text() for path in (ROOT / "test/functional").glob("**/test_*.py")]
    assert any(re.search(rf"^def {runner}\(", text, re.MULTILINE) for text in tests), runner


def shell(command, directory, check=True, **environment):
    """What a command prints, in a directory whose `bin`, if there is one, goes first."""
    said = subprocess.run(
        ["sh", "-ec", command], cwd=directory, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}", **environment})
    assert not check or said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def stand_in(directory, name, script):
    (directory / "bin").mkdir(exist_ok=True)
    path = directory / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_lint_names_its_checks():
    assert "format" in shell(typed.shown("test/lint --list"), ROOT).split()


def test_posternctl_does_what_the_pages_have(postern, scratch):
    stand_in(scratch, "posternctl",
             f'exec {BUILD}/posternctl -s {control.path_of(postern)} "$@"')

    def run(command, **options):
        return shell(typed.shown(command), scratch, **options)
    assert "printer" in run("posternctl permit 192.0.2.7 --user printer --for 2h")
    assert "198.51.100.0/24" in run("posternctl deny 198.51.100.0/24")
    held = postern.log_in()
    assert "alice" not in run("posternctl sessions --address 198.51.100.0/24")
    assert "1 session ended" in run("posternctl kick --user alice")
    held.reply(421)
    held.close()
    assert "draining" in run("posternctl drain")
    assert "draining" in run("posternctl status")


def test_curl_asks_the_administration(postern, scratch):
    def ask(command):
        return json.loads(shell(typed.shown(command).replace(
            "/run/postern/control", str(control.path_of(postern))), scratch))
    curl = "curl --unix-socket /run/postern/control "
    held = postern.log_in()
    assert ask(curl + "http://postern/status")["state"] == "serving"
    assert ask(curl + "'http://postern/sessions?user=alice'")["sessions"][0]["user"] == "alice"
    assert ask(curl + "-X POST 'http://postern/kick?user=alice'")["ended"] == 1
    held.reply(421)
    held.close()


def test_curl_gets_the_figures(start, backend, scratch):
    port = str(wait.free_port())
    page = (ROOT / "etc/monitoring/README.md").read_text()
    address, = re.findall(r'admin \{ metrics = "(.*)" \}', page)
    start(backend, admin={"metrics": address.replace("9125", port)})
    command = typed.shown("curl http://127.0.0.1:9125/metrics").replace("9125", port)
    assert "postern_build_info" in shell(command, scratch)


def test_promtool_takes_the_rules(scratch):
    stand_in(scratch, "promtool", f'exec {promtool.path()} "$@"')
    shell(f"cp {ROOT}/etc/monitoring/alerts.yml .", scratch)
    assert "SUCCESS" in shell(typed.shown("promtool check rules alerts.yml"), scratch)


def test_a_secret_for_tickets_is_made_as_the_manual_says(start, backend, scratch):
    shell("umask 077\n" + typed.shown("openssl rand -out FILE 32"), scratch)
    assert (scratch / "FILE").stat().st_size == 32
    start(backend, tls={"ticket_secret": scratch / "FILE"}).log_in().quit()


@pytest.mark.skipif("hiredis: yes" not in posterns.run("-V").stdout, reason="built without hiredis")
def test_redis_shows_what_is_counted(start, backend, scratch):
    """With the server's password, of the configuration on the same page."""
    page = (ROOT / "etc/guides/several-machines.md").read_text()
    password, = re.findall(r'shared = "redis://:(\w+)@', page)
    assert f"`REDISCLI_AUTH={password}`" in page
    redis = Redis(scratch / "redis", "--requirepass", password)
    try:
        stand_in(scratch, "redis-cli", redis.client_line())
        postern = start(backend, limits={"shared": redis.url(f":{password}"), "exempt": []})
        postern.wait_for_record(msg=re.compile("^limits are shared"))
        with postern.connect(source="127.0.0.77") as one:
            one.ehlo()
            one.login("alice", "wrong", 535)
        key = "postern:failed-address:127.0.0.77"
        keys, left = typed.shown("redis-cli keys 'postern:*'"), typed.shown("redis-cli pttl KEY")
        wait.until(lambda: key in shell(keys, scratch, REDISCLI_AUTH=password).split(), "the key")
        assert 0 < int(shell(left.replace("KEY", key), scratch, REDISCLI_AUTH=password)) <= 300_000
    finally:
        redis.stop()


@needs_root
def test_journal_is_searched_for_a_user(scratch):
    """Entries as the journal of test_log.py gets them."""
    from support import fail2ban
    house = fail2ban.House(scratch / "house")
    try:
        house.have_journal([{"MESSAGE": f"of {user}", "POSTERN_USER": user} for user in ("alice", "bob")])
        found = house.run(typed.shown("journalctl POSTERN_USER=alice"))
    finally:
        house.close()
    assert "of alice" in found and "of bob" not in found


@needs_root
def test_readme_has_a_user_and_a_service(scratch, certificates):
    """In an /etc of the test's own; systemctl is the real one, but for what only a running systemd
    can do."""
    tree = scratch / "tree"
    units = tree / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / "postern.service").write_bytes(pathlib.Path(BUILD, "etc/postern.service").read_bytes())
    stand_in(scratch, "systemctl", f'[ "$1 $2" = "enable --now" ] && shift 2 || exit 1\n'
                                   f'exec /usr/bin/systemctl --root={tree} enable "$@"')
    house = namespace.Namespace(
        scratch / "house", tree, users={}, writable=("/etc",),
        etc={"shadow": "", "gshadow": "", **{name: pathlib.Path("/etc", name).read_text()
                                             for name in ("login.defs", "nsswitch.conf")}})
    for name in ("passwd", "group"):
        path = house.path(f"etc/{name}")
        path.write_text(re.sub(r"^postern:.*\n", "", path.read_text(), flags=re.MULTILINE))
    configuration = scratch / "postern.conf"
    configuration.write_text(f'tls {{ certificate = "{certificates.certificate}" '
                             f'key = "{certificates.key}" }}\n')

    def run(command):
        return shell(" ".join(house.command("sh", "-ec", f"'PATH={scratch}/bin:$PATH; {command}'")),
                     scratch)
    try:
        run(typed.shown("useradd --system --no-create-home --shell /usr/sbin/nologin postern"))
        user = run("getent passwd postern").split(":")
        assert 0 < int(user[2]) < 1000 and run("getent group postern").split(":")[2] == user[3]
        run(f"{posterns.BINARY} -n -c {configuration}")
        run(typed.shown("systemctl enable --now postern"))
    finally:
        house.close()
    assert (tree / "etc/systemd/system/multi-user.target.wants/postern.service").is_symlink()
