"""What Postern may answer by itself in the relay, and what it has to pass on.

A command of the client's is "forwarded" (the backend's reply comes back) or answered by Postern
with one of a few codes. The judge asks for each command which of these is right.
"""

import re

from alignment import form_of
from conversation import FOREIGN, FORWARDED, IDENTITY

#: Keywords of EHLO that may reach a client (postern.conf(5), `withhold`).
CARRIED = ("PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING",
           "BINARYMIME", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY", "NO-SOLICITING", "LIMITS",
           "ETRN", "VRFY", "EXPN")
FOR_USERS = {"VRFY", "EXPN", "ETRN"}

_PLAIN_MAIL = re.compile(rb"MAIL FROM:<[\d-]+@client\.example>( [A-Z0-9-]+(=[^ \t<>]+)?)*\Z", re.I)
_PLAIN_RECIPIENT = re.compile(rb"RCPT TO:<[\d-]+@example\.org>( [A-Z]+=[^ ]+)*\Z")
#: What an mx of the model's may hand on, for a server that reads paths in any way.
OUR_RECIPIENT = re.compile(rb"RCPT TO:<[^<>@\"%!|/]+@example\.org>( [A-Z]+=[^ <>\"]+)*\Z", re.I)


def offered(keywords, door, login):
    """What a client sees of a backend's keywords: {keyword: parameters}."""
    seen = {}
    for each in keywords:
        word, _, parameters = each.partition(" ")
        if word in CARRIED and word not in door.withhold and (login or word not in FOR_USERS):
            seen[word] = parameters
    if "CHUNKING" not in seen:
        seen.pop("BINARYMIME", None)
    return seen


def _judge_mail(line):
    return (True, {451}) if _PLAIN_MAIL.match(line) else (True, {450, 451, 500, 501})


def _judge_recipient(line, door):
    if _PLAIN_RECIPIENT.match(line):
        return True, set()
    if door.role == "mx":
        return bool(OUR_RECIPIENT.match(form_of(line))), {550, 501, 500}
    return True, {501}


def is_repeated_login(exchange, door):
    """Is it AUTH where somebody has logged in? That is no mistake."""
    return exchange.verb == "AUTH" and door.role != "mx"


def judge(exchange, door, login):
    """(may it be forwarded, the codes with which Postern may answer it by itself). BDAT and the
    421 that ends a session are the caller's."""
    if exchange.kind in ("bad", "long"):
        return False, {500}
    verb, arguments = exchange.verb, exchange.line.partition(b" ")[2].strip(b" \t")
    if verb in IDENTITY:
        return False, {550}
    if verb in FOREIGN:
        return False, {421}
    if verb == "AUTH":
        return False, {502 if door.role == "mx" else 503}
    if verb == "STARTTLS":
        return False, {502, 503}
    if verb not in FORWARDED:
        return False, {500}
    if verb in ("EHLO", "HELO"):
        return (True, set()) if 1 <= len(arguments) <= 255 else (False, {501})
    if verb in FOR_USERS:
        return (True, set()) if login else (False, {502})
    if verb == "MAIL":
        return _judge_mail(exchange.line)
    if verb == "RCPT":
        return _judge_recipient(exchange.line, door)
    if arguments and verb in ("DATA", "RSET", "QUIT"):
        return True, {501}
    return True, set()


class Transaction:
    """The state of a mail transaction as the client hears it: may a chunk be passed on?"""

    def __init__(self):
        self.has_mail = self.has_recipient = self.binary = False
        self.content = b""        # of the chunks so far

    def reset(self):
        self.has_mail = self.has_recipient = self.binary = False
        self.content = b""

    def hear(self, exchange):
        """After an exchange that has its reply and was forwarded."""
        verb, good = exchange.verb, exchange.reply.code // 100 == 2
        if exchange.kind == "message":
            self.reset()
        elif verb in ("RSET", "EHLO", "HELO") and good:
            self.reset()
        elif verb == "MAIL" and good:
            self.reset()
            self.has_mail = True
            self.binary = b"BODY=BINARYMIME" in exchange.line.upper()
        elif verb == "RCPT" and good:
            self.has_recipient = True
        elif verb == "BDAT":
            self.content += exchange.raw
            if exchange.last:
                self.reset()

    @property
    def may_have_chunks(self):
        return self.has_mail and self.has_recipient
