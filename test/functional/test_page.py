"""The status page, in a real browser."""

import os
import pathlib
import re

import pytest

from conftest import needs_root
from support import browser, control, pictures, wait
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

    def run(postern, watched=False, **how):
        browser.emulate(driver, **how)
        pages.append(browser.Page(driver, postern, watched))
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
    assert column(page, "failures", 5) == ["mallory"]
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
    assert column(page, "failures", 5) == ["alice\\u{3164}\\u{202e}"]


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
    page.next_answer()
    visit(postern).quit()
    wait.until(lambda: figure(page, "logins in a minute") == "1", "the login")
    page.next_answer()
    page.next_answer()
    assert figure(page, "logins in a minute") == "1"


def first_answer(page, label):
    """The figure that stood there before the page had seen anything grow."""
    lines = page.run("return firstTiles").splitlines()
    return lines[lines.index(label) - 1]


def test_minute_is_known_as_soon_as_the_page_is_opened(postern, opened):
    """Figures that rise for a minute after the page was opened would look like an attack."""
    for _ in range(3):
        visit(postern).quit()
    for _ in range(2):
        fail(postern, "mallory")
    page = opened(postern, watched=True)
    assert first_answer(page, "logins in a minute") == "3"
    assert first_answer(page, "failed logins in a minute") == "2"
    assert first_answer(page, "messages in a minute") == "3"


def test_hour_outlives_a_reload(postern, opened):
    visit(postern).quit()
    before = control.get(postern, "/history")["points"][0]
    postern.reload()
    after = control.get(postern, "/history")["points"][0]
    assert after[1:] == before[1:] and after[0] >= before[0]
    page = opened(postern, watched=True)
    assert first_answer(page, "messages in a minute") == "1"


HOUR = """
    const minutes = Math.floor(6 * arguments[0]) / 6, columns = [
        "age_ms", "sessions", "relay", "logins", "logins_failed", "logins_unavailable",
        "logins_put_off", "messages", "bytes_in", "bytes_out"];
    const points = [];
    for (let step = 6 * minutes; step > 0; step--) {
        const done = 6 * minutes - step;  // a message and a login in every step
        points.push([step * STEP_MS, 1, 1, done, 0, 0, 0, done, 1000 * done, 10 * done]);
    }
    const ago = 6 * minutes;
    past = [];
    recall({columns, points}, {uptime_s: arguments[1]});
    remember({sessions: 1, relay: 1, logins: ago, logins_failed: 0, logins_unavailable: 0,
              logins_put_off: 0, messages: ago, bytes_in: 1000 * ago, bytes_out: 10 * ago});
    drawCharts();
    return [...document.querySelectorAll("#charts svg")[2].querySelectorAll("polyline")].map(
        (line) => line.getAttribute("points").split(" ").map((each) => each.split(",").map(Number)));
"""


def test_whole_hour_is_drawn_and_its_first_minute_is_no_rise(postern, opened):
    page = opened(postern)
    (line,) = page.run(HOUR, 62, 1000000)
    heights = [y for _, y in line]
    assert len(line) > 350 and max(heights) - min(heights) < 1
    assert 46 <= line[0][0] < 50  # the left edge of the drawing is 46


def test_minute_before_what_is_known_is_not_guessed(postern, opened):
    """A ring that begins with something counted does not know what its first minute had."""
    page = opened(postern)
    (known,) = page.run(HOUR, 5, 1000000)
    (from_start,) = page.run(HOUR, 5, 300)
    assert len(from_start) - len(known) in (5, 6)


def test_drawings_go_back_as_far_as_there_is_something(postern, opened):
    """What has just been started would be a stroke at the edge of an hour."""
    page = opened(postern)
    for minutes, label in ((1, "5 min ago"), (20, "20 min ago"), (59.5, "60 min ago"), (62, "an hour ago")):
        (line,) = page.run(HOUR, minutes, 60 * minutes)
        assert label in page.text("charts")
        assert minutes < 5 or line[0][0] < 50


def test_equal_failures_are_one_row_with_their_number(postern, opened):
    for user in ("mallory", "mallory", "eve", "mallory"):
        fail(postern, user)
    page = opened(postern)
    assert sorted((row[1], row[5]) for row in page.rows("failures")) == [("1", "eve"), ("3", "mallory")]


def test_failures_are_folded_on_a_telephone(postern, opened):
    for _ in range(2):
        fail(postern, "mallory")
    page = opened(postern, width=390, telephone=True)
    table = page.driver.find_element("id", "failures")
    page.next_answer()
    assert not table.is_displayed() and page.text("failed") == "2"
    page.driver.find_element("css selector", "#fold summary").click()
    page.next_answer()  # which does not fold them again
    assert table.is_displayed() and "mallory" in page.text("failures")


def test_time_without_an_answer_is_a_gap(postern, opened):
    page = opened(postern)
    page.next_answer()
    page.run("""
        const point = past[past.length - 1];
        past = [];
        for (const each of [point, point, {}, point, point]) remember({...each, at: performance.now()});
        drawCharts();
    """)
    assert page.run("return document.querySelector('#charts svg')"
                    ".querySelectorAll('polyline').length") == 4
    places = page.run("return [...document.querySelector('#charts polyline').getAttribute('points')"
                      ".split(' ')].map((point) => Number(point.split(',')[0]))")
    assert places == sorted(places) and max(places) - min(places) < 100  # of 400, for an hour


def test_what_happened_while_the_page_had_no_answer_is_drawn(postern, opened):
    page = opened(postern)
    page.run("past = [{at: performance.now()}]")
    page.next_answer()
    assert page.run("return past.filter((point) => point.sessions !== undefined).length") >= 2
    assert figure(page, "messages in a minute") == "0"


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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pictures_in_the_guides_show_the_page_as_it_is(postern, opened, dark):
    """RENEW_PICTURES=1 in the environment makes them anew."""
    page = opened(postern, width=pictures.WIDTH, height=2000, dark=dark)
    taken, kept = pictures.take(page.driver), pictures.path_of(dark)
    if os.environ.get("RENEW_PICTURES"):
        kept.write_bytes(pictures.pack(taken))
    there = kept.read_bytes()
    assert pictures.mark_of(there) == pictures.mark(), (
        "the page has changed since its pictures were made: RENEW_PICTURES=1 "
        "python3 -m pytest test_page.py -k pictures, and look at them")
    assert pictures.pixels(there)[:2] == (pictures.WIDTH, pictures.HEIGHT)
    assert pictures.difference(there, taken) < 8  # other fonts are less, another scheme is 150


def test_pictures_are_small():
    assert sum(pictures.path_of(dark).stat().st_size for dark in (False, True)) < pictures.SIZE_LIMIT


def test_names_that_clients_choose_are_text(postern, opened):
    with postern.connect() as one:
        one.ehlo()
        one.login(HOSTILE, "wrong", 535)
    page = opened(postern)
    wait.until(lambda: page.rows("failures"), "the failure")
    assert column(page, "failures", 5) == [HOSTILE]
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
        page.next_answer()
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
