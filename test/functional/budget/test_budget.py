"""What a session, a message and an idle client may cost, without a clock: counts only.

Each ceiling is today's figure, with a little room only where the kernel has a say in it. Whoever
lowers a figure lowers its ceiling; whoever must raise one says why.
"""

import os
import time

import pytest

from support import tracing, wait

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MEGABYTE = 1 << 20

#: TLS, EHLO, AUTH PLAIN, one message of 1 KB and QUIT, by a client that waits for each reply.
SESSION_CALLS = {
    "accept4": 1, "recvfrom": 18, "sendmsg": 16, "epoll_wait": 19, "epoll_ctl": 4,
    "sendto": 1,  # to the auth worker
    "getsockname": 1, "socket": 1, "setsockopt": 1, "connect": 1, "close": 2,
    "write": 1,  # the log, for the message and the session
    "getpid": 6,  # OpenSSL, whenever it wants random bytes
}

#: The same with a message of 25 MB. How much a recv() finds is not ours to say: a tenth more.
#: Where the sink falls behind, reading stops and begins again.
LARGE_MESSAGE_CALLS = SESSION_CALLS | {"recvfrom": 131, "sendmsg": 129, "epoll_wait": 132,
                                       "epoll_ctl": 12}

#: malloc(), calloc() and realloc() in the first of these sessions: what is too large to be kept
#: for the next. Two are OpenSSL's, which makes its output buffer anew for the early greeting: a
#: packet less is worth more.
SESSION_ALLOCATIONS = 40
#: What a message needs is there from the one before it.
MESSAGE_ALLOCATIONS = 0

#: An idle session after AUTH: OpenSSL's object, the backend's connection, the session itself. Its
#: memory comes in chunks for many, which makes the figure waver by a tenth.
IDLE_SESSION_BYTES = 17_000

#: A client that has sent a part of a message, and half of the record that follows: what has come
#: of that record, and no buffer of ours beside it. Counted on top of an idle session.
HALF_RECORD_BYTES = 24 * 1024
#: A burst that comes with few reads, and the part of it that arrives.
BURST, ARRIVES = 15 * 16000, 14 * 16000

#: Longer than it takes until a reactor gives memory back.
TRIM_S = 6


def check(sessions, ceilings):
    calls = tracing.least(sessions)
    over = tracing.excess(calls, ceilings)
    assert not over, f"{calls.total()} system calls, {sum(ceilings.values())} are allowed; {over}"


def test_a_session_makes_no_system_call_more(traced):
    rig, calls = traced
    rig.load(n=30)
    check(calls.by_session(), SESSION_CALLS)


def test_a_large_message_goes_through_in_large_pieces(traced):
    rig, calls = traced
    rig.load(n=5, s=25 * MEGABYTE)
    check(calls.by_session(), LARGE_MESSAGE_CALLS)


def allocations(rig, count, **load):
    before = count()
    rig.load(**load)
    return count() - before


def test_a_session_allocates_no_more(counted):
    rig, count = counted
    rig.load(n=20)
    assert min(allocations(rig, count, n=1) for _ in range(5)) <= SESSION_ALLOCATIONS


@pytest.mark.parametrize("size", [1024, MEGABYTE])
def test_a_relayed_message_allocates_no_more(counted, size):
    rig, count = counted
    rig.load(n=5, R=12, s=size)
    few, many = (min(allocations(rig, count, n=1, R=messages, s=size) for _ in range(5))
                 for messages in (2, 12))
    assert (many - few) / 10 <= MESSAGE_ALLOCATIONS


def memory_bytes(pid):
    """Its proportional share of all memory that is not a file's."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("Pss_Anon:"))


def settled(figure):
    """A figure that has not gone down any more for the time in which memory is given back."""
    least, since = figure(), time.monotonic()

    def look():
        nonlocal least, since
        now = figure()
        if now < least:
            least, since = now, time.monotonic()
        return least if time.monotonic() - since > TRIM_S else None

    return wait.until(look, "a settled memory", 6 * TRIM_S)


@needs_root
def test_an_idle_session_holds_no_more_memory(rig):
    """What handshakes leave behind is given back within seconds, which is waited for."""
    made = rig()
    reactor = made.reactor
    made.load(n=100, c=20)
    with made.hold(500):
        before = settled(lambda: memory_bytes(reactor))
        with made.hold(500):
            after = settled(lambda: memory_bytes(reactor))
    assert (after - before) / 500 <= IDLE_SESSION_BYTES


def begin_message(made):
    """A client in the middle of a message, whose last record has not come to its end."""
    one = made.postern.log_in("load@example.org", "not-a-secret")
    for command in "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>":
        one.command(command, 250)
    one.command("DATA", 354)
    for _ in range(BURST // 16000):
        one.tls.write(b"x" * 15998 + b"\r\n")
    records = one._outgoing.read()
    one.socket.sendall(records[:len(records) * ARRIVES // BURST + 8000])
    return one


@needs_root
def test_half_a_record_holds_no_large_buffer(rig):
    """Promise 9: a hundred clients that send no further do not have a large buffer each."""
    made = rig()
    made.load(n=20, R=2, s=MEGABYTE)
    before = settled(lambda: memory_bytes(made.reactor))
    clients = [begin_message(made) for _ in range(100)]
    after = settled(lambda: memory_bytes(made.reactor))
    for one in clients:
        one.close()
    assert (after - before) / 100 <= HALF_RECORD_BYTES + IDLE_SESSION_BYTES
