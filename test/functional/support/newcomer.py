"""What a newcomer types from the pages of etc/examples, and on which stock servers; a row for each.

`packages` are Debian's, with `answers` to their questions. `prepare` makes a mail server of what
they install, as it is before Postern comes. `sections` are the headings of the page below which the
commands stand that are typed (none: all of the page's); `changes` are what the page says to write
otherwise. `setup` tells whether `postern setup` finds the way that the page describes; `taken` are
ports of Postern's that the server has when it is installed.
"""

import dataclasses
import re

from support import pages

#: Before the lines that take back what a section did.
_UNDO = "\nTo take it back"

_INTERNET = """exim4-config exim4/dc_eximconfig_configtype select \
internet site; mail is sent and received directly using SMTP
exim4-config exim4/dc_other_hostnames string mail.example.org
exim4-config exim4/dc_local_interfaces string
"""
_POSTFIX = """postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string mail.example.org
"""
#: It takes mail however busy the machine is.
_OPEN_SENDMAIL = """
for each in REFUSE QUEUE; do
    sed -i "/^MAILER_DEFINITIONS/i define(\\`conf${each}_LA', \\`1000')" /etc/mail/sendmail.mc
done
sed -i "/^FEATURE(.msp/i define(\\`confQUEUE_LA', \\`1000')" /etc/mail/submit.mc
sed -i '/Name=MTA-v4/s/, Addr=127.0.0.1//' /etc/mail/sendmail.mc
echo mail.example.org >>/etc/mail/local-host-names
make -C /etc/mail && /etc/init.d/sendmail start
"""
_SPLIT_EXIM = """
sed -i "s/^dc_use_split_config=.*/dc_use_split_config='true'/" /etc/exim4/update-exim4.conf.conf
/etc/init.d/exim4 start
"""
_OPEN_OPENSMTPD = """
sed -i 's/^listen on localhost/listen on 0.0.0.0/' /etc/smtpd.conf
/etc/init.d/opensmtpd start
"""
_COURIER = """
echo mail.example.org >>/etc/courier/locals
for each in courier-authdaemon courierfilter courier courier-mta courier-mta-ssl; do
    /etc/init.d/$each start
done
"""


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    packages: tuple
    prepare: str
    sections: tuple = ()
    answers: str = ""
    changes: tuple = ()
    setup: bool = False
    taken: tuple = ()

    @property
    def page(self):
        return f"etc/examples/{self.name.partition('/')[0]}/README.md"

    def _parts(self):
        """(what is typed, what takes it back) of each section, in the order of `sections`."""
        text = (pages.ROOT / self.page).read_text()
        found = re.split(r"^## (.+)\n", "## all\n" + text, flags=re.MULTILINE)[1:]
        texts = dict(zip(found[::2], found[1::2]))
        for heading in self.sections or texts:
            do, _, undo = texts[heading].partition(_UNDO)
            yield do, undo

    def blocks(self):
        """All that is typed."""
        for do, undo in self._parts():
            yield from pages.blocks_of(do)
            yield from pages.blocks_of(undo)

    def commands(self):
        return self._commands(do for do, _ in self._parts())

    def undo(self):
        return self._commands(undo for _, undo in self._parts())

    def _commands(self, texts):
        """One by one: what a backslash goes on is one."""
        found = []
        for block in (block for text in texts for block in pages.blocks_of(text)):
            for command in re.findall(r"(?:.*\\\n)*.+\n", block):
                for old, new in self.changes:
                    command = command.replace(old, new)
                found.append(command.rstrip("\n"))
        return found


#: Those that the page takes back come first.
ROWS = (
    Row("sendmail/trace", ("sendmail",), _OPEN_SENDMAIL, ("First: port 587", "`trace`"),
        setup=True, taken=(587,)),
    Row("sendmail/auth-param", ("sendmail",), _OPEN_SENDMAIL,
        ("First: port 587", "`auth-param`"), taken=(587,)),
    Row("sendmail/transparent", ("sendmail",), _OPEN_SENDMAIL,
        ("First: port 587", "`transparent`"), taken=(587,)),
    Row("postfix", ("postfix", "libsasl2-modules"), "/etc/init.d/postfix start", ("all",),
        _POSTFIX, setup=True),
    Row("exim/program", ("exim4-daemon-light",), "/etc/init.d/exim4 start", ("`program`",),
        _INTERNET, setup=True),
    Row("exim/proxy", ("exim4-daemon-heavy",), "/etc/init.d/exim4 start", ("`proxy`",),
        _INTERNET),
    Row("exim/auth-param", ("exim4-daemon-light",), _SPLIT_EXIM, ("`auth-param`",), _INTERNET,
        changes=(("/etc/exim4/exim4.conf.localmacros", "/etc/exim4/conf.d/main/000_localmacros"),)),
    Row("opensmtpd", ("opensmtpd",), _OPEN_OPENSMTPD, setup=True),
    Row("courier", ("courier-mta",), _COURIER, setup=True, taken=(465,)),
)


def typed():
    """All that some row types, line by line."""
    return {line for row in ROWS for block in row.blocks() for line in block.splitlines()}
