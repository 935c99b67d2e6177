"""A sendmail of one of the example's variants, with networks around it where it needs them."""

import contextlib
import re
import tempfile

from support import backend as backends
from support import example, wait
from support.client import Client
from support.links import Namespace
from support.sendmail import Sendmail

#: Where the client and Postern are in the variant that needs networks.
CLIENT, SERVER = "203.0.113.9", "203.0.113.25"

#: The backend's address in each example.
STANDING = {"trace": "127.0.0.1:25", "auth-param": "127.0.0.1:10025",
            "transparent": "127.0.0.2:10025"}


def configuration(variant, address):
    """Postern's."""
    return example.text(f"sendmail/{variant}/postern.conf", {STANDING[variant]: address})


class Here:
    """Everything on this machine's loopback."""
    network = None
    host = "127.0.0.1"

    def inside(self):
        return contextlib.nullcontext()

    def front(self, start, **settings):
        return start(None, **settings)

    def close(self):
        pass


class Across:
    """The client in one network; Postern and sendmail in another, with the example's routing."""
    host = SERVER

    def __init__(self, routing):
        self.network, self.clients = Namespace(), Namespace()
        self.clients.tie("cable", [f"{CLIENT}/24"], self.network, "cable", [f"{SERVER}/24"])
        self.network.run(*re.findall("^ip .*", routing, re.MULTILINE))

    def inside(self):
        return self.network.inside()

    def front(self, start, listen=None, **settings):
        """As start() makes it; its clients are in their network."""
        made = start(None, command=self.network.command, listen=listen or {
            "submissions": {"address": f"{SERVER}:465", "tls": "implicit"},
            "submission": {"address": f"{SERVER}:587", "tls": "starttls"},
            "six": {"address": "[::1]:465", "tls": "implicit"}}, **settings)
        made.implicit, made.starttls = (SERVER, 465), (SERVER, 587)
        connect = made.connect

        def connect_from_there(*arguments, **options):
            with self.clients.inside():
                return connect(*arguments, **{"source": None, **options})
        made.connect = connect_from_there
        return made

    def close(self):
        self.clients.close()
        self.network.close()


class Site:
    """A sendmail, where it stands, and where it sends what is not for mail.test."""

    def __init__(self, work, variant, **changes):
        """`changes` are made to the example's sendmail.mc."""
        self.variant = variant
        port = wait.free_port()
        self.place = Here() if variant != "transparent" else Across(
            example.text("sendmail/transparent/routing", {"sport 10025": f"sport {port}"}))
        with self.place.inside():
            self.smarthost = backends.Backend()
        self.sendmail = Sendmail(tempfile.mkdtemp(dir=work, prefix=f"sendmail-{variant}-"),
                                 variant, self.smarthost.address, port, self.place.network,
                                 changes)

    def front(self, start, **settings):
        """Postern with the example's configuration."""
        return self.place.front(start, example=configuration(
            self.variant, "%s:%d" % self.sendmail.front), **settings)

    def direct(self, address, source=None):
        with self.place.inside():
            made = Client(address, source=source)
        made.greeting()
        made.ehlo()
        return made

    def relayed(self, subject):
        """The message, as it came to the smarthost: once."""
        def find():
            return [message for each in list(self.smarthost.connections)
                    for message in each.messages if subject.encode() in message]
        (found,) = self.smarthost.wait(find, f"nothing relayed with the subject {subject!r}")
        return found

    def close(self):
        self.sendmail.close()
        self.smarthost.close()
        self.place.close()
