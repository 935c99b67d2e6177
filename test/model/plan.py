"""What the backend of a session does: how it answers, and at most one fault. Made from the seed.

The kinds of faults; `verb` limits a fault to replies to that verb, `skip` passes over so many of
those:

    surplus     two replies in one write         missing    no reply, and the next ones go on
    hang        no reply, ever                   close      closes instead of a reply
    reset       resets instead of a reply        half       the first line of several, then `then`
    garbage     a line that is no reply          two        one reply with two codes
    long        an over-long line                go_on      3xx where nothing can follow
    bye         421 as the reply, then `then`    bye_later  421 that nobody asked for, then `then`
    later       another reply that nobody asked for, after a moment
    early       a reply in the middle of a message or chunk, then `then`
    unread      BDAT is refused, and its chunk not read
    too_good    2xx to DATA                      odd_go     3xx other than 354 to DATA
"""

import dataclasses

#: What a session's backend may offer; those after the empty word must never reach a client.
OFFERED = ("PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8",
           "CHUNKING", "BINARYMIME", "DELIVERBY", "MT-PRIORITY", "ETRN", "VRFY", "EXPN")
SECRET = ("STARTTLS", "AUTH PLAIN LOGIN", "AUTH=PLAIN", "XFORWARD NAME ADDR", "BURL imap",
          "XSECURITY", "PIPECONNECT", "X-CANARY", "HELP")

#: How often a reply is a refusal, in percent.
REFUSALS = {"EHLO": 4, "HELO": 4, "MAIL": 6, "RCPT": 15, "DATA": 6, "message": 12, "chunk": 7,
            "RSET": 3, "NOOP": 4, "VRFY": 20, "EXPN": 40, "HELP": 5, "ETRN": 20, "QUIT": 3}


@dataclasses.dataclass
class Fault:
    kind: str
    verb: str | None = None
    skip: int = 0
    code: int = 0
    then: str = ""
    gated: bool = False  # of "early": at the line where the client waits
    torn: bool = False   # of "early": in two lines, with a pause between them


@dataclasses.dataclass
class Plan:
    seed: str
    keywords: tuple = OFFERED
    refusals: float = 1.0      # how many times the ordinary share of refusals
    style: str = "once"        # or "joined" (replies of a group together), "split" (in pieces)
    credulous: bool = False    # takes for the end of a message what some servers take for it
    holds: float = 0.0         # how often a reply waits a little
    noise: float = 0.05        # odd but valid forms of replies
    forgets: bool = False      # a refused command ends the transaction
    deaf_ms: int = 0           # reads nothing for a while after 354
    opening: tuple | None = None  # (step, code): what happens before the session is ready
    fault: Fault | None = None


def _choose_fault(rng, early):
    code = rng.choice((250, 250, 250, 251, 354, 421, 450, 451, 550, 552, 554))
    if early:
        code = rng.choice((451, 452, 552, 552, 554, 554, 421, 250, 354))
        return Fault("early", rng.choice(("message", "message", "chunk")), rng.choice((0, 0, 1)),
                     code, rng.choice(("stay", "stay", "close")),
                     code in (250, 354) or rng.random() < 0.7, code >= 400 and rng.random() < 0.4)
    kind = rng.choice(("surplus", "surplus", "surplus", "missing", "hang", "close", "reset", "half",
                       "half", "garbage", "two", "long", "go_on", "go_on", "bye", "bye",
                       "bye_later", "later", "too_good", "odd_go", "odd_go", "unread", "unread"))
    verb, skip = None, rng.choice((0, 0, 1, 1, 2, 3, 4, 5, 7))
    then = ""
    if kind in ("too_good", "odd_go"):
        verb, skip = "DATA", rng.choice((0, 0, 0, 1))
        code = rng.choice((250, 235, 299) if kind == "too_good" else (300, 334, 355, 399))
    elif kind == "go_on":
        code = rng.choice((300, 334, 354, 354, 355))
        verb = rng.choice((None, None, "message", "chunk", "RCPT", "MAIL"))
        skip = 0 if verb else skip
    elif kind == "half":
        code = rng.choice((250, 250, 354, 450, 550, 421))
        verb = rng.choice((None, None, "message", "chunk", "DATA"))
        skip = 0 if verb else skip
        then = rng.choice(("close", "close", "reset", "421", "garbage", "long", "hang"))
    elif kind in ("bye", "bye_later"):
        code, then = 421, rng.choice(("stay", "stay", "close"))
        verb = rng.choice((None, None, "MAIL", "message", "chunk", "RCPT", "RCPT", "DATA"))
        skip = 0 if verb else skip
    elif kind == "unread":
        verb, skip = "chunk", rng.choice((0, 0, 1))
        code = rng.choice((421, 452, 500, 502, 503, 552, 554))
    elif kind == "later":
        code = rng.choice((450, 550, 554))
    elif kind == "surplus":
        code = 250 if code == 354 else code  # a 354 that nobody can know for a wrong one
        verb = rng.choice((None, "RCPT", "RCPT", "MAIL"))
        skip = 0 if verb else skip
    return Fault(kind, verb, skip, code, then)


def choose(rng, seed, fault_share=0.3):
    """A plan. The same state of `rng` gives the same plan."""
    plan = Plan(seed)
    if rng.random() < 0.5:
        plan.keywords = tuple(each for each in OFFERED if rng.random() < 0.85)
    if rng.random() < 0.3:
        secret = [each for each in SECRET if rng.random() < 0.4]
        plan.keywords = tuple(rng.sample(plan.keywords + tuple(secret),
                                         len(plan.keywords) + len(secret)))
    plan.refusals = rng.choice((0, 0.3, 1, 1, 1, 3))
    plan.style = rng.choice(("once", "once", "once", "joined", "split"))
    plan.credulous = rng.random() < 0.3
    plan.holds = rng.choice((0, 0.1, 0.3, 1.0))
    plan.noise = rng.choice((0, 0.1))
    plan.forgets = rng.random() < 0.2
    if rng.random() < 0.03:
        plan.deaf_ms = rng.choice((20, 100, 300))
    if rng.random() < 0.02:
        plan.opening = (rng.choice(("XCLIENT", "hello", "hello")),
                        rng.choice((421, 450, 501, 501, 550, 354, 0)))
    elif rng.random() < fault_share:
        plan.fault = _choose_fault(rng, rng.random() < 0.35)
    return plan
