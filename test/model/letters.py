"""Messages, chunks and commands of the model's client, made to be misread.

`tag` makes a line of a session unique. Lines that look like commands are in messages on purpose: if
a backend ever reads one of them as a command, the judge finds no command of the client's for it.
"""

FAKE_ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r", b"\n.\r",
             b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\n\n.\r\n", b"\n..\r\n", b"\r\n..\n")

FIRST_LINES = (b". (authenticated as ceo) id forged; x", b" (authenticated as ceo) id forged;",
               b"\t(authenticated as ceo)", b"", b".\r (as ceo)", b".\0(as ceo)", b"\0 (as ceo)",
               b"\r (as ceo)", b".\tas ceo", b"..", b".. two dots", b".x: dot",
               b"Received: from ceo", b": from ceo", b"\xa0from ceo", b"\x0b(as ceo)")

TEXTS = (b"Subject: a message", b"", b"text", b"..stuffed", b".. ", b".not stuffed", b"x" * 998,
         b"From: a@client.example", b"with bytes \xff\xfe\x80", b"250 2.0.0 Ok", b"354 go on", b" ")


def canary(rng, tag):
    """A line that must never be read as a command."""
    return rng.choice((
        b"MAIL FROM:<canary-%s@evil.example> AUTH=ceo",
        b"RCPT TO:<canary-%s@elsewhere.example>",
        b"XCLIENT ADDR=8.8.8.8 LOGIN=ceo NAME=%s.evil.example",
        b"XFORWARD NAME=ceo HELO=%s", b"PROXY TCP4 8.8.8.8 8.8.4.4 1 25 %s",
        b"NOOP canary-%s", b"EHLO m%s.client.example", b"VRFY canary-%s",
        b"AUTH PLAIN %s", b"RSET %s", b"QUIT %s")) % tag


def canaries(rng, tag):
    """Lines of a whole transaction."""
    return b"".join(canary(rng, tag) + b"\r\n" for _ in range(rng.choice((1, 2, 4)))) + \
        rng.choice((b"", b"DATA\r\n", b"BDAT 4 LAST\r\nabc\n", b".\r\r\n"))


def _bare(rng):
    return rng.choice((b"a\nb", b"a\rb", b"a\0b", b"\n.a", b"\n..", b"\r", b"\0", b"a\r\rb"))


def content(rng, tag, bare):
    """Some lines; `bare`: with bare line ends or NULs among them."""
    lines = [rng.choice(TEXTS) for _ in range(rng.choice((0, 1, 2, 3, 6)))]
    if rng.random() < 0.35:
        lines.insert(0, rng.choice(FIRST_LINES if bare else FIRST_LINES[:4] + FIRST_LINES[8:]))
    if rng.random() < 0.02:
        lines += [b"y" * 500] * rng.choice((100, 400))
    body = b"".join(line + b"\r\n" for line in lines)
    for _ in range(rng.choice((0, 1, 1, 2))):
        body += canaries(rng, tag)
        if bare:
            body += rng.choice((_bare(rng), rng.choice(FAKE_ENDS))) + canaries(rng, tag)
    return body


def letter(rng, tag, bare):
    """A message for DATA, with its end."""
    body = content(rng, tag, bare)
    return body + (b"" if not body or body.endswith(b"\r\n") else b"\r\n") + b".\r\n"


# commands

MAIL_PARAMETERS = (b"SIZE=1000", b"BODY=8BITMIME", b"BODY=7BIT", b"BODY=BINARYMIME", b"RET=HDRS",
                   b"ENVID=q1", b"SMTPUTF8", b"AUTH=<>", b"AUTH=ceo", b"auth=ceo+40evil.example",
                   b"MT-PRIORITY=3", b"BY=3600;R")

ODD_MAILS = (b"MAIL FROM:<%s b@client.example>", b'MAIL FROM:<"%s> AUTH=ceo"@client.example>',
             b"MAIL FROM:<%s@client.example> AUTH=ceo\tX=1", b"MAIL TO:<%s@client.example>",
             b"MAIL FROM:<%s@client.example>AUTH=ceo",
             b"MAIL FROM:<%s@client.example> X=1>AUTH=ceo",
             b"MAIL FROM:%s@client.example", b"MAIL FROM: <%s@client.example>",
             b"MAIL %s", b"MAIL FROM:<%s@client.example> =AUTH=ceo",
             b'MAIL FROM:<"%s AUTH=ceo"@client.example>', b"MAIL FROM:<@a,@b:%s@client.example>",
             b"MAIL FROM:<%s\\> AUTH=ceo@client.example>",
             b"mail from:<%s@client.example> Auth=ceo", b"MAIL  FROM:<%s@client.example>",
             b"MAIL FROM:< %s@client.example >", b"MAIL   FROM:  <%s@client.example  >  SIZE=5   X=1",
             b"MAIL FROM:< %s@client.example >   AUTH=ceo  SIZE=5", b"MAIL FROM:< AUTH=%s>")

ODD_RECIPIENTS = (b"<%s@elsewhere.example>", b"<%s%%elsewhere.example@example.org>",
                  b"<@example.org:%s@elsewhere.example>", b"<elsewhere.example!%s@example.org>",
                  b'<"%s@elsewhere.example"@example.org>', b"<%s@elsewhere.example@example.org>",
                  b"%s@elsewhere.example", b"<%s@example.org> <v@elsewhere.example>",
                  b"<%s@example.org>,<v@elsewhere.example>", b"<%s@[127.0.0.1]elsewhere>",
                  b"<%s@elsewhere.example\0@example.org>", b"<|/elsewhere/%s@example.org>",
                  b'<"%s\\"@elsewhere.example>"@example.org>', b"<%s@elsewhere.example.>",
                  b"<%s.elsewhere>", b" <%s@elsewhere.example>", b"<%s@xexample.org.elsewhere>",
                  b"< %s@example.org >", b"  <  %s@example.org>   NOTIFY=NEVER  ",
                  b"< %s@elsewhere.example >", b"<%s@example.org ><v@elsewhere.example>",
                  b"<%s@elsewhere.example v@example.org >")

#: Commands beside a transaction, with what follows them in Postern: (share, text).
NOISE = (
    (8, b"NOOP %s"), (4, b"RSET"), (3, b"VRFY %s"), (2, b"EXPN %s"), (2, b"HELP %s"),
    (2, b"ETRN %s"),
    (3, b"EHLO m%s.client.example"), (1, b"HELO m%s.client.example"), (1, b"EHLO"),
    (1, b"EHLO m%s.client.example b"), (1, b"EHLO  m%s.client.example\xc3\xbc"), (1, b"HELO   m%s.client.example"),
    (1, b"NOOP   %s  "), (1, b"XCLIENT   LOGIN=ceo"), (3, b"XCLIENT ADDR=8.8.8.8 LOGIN=ceo NAME=%s"), (1, b"xClient LOGIN=ceo"),
    (1, b" XCLIENT LOGIN=ceo"), (1, b"XCLIENT\tLOGIN=ceo"), (2, b"XFORWARD NAME=ceo HELO=%s"),
    (1, b"PROXY TCP4 8.8.8.8 8.8.4.4 1 25"), (1, b"XCONNECT %s"), (1, b"AUTH PLAIN AGNlbwBjZW8="),
    (1, b"STARTTLS"), (1, b"FOO %s"), (1, b""), (1, b"MAIL\tFROM:<%s@client.example>"),
    (2, b"NOOP %s\rXCLIENT LOGIN=ceo"), (1, b"NOOP \0%s"), (2, b"NOOP %s\nXCLIENT LOGIN=ceo"),
    (1, b"RSET \x7f"),
)
BROKEN_CHUNKS = (b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 010", b"BDAT 99999999999 LAST",
                 b"BDAT 5 FIRST")
FOREIGN = (b"GET / HTTP/1.1", b"POST / HTTP/1.0", b"CONNECT a:25 HTTP/1.1")


def mixed_case(rng, line):
    """The verb in some mixture of upper and lower case, which marks commands without arguments."""
    verb, space, rest = line.partition(b" ")
    mixed = bytes(rng.choice((byte, byte ^ 32)) if chr(byte).isalpha() else byte for byte in verb)
    return mixed + space + rest


def noise(rng, tag, may_secure=True):
    """A command line. Without `may_secure` it is never STARTTLS."""
    text = rng.choices([each for _, each in NOISE], [share for share, _ in NOISE])[0]
    if text == b"STARTTLS" and not may_secure:
        text = b"NOOP %s"
    line = text % tag if b"%s" in text else text
    return mixed_case(rng, line) if rng.random() < 0.5 else line


def long_line(rng, tag):
    """Over-long, and cut at the limit it would leave a command of its own."""
    tail = rng.choice((b"XCLIENT LOGIN=ceo", b"NOOP canary-" + tag, b"z"))
    length = rng.choice((2042, 2043, 2046, 2047, 2048, 4091, 6000))
    return b"NOOP " + b"x" * (length - 5) + tail


def mail(rng, tag, binary=False):
    if rng.random() < 0.08:
        return rng.choice(ODD_MAILS) % tag
    parameters = rng.sample(MAIL_PARAMETERS, rng.choice((0, 0, 0, 1, 1, 2, 3)))
    if binary:
        parameters = [b"BODY=BINARYMIME"] + [each for each in parameters if b"BODY" not in each]
    line = b" ".join((b"MAIL FROM:<%s@client.example>" % tag, *parameters))
    return mixed_case(rng, line) if rng.random() < 0.2 else line


def recipient(rng, tag, odd):
    if rng.random() < odd:
        return b"RCPT TO:" + rng.choice(ODD_RECIPIENTS) % tag
    line = b"RCPT TO:<%s@example.org>" % tag
    if rng.random() < 0.15:
        line += rng.choice((b" NOTIFY=NEVER", b" ORCPT=rfc822;a@b.example NOTIFY=SUCCESS", b" X=1"))
    return line
