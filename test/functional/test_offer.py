"""What EHLO offers before the backend knows the client: what clients of this listener really get,
whatever the backend shows to one of them alone, or to Postern itself (threat 26)."""

from support import wait
from support.backend import EXTENSIONS

ODD = "127.0.0.66"
PLAIN = ("PIPELINING", "SIZE 50000000")


def shows(backend, to_odd=EXTENSIONS, to_probes=EXTENSIONS, to_others=EXTENSIONS):
    """A backend that tells clients apart by their addresses."""
    def ehlo(connection, _):
        if not connection.xclient:
            keywords = to_probes
        elif any(ODD.encode() in each for each in connection.xclient):
            keywords = to_odd
        else:
            keywords = to_others
        connection.say("\n".join(["250 fake.test", *(f"250 {each}" for each in keywords),
                                  f"250 XCLIENT {connection.backend.attributes}"]))
    backend.on("EHLO", ehlo)


def starts(start, backend, **settings):
    """With an mx before the same backend, which anybody may use."""
    mx, submissions = wait.free_port(), wait.free_port()
    made = start(backend, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"],
               **settings.pop("mx", {})},
        "submissions": {"address": f"127.0.0.1:{submissions}", "tls": "implicit"}}, **settings)
    made.starttls, made.implicit = ("127.0.0.1", mx), ("127.0.0.1", submissions)
    backend.wait(lambda: any(each.has_quit for each in backend.connections), "no probe")
    wait.until(lambda: offered(made), "the offer")
    return made


def offered(postern, source="127.0.0.7", tls=None):
    with postern.connect(tls=tls, source=source) as one:
        return set(one.ehlo()) - {"STARTTLS", "AUTH"}


def visit(postern, source="127.0.0.7"):
    with postern.connect(tls=None, source=source) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.quit()


def keywords(extensions):
    return {each.split()[0] for each in extensions}


def test_client_from_whom_keywords_are_hidden_takes_them_from_nobody_for_long(start, backend):
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    for _ in range(3):
        visit(postern)
    assert offered(postern) == keywords(EXTENSIONS)
    for _ in range(3):
        visit(postern, ODD)
        assert offered(postern) == keywords(EXTENSIONS)


def test_client_from_whom_keywords_are_hidden_is_not_offered_them_again(start, backend):
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    assert offered(postern, ODD) == keywords(PLAIN)
    for _ in range(4):
        visit(postern)
    assert offered(postern, ODD) == keywords(PLAIN)
    visit(postern, ODD)
    assert offered(postern) == keywords(EXTENSIONS)


def test_smaller_size_of_one_client_is_nobody_elses(start, backend):
    """Who reads a smaller limit gives his mail back to its sender for good."""
    shows(backend, to_odd=("PIPELINING", "SIZE 100"))
    postern = starts(start, backend)
    visit(postern, ODD)
    for _ in range(3):
        visit(postern)
    visit(postern, ODD)
    with postern.connect(tls=None, source="127.0.0.8") as one:
        assert one.ehlo()["SIZE"] == "50000000"


def test_keyword_that_one_client_alone_is_shown_is_offered_to_nobody(start, backend):
    shows(backend, to_probes=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    for _ in range(5):
        visit(postern, ODD)
    assert offered(postern) == keywords(PLAIN)
    visit(postern)
    assert offered(postern, ODD) == keywords(PLAIN)


def test_keyword_that_only_this_host_is_shown_is_soon_offered_to_nobody(start, backend):
    """Postfix's manual has an example that hides DSN from everybody but one's own networks."""
    shows(backend, to_odd=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    visit(postern)
    assert offered(postern, "127.0.0.8") == keywords(PLAIN)
    for number in range(10, 16):
        visit(postern, f"127.0.0.{number}")
    assert offered(postern, "127.0.0.8") == keywords(PLAIN)


def test_listeners_do_not_learn_from_each_other(start, backend):
    """Users are shown what strangers are not."""
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    assert offered(postern) == keywords(PLAIN)
    assert offered(postern, tls="implicit") == keywords(EXTENSIONS)


def test_backend_that_was_changed_to_offer_more_is_believed_after_some_sessions(start, backend):
    shows(backend, to_probes=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    visit(postern)
    shows(backend)

    def comes_back():
        visit(postern)
        return offered(postern) == keywords(EXTENSIONS)
    wait.until(comes_back, "what it offers now")
    assert sum(each.is_probe for each in backend.connections) <= 4
