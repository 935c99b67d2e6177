"""Sessions as no client should hold them, made from a seed: odd commands, case, spacing,
parameters, pipelining, resets in odd places, odd messages.

A session is a list of groups, each a list of units that are sent in one go, and whose replies are
awaited before the next group. Whatever a client does not know before it has read a reply stands in
a group of its own: a message comes behind DATA's, and is left out unless that was 354.
"""

import dataclasses
import random
import re

#: Fields that servers add where they are missing.
OWN_FIELDS = b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <odd@mail.test>\r\n"


@dataclasses.dataclass
class Command:
    """A line, and the chunk behind it if it is BDAT; one reply."""
    line: bytes
    end: bytes = b"\r\n"
    chunk: bytes = b""
    number: int = dataclasses.field(default=0, compare=False)

    @property
    def bytes(self):
        return self.line + self.end + self.chunk

    @property
    def verb(self):
        return self.line.split(b" ")[0].upper()


@dataclasses.dataclass
class Message:
    """What follows 354, with its end; one reply. Without an end the session is given up behind
    it."""
    body: bytes
    end: bytes = b".\r\n"
    number: int = dataclasses.field(default=0, compare=False)
    verb = b"message"

    @property
    def bytes(self):
        return self.body + self.end


def session(number, token, chunking):
    """The groups of session `number`. All addresses have `token` in them, which tells what came of
    this session from the rest. BDAT is only said where it is offered. The units are numbered."""
    made = _Maker(random.Random(number), token, chunking).groups()
    for place, unit in enumerate(unit for group in made for unit in group):
        unit.number = place
    return made


class _Maker:
    def __init__(self, rng, token, chunking):
        self.rng, self.token, self.chunking = rng, token, chunking

    def groups(self):
        groups = [[unit] for unit in self._noise(0.4)]
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            groups += self._transaction()
        if self.rng.random() < 0.6:
            groups.append([Command(self._case(b"QUIT"))])
        return groups

    def _noise(self, chance):
        units = []
        while self.rng.random() < chance:
            units.append(Command(self.rng.choice(self._odd_commands())))
        return units

    def _transaction(self):
        commands = [self._mail(), *self._noise(0.15)]
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            commands += [self._rcpt(), *self._noise(0.15)]
        if self.rng.random() < 0.06:
            commands.insert(self.rng.randrange(len(commands)), Command(self._case(b"RSET")))
        if self.chunking and self.rng.random() < 0.25:
            return self._grouped(commands + self._chunks())
        commands.append(Command(self._case(self.rng.choice([b"DATA"] * 9 + [b"DATA now"]))))
        return self._grouped(commands) + [[self._message(), *self._noise(0.2)]]

    def _grouped(self, commands):
        """In one write, or in several, or one by one."""
        if self.rng.random() < 0.4:
            return [[each] for each in commands]
        groups = [[]]
        for each in commands:
            groups[-1].append(each)
            # A new EHLO decides whether what is behind it may be pipelined.
            if self.rng.random() < 0.2 or each.verb in (b"EHLO", b"HELO"):
                groups.append([])
        return [group for group in groups if group]

    def _case(self, line):
        return self.rng.choice([bytes, bytes, bytes.lower, bytes.swapcase, bytes.title])(line)

    # commands

    def _odd_commands(self):
        t = self.token
        return [
            b"NOOP", b"NOOP with words", b"noop ", b"RSET", b"RSET now", b"rset", b"HELP",
            b"VRFY bob", b"VRFY <r.%s@mail.test>" % t, b"EXPN list", b"ETRN mail.test",
            b"EHLO client.example", b"ehlo [127.0.0.9]", b"HELO client.example", b"EHLO",
            b"EHLO two words", b"EHLO  client.example", b"EHLO b\xc3\xbcro", b"EHLO under_score", b"HELO \xfcml\xe4ut", b"", b" ", b"\t",
            b" NOOP", b"\tNOOP", b"NOOP\t", b"XYZZY", b"XYZZY " + b"a" * 500, b"MAIL", b"RCPT",
            b"MAIL FROM", b"RCPT TO:", b"DATA:", b"SEND FROM:<a@b.test>", b"TURN",
            b"BDAT" if self.chunking else b"NOOP",
            b"RCPT TO:<early.%s@mail.test>" % t, b"MAIL FROM:<nested.%s@mail.test>" % t,
            b"XCLIENT NAME=evil.test", b"XFORWARD NAME=evil.test", b"xclient addr=192.0.2.1",
            b"STARTTLS", b"AUTH PLAIN AGEAYg==", b"\xff\xfe\xfd", b"NOOP " + b"y" * 3000,
            b"NOOP \0hidden", b"NOOP bare\rreturn", b"NOOP \x1b[1m", b"\x7fNOOP",
        ]

    def _mail(self):
        t = self.token
        path = self.rng.choice([
            *[b"<s.%s@mail.test>" % t] * 20, b"<>", b"<>",
            b"<S.%s@MAIL.Test>" % t, b"<\"s s.%s\"@mail.test>" % t, b"<s+x=y.%s@mail.test>" % t,
            b"<@a.test,@b.test:s.%s@mail.test>" % t, b"s.%s@mail.test" % t,
            b"<s.%s@[127.0.0.1]>" % t, b"<s.%s>" % t, b"<s.%s@mail.test.>" % t,
            b"<s.\xc3\xbc.%s@mail.test>" % t, b"<s.%s@mail.test" % t, b"<<s.%s@mail.test>>" % t,
            b"<\"s\\\"q.%s\"@mail.test>" % t, b"<s%%a.test.%s@mail.test>" % t,
            b"Name <s.%s@mail.test>" % t, b"<s.%s@@mail.test>" % t, b"<s .%s@mail.test>" % t,
            b"< s.%s@mail.test>" % t, b"<s.%s@mail.test >" % t, b"<  s.%s@mail.test  >" % t,
            b"< >", b"<\"s s.%s\"@mail.test >" % t,
        ])
        parameters = self.rng.choice([
            *[b""] * 15, b" SIZE=1000", b" BODY=8BITMIME", b" body=7bit", b" SMTPUTF8",
            b" RET=HDRS ENVID=a+2Bb", b" AUTH=<>", b" AUTH=root", b" SIZE=5 AUTH=x+3Dy",
            b" SIZE=99999999999", b" FOO=bar", b" SIZE=", b"  SIZE=7", b" BODY=8BITMIME ",
            b" BODY=8BITMIME SMTPUTF8 SIZE=1",
        ])
        before = self.rng.choice([b"MAIL FROM:"] * 12 + [b"MAIL FROM: ", b"MAIL  FROM:",
                                                        b"MAIL FROM :", b"MAIL FROM:  "])
        return Command(self._case(before) + path + parameters, self._line_end())

    def _rcpt(self):
        t = self.token
        path = self.rng.choice([
            *[b"<r%d.%s@mail.test>" % (self.rng.randrange(5), t)] * 15, b"<R5.%s@MAIL.TEST>" % t, b"<\"r 6.%s\"@mail.test>" % t,
            b"<@a.test:r7.%s@mail.test>" % t, b"r8.%s@mail.test" % t, b"<r9.%s>" % t,
            b"<r10.%s@mail.test.>" % t, b"<r11+tag.%s@mail.test>" % t, b"<>",
            b"<r12.%s%%x.test@mail.test>" % t, b"<r13.%s@elsewhere.test>" % t,
            b"<x.test!r14.%s@mail.test>" % t, b"<r15.%s@mail.test" % t,
            b"<\"r16\\@x.%s\"@mail.test>" % t, b"<r17.%s@[127.0.0.1]>" % t,
            b"<r18\x01.%s@mail.test>" % t, b"<r19.%s@mail.test>\rRSET" % t,
            b"<r20.%s@mail.test>\0" % t,
            b"< r21.%s@mail.test>" % t, b"<r22.%s@mail.test >" % t, b"<  r23.%s@mail.test  >" % t,
            b"< \"r 24.%s\"@mail.test >" % t,
        ])
        parameters = self.rng.choice([
            *[b""] * 10, b" NOTIFY=NEVER", b" NOTIFY=SUCCESS,DELAY",
            b" ORCPT=rfc822;x+40y.test", b" NOTIFY=MAYBE", b" ORCPT=rfc822", b" FOO", b"  ",
            b"  NOTIFY=NEVER", b" NOTIFY=NEVER   ORCPT=rfc822;x+40y.test ",
        ])
        before = self.rng.choice([b"RCPT TO:"] * 12 + [b"RCPT TO: ", b"RCPT  TO:", b"RCPT\tTO:",
                                                        b"RCPT   TO:  "])
        return Command(self._case(before) + path + parameters, self._line_end())

    def _line_end(self):
        return self.rng.choice([b"\r\n"] * 9 + [b"\n"])

    # messages

    def _message(self):
        if self.rng.random() < 0.07:
            return Message(self._text()[:-2], b"")
        return Message(self._text())

    def _text(self):
        head = self.rng.choice([
            b"Subject: hello\r\nFrom: s@mail.test\r\n" + OWN_FIELDS + b"\r\n",
            b"Subject: hello\r\n\r\n", b"\r\n", b"",
            b"Subject: folded\r\n \there\r\nTo: x@y.test\r\nX-Empty:\r\n\r\n",
            b"not a header\r\n", b"Bad Header : x\r\n\r\n", b"Received: from a by b; date\r\n\r\n",
            b"Return-Path: <x@y.test>\r\nBcc: z@y.test\r\n\r\n",
        ])
        return head + b"".join(self.rng.choice(self._lines())
                               for _ in range(self.rng.randrange(12)))

    def _lines(self):
        return [
            b"an ordinary line\r\n", b"another one\r\n", b"\r\n", b"..\r\n", b"..stuffed\r\n",
            b".unstuffed\r\n", b"...\r\n", b". \r\n", b".\t\r\n", b"\x00\r\n", b"a\0b\r\n",
            b"x" * 998 + b"\r\n", b"y" * 5000 + b"\r\n", b"trailing blanks  \t \r\n",
            b"\xe4\xf6\xfc and \xc3\xa4\r\n", b"From here\r\n", b"a bare\nline feed\r\n",
            b"a bare\rreturn\r\n", b"feed dot\n.\n\r\n", b"\n.\r\n", b"x\n.\r\nMAIL FROM:<f@x.test>\r\n",
            b"two\r\r\n", b"\rbegins\r\n", b"x\r\n.\rQUIT\r\n", b"x\r\n.\nRSET\r\n",
            b"MAIL FROM:<f.%s@mail.test>\r\n" % self.token, b"RSET\r\nQUIT\r\n", b"\x1b[0m\x7f\r\n",
        ]

    def _chunks(self):
        text = self._text()
        if self.rng.random() < 0.85:  # most are whole
            text = re.sub(rb"\0|\r(?!\n)", b" ", re.sub(rb"(?<!\r)\n", b"\r\n", text))
        cuts = sorted(self.rng.randrange(len(text) + 1) for _ in range(self.rng.randrange(3)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
        units = [Command(self._case(self.rng.choice([b"BDAT %d"] * 9 + [b"BDAT  %d"]) % len(piece)),
                         chunk=piece) for piece in pieces]
        if self.rng.random() < 0.3:
            return units + [Command(b"BDAT 0 LAST")]
        units[-1].line += self._case(self.rng.choice([b" LAST"] * 9 + [b"   LAST"]))
        return units


def one_by_one(groups):
    """For servers that do not do PIPELINING."""
    return [[unit] for group in groups for unit in group]


def messages_apart(groups):
    """For servers that forget what comes together with the end of a message."""
    return [part for group in groups for part in (
        [group[:1], group[1:]] if isinstance(group[0], Message) else [group]) if part]


def groups_parted(groups):
    """For servers that insist on RFC 2920 section 3.1, EHLO being the last of its group; and for
    sendmail, which repeats replies that it has not sent before ETRN."""
    made = []
    for group in groups:
        made.append([])
        for unit in group:
            verb = unit.verb if isinstance(unit, Command) else b""
            if verb == b"ETRN":
                made.append([])
            made[-1].append(unit)
            if verb in (b"EHLO", b"HELO", b"ETRN"):
                made.append([])
    return [group for group in made if group]


def play(client, groups, rng):
    """Holds the session, in packets of any size. Returns the codes of the replies, as {number of
    the unit: code}; the last of them is None if the server has closed then."""
    codes, last = {}, None
    try:
        for group in groups:
            if isinstance(group[0], Message) and last != 354:
                group = group[1:]
            if not group:
                continue
            _send(client, b"".join(unit.bytes for unit in group), rng)
            if any(not unit.end for unit in group):
                break
            for unit in group:
                codes[unit.number] = None
                codes[unit.number] = last = _code(client)
    except (OSError, AssertionError):
        pass
    client.close()
    return codes


def _send(client, data, rng):
    while data:
        size = rng.choice([1, 7, 80, 1000, 100000, 100000])
        client.send(data[:size])
        data = data[size:]


def _code(client):
    """Of one reply, whatever its text is made of."""
    line = client.line()
    while line[3:4] == b"-":
        line = client.line()
    return int(line[:3])
