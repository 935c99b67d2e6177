"""Other people's TLS clients: each begins a handshake with the key share that it is told to, and
has a session up to 221."""

import os
import pathlib
import subprocess
import sys
import threading

from support import wait

_SOURCES = pathlib.Path(__file__).with_name("clients")

#: What a client is told so that its first key share is of this group, and it knows others.
#: "" leaves it at its own defaults, which is X25519 for all of them.
_OPENSSL = {"": "", "P-521": "P-521:X25519:P-384", "X448": "X448:X25519:P-384",
            "ffdhe2048": "ffdhe2048:X25519:P-384"}
_GO = {"": "", "P-521": "P-521:X25519:P-384"}
#: GnuTLS sends two shares, the second of a group of another kind, and the elliptic curves first.
_GNUTLS = {share: "".join(["NORMAL:-GROUP-ALL", *(f":+GROUP-{name}" for name in names.split())])
           for share, names in (("", "X25519 SECP521R1 SECP256R1 SECP384R1"),
                                ("P-521", "SECP521R1 X448 X25519 SECP384R1"),
                                ("X448", "X448 SECP521R1 X25519 SECP384R1"))}

_SMTPLIB = """
import smtplib, ssl, sys
host, port, kind, *pair = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.minimum_version = ssl.TLSVersion.TLSv1_3
if pair:
    context.load_cert_chain(*pair)
if kind == "implicit":
    client = smtplib.SMTP_SSL(host, int(port), context=context, timeout=20)
else:
    client = smtplib.SMTP(host, int(port), timeout=20)
    client.starttls(context=context)
client.ehlo()
assert client.noop()[0] == 250
assert client.quit()[0] == 221
"""

_OPENSSL_CONF = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Groups = {groups}
"""


class Failed(AssertionError):
    """A client that did not come to its end."""


def _run(command, timeout=wait.PATIENCE * 2, **options):
    try:
        ended = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace",
                               timeout=timeout, check=False, **options)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"came to no end: {late.stdout}") from None
    if ended.returncode != 0:
        raise Failed(ended.stdout[-3000:])


def _talk(command, kind):
    """Has the session by hand, with a client that passes on lines."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    timer = threading.Timer(wait.PATIENCE * 2, process.kill)
    timer.start()
    said = b""

    def hear(what):
        nonlocal said
        start = len(said)
        while what not in said[start:]:
            piece = process.stdout.read(4096)
            if not piece:
                raise Failed(f"ended without {what!r}, after {said[-3000:].decode('latin1')}")
            said += piece

    try:
        if kind == "implicit":
            hear(b"220 mail.example.org")
        for command, answer in (b"ehlo client.example", b"250 "), (b"noop", b"250 "), \
                (b"quit", b"221 "):
            process.stdin.write(command + b"\r\n")
            hear(answer)
    except BrokenPipeError:
        raise Failed(f"ended, after {said[-3000:].decode('latin1')}") from None
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def go(directory, address, kind, share, pair):
    program = directory / "client-go"
    if not program.exists():
        _run(["go", "build", "-o", program, _SOURCES / "client.go"], timeout=wait.PATIENCE * 15,
             env={**os.environ, "GO111MODULE": "off", "GOCACHE": str(directory / "go-cache")})
    _run([program, *address, kind, _GO[share], *pair])


def node(_directory, address, kind, share, pair):
    _run(["node", _SOURCES / "client.js", *address, kind, _OPENSSL[share], *pair])


def python(directory, address, kind, share, pair):
    environment = dict(os.environ)
    if share:
        configuration = directory / f"openssl-{share}.cnf"
        configuration.write_text(_OPENSSL_CONF.format(groups=_OPENSSL[share]))
        environment["OPENSSL_CONF"] = str(configuration)
    _run([sys.executable, "-c", _SMTPLIB, *address, kind, *pair], env=environment)


def curl(directory, address, kind, share, pair):
    host, port = address
    mail = directory / "curl-mail"
    mail.write_bytes(b"Subject: x\r\n\r\nHello\r\n")
    _run(["curl", "--silent", "--show-error", "--ssl-reqd", "--insecure", "--tlsv1.3",
          f"{'smtps' if kind == 'implicit' else 'smtp'}://{host}:{port}",
          "--user", "alice:wonderland", "--mail-from", "a@mail.test", "--mail-rcpt", "b@mail.test",
          "--upload-file", mail, *(["--curves", _OPENSSL[share]] if share else []),
          *(["--cert", pair[0], "--key", pair[1]] if pair else [])])


def openssl(_directory, address, kind, share, pair):
    host, port = address
    _talk(["openssl", "s_client", "-tls1_3", "-quiet", "-connect", f"{host}:{port}",
           *(["-starttls", "smtp"] if kind == "starttls" else []),
           *(["-groups", _OPENSSL[share]] if share else []),
           *(["-cert", pair[0], "-key", pair[1]] if pair else [])], kind)


def gnutls(_directory, address, kind, share, pair):
    host, port = address
    _talk(["gnutls-cli", "--no-ca-verification", "--port", port,
           "--priority", f"{_GNUTLS[share]}:-VERS-ALL:+VERS-TLS1.3",
           *(["--starttls-proto=smtp"] if kind == "starttls" else []),
           *(["--x509certfile", pair[0], "--x509keyfile", pair[1]] if pair else []), host], kind)


#: {name: (what runs it, the first key shares that it can be told to send)}
CLIENTS = {"go": (go, _GO), "node": (node, _OPENSSL), "curl": (curl, _OPENSSL),
           "python": (python, _OPENSSL), "openssl": (openssl, _OPENSSL),
           "gnutls": (gnutls, _GNUTLS)}
