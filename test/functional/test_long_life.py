"""What only shows after a while."""

from support import wait
from support.visitors import Visitors


def test_every_message_of_a_long_life_arrives_once(start, backend):
    """Reloads lose and double nothing."""
    postern = start(backend)
    with Visitors(postern) as visitors:
        for _ in range(5):
            postern.reload()
            visitors.go_on()
    wait.until(lambda: sum(len(s.messages) for s in backend.sessions) >= visitors.count, "the mail")
    assert sum(len(s.messages) for s in backend.sessions) == visitors.count
