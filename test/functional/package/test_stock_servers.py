"""Our pages, typed by a newcomer on Debian's mail servers as they are installed: Postern serves,
and nothing that the server did before is lost."""

import concurrent.futures
import json
import re
import tempfile
import uuid

import pytest

from conftest import needs_root
from support import newcomer, pages, stock, wait
from support.apparmor import Profile
from support.client import Closed
from support.stock import PASSWORD, STRANGER, USER

pytestmark = needs_root

SENDER, ELSEWHERE = "alice@mail.example.org", "bob@elsewhere.test"
PORTS = {465, 587, 2525}
#: What is not the page's: the certificate is a first one, and this machine has its own limits.
OF_THE_PLACE = {"certificate-chain", "descriptors"}


def answers_at_25(site, source):
    """What a client hears there, without Postern: replies by command, or that nobody answers."""
    try:
        with site.connect(25, source) as one:
            heard = {"greeting": re.sub(r"; .*|\d\d:\d\d:\d\d.*", "", one.greeting().text)}
            for command in ("EHLO client.example", "MAIL FROM:<stranger@elsewhere.test>",
                            f"RCPT TO:<{ELSEWHERE}>", f"RCPT TO:<{SENDER}>", "RSET",
                            f"MAIL FROM:<{SENDER}> AUTH=alice", f"RCPT TO:<{ELSEWHERE}>", "QUIT"):
                one.send(command + "\r\n")
                reply = one.reply()
                heard.setdefault(command, []).append(f"{reply.code} {reply.text}")
            return heard
    except (OSError, Closed) as failure:
        return type(failure).__name__


def listening(site):
    """{(address, port)} as the kernel writes addresses."""
    return {(address, int(port, 16)) for table in ("tcp", "tcp6")
            for address, port in re.findall(r"^ *\d+: (\w+):(\w+) \w+:\w+ 0A ", site.run(
                "cat", f"/proc/net/{table}").stdout, re.MULTILINE)}


def is_loopback(address):
    return re.fullmatch(r"\w{6}7F|0{24}01000000", address)


def sends_by_program(site):
    """What a program on the machine does that runs sendmail; one that has just been restarted may
    have it try again."""
    def try_it():
        subject = f"local {uuid.uuid4()}"
        sent = site.run("/usr/sbin/sendmail", "-f", SENDER, ELSEWHERE, user=USER, check=False,
                        input=f"Subject: {subject}\nFrom: {SENDER}\n\ntext\n")
        return subject if sent.returncode == 0 else None
    return site.arrived(wait.until(try_it, "a message by sendmail"))


def doctor(site):
    return json.loads(site.run("postern", "doctor", "--json", check=False).stdout)


def is_look(command):
    """Whose page says that nothing must be printed; grep fails then."""
    return "| grep" in command


class Newcomer:
    """The site of one row, before and after its page was typed."""

    def __init__(self, site, row):
        self.site, self.row = site, row
        site.run("sh", "-c", row.prepare)
        wait.until(lambda: 25 in {port for _, port in listening(site)}, "port 25")
        self.before = self._look()
        site.install_postern()
        (site.root / "etc/postern/postern.conf").unlink()
        self.setup = self._set_up()
        self.advised = doctor(site)
        self.written = (site.root / "etc/postern/postern.conf").read_text()
        for command in row.commands():
            said = site.type(command, check=not is_look(command))
            assert not is_look(command) or not said.stdout, said.stdout
        if "systemctl restart postern" not in row.commands():  # the page says so in words
            site.type(f"cp /usr/share/doc/postern/examples/{row.name}/postern.conf /etc/postern/")
            site.type("systemctl restart postern")
        self.after = self._look()
        self.doctor = doctor(site)

    def _set_up(self):
        """It ends with 2 where the server has a port that Postern needs, which it names."""
        done = self.site.run("postern", "setup", "--yes", "--hostname", "mail.example.org",
                             "--self-signed", check=False)
        assert done.returncode == (2 if " is taken by " in done.stderr else 0), done.stdout + done.stderr
        return done.stdout

    def _look(self):
        assert sends_by_program(self.site)
        return {"stranger": answers_at_25(self.site, STRANGER),
                "here": answers_at_25(self.site, "127.0.0.1"), "ports": listening(self.site)}


def prepare(row, work, upper):
    site = stock.Site(tempfile.mkdtemp(dir=work, prefix="stock-"), upper)
    try:
        return Newcomer(site, row)
    except BaseException:
        site.close()
        raise


@pytest.fixture(scope="module")
def newcomers(request, work):
    """newcomers(row) -> one who has typed that page. All begin at once: mostly they wait."""
    rows = {item.callspec.params["typed"] for item in request.session.items
            if "newcomers" in item.fixturenames}
    trees = {row: stock.tree(row.packages, row.answers) for row in rows}
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as workers:
        started = {row: workers.submit(prepare, row, work, trees[row]) for row in rows}
        yield lambda row: started[row].result()
        for each in started.values():
            if not each.exception():
                each.result().site.close()


@pytest.fixture(scope="module", params=newcomer.ROWS, ids=lambda row: row.name)
def typed(request, newcomers):
    return newcomers(request.param)


def only(chosen):
    """For the rows that this is true of."""
    return pytest.mark.parametrize("typed", filter(chosen, newcomer.ROWS), indirect=True,
                                   ids=lambda row: row.name, scope="module")


def test_postern_serves_with_what_the_page_shows(typed):
    assert "good" in typed.site.run("postern", "-n").stdout
    assert {port for _, port in typed.after["ports"]} >= PORTS


def test_user_who_has_logged_in_sends_to_elsewhere(typed):
    for port, way in ((465, {"tls": True}), (587, {})):
        subject = f"relayed {uuid.uuid4()}"
        with typed.site.connect(port, **way) as one:
            one.greeting()
            one.ehlo()
            if not way:
                one.starttls()
                one.ehlo()
            one.login(USER, PASSWORD)
            one.send_message(SENDER, [ELSEWHERE], f"Subject: {subject}\r\n\r\ntext\r\n".encode())
            one.quit()
        assert b"203.0.113.9" in typed.site.arrived(subject)


@pytest.mark.parametrize("source", [STRANGER, "127.0.0.1"])
def test_nobody_sends_through_postern_without_a_login(typed, source):
    for port in PORTS:
        with typed.site.connect(port, source, tls=port == 465) as one:
            one.greeting()
            one.ehlo()
            one.command(f"MAIL FROM:<{SENDER}>", 530)
            one.command(f"RCPT TO:<{ELSEWHERE}>", 530)


def test_port_25_answers_everybody_as_before(typed):
    assert typed.after["stranger"] == typed.before["stranger"]
    assert typed.after["here"] == typed.before["here"]
    for reply in typed.before["stranger"][f"RCPT TO:<{ELSEWHERE}>"]:
        assert not reply.startswith("2")


def test_other_machines_reach_no_further_port(typed):
    """But for Postern's."""
    opened = typed.after["ports"] - typed.before["ports"]
    assert {port for address, port in opened if not is_loopback(address)} <= PORTS


@only(lambda row: row.taken)
def test_doctor_says_how_a_port_is_freed_as_the_page_does(typed):
    """Before that is typed, when Postern could not start."""
    advice = [each["advice"] for each in typed.advised
              if each["check"] == "port" and each["severity"] == "error"]
    assert len(advice) == len(typed.row.taken)
    for each in advice:
        told = re.split(", then ", each.partition(": ")[2])
        assert set(told) <= set(typed.row.commands()), told


def backend_of(configuration):
    """Its settings, without what is for people."""
    text = re.sub(r"^\s*#.*\n", "", configuration, flags=re.MULTILINE)
    section = re.search(r"^backend \{(.*?)\}\s*\Z", text, re.MULTILINE | re.DOTALL)[1]
    return dict(re.findall(r'(\w+) *= *("[^"]*"|\w+)', section))


def joined(text):
    return re.sub(r"\s*\\\n\s*", " ", text)


@only(lambda row: row.setup)
def test_setup_writes_and_says_what_the_page_does(typed):
    """Certificates aside."""
    example = f"etc/examples/{typed.row.name}/postern.conf"
    assert backend_of(typed.written) == backend_of((pages.ROOT / example).read_text())
    said = {line.strip().replace("/usr/local/share/", "/usr/share/")
            for line in joined(typed.setup).splitlines() if line.startswith("    ")}
    own = {f"cp /usr/share/doc/postern/{example[4:]} /etc/postern/", "systemctl restart postern"}
    commands = {joined(each) for each in typed.row.commands() if not is_look(each)}
    assert commands - own <= said, commands - own - said
    assert said <= commands | set(typed.row.undo()) | {
        "postern -n", "systemctl enable --now postern", "postern doctor"}, said - commands


@only(lambda row: any("apparmor" in command for command in row.commands()))
def test_apparmor_lets_postern_start_the_program(typed, scratch):
    """Whatever its name is a link to; with the local part that the page adds, and no other."""
    program = re.search(r'program += "(\S+?)[ "]', typed.written)[1]
    real = typed.site.run("realpath", program).stdout.strip()
    text = (pages.ROOT / "etc/postern.apparmor.in").read_text().replace(
        "@sbindir@", "/usr/sbin").replace("@sysconfdir@", "/etc")
    (scratch / "postern").write_text(text)
    assert not Profile(scratch / "postern").allows(real, "x")
    (scratch / "local").mkdir()
    (scratch / "local/postern").write_bytes(
        (typed.site.root / "etc/apparmor.d/local/postern").read_bytes())
    assert Profile(scratch / "postern", scratch).allows(real, "x")


def test_doctor_finds_nothing_to_mend(typed):
    bad = [each for each in typed.doctor if each["severity"] in ("warning", "error")
           and each["check"] not in OF_THE_PLACE]
    assert not bad, bad
    told = [each["severity"] for each in typed.doctor if each["check"] == "backend-identity"]
    # Nobody but a client elsewhere can find out.
    assert told == ["skipped" if typed.row.name == "sendmail/transparent" else "ok"]


@only(lambda row: row.undo())
def test_what_the_page_takes_back_is_as_before(typed):
    typed.site.type("systemctl stop postern")
    for command in typed.row.undo():
        typed.site.type(command)
    wait.until(lambda: typed.before["ports"] <= listening(typed.site), "the ports of before")
    opened = listening(typed.site) - typed.before["ports"]
    assert not [address for address, _ in opened if not is_loopback(address)]
    assert answers_at_25(typed.site, STRANGER) == typed.before["stranger"]
