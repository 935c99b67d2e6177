"""Mail servers as they are found: each would relay for everybody on this host, or for everybody
whom Postern lets in. There is one for each example of etc/examples that has a server behind it.

    front(start, …)   Postern before it, with the example's configuration; keys are further settings
    inbound           what is changed in that configuration for role "mx", as {old: new}
    direct()          a client without Postern, for whom it would relay
    accepted()        how many messages (or, of the one that is none, recipients) it has taken
"""

import re
import tempfile

from support import backend as backends
from support import example
from support.client import Client
from support.sendmail_site import Site

#: Errors are what a probe is made of; it is not to end for their number.
PATIENT = {"limits": {"errors": 1000}}


def begin(address, header=""):
    """A session, at an address or on a socket that is connected."""
    made = Client(address, source=None)
    made.send(header)
    made.greeting()
    made.ehlo()
    return made


class Server:
    host = "127.0.0.1"
    settings, inbound = {}, {}

    def __init__(self, request):
        self.finally_ = request.addfinalizer
        self._work = request.getfixturevalue("work")

    def directory(self, name):
        return tempfile.mkdtemp(dir=self._work, prefix=f"{name}-")

    def smarthost(self):
        made = backends.Backend()
        self.finally_(made.close)
        return made.address

    def run(self, server):
        """It is closed behind the test's module."""
        self.finally_(server.close)
        self.server, self.accepted = server, server.accepted

    def configuration(self):
        """None: the tests' own, with `settings`."""
        return None

    def front(self, start, role="submission", **settings):
        text = self.configuration()
        if text and "program " in text:  # those of sessions that are over may still be ending
            text = text.replace("backend {", "backend {\n  program_limit = 10000")
        for old, new in self.inbound.items() if role == "mx" else ():
            assert old in text
            text = text.replace(old, new)
        return self.start(start, **PATIENT, **self.settings, **settings, example=text)

    @staticmethod
    def start(start, **settings):
        return start(None, **settings)


class Anything(Server):
    """Takes everything from anybody."""

    def __init__(self, request):
        super().__init__(request)
        self.server = backends.Backend()
        self.finally_(self.server.close)
        self.settings = {"backend": {"address": self.server.address, "identity": "none"}}

    def accepted(self):
        return sum(line.startswith(b"RCPT") for each in self.server.sessions
                   for line in each.commands)

    def direct(self):
        host, port = self.server.address.split(":")
        return begin((host, int(port)))


class Postfix(Server):
    """Its networks are the whole loopback: whoever it is told that they come from there."""

    def __init__(self, request, **settings):
        super().__init__(request)
        self.server = request.getfixturevalue("postfix_with")(**{
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination", **settings})

    def configuration(self):
        return example.text("postfix/postern.conf",
                            {"127.0.0.1:10025": "%s:%d" % self.server.address})

    def accepted(self):
        return len(re.findall(r"qmgr\[\d+\]: \w+: from=", self.server.log()))

    def direct(self):
        return begin(self.server.address)


class UntoldPostfix(Postfix):
    """Everybody is this host."""

    def __init__(self, request):
        super().__init__(request, mynetworks="127.0.0.1/32")
        self.settings = {"backend": {"address": "%s:%d" % self.server.address,
                                     "identity": "none"}}

    def configuration(self):
        return None


class OpenSMTPD(Server):
    def __init__(self, request):
        from support.opensmtpd import OpenSMTPD as Real
        super().__init__(request)
        self.run(Real(self.directory("opensmtpd"), self.smarthost(),
                      **{"match from socket for any": "match from local for any"}))

    def configuration(self):
        return example.text("opensmtpd/postern.conf",
                            {"127.0.0.1:10025": "%s:%d" % self.server.front})

    def direct(self):
        return begin(self.server.address)


class Exim(Server):
    def __init__(self, request, variant, changes=()):
        from support.exim import Exim as Real
        super().__init__(request)
        self.run(Real(self.directory("exim"), variant, self.smarthost(), changes=changes))
        self.settings = {"command": self.server.command}

    def configuration(self):
        front = {} if self.server.variant == "program" else {
            "127.0.0.1:10025": "%s:%d" % self.server.front}
        return example.text(f"exim/{self.server.variant}/postern.conf", front)


class EximBehindProxyHeaders(Exim):
    """It trusts whoever reaches its inner port."""

    def __init__(self, request):
        super().__init__(request, "proxy")

    def direct(self):
        return begin(self.server.front, "PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n")


class EximAsAProgram(Exim):
    """At an mx its arguments say of everybody that they have logged in."""
    inbound = {"-oMaa %{mechanism} -oMai %{login}": "-oMaa PLAIN -oMai anybody"}

    def __init__(self, request):
        super().__init__(request, "program")

    def direct(self):
        process, ours = self.server.session("-oMa", "127.0.0.1.1", "-oMaa", "PLAIN",
                                            "-oMai", "anybody")
        self.finally_(process.wait)
        return begin(ours)


class EximThatIsToldWithMail(Exim):
    """It takes everything, named or not."""

    def __init__(self, request):
        super().__init__(request, "auth-param", {
            "  accept condition = ${if def:authenticated_sender}\n\n  accept domains":
            "  accept\n\n  accept domains"})

    def direct(self):
        return begin(self.server.front)


class Sendmail(Server):
    """It takes every client of Postern's for this host, or for one that may relay."""

    def __init__(self, request, variant, **changes):
        super().__init__(request)
        self._site = Site(self._work, variant, **changes)
        self.finally_(self._site.close)
        self.server, self.accepted = self._site.sendmail, self._site.sendmail.accepted
        self.host = self._site.place.host

    def start(self, start, example, **settings):
        return self._site.front(start, **settings)

    def direct(self):
        return self._site.direct(self.server.front)


class SendmailThatIsNotTold(Sendmail):
    def __init__(self, request):
        super().__init__(request, "trace")


class SendmailThatIsToldWithMail(Sendmail):
    """On its inner port it serves everybody, named or not."""

    def __init__(self, request):
        super().__init__(request, "auth-param", **{
            '$#error $@ 5.7.1 $: "550 Nobody has logged in"': "$: nobody"})


class SendmailThatSeesTheClient(Sendmail):
    def __init__(self, request):
        super().__init__(request, "transparent")


class Courier(Server):
    """Its environment lets everybody relay."""

    def __init__(self, request):
        from support.courier import Courier as Real
        super().__init__(request)
        self.run(Real(self.directory("courier")))
        self.settings = {"command": self.server.command}

    def configuration(self):
        return example.text("courier/postern.conf", {
            "/usr/sbin/courieresmtpd": "/usr/bin/env RELAYCLIENT= /usr/sbin/courieresmtpd"})

    def direct(self):
        process, ours = self.server.esmtpd(
            TCPREMOTEIP="127.0.0.1", TCPREMOTEPORT="1", TCPLOCALIP="127.0.0.1", TCPLOCALPORT="25",
            RELAYCLIENT="")
        self.finally_(process.wait)
        return begin(ours)


class Qmail(Server):
    """The same with what stands in qmail-smtpd's place."""

    def __init__(self, request):
        from support.qmail import PROGRAM, Qmail as Real
        super().__init__(request)
        self.run(Real(self.directory("qmail")))
        self.settings = {"command": self.server.command}
        self._program = PROGRAM

    def configuration(self):
        return example.text("qmail/postern.conf", {
            self._program: f"/usr/bin/env RELAYCLIENT= {self._program}"})

    def direct(self):
        process, ours = self.server.smtpd(
            PROTO="TCP", TCPREMOTEIP="127.0.0.1", TCPREMOTEPORT="1", TCPLOCALIP="127.0.0.1",
            TCPLOCALPORT="25", RELAYCLIENT="")
        self.finally_(process.wait)
        return begin(ours)


#: By the example that they stand for.
EXAMPLES = {
    "courier": Courier, "exim/auth-param": EximThatIsToldWithMail,
    "exim/program": EximAsAProgram, "exim/proxy": EximBehindProxyHeaders, "opensmtpd": OpenSMTPD,
    "postfix": Postfix, "qmail": Qmail, "sendmail/auth-param": SendmailThatIsToldWithMail,
    "sendmail/trace": SendmailThatIsNotTold, "sendmail/transparent": SendmailThatSeesTheClient,
}


def examples():
    """The names of all in the tree that have a server behind Postern."""
    return {str(path.parent.relative_to(example.DIRECTORY))
            for path in example.DIRECTORY.glob("**/postern.conf")} - {"haproxy"}
