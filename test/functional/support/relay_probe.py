"""Ways of asking a server for a relay, as those who look for open ones do.

Each form is what stands behind "RCPT TO:", and leads, for one server or another, to somebody at
elsewhere.test; none is an address that a server for mail.test has to take.
"""

import collections

FORMS = {
    "plain": b"<user@elsewhere.test>",
    "without brackets": b"user@elsewhere.test",
    "mixed case": b"<User@ELSEWHERE.Test>",
    "blank before the path": b" <user@elsewhere.test>",
    "tab before the path": b"\t<user@elsewhere.test>",
    "blanks inside": b"< user@elsewhere.test >",
    "blank before the at sign": b"<user @elsewhere.test>",
    "blank behind the at sign": b"<user@ elsewhere.test>",
    "phrase": b"Bob <user@elsewhere.test>",
    "phrase with an address": b"bob@mail.test <user@elsewhere.test>",
    "route through us": b"<@mail.test:user@elsewhere.test>",
    "route through two": b"<@mail.test,@x.test:user@elsewhere.test>",
    "route through them to us": b"<@elsewhere.test:bob@mail.test>",
    "route without a colon": b"<@mail.test user@elsewhere.test>",
    "route through nobody": b"<@:user@elsewhere.test>",
    "percent": b"<user%elsewhere.test@mail.test>",
    "percent twice": b"<user%elsewhere.test%x.test@mail.test>",
    "percent to us": b"<user%elsewhere.test%mail.test@mail.test>",
    "percent without a domain": b"<user%elsewhere.test>",
    "percent at a literal": b"<user%elsewhere.test@[127.0.0.1]>",
    "percent at localhost": b"<user%elsewhere.test@localhost>",
    "percent behind them": b"<user%mail.test@elsewhere.test>",
    "bang": b"<elsewhere.test!user@mail.test>",
    "bang without a domain": b"<elsewhere.test!user>",
    "bang through us": b"<mail.test!elsewhere.test!user>",
    "bang at a literal": b"<elsewhere.test!user@[127.0.0.1]>",
    "bang behind them": b"<mail.test!user@elsewhere.test>",
    "bang and percent": b"<elsewhere.test!user%x.test@mail.test>",
    "DECnet": b"<elsewhere.test::user@mail.test>",
    "quoted local part": b"<\"user@elsewhere.test\"@mail.test>",
    "quoted, no domain": b"<\"user@elsewhere.test\">",
    "quoted percent": b"<\"user%elsewhere.test\"@mail.test>",
    "quoted bang": b"<\"elsewhere.test!user\"@mail.test>",
    "quoted pair": b"<\"user\\@elsewhere.test\"@mail.test>",
    "quoted route": b"<\"@elsewhere.test:user\"@mail.test>",
    "quoted brackets": b"<\"<user@elsewhere.test>\"@mail.test>",
    "backslash": b"<user\\@elsewhere.test@mail.test>",
    "quote that does not end": b"<\"user@elsewhere.test@mail.test>",
    "empty quotes": b"<\"\"user@elsewhere.test>",
    "literal": b"<user@[192.0.2.1]>",
    "literal of this host": b"<user@[127.0.0.1]>",
    "IPv6 literal": b"<user@[IPv6:2001:db8::1]>",
    "number for a literal": b"<user@[3221225985]>",
    "address for a domain": b"<user@192.0.2.1>",
    "literal that does not end": b"<user@[192.0.2.1>",
    "no domain": b"<user>",
    "at sign alone": b"<user@>",
    "local host": b"<user@localhost>",
    "trailing dot": b"<user@elsewhere.test.>",
    "trailing dots": b"<user@elsewhere.test...>",
    "leading dot": b"<user@.elsewhere.test>",
    "two at signs": b"<user@elsewhere.test@mail.test>",
    "two at signs, ours first": b"<user@mail.test@elsewhere.test>",
    "three at signs": b"<user@elsewhere.test@x.test@mail.test>",
    "brackets twice": b"<<user@elsewhere.test>>",
    "brackets inside out": b">user@elsewhere.test<",
    "two paths": b"<bob@mail.test><user@elsewhere.test>",
    "two paths, a blank": b"<bob@mail.test> <user@elsewhere.test>",
    "two paths, theirs first": b"<user@elsewhere.test><bob@mail.test>",
    "list": b"<bob@mail.test,user@elsewhere.test>",
    "list of ours last": b"<user@elsewhere.test,bob@mail.test>",
    "semicolon": b"<bob@mail.test;user@elsewhere.test>",
    "group": b"<us:user@elsewhere.test;@mail.test>",
    "words in a path": b"<bob@mail.test user@elsewhere.test>",
    "comment": b"<user@elsewhere.test(bob@mail.test)>",
    "comment in the middle": b"<user(@mail.test)@elsewhere.test>",
    "comment, no end": b"<user@elsewhere.test(@mail.test>",
    "ours as a suffix": b"<user@elsewhere.test.mail.test.elsewhere.test>",
    "ours as a prefix": b"<user@mail.test.elsewhere.test>",
    "ours as a part": b"<user@elsewheremail.test>",
    "port": b"<user@elsewhere.test:25@mail.test>",
    "slash": b"<user@elsewhere.test/mail.test>",
    "NUL": b"<user@elsewhere.test\0@mail.test>",
    "bare CR": b"<bob@mail.test>\rRCPT TO:<user@elsewhere.test>",
    "control character": b"<user@elsewhere.test\x0b@mail.test>",
    "DEL": b"<user@elsewhere.test\x7f@mail.test>",
    "UTF-8 local part": b"<us\xc3\xa9r@elsewhere.test>",
    "UTF-8 domain": b"<user@\xc3\xa9lsewhere.test>",
    "wide at sign": b"<user\xef\xbc\xa0elsewhere.test@mail.test>",
    "wide percent": b"<user\xef\xbc\x85elsewhere.test@mail.test>",
    "ideographic dot": b"<user@mail.test\xe3\x80\x82elsewhere.test>",
    "broken UTF-8": b"<user\xc0\x80@elsewhere.test>",
    "A-label": b"<user@xn--lsewhere-90a.test>",
    "ORCPT of ours": b"<user@elsewhere.test> ORCPT=rfc822;bob@mail.test",
    "ORCPT with a path": b"<user@elsewhere.test> ORCPT=rfc822;<bob@mail.test>",
    "NOTIFY": b"<user@elsewhere.test> NOTIFY=SUCCESS,FAILURE",
    "unknown parameter": b"<user@elsewhere.test> RELAY=yes",
    "AUTH at RCPT": b"<user@elsewhere.test> AUTH=bob@mail.test",
    "long route": b"<" + b",".join([b"@mail.test"] * 40) + b":user@elsewhere.test>",
    "long local part": b"<" + b"u" * 300 + b"%elsewhere.test@mail.test>",
}

SENDERS = {
    "nobody": b"<>",
    "one of ours": b"<bob@mail.test>",
    "the postmaster": b"<postmaster>",
    "root here": b"<root@localhost>",
    "somebody else": b"<spammer@elsewhere.test>",
    "somebody international": b"<spammer@elsewhere.test> SMTPUTF8",
    "one who claims a login": b"<bob@mail.test> AUTH=bob@mail.test",
}

#: Said instead of, or besides, a transaction.
OTHER_COMMANDS = [b"ETRN elsewhere.test", b"EXPN list", b"VRFY user@elsewhere.test", b"TURN",
                  b"SEND FROM:<bob@mail.test>", b"XCLIENT LOGIN=bob ADDR=127.0.0.1",
                  b"XFORWARD ADDR=127.0.0.1", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25"]


#: `taken` are those that were not refused, as {(form, sender): codes of RCPT, DATA and the message};
#: `asked` those whose RCPT was answered, and `begun` those of them whose MAIL had been taken.
Outcome = collections.namedtuple("Outcome", "taken asked begun")


def probe(connect):
    """Tries all of them, each with each sender, on connections that `connect()` makes, with a
    message behind."""
    outcome = Outcome({}, [], [])
    for command in OTHER_COMMANDS:
        with connect() as one:
            one.command(b"EHLO probe.test", 250)
            if one.command(command).code // 100 == 2:
                outcome.taken[command, None] = [250]
    for form in FORMS:  # not more on a connection: servers close when there are too many errors
        with connect() as one:
            one.command(b"EHLO probe.test", 250)
            for sender in SENDERS:
                _transaction(one, (form, sender), outcome)
    return outcome


def _transaction(one, pair, outcome):
    form, sender = pair
    begun = one.command(b"MAIL FROM:" + SENDERS[sender]).code // 100 == 2
    codes = [one.command(b"RCPT TO:" + FORMS[form]).code]
    outcome.asked.append(pair)
    outcome.begun.extend([pair] * begun)
    if codes[0] // 100 == 2:
        outcome.taken[pair] = codes
        codes.append(one.command(b"DATA").code)
    if codes[-1] == 354:
        codes.append(one.command(b"Subject: relayed\r\n\r\nx\r\n.").code)
    one.command(b"RSET", 250)
