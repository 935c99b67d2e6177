"""The lines of the page about Postfix, typed on Postfix as Debian sets it up: Postern's users get
through, and everybody else finds what they found before."""

import os
import re
import socket
import subprocess
import sys
import textwrap

import pytest

from conftest import needs_root
from support import certificates as certificates_module
from support import dns, example, pages, postern as posterns, typed, wait
from support.client import Client
from support.doctor import examine
from support.stock_postfix import SERVER, SERVER6, STRANGER, STRANGER6, StockPostfix

pytestmark = needs_root

PAGE = "etc/examples/postfix/README.md"
INSTALL = "apt-get install libsasl2-modules\n"

#: As many postmasters have it, all of it in main.cf: for strangers, and wrong for users.
STRICT = {
    "smtpd_helo_required": "yes",
    "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
    "smtpd_client_restrictions": "reject_rbl_client rbl.test",
    "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    "smtpd_recipient_restrictions": "reject_rbl_client rbl.test, reject_unauth_destination",
    "smtpd_delay_reject": "no",
    "smtpd_tls_auth_only": "yes",
    "smtpd_sasl_security_options": "noanonymous, noplaintext",
    "smtpd_client_connection_count_limit": "2",
    "smtpd_client_connection_rate_limit": "2",
    "smtpd_client_message_rate_limit": "1",
    "smtpd_client_recipient_rate_limit": "1",
    "inet_protocols": "ipv4",
}


def shown(containing):
    return pages.block(PAGE, containing)


@pytest.fixture(scope="module")
def site(work):
    made = StockPostfix(work / "stock-postfix")
    yield made
    made.close()


@pytest.fixture(scope="module")
def names(site):
    """The name server that Postfix asks, with a blocklist that has the stranger's address."""
    with site.here.inside():
        made = dns.NameServer(("127.0.0.1", 53))
    made.addresses["9.113.0.203.rbl.test"] = "127.0.0.2"
    made.addresses["mail.example.org"] = SERVER
    made.names[SERVER] = "mail.example.org"
    made.services["_submissions._tcp.example.org"] = (465, "mail.example.org")
    made.services["_submission._tcp.example.org"] = (587, "mail.example.org")
    yield made
    made.close()


@pytest.fixture
def stock(site, names):
    """With the files as the package makes them."""
    site.restore()
    return site


@pytest.fixture
def bare(stock):
    """Without the package that the page has people install."""
    stock.remove_sasl()
    return stock


@pytest.fixture
def typed_in(site, names):
    """After the lines of the page; with settings, on a Postfix that has them in main.cf."""
    def make(**settings):
        if not site.has_sasl():
            site.type(INSTALL)
        site.restore(settings)
        site.type(shown("postconf -Me").removeprefix(INSTALL))
        wait_for_service(site)
        return site
    return make


def wait_for_service(site):
    with site.here.inside():
        wait.until(lambda: wait.port_answers(("127.0.0.1", 10025)), "the service")


@pytest.fixture(scope="module")
def authority(work):
    directory = work / "stock-postfix-authority"
    directory.mkdir()
    return certificates_module.Authority(directory)


@pytest.fixture
def front(start, site, names, authority):
    """front() -> Postern on this machine, with the example's configuration."""
    pair = authority.server()

    def make(**settings):
        return start(None, command=site.here.command, nameservers=[names.address],
                     example=example.text("postfix/postern.conf", {
                         "/etc/postern/fullchain.pem": pair["certificate"],
                         "/etc/postern/privkey.pem": pair["key"]}),
                     listen={"submissions": {"address": "[::]:465", "tls": "implicit"},
                             "submission": {"address": "[::]:587"}}, **settings)
    return make


def user(site, source=STRANGER, helo="laptop", **options):
    """Alice, from outside, at Postern."""
    with site.outside.inside():
        made = Client((SERVER6 if ":" in source else SERVER, 465), tls=True, source=None, **options)
    made.greeting()
    made.ehlo(helo)
    made.login("alice", "wonderland")
    return made


def asked(site, port, source, recipients=("somebody@elsewhere.test", "bob@mail.example.org")):
    """What is offered there, and what each of the recipients is answered."""
    with site.connect(port, source) as one:
        offered = one.command("EHLO client.example", 250)
        one.command("MAIL FROM:<alice@mail.example.org>", 250)
        replies = [one.command(f"RCPT TO:<{each}>") for each in recipients]
        one.quit()
    return offered, replies


def at_port_25(site):
    return [asked(site, 25, source) for source in (STRANGER, STRANGER6, "127.0.0.1")]


# port 25

def test_threat_43_port_25_is_as_it_was(bare):
    """For strangers and for local programs, in all that EHLO says and all that is answered."""
    before = at_port_25(bare)
    (offer, relayed), _, (_, local) = before
    assert "XCLIENT" not in offer.text and "AUTH" not in offer.text
    assert [each.code for each in relayed + local] == [454, 250, 250, 250]
    bare.type(shown("postconf -Me"))
    wait_for_service(bare)
    assert at_port_25(bare) == before


def test_threat_43_port_25_lives_where_the_package_is_forgotten(bare):
    before = at_port_25(bare)
    bare.type(shown("postconf -Me").removeprefix(INSTALL))
    with bare.here.inside(), pytest.raises(AssertionError):
        wait_for_service(bare)
        Client(("127.0.0.1", 10025), source=None).greeting()
    bare.syslog.wait_for("postfix/postern/smtpd.*fatal: no SASL authentication mechanisms")
    assert at_port_25(bare) == before


def test_local_program_relays_as_before(typed_in):
    site = typed_in()
    with site.connect(25, "127.0.0.1") as one:
        one.ehlo()
        one.send_message("root@mail.example.org", ["bob@mail.example.org"],
                         b"Subject: from a program\r\n\r\nx\r\n")
        one.quit()
    site.wait_for_mail("from a program")


def test_service_gives_local_programs_nothing(typed_in):
    """Neither relaying nor a local recipient."""
    _, replies = asked(typed_in(), 10025, "127.0.0.1")
    assert [each.code for each in replies] == [554, 554]


def test_rules_of_the_page_keep_other_users_of_the_host_away(typed_in, front):
    """As root and as the user that Postern runs as, the port is there; as anybody else, it is not."""
    site = typed_in()
    rules = shown("iptables").replace("--uid-owner postern", "--uid-owner nobody")
    reach = "import socket; print(socket.create_connection(('127.0.0.1', 10025), 5).recv(3).decode())"

    def said_to(user):
        return subprocess.run([*site.here.command, "setpriv", f"--reuid={user}", "--clear-groups",
                               sys.executable, "-c", reach],
                              capture_output=True, text=True, check=False).stdout.strip()
    assert [said_to(each) for each in ("daemon", "nobody", "root")] == ["220"] * 3
    subprocess.run([*site.here.command, "sh", "-ec", rules], check=True)
    try:
        assert [said_to(each) for each in ("daemon", "nobody", "root")] == ["", "220", "220"]
        front()
        with user(site) as alice:
            alice.send_message("alice@example.org", ["bob@mail.example.org"], b"Subject: in\r\n\r\nx\r\n")
            alice.quit()
    finally:
        subprocess.run([*site.here.command, "iptables", "-F", "OUTPUT"], check=True)
    site.syslog.wait_for("postfix/postern/smtpd.*disconnect from .*xclient=0/1")


def test_service_is_out_of_reach_from_outside(typed_in):
    site = typed_in()
    with site.outside.inside():
        assert not wait.port_answers((SERVER, 10025))


# users

@pytest.mark.parametrize("settings", [{}, STRICT, {**STRICT, "smtpd_tls_security_level": "encrypt"}],
                         ids=["stock", "strict", "encrypted"])
def test_threat_43_users_are_not_judged_by_rules_for_strangers(typed_in, front, settings):
    """Their address is on a blocklist, their HELO name is one of a laptop's."""
    site = typed_in(**settings)
    front()
    for source in (STRANGER, STRANGER6):
        for number in range(3):
            subject = f"{len(settings)} {source} {number}"
            with user(site, source) as one:
                one.command("MAIL FROM:<alice@no-such-domain.example>", 250)
                for recipient in ("bob@mail.example.org", "somebody@elsewhere.test"):
                    one.command(f"RCPT TO:<{recipient}>", 250)
                one.command("DATA", 354)
                one.send(f"Subject: {subject}\r\n\r\nx\r\n.\r\n")
                one.reply(250)
                one.quit()
            site.wait_for_mail(subject)
    site.syslog.wait_for(rf"postfix/postern/smtpd.*client=unknown\[{STRANGER}\], "
                         "sasl_method=XCLIENT, sasl_username=alice")


def test_rules_for_strangers_hold_for_strangers(typed_in):
    """Or the test above would show nothing."""
    site = typed_in(**{key: STRICT[key] for key in ("smtpd_client_restrictions",
                                                    "smtpd_helo_restrictions")})
    with site.connect(25) as one:
        one.ehlo("laptop")
        one.command("MAIL FROM:<alice@mail.example.org>", 250)
        assert "rbl.test" in one.command("RCPT TO:<bob@mail.example.org>", 554).text
    with site.connect(25, STRANGER6) as one:
        one.ehlo("laptop")
        one.command("MAIL FROM:<alice@mail.example.org>", 250)
        one.command("RCPT TO:<bob@mail.example.org>", 504)


def test_users_pass_beside_postscreen(site, stock, front):
    """Which has port 25 then."""
    stock.run("postconf", "-Me", "smtp/inet = smtp inet n - y - 1 postscreen",
              "smtpd/pass = smtpd pass - - y - - smtpd", "dnsblog/unix = dnsblog unix - - y - 0 dnsblog",
              "tlsproxy/unix = tlsproxy unix - - y - 0 tlsproxy")
    stock.run("postconf", "-e", "postscreen_dnsbl_sites=rbl.test", "postscreen_dnsbl_action=enforce",
              "postscreen_greet_action=enforce", "postscreen_greet_wait=1s")
    stock.type(shown("postconf -Me"))
    wait_for_service(stock)
    front()
    with user(stock) as one:
        one.send_message("alice@mail.example.org", ["bob@mail.example.org"],
                         b"Subject: beside postscreen\r\n\r\nx\r\n")
        one.quit()
    stock.wait_for_mail("beside postscreen")


def test_more_users_than_postfix_takes_from_one_address(typed_in, front):
    """An office has one address, and Postfix's limit is 50."""
    site = typed_in()
    front()
    users = [user(site) for _ in range(60)]
    for each in users:
        each.command("MAIL FROM:<alice@mail.example.org>", 250)
    for each in users:
        each.close()


def test_user_sends_only_as_who_they_are(site, typed_in, front):
    typed_in()
    (site.root / "etc/postfix/senders").write_text(shown("office@example.org"))
    site.type(shown("postmap"))
    front()

    def refused():
        with user(site) as one:
            one.command("MAIL FROM:<bob@example.org>", 250)
            return one.command("RCPT TO:<somebody@elsewhere.test>").code != 250
    wait.until(refused, "the reload")
    for sender, code in (("alice@example.org", 250), ("office@example.org", 250),
                         ("bob@example.org", 553)):
        with user(site) as one:
            one.command(f"MAIL FROM:<{sender}>", 250)
            reply = one.command("RCPT TO:<somebody@elsewhere.test>", code)
            assert code == 250 or "not owned by user alice" in reply.text


# the doctor

@pytest.fixture
def doctor(site, front, authority):
    """doctor() -> Findings of the Postern that runs."""
    made = front(limits={"connections": 1000})
    return lambda: examine(made.configuration_path, believe=authority.root,
                           command=site.here.command)


def test_doctor_has_nothing_to_say_against_it(typed_in, doctor):
    typed_in()
    findings = doctor()
    assert findings.severities("backend-identity") == ["ok"], findings.text
    assert {each["severity"] for each in findings.all
            if each["check"] != "clock-synchronised"} == {"ok"}, findings.text


@pytest.mark.parametrize("spoilt", [
    "smtpd_sasl_auth_enable=no", "smtpd_tls_auth_only=yes", "smtpd_tls_security_level=encrypt",
    "smtpd_relay_restrictions=reject", "smtpd_authorized_xclient_hosts="])
def test_line_that_the_doctor_names_mends_it(typed_in, doctor, spoilt):
    site = typed_in()
    site.type(f"postconf -Pe 127.0.0.1:10025/inet/{spoilt}")
    site.restart()
    finding = doctor().only("backend-identity")
    assert finding["severity"] == "error"
    site.type(re.search("postconf -Pe [^,]*(,reject)?", finding["advice"])[0])
    site.restart()
    assert doctor().severities("backend-identity") == ["ok"]


def test_doctor_says_how_the_forgotten_package_gets_the_service_going(bare, front, authority):
    """A reload does not: the service is held back for a minute after each of its ends."""
    bare.type(shown("postconf -Me").removeprefix(INSTALL))
    path = front().configuration_path

    def finding():
        return examine(path, believe=authority.root, command=bare.here.command).only("backend")
    wait.until(lambda: "no greeting" in finding()["message"], "the reload")
    install, stop, start = re.search("(apt-get install [a-z0-9-]+), then (postfix stop) and "
                                     "(postfix start)", finding()["advice"]).groups()
    bare.type(f"{install}\n{stop}\n{start}\n")
    wait_for_service(bare)
    assert finding()["severity"] == "ok"


def beside(site, scratch):
    """The words before a command that is to see the site's network and its files of Postfix."""
    (scratch / "etc/postfix").mkdir(parents=True, exist_ok=True)
    for name, content in site.files().items():
        (scratch / "etc/postfix" / name).write_bytes(content)
    return [*site.here.command, "unshare", "--mount", "sh", "-c",
            'mount -t overlay -o "lowerdir=$0:/etc" none /etc && exec "$@"', str(scratch / "etc")]


def test_doctor_names_the_service_where_the_configuration_has_port_25(typed_in, front, authority, scratch):
    """As the sample that was installed has it."""
    site = typed_in()
    sample = scratch / "sample.conf"
    sample.write_text(front().configuration_path.read_text().replace("127.0.0.1:10025", "127.0.0.1:25"))
    finding = examine(sample, believe=authority.root,
                      command=beside(site, scratch)).only("backend-identity")
    assert 'Postfix has a service for Postern: set "address" to "127.0.0.1:10025"' in finding["advice"]
    site.type("postconf -MX smtp/inet")
    site.restart()
    finding = examine(sample, believe=authority.root, command=beside(site, scratch)).only("backend")
    assert 'set "address" to "127.0.0.1:10025", where it has one for Postern' in finding["advice"]


def test_doctor_says_what_makes_the_service(stock, front, authority, scratch):
    """And what starts it where it is there."""
    path = front().configuration_path

    def finding():
        return examine(path, believe=authority.root,
                       command=beside(stock, scratch)).only("backend")
    section = re.search('Postfix has no service there: type the lines of postern.8., "([^"]*)"',
                        finding()["advice"])[1]
    assert f".Ss {section}\n" in (pages.ROOT / "etc/postern.8.in").read_text()
    lines, = [each for each in pages.displays("etc/postern.8.in") if "postconf -Me" in each]
    stock.type(lines)
    wait_for_service(stock)
    assert finding()["severity"] == "ok"
    stock.run("postfix", "stop")
    advice = finding()["advice"]
    assert "otherwise postfix start" in advice
    stock.type("postfix start")
    wait_for_service(stock)
    assert finding()["severity"] == "ok"


# setup

@pytest.fixture
def setup(site, scratch):
    """setup() -> (what `postern setup` says, the configuration that it writes). The user postern is
    the package's to make: without it, setup ends as incomplete."""
    def run(*arguments):
        result = subprocess.run(
            [*beside(site, scratch), posterns.BINARY, "setup", "--yes", "--force", "--self-signed",
             "--hostname", "mail.example.org", "--output", scratch / "postern.conf", *arguments],
            env={**os.environ, **posterns.SANITIZERS}, capture_output=True, text=True, check=False)
        errors = [line for line in result.stderr.splitlines()
                  if "error:" in line and 'there is no user "postern"' not in line]
        assert not errors and result.returncode in (0, 2), result.stdout + result.stderr
        return result.stdout, (scratch / "postern.conf").read_text()
    return run


def lines_of(said):
    """The commands that make the service and take it back."""
    return [textwrap.dedent(block) for block in re.findall(r"((?:^    .*\n)+)", said, re.MULTILINE)
            if "postconf" in block]


def test_setup_finds_postfix_and_shows_the_lines_of_the_page(stock, setup):
    said, configuration = setup()
    assert "Postfix answers at 127.0.0.1:25\n" in said
    assert "127.0.0.1:10025" in configuration and "127.0.0.1:25" not in configuration
    make, take_back = lines_of(said)
    assert make == shown("postconf -Me") and take_back == shown("postconf -MX")


def test_setup_finds_the_service_that_is_there(typed_in, setup):
    typed_in()
    said, configuration = setup()
    assert "Postfix answers at 127.0.0.1:10025\n" in said and "127.0.0.1:10025" in configuration
    assert "Nothing: " in said and not lines_of(said)


@pytest.mark.parametrize("arguments", [(), ("--backend", "127.0.0.1:10025")])
def test_setup_makes_no_second_service_where_the_first_does_not_answer(bare, setup, arguments):
    """A SASL mechanism is missing, so the service ends each session at once."""
    bare.type(shown("postconf -Me").removeprefix(INSTALL))
    said, configuration = setup(*arguments)
    assert "127.0.0.1:10025" in configuration and not lines_of(said)
    assert "Its service for Postern is in /etc/postfix/master.cf, at 127.0.0.1:10025" in said
    for command in ("apt-get install libsasl2-modules", "postfix stop", "postfix start"):
        assert f"\n    {command}\n" in said


def test_setup_says_what_the_service_lacks(typed_in, setup):
    site = typed_in()
    site.type("postconf -Pe 127.0.0.1:10025/inet/smtpd_authorized_xclient_hosts=")
    site.restart()
    said, configuration = setup()
    assert "127.0.0.1:10025" in configuration and "libsasl2" not in said
    mending, = lines_of(said)
    site.type(mending)
    wait_for_service(site)
    assert "Nothing: " in setup()[0]


def test_setup_says_how_to_start_a_postfix_that_has_the_service(typed_in, setup):
    site = typed_in()
    site.run("postfix", "stop")
    said, configuration = setup()
    assert "127.0.0.1:10025" in configuration and "libsasl2" not in said
    assert "nothing listens\nthere" in said and "\n    postfix start\n" in said


def test_setup_leaves_the_port_alone_that_amavis_gives_mail_back_at(stock, setup):
    amavis = "127.0.0.1:10025 inet n - y - - smtpd -o content_filter= -o mynetworks=127.0.0.0/8"
    stock.run("postconf", "-Me", f"127.0.0.1:10025/inet = {amavis}")
    stock.run("postfix", "reload")
    wait_for_service(stock)
    said, configuration = setup()
    assert "127.0.0.1:10587" in configuration
    kept = stock.run("postconf", "-M", "127.0.0.1:10025/inet").stdout
    make, take_back = lines_of(said)
    stock.type(make)
    with stock.here.inside():
        wait.until(lambda: wait.port_answers(("127.0.0.1", 10587)), "the service")
    assert stock.run("postconf", "-M", "127.0.0.1:10025/inet").stdout == kept
    stock.type(take_back)
    assert stock.run("postconf", "-M", "127.0.0.1:10025/inet").stdout == kept


# typing

def test_lines_typed_again_change_nothing(stock):
    stock.type(shown("postconf -Me"))
    once = stock.files()
    said = stock.type(shown("postconf -Me"))
    assert stock.files() == once
    assert "warning" not in said.stderr
    assert stock.run("postconf").stderr == stock.run("postconf", "-M").stderr == ""


def test_what_was_typed_is_taken_back(stock):
    before = stock.files()
    stock.type(shown("postconf -Me"))
    assert stock.files()["main.cf"] == before["main.cf"]
    stock.type(shown("postconf -MX"))
    assert stock.files() == before


def look_for_the_port(stock):
    """What the page has people type before the first time; the tree has no ss."""
    in_file, on_host = shown("postconf -M |").split("; ")
    return stock.run("sh", "-c", in_file, check=False).stdout + subprocess.run(
        [*stock.here.command, "sh", "-c", on_host], capture_output=True, text=True, check=False).stdout


def test_port_that_postfix_has_already_is_seen_before(stock):
    """As it is where amavis gives mail back."""
    assert look_for_the_port(stock) == ""
    stock.run("postconf", "-Me", "localhost:10025/inet = localhost:10025 inet n - y - - smtpd")
    assert "localhost:10025" in look_for_the_port(stock)


def test_port_that_another_program_has_is_seen_before(stock):
    """With it, Postfix ends at the reload, and port 25 with it."""
    with stock.here.inside():
        taken = socket.create_server(("127.0.0.1", 10025))
    with taken:
        assert "127.0.0.1:10025" in look_for_the_port(stock)
    assert look_for_the_port(stock) == ""


def test_lines_fit_a_port_25_of_another_name(stock):
    """Of a machine with several addresses."""
    entry = "127.0.0.1:smtp inet n - y - - smtpd"
    stock.run("postconf", "-MX", "smtp/inet")
    stock.run("postconf", "-Me", f"127.0.0.1:smtp/inet = {entry}")
    stock.type(shown("postconf -Me"))
    wait_for_service(stock)
    assert re.search(r"inet +n +- +y", stock.run("postconf", "-M", "127.0.0.1:10025/inet").stdout)


def test_nothing_is_changed_where_the_lines_do_not_fit(stock):
    """There is no service on a port from which to take the chroot."""
    stock.run("postconf", "-MX", "smtp/inet")
    before = stock.files()
    assert stock.type(shown("postconf -Me"), check=False).returncode != 0
    assert stock.files() == before


def test_all_pages_show_the_same_lines():
    lines = {command for page in typed.MARKDOWN + typed.MANUALS for command in typed.commands(page)
             if command.startswith("postconf -Me")}
    assert len(lines) == 1
