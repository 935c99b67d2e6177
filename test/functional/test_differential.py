"""The same odd sessions, straight to a mail server and through Postern, end with the same mail, and
the client hears the same of it.

Where the design forbids that, a rule says so, and why: it makes of a session what Postern is to
make of it, and that is what the server hears directly. There is no other difference.
"""

import collections
import dataclasses
import random
import re
import tempfile

import pytest

from conftest import needs_root
from support import backend as backends
from support import example, odd_sessions
from support.client import Client
from support.odd_sessions import Command, Message
from support.postern import merge

pytestmark = needs_root

SESSIONS = 200
#: So that no session ends before it is over; how many errors are too many is another matter.
PATIENT = {"limits": {"errors": 1000}}

TRANSACTION = (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"message")

#: `notifications` as the server keeps them, where that can be seen.
Accepted = collections.namedtuple("Accepted", "sender recipient content notifications",
                                  defaults=[b""])


# What the design forbids. A rule gets a unit, and what the session has been so far; it returns the
# unit as it is to be, None for one that goes no further, or END where Postern closes.

END = object()
KNOWN = set(b"EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP ETRN STARTTLS AUTH".split())


def no_control_characters(unit, _):
    """A command line with a NUL, a bare CR or their like is refused: servers differ in where it
    ends (threat 7)."""
    return None if re.search(rb"[\0-\x08\x0a-\x1f\x7f]", unit.line) else unit


def no_endless_lines(unit, _):
    """RFC 5321 section 4.5.3.1.4, with room."""
    return None if len(unit.line + unit.end) > 2048 else unit


def no_identity_of_the_clients_own(unit, _):
    """Threat 4."""
    return None if unit.verb in (b"XCLIENT", b"XFORWARD") else unit


def names_are_safe(unit, _):
    """What stands after EHLO goes to logs and trace fields (threat 10): one word of ASCII."""
    if unit.verb not in (b"EHLO", b"HELO"):
        return unit
    name = unit.line[4:].lstrip(b" ").rstrip(b" \t")
    if not 1 <= len(name) <= 255:
        return None
    return dataclasses.replace(unit, line=unit.line[:5] + re.sub(rb"[^!-~]", b"?", name))


def blanks_stand_where_they_belong(unit, _):
    """One after the verb, none at the end, none about a path, and one before each parameter: servers
    differ in what they make of others."""
    verb, _, arguments = unit.line.partition(b" ")
    arguments = arguments.lstrip(b" ").rstrip(b" \t")
    envelope = re.fullmatch(rb'(?i)(FROM:|TO:) *(?:< *((?:[^<>" \\]|"(?:[^<>"\\]|\\[^<>])*")*) *>'
                            rb'|([^<>" \\]+))((?: .*)?)', arguments)
    if envelope and unit.verb in (b"MAIL", b"RCPT"):
        word, path, bare, rest = envelope.groups()
        arguments = b" ".join([word + (bare or b"<%s>" % path), *rest.split()])
    if unit.verb == b"BDAT":
        arguments = re.sub(rb" +", b" ", arguments)
    return dataclasses.replace(unit, line=verb + (b" " + arguments if arguments else b""))


def no_unknown_commands(unit, _):
    """A server may know more than Postern does (threat 4), also where a tab ends the verb."""
    return unit if unit.verb in KNOWN else None


def senders_are_read_in_one_way_only(unit, _):
    """Where a path ends is where AUTH= could begin, and what is behind it has a name (threat 5)."""
    parameters = rb"(?: +[A-Za-z0-9-]+(?:=[^ ]*)?)* *"
    path = rb'<(?:[^<>" \\]|"(?:[^<>"\\]|\\[^<>])*")*>|[^<>" \\]+'
    if unit.verb != b"MAIL" or re.fullmatch(rb"(?i)MAIL FROM: *(?:%s)%s" % (path, parameters),
                                            unit.line):
        return unit
    return None


def no_authorship_claimed(unit, _):
    """Threat 5."""
    if unit.verb != b"MAIL":
        return unit
    return dataclasses.replace(unit, line=re.sub(rb"(?i) AUTH=[^ ]*", b"", unit.line))


def no_chunk_whose_end_is_unknown(unit, envelope):
    """Without a size, or where HELO has withdrawn the offer (threat 8)."""
    well_formed = re.fullmatch(rb"(?i)BDAT [0-9]+( LAST)?", unit.line)
    return unit if unit.verb != b"BDAT" or well_formed and envelope.hello != b"HELO" else END


def command_lines_are_whole(unit, _):
    """A client may end them with a bare LF, which not every server reads; they go on with CRLF."""
    return dataclasses.replace(unit, end=b"\r\n")


COMMAND_RULES = [command_lines_are_whole, no_control_characters, no_endless_lines,
                 no_identity_of_the_clients_own, names_are_safe, no_unknown_commands,
                 blanks_stand_where_they_belong,
                 senders_are_read_in_one_way_only, no_authorship_claimed]


class Envelope:
    """What the replies that the client has heard through Postern say of its transaction."""

    def __init__(self):
        self.hello = None   # the last one that was accepted: EHLO or HELO
        self._begin()

    def _begin(self):
        self.has_sender = self.has_recipient = False
        self.chunks = b""

    def hear(self, unit, code):
        if not code or code // 100 != 2:
            return
        if unit.verb in (b"MAIL", b"RSET", b"EHLO", b"HELO", b"message") or is_last_chunk(unit):
            self._begin()
            self.hello = unit.verb if unit.verb in (b"EHLO", b"HELO") else self.hello
            self.has_sender = unit.verb == b"MAIL"
        elif unit.verb == b"RCPT":
            self.has_recipient = self.has_sender
        elif unit.verb == b"BDAT":
            self.chunks += unit.chunk


def is_last_chunk(unit):
    return unit.verb == b"BDAT" and unit.line.upper().endswith(b" LAST")


def no_chunk_without_a_recipient(unit, envelope):
    """A server may not read it, and take its lines for commands (threat 30)."""
    return unit if unit.verb != b"BDAT" or envelope.has_recipient else None


def no_bare_line_ends_in_chunks(unit, envelope):
    """They cannot be repaired there (threat 34)."""
    if unit.verb != b"BDAT":
        return unit
    bare = rb"\0|(?<!\r)\n|\r(?!\n|\Z)" + (rb"|\r\Z" if is_last_chunk(unit) else b"")
    return END if re.search(bare, envelope.chunks + unit.chunk) else unit


CHUNK_RULES = [no_chunk_whose_end_is_unknown, no_chunk_without_a_recipient, no_bare_line_ends_in_chunks]


def line_ends_are_whole(message):
    """In a message (threat 7): bare LF is CRLF, bare CR and NUL are a space, and a dot that begins
    a line only since then is stuffed."""
    text = re.sub(rb"\r(?!\n)|\0", b" ", message.body + message.end)
    made, soft = b"", False
    for line, end in re.findall(rb"([^\n]*?)(\r?\n|$)", text):
        if line.startswith(b".") and (soft or line == b"." and end == b"\n"):
            line = b"." + line
        made += line + (b"\r\n" if end else b"")
        soft = end == b"\n"
    return dataclasses.replace(message, body=made[:len(made) - len(message.end)])


class Design:
    """Sessions as the rules make them; `applied` counts what each rule has changed."""

    def __init__(self):
        self.applied = collections.Counter()

    def session(self, groups, heard):
        """`heard`: {number of the unit: code}, through Postern."""
        made, said, envelope = [], [], Envelope()
        for group in groups:
            kept = []
            for unit in group:
                result = self._unit(unit, said, envelope)
                envelope.hear(unit, heard.get(unit.number))
                if result is END:
                    return [*made, kept] if kept else made
                if result:
                    kept.append(result)
                    said += [result] if isinstance(result, Command) else []
            made += [kept] if kept else []
        return made

    def _unit(self, unit, said, envelope):
        if isinstance(unit, Message):
            return self._count(line_ends_are_whole, unit, line_ends_are_whole(unit))
        looks = [*((rule, said) for rule in COMMAND_RULES),
                 *((rule, envelope) for rule in CHUNK_RULES)]
        for rule, seen in looks:
            result = self._count(rule, unit, rule(unit, seen))
            if result in (None, END):
                return result
            unit = result
        return unit

    def _count(self, rule, before, after):
        self.applied[rule.__name__] += before != after
        return after


# The servers: how one gets in directly as Postern would, how much of a session's grouping they can
# bear, and what has been accepted

class BehindXclient:
    """Postfix."""
    chunking = True

    def __init__(self, request):
        self.server = request.getfixturevalue("postfix_with")(
            smtpd_soft_error_limit="1000", smtpd_hard_error_limit="2000",
            local_header_rewrite_clients="")
        self.front = request.getfixturevalue("start")(self.server.address, **PATIENT)

    def direct(self):
        made = Client(self.server.address, source=None)
        made.greeting()
        made.ehlo()
        made.command("XCLIENT NAME=[UNAVAILABLE] PORT=4000 PROTO=ESMTP HELO=client.example "
                     "LOGIN=alice ADDR=127.0.0.9", 220)
        made.ehlo()
        return made

    @staticmethod
    def bearable(groups):
        return groups, groups

    def accepted(self):
        self.server.wait_for_empty_queue()
        for path in self.server.message_paths():
            head, _, content = path.read_bytes().partition(b"\nReceived: ")
            yield Accepted(*re.match(rb"Return-Path: <(.*)>\nX-Original-To: (.*)\n", head).groups(),
                           _behind_the_trace(content))


class BehindProxyHeader:
    """OpenSMTPD, with everybody in mail.test. Directly, all is said one by one."""
    chunking = False

    def __init__(self, request):
        from support.opensmtpd import OpenSMTPD
        self.smarthost = backends.Backend()
        request.addfinalizer(self.smarthost.close)
        directory = tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="opensmtpd-")
        self.server = OpenSMTPD(directory, self.smarthost.address, **{
            'action "inside" maildir alias <aliases>':
            'table all { "@" = inbox }\naction "inside" maildir virtual <all>'})
        request.addfinalizer(self.server.close)
        self.front = request.getfixturevalue("start")("%s:%d" % self.server.front, **merge(
            PATIENT, {"backend": {"identity": "proxy-v2"}}))

    def direct(self):
        made = Client(self.server.front, source=None)
        made.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 9, 127, 0, 0, 1])
                  + b"\x10\0\0\x19")
        made.greeting()
        made.ehlo()
        return made

    @staticmethod
    def bearable(groups):
        return groups, odd_sessions.one_by_one(groups)

    def accepted(self):
        """Senders and recipients stand in the log, contents where they were delivered."""
        self.server.wait_for_empty_queue()
        contents = {_number(raw): raw for raw in [
            *(_as_stored(each) for one in list(self.smarthost.connections)
              for each in one.messages), *self.server.maildir.messages()]}
        for number, sender, recipient in re.findall(
                r"smtp envelope evpid=(\w{8})\w{8} from=<(.*)> to=<(.*)>", self.server.log()):
            yield Accepted(_bytes(sender), _bytes(recipient),
                           _behind_the_trace(contents[number.encode()]))


class BehindEnvironment:
    """Courier."""
    chunking = False

    def __init__(self, request):
        from support.courier import Courier
        self.server = Courier(tempfile.mkdtemp(dir=request.getfixturevalue("work"),
                                               prefix="courier-"))
        request.addfinalizer(self.server.close)
        self._finally = request.addfinalizer
        self.front = request.getfixturevalue("start")(
            None, example=example.text("courier/postern.conf", {}), command=self.server.command,
            **PATIENT)

    def direct(self):
        process, ours = self.server.esmtpd(
            TCPREMOTEIP="127.0.0.9", TCPREMOTEPORT="4000", TCPREMOTEINFO="alice",
            TCPLOCALIP="127.0.0.1", TCPLOCALPORT="465", RELAYCLIENT="")
        self._finally(process.wait)
        made = Client(ours)
        made.greeting()
        made.ehlo()
        return made

    @staticmethod
    def bearable(groups):
        return groups, odd_sessions.messages_apart(groups)

    def accepted(self):
        for each in self.server.queue():
            for recipient, wanted in zip(each.recipients, each.notifications):
                yield Accepted(_bytes(each.sender), _bytes(recipient),
                               _behind_the_trace(each.message), _bytes(" ".join(wanted)))


class BehindArguments:
    """Exim, with everybody in one Maildir."""
    chunking = True

    def __init__(self, request):
        from support.exim import Exim
        self.server = Exim(
            tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="exim-"), "program",
            main="smtp_max_synprot_errors = 1000\nsmtp_max_unknown_commands = 1000\n"
                 "smtp_accept_max_nonmail = 1000\ntls_advertise_hosts =\n",
            site_changes={"  domains = +local_domains\n": "",
                          "maildir_format": "maildir_format\n  return_path_add\n  envelope_to_add"},
            smarthost="127.0.0.1:9")
        request.addfinalizer(self.server.close)
        self._finally = request.addfinalizer
        self.front = request.getfixturevalue("start")(
            None, example=example.text("exim/program/postern.conf", {}),
            command=self.server.command, **PATIENT)

    def direct(self):
        process, ours = self.server.session("-oMa", "127.0.0.9.4000", "-oMaa", "PLAIN",
                                            "-oMai", "alice")
        self._finally(process.wait)
        made = Client(ours)
        made.greeting()
        made.ehlo()
        return made

    @staticmethod
    def bearable(groups):
        """Without QUIT: it holds its reply to that back for a fifth of a second."""
        groups = [[unit for unit in group if unit.bytes[:4].upper() != b"QUIT"]
                  for group in groups]
        groups = [group for group in groups if group]
        return groups, groups

    def accepted(self):
        self.server.wait_for_empty_queue()
        for raw in self.server.maildir.messages():
            head, _, content = raw.partition(b"\nReceived: ")
            yield Accepted(*re.match(rb"Return-path: <(.*)>\nEnvelope-to: (.*)", head).groups(),
                           _behind_the_trace(b"Received: " + content))


class BehindLoopback:
    """Sendmail, which lets this host relay; what it is told of a client makes no difference."""
    chunking = False

    def __init__(self, request):
        from support.sendmail import Sendmail
        self.smarthost = backends.Backend()
        request.addfinalizer(self.smarthost.close)
        directory = tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="sendmail-")
        self.server = Sendmail(directory, "trace", self.smarthost.address, None)
        request.addfinalizer(self.server.close)
        self.front = request.getfixturevalue("start")("%s:%d" % self.server.address, **merge(
            PATIENT, {"backend": {"identity": "none"}}))

    def direct(self):
        made = Client(self.server.address, source=None)
        made.greeting()
        made.ehlo()
        return made

    @staticmethod
    def bearable(groups):
        return groups, odd_sessions.groups_parted(groups)

    def accepted(self):
        """Senders and recipients stand in the log, contents where they were delivered. What the
        server writes itself has no sender there."""
        self.server.wait_for_empty_queue()
        contents = {_number(raw): raw for raw in [
            *(_as_stored(each) for one in list(self.smarthost.connections)
              for each in one.messages), *self.server.maildir.messages()]}
        senders = dict(re.findall(r": (\w+): from=(.*?), size=", self.server.log()))
        for number, recipients in re.findall(
                r": (\w+): to=(.*?), (?:ctladdr=.*?, )?delay=.*, stat=Sent", self.server.log()):
            for recipient in recipients.split(",") if number in senders else ():
                yield Accepted(_bytes(senders[number]), _bytes(recipient),
                               _behind_the_trace(contents[number.encode()]))


def _behind_the_trace(content):
    """What the server has put in front is its own, and so are fields that it adds."""
    content = re.sub(rb"\A(?:(?:Return-Path|Delivered-To): .*\n)*.*\n(?:[ \t].*\n)*", b"", content)
    if odd_sessions.OWN_FIELDS.replace(b"\r\n", b"\n") in content:
        return content  # neither had to be added
    return re.sub(rb"^(?:Message-ID|Date): .*\n", b"", content, flags=re.I | re.M)


def _number(raw):
    return re.search(rb"\n\tby .* id (\w+)", raw)[1]


def _as_stored(message):
    """As it stands in a Maildir, of what came over SMTP."""
    lines = message.removesuffix(b".\r\n").split(b"\r\n")
    return b"\n".join(line.removeprefix(b".") for line in lines)


def _bytes(text):
    return text.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("behind", [BehindXclient, BehindProxyHeader, BehindEnvironment,
                                    BehindArguments, BehindLoopback])
def test_what_is_accepted_is_the_same_with_postern_and_without(behind, request):
    server, design, codes = behind(request), Design(), {}
    for number in range(SESSIONS):
        groups, _ = server.bearable(
            odd_sessions.session(number, b"p%04d" % number, server.chunking))
        codes[b"p%04d" % number] = odd_sessions.play(server.front.log_in(), groups,
                                                     random.Random(number))
        _, groups = server.bearable(design.session(
            odd_sessions.session(number, b"d%04d" % number, server.chunking),
            codes[b"p%04d" % number]))
        codes[b"d%04d" % number] = odd_sessions.play(server.direct(), groups, random.Random(number))
    outcome = _by_session(server.accepted())
    differing = [number for number in range(SESSIONS)
                 if outcome[b"p%04d" % number] != outcome[b"d%04d" % number]]
    assert not differing, f"{differing}\n" + _shown(differing[0], server, codes, outcome)
    differing = [number for number in range(SESSIONS) if _answered_otherwise(number, server, codes)]
    assert not differing, f"{differing}\n" + _shown(differing[0], server, codes, outcome)
    assert sum(map(len, outcome.values())) > SESSIONS
    rules = [*COMMAND_RULES, *CHUNK_RULES, line_ends_are_whole]
    if not server.chunking:
        rules = [rule for rule in rules if "chunk" not in rule.__name__]
    assert not [rule.__name__ for rule in rules if not design.applied[rule.__name__]]


def _answered_otherwise(number, server, codes):
    """Which units of a transaction have got another reply through Postern than directly. Where a
    server closes, Postern says 421; after a refused chunk it closes (threat 30)."""
    made = odd_sessions.session(number, b"p%04d" % number, server.chunking)
    ours, theirs = codes[b"p%04d" % number], codes[b"d%04d" % number]
    differing, is_over = [], False
    for unit in (unit for group in made for unit in group if unit.verb in TRANSACTION):
        our_code, their_code = ours.get(unit.number, 0), theirs.get(unit.number, 0)
        is_end = {our_code, their_code} == {421, None} or (is_over and our_code is None)
        if unit.number in ours and unit.number in theirs and our_code != their_code and not is_end:
            differing.append(unit.number)
        is_over |= unit.verb == b"BDAT" and (our_code or 0) >= 400
    return differing


def _shown(number, server, codes, outcome):
    """Everything about one session."""
    made = odd_sessions.session(number, b"p%04d" % number, server.chunking)
    return "\n".join(map(str, [
        f"session {number}, answered otherwise: {_answered_otherwise(number, server, codes)}",
        *(unit for group in made for unit in [*group, "---"]),
        *(f"{way}: {codes[token]} {outcome[token]}" for way, token in
          (("through Postern", b"p%04d" % number), ("directly", b"d%04d" % number)))]))


def _by_session(accepted):
    """{token: sorted [Accepted]}, with the same token in all of them."""
    outcome = collections.defaultdict(list)
    for each in accepted:
        if re.search(rb"^From: .*MAILER-DAEMON@", each.content, re.MULTILINE):
            continue  # a notification by the server, which comes of the message that is compared
        token = re.search(rb"[pd]\d{4}|$", each.recipient + each.sender)[0]
        outcome[token].append(Accepted(*(part.replace(token, b"token") for part in each)))
    for found in outcome.values():
        found.sort()
    return outcome
