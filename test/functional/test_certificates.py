"""Which certificate a client gets, and which versions a listener speaks."""

import re
import socket
import ssl
import subprocess

import pytest

from support import postern as posterns, wait


def make(directory, name, names, key="ec"):
    """A self-signed pair whose subject alternative names are `names`."""
    certificate, private = directory / f"{name}.pem", directory / f"{name}-key.pem"
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["rsa:2048"]
    alternatives = [] if names is None else \
        ["-addext", "subjectAltName=" + ",".join(f"DNS:{each}" for each in names)]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", private,
                    "-out", certificate, "-days", "90", "-subj", f"/CN={name}.cn", *alternatives],
                   check=True, capture_output=True)
    private.chmod(0o600)
    return {"certificate": certificate, "key": private}


@pytest.fixture(scope="module")
def pairs(work):
    directory = work / "sni"
    directory.mkdir(exist_ok=True)
    return {
        "shop": make(directory, "shop", ["mail.shop.example", "Smtp.Shop.example"]),
        "shop-rsa": make(directory, "shop-rsa", ["smtp.shop.example", "mail.shop.example"], "rsa"),
        "wild": make(directory, "wild", ["*.wild.example"]),
        "inner": make(directory, "inner", ["one.wild.example"]),
        "old": make(directory, "old", None),
    }


@pytest.fixture
def served(start, backend, pairs):
    return start(backend, certificate=pairs)


def shown(postern, name=None, ciphers=None, algorithms=None, version="-tls1_3"):
    """The common name of the certificate that a client gets."""
    command = ["openssl", "s_client", "-connect", "%s:%d" % postern.implicit, version,
               *(["-servername", name] if name else ["-noservername"]),
               *(["-sigalgs", algorithms] if algorithms else []),
               *(["-cipher", ciphers] if ciphers else [])]
    said = subprocess.run(command, input="", capture_output=True, text=True, check=False,
                          timeout=wait.PATIENCE).stdout
    found = re.search(r"^subject=CN = (\S+)", said, re.MULTILINE)
    assert found, said
    return found[1]


@pytest.mark.parametrize("name, wanted", [
    ("mail.shop.example", "shop.cn"), ("SMTP.shop.EXAMPLE", "shop.cn"),
    ("mail.shop.example.", "shop.cn"),
    ("two.wild.example", "wild.cn"), ("one.wild.example", "inner.cn"),
    ("a.b.wild.example", "mail.example.org"), ("wild.example", "mail.example.org"),
    ("old.cn", "old.cn"), ("shop.cn", "mail.example.org"),
    ("elsewhere.example", "mail.example.org"), (None, "mail.example.org"),
    ("mail.example.org", "mail.example.org"),
])
def test_client_gets_the_certificate_of_the_name_that_it_asks_for(served, name, wanted):
    assert shown(served, name) == wanted


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_rsa_and_ecdsa_stand_side_by_side(served, version):
    """A client that knows only RSA is not turned away."""
    assert shown(served, "mail.shop.example", algorithms="rsa_pss_rsae_sha256:RSA+SHA256",
                 version=version) == "shop-rsa.cn"
    assert shown(served, "mail.shop.example", algorithms="ECDSA+SHA256",
                 version=version) == "shop.cn"


def test_session_under_another_name_goes_through(served, backend):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(served.implicit) as raw, \
            context.wrap_socket(raw, server_hostname="two.wild.example") as tls:
        lines = tls.makefile("rwb", buffering=0)
        assert lines.readline().startswith(b"220 ")
        lines.write(b"EHLO x\r\nQUIT\r\n")
        assert lines.readline().startswith(b"250-")


def test_broken_certificate_of_another_name_stops_a_reload_and_is_told(served, scratch, pairs):
    """Promise 10 holds for each of them."""
    broken = scratch / "broken.pem"
    broken.write_text("not a certificate")
    served.configure(certificate={"broken": {"certificate": broken, "key": pairs["shop"]["key"]}})
    assert any(str(broken) in each for each in served.reload_refused())
    assert shown(served, "mail.shop.example") == "shop.cn"


def test_new_certificate_is_there_after_a_reload(served, pairs):
    served.configure(certificate={"wild": pairs["wild"]})
    served.reload()
    assert shown(served, "mail.shop.example") == "mail.example.org"
    assert shown(served, "two.wild.example") == "wild.cn"


def test_old_device_gets_in_at_its_own_listener_and_nowhere_else(start, backend):
    old, new = wait.free_port(), wait.free_port()
    start(backend, listen={
        "old": {"address": f"127.0.0.1:{old}", "tls": "implicit", "tls_minimum": "1.0"},
        "new": {"address": f"127.0.0.1:{new}", "tls": "implicit"}})

    def version(port, *options):
        said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-cipher",
                               "ALL:@SECLEVEL=0", *options], input="", capture_output=True,
                              text=True, check=False, timeout=wait.PATIENCE).stdout
        found = re.search(r"Protocol *: (\S+)", said) or re.search(r"New, (TLSv\S+), Cipher is [A-Z]",
                                                                   said)
        cipher = re.search(r"Cipher is (\S+)", said)[1]
        return None if cipher == "(NONE)" else found[1]

    assert version(old, "-tls1") == "TLSv1"
    assert version(old, "-tls1_1") == "TLSv1.1"
    assert version(old, "-tls1_2") == "TLSv1.2"
    assert version(new, "-tls1") is None and version(new, "-tls1_1") is None
    assert version(new, "-tls1_2") == "TLSv1.2"


def test_minimum_of_all_listeners_cannot_be_that_old(scratch, certificates):
    path = scratch / "postern.conf"
    path.write_text(f'tls {{ certificate = "{certificates.certificate}"\n'
                    f'key = "{certificates.key}"\nminimum = "1.0" }}\n')
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 1
    assert re.search(rf'{path}:3:\d+: tls: minimum: "1.0" is none of', result.stderr)
