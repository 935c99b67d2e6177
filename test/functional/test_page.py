"""The status page, in a real browser."""

import pathlib
import re

import pytest

from conftest import needs_root
from support import browser, control, wait
from support.sshd import Sshd

MONITORING = pathlib.Path(__file__).parents[2] / "etc/monitoring/README.md"
HELO = "<b>x</b><img/src=x/onerror=alert(1)>"
HOSTILE = "<img/src=x/onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def driver(work):
    made = browser.start(work / "browser")
    yield made
    made.quit()


@pytest.fixture
def opened(driver):
    """opened(postern, …) -> the page; anything in the console is a failure."""
    pages = []

    def run(postern, **how):
        browser.emulate(driver, **how)
        pages.append(browser.Page(driver, postern))
        return pages[-1]
    yield run
    for page in pages:
        complaints = page.complaints()
        page.close()
        assert not complaints


def column(page, table, number):
    return [row[number] for row in page.rows(table)]


def visit(postern, messages=1, **options):
    client = postern.log_in(**options)
    for _ in range(messages):
        client.command("MAIL FROM:<alice@example.org>", 250)
        client.command("RCPT TO:<bob@example.org>", 250)
        client.command("DATA", 354)
        client.send(b"Subject: hello\r\n\r\nHello.\r\n.\r\n")
        client.reply(250)
    return client


def fail(postern, user):
    with postern.connect() as one:
        one.ehlo()
        one.login(user, "wrong", 535)


def test_everything_is_there_at_a_glance(postern, opened):
    held = [visit(postern, 2), visit(postern)]
    fail(postern, "mallory")
    page = opened(postern)
    wait.until(lambda: len(page.rows("sessions")) == 2, "two sessions")
    assert column(page, "sessions", 1) == ["alice", "alice"]
    assert column(page, "sessions", 7) == ["2", "1"]
    assert page.text("shown") == "2 of 2"
    assert column(page, "failures", 4) == ["mallory"]
    assert column(page, "backends", 2) == ["up"]
    (certificate,) = page.rows("certificates")
    assert int(certificate[3]) > 0
    assert page.rows("listeners")
    assert page.text("hostname") == "mail.example.org" and "mail.example.org" in page.driver.title
    assert page.run("return document.querySelectorAll('#charts svg').length") == 4
    wait.until(lambda: page.run("return document.querySelectorAll('#charts polyline').length") >= 4,
               "lines in the charts")
    for one in held:
        one.quit()
    wait.until(lambda: page.text("sessions") == "Nobody is here.", "the end of both")


def test_blanks_and_marks_in_a_name_are_seen(postern, opened):
    """What shows as nothing, or turns the text around, would make a name look like another's."""
    fail(postern, "alice\u3164\u202e")
    page = opened(postern)
    assert column(page, "failures", 4) == ["alice\\u{3164}\\u{202e}"]


def test_charts_show_what_happens_now(postern, opened):
    page = opened(postern)
    with visit(postern, 5) as one:
        wait.until(lambda: re.search(r"messages [1-9]", page.text("charts")), "messages")
        wait.until(lambda: re.search(r"from clients [1-9]", page.text("charts")) or
                   re.search(r"^5$", page.text("tiles"), re.MULTILINE), "bytes")
        one.quit()


def figure(page, label):
    """What stands on the tile with that label."""
    lines = page.text("tiles").splitlines()
    return lines[lines.index(label) - 1]


def test_one_login_is_one_in_its_minute(postern, opened):
    page = opened(postern)
    asked = page.run("return past.length")
    wait.until(lambda: page.run("return past.length") > asked, "another answer")
    visit(postern).quit()
    wait.until(lambda: figure(page, "logins in a minute") == "1", "the login")
    asked = page.run("return past.length")
    wait.until(lambda: page.run("return past.length") > asked + 1, "two more answers")
    assert figure(page, "logins in a minute") == "1"


def test_time_without_an_answer_is_a_gap(postern, opened):
    page = opened(postern)
    wait.until(lambda: page.run("return past.length") >= 2, "two answers")
    page.run("""
        remember({});
        const point = past[0];
        remember({sessions: point.sessions, counters: point.counters});
        remember({sessions: point.sessions, counters: point.counters});
        byId("charts").replaceChildren(...CHARTS.map(chart));
    """)
    assert page.run("return document.querySelector('#charts svg')"
                    ".querySelectorAll('polyline').length") == 4
    places = page.run("return [...document.querySelector('#charts polyline').getAttribute('points')"
                      ".split(' ')].map((point) => Number(point.split(',')[0]))")
    assert places == sorted(places) and max(places) - min(places) < 100  # of 400, for five minutes


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("telephone", [False, True], ids=["desk", "telephone"])
def test_every_screen_shows_it_without_a_rim(postern, opened, telephone, dark):
    held = [visit(postern, number) for number in range(1, 4)]
    fail(postern, "mallory@a-very-long-domain-name-that-somebody-has.example.org")
    width = 390 if telephone else 1280
    page = opened(postern, width=width, telephone=telephone, dark=dark)
    wait.until(lambda: len(page.rows("sessions")) == 3 and
               page.run("return document.querySelectorAll('#charts polyline').length") >= 4,
               "three sessions")
    assert page.run("return document.documentElement.scrollWidth") <= width
    brightness = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)"
                          ".reduce((sum, part) => sum + Number(part), 0)")
    assert (brightness < 3 * 64) == dark
    page.picture(f"{'telephone' if telephone else 'desk'}-{'dark' if dark else 'light'}")
    for one in held:
        one.quit()


def test_names_that_clients_choose_are_text(postern, opened):
    with postern.connect() as one:
        one.ehlo()
        one.login(HOSTILE, "wrong", 535)
    page = opened(postern)
    wait.until(lambda: page.rows("failures"), "the failure")
    assert column(page, "failures", 4) == [HOSTILE]
    assert page.run("return document.querySelectorAll('main script, main img').length") == 0
    assert "taken" not in page.driver.title


def test_helo_is_text(postern, opened):
    with postern.connect() as one:
        one.command(f"EHLO {HELO}", 250)
        one.login("alice", "wonderland")
        page = opened(postern)
        wait.until(lambda: page.rows("sessions"), "the session")
        assert column(page, "sessions", 2) == [HELO]
        assert page.run("return document.querySelectorAll('td b, td img').length") == 0
        one.quit()


def test_the_policy_holds_against_a_script_that_got_in(postern, opened):
    """Were there a way in after all, nothing would run and nobody would be told."""
    page = opened(postern)
    page.run("""
        window.violated = new Set();
        document.addEventListener("securitypolicyviolation",
            (event) => window.violated.add(event.effectiveDirective));
        const made = document.createElement("div"), script = document.createElement("script");
        made.innerHTML = "<img src=x onerror='window.ran = 1'>";
        script.textContent = "window.ran = 1";
        document.body.append(made, script);
        fetch("http://127.0.0.1:9/").catch(() => 0);
    """)
    expected = {"script-src-elem", "img-src", "connect-src"}
    wait.until(lambda: expected <= set(page.run("return [...window.violated]")), "violations")
    assert page.run("return window.ran === undefined")
    page.complaints()


def test_sessions_are_found_by_what_is_typed(postern, opened):
    held = [visit(postern), visit(postern, user="bob", password="builder")]
    page = opened(postern)
    wait.until(lambda: len(page.rows("sessions")) == 2, "two sessions")
    page.driver.find_element("id", "filter").send_keys("bob")
    assert column(page, "sessions", 1) == ["bob"] and page.text("shown") == "1 of 2"
    for one in held:
        one.quit()


def test_user_beyond_those_that_are_listed_is_found(start, backend, opened):
    postern = start(backend, limits={"connections_per_address": 0})
    crowd = [postern.connect(tls=None) for _ in range(201)]
    last = visit(postern)
    page = opened(postern)
    wait.until(lambda: page.text("shown") == "200 of 202", "the crowd")
    page.driver.find_element("id", "filter").send_keys("alice")
    wait.until(lambda: column(page, "sessions", 1) == ["alice"], "who is beyond them")
    assert page.text("shown").startswith("1 of 202, ")
    page.driver.find_element("id", "filter").clear()
    page.driver.find_element("id", "filter").send_keys("nobody-of-that-name")
    wait.until(lambda: page.text("sessions") == "Nobody like that.", "nobody")
    last.quit()
    for one in crowd:
        one.close()


def test_page_lives_through_reloads(postern, opened):
    page = opened(postern)
    for _ in range(3):
        postern.reload()
        asked = page.run("return past.length")
        wait.until(lambda: page.run("return past.length") > asked, "another answer")
        page.wait_for_state("serving")


def test_page_says_when_nobody_answers_and_when_it_drains(postern, opened):
    page = opened(postern)
    control.post(postern, "/drain")
    page.wait_for_state("draining")
    control.post(postern, "/resume")
    page.wait_for_state("serving")
    postern.stop()
    page.wait_for_state("no answer")
    page.complaints()


def test_page_has_nothing_from_outside(postern):
    status, text, headers = control.request(postern, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"(src|href)=\"(?!data:,)", text) and "@import" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["X-Frame-Options"] == "DENY"


def test_page_is_not_for_a_foreign_name(postern):
    """Of a site that makes its name lead to the postmaster's own machine."""
    for host in ("rebound.example.org", "127.0.0.1.example.org:8080", "10.1.2.3.nip.example"):
        for target in ("/", "/sessions", "/failures"):
            assert control.request(postern, target, headers={"Host": host})[0] == 403
    for host in ("127.0.0.1:8025", "localhost:8025", "postern", "[::1]:8025"):
        assert control.request(postern, "/", headers={"Host": host})[0] == 200


@needs_root
def test_page_comes_through_ssh_as_the_manual_says(postern, scratch):
    server = Sshd(scratch / "sshd")
    port = wait.free_port()
    command, = {line.strip() for line in MONITORING.read_text().splitlines() if "ssh -N" in line}
    tunnel = server.run(command.replace("8025", str(port)).replace(
        "/run/postern/control", str(control.path_of(postern))))
    try:
        wait.until(lambda: wait.port_answers(("127.0.0.1", port)), "the tunnel")
        status, text, _ = control.request(postern, "/", address=("127.0.0.1", port))
        assert status == 200 and "<!DOCTYPE html>" in text
    finally:
        tunnel.terminate()
        tunnel.wait()
        server.stop()
