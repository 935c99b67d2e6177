"""Which certificate a client gets, and which versions a listener speaks."""

import re
import socket
import ssl
import subprocess
import time

import pytest

from support import control, postern as posterns, wait
from support.certificates import FUTURE, PAST


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


@pytest.fixture(params=["missing", "not PEM", "key of another", "key for everybody", "expired"])
def bad(request, scratch, pairs, certificates):
    """A pair for bad.example that cannot be used, and why, as the log says it."""
    pair = make(scratch, "bad", ["bad.example"])
    if request.param == "missing":
        pair["certificate"].unlink()
        return pair, "No such file"
    if request.param == "not PEM":
        pair["certificate"].write_text("not a certificate")
        return pair, "no usable certificate"
    if request.param == "key of another":
        return {**pair, "key": pairs["shop"]["key"]}, "does not belong to the certificate"
    if request.param == "key for everybody":
        pair["key"].chmod(0o644)
        return pair, "can be read by others"
    return {"certificate": certificates.dated("bad", *PAST, host="bad.example"),
            "key": certificates.key}, "expired"


def check_that_the_others_are_served(postern, pair, why):
    """Threat 38: who asks for the bad one's name gets the default one, and everybody hears it."""
    assert shown(postern, "bad.example") == "mail.example.org"
    assert shown(postern, "two.wild.example") == "wild.cn"
    files = {str(path) for path in pair.values()}
    assert [each for each in postern.find_records(level="error") if why in each["msg"]
            and any(file in each["msg"] for file in files)]
    assert [each for each in postern.find_records(level="error")
            if re.search(r':\d+: certificate "bad": is not used', each["msg"])]
    figures = control.metrics(postern)
    assert figures[f'postern_certificate_usable{{certificate="{pair["certificate"]}"}}'] == 0
    assert sum(value for name, value in figures.items()
               if name.startswith("postern_certificate_usable")) == 2
    status = control.get(postern, "/status")["certificates"]
    assert [each["state"] for each in status] == ["used", "not used", "used"]
    assert re.search(rf"^{pair['certificate']} +not used ", control.posternctl(postern, "status"), re.MULTILINE)


def test_threat_38_bad_certificate_of_another_name_stops_no_start(start, backend, pairs, bad):
    pair, why = bad
    postern = start(backend, certificate={"bad": pair, "wild": pairs["wild"]})
    check_that_the_others_are_served(postern, pair, why)


def test_threat_38_bad_certificate_of_another_name_stops_no_reload(start, backend, pairs, bad):
    """The renewed main one is loaded."""
    pair, why = bad
    postern = start(backend)
    postern.configure(certificate={"bad": pair, "wild": pairs["wild"]})
    postern.reload()
    check_that_the_others_are_served(postern, pair, why)


def test_check_of_the_configuration_tells_of_a_bad_certificate_and_passes(scratch, certificates,
                                                                          bad):
    """The unit's ExecReload runs it first: a reload would not come to pass."""
    pair, why = bad
    path = scratch / "postern.conf"
    path.write_text(posterns.configuration({
        "hostname": "mail.example.org", "user": "nobody",
        "tls": {"certificate": certificates.certificate, "key": certificates.key},
        "certificate": {"bad": pair}, "backend": {"address": "127.0.0.1:25"}}))
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 0 and why in result.stderr
    assert result.stdout == f"{path}: good, but for a certificate that is not used\n"


@pytest.mark.parametrize("dates, said", [(PAST, "expired"), (FUTURE, "not valid yet")])
def test_main_certificate_at_another_time_is_served_as_clients_decide(start, backend, pairs,
                                                                      certificates, dates, said):
    """Nobody could log in to renew it otherwise, and a clock without a battery is years off: then
    none of the others is any better."""
    def dated(host, name):
        return {"certificate": certificates.dated(name, *dates, host=host),
                "key": certificates.key}
    postern = start(backend, tls=dated("first.example", f"first-{said}"),
                    certificate={"same": dated("same.example", f"same-{said}"),
                                 "wild": pairs["wild"]})
    warnings = [each["msg"] for each in postern.find_records(level="warning")]
    for name in ("first", "same"):
        assert any(said in each and f"{name}-{said}.pem" in each for each in warnings), warnings
    assert not postern.find_records(level="error")
    assert shown(postern) == shown(postern, "elsewhere.example") == "first.example"
    assert shown(postern, "same.example") == "same.example"
    assert shown(postern, "two.wild.example") == "wild.cn"
    postern.reload()
    assert shown(postern) == "first.example"
    with postern.log_in() as one:
        one.quit()


def test_good_certificate_is_taken_for_one_that_ends_while_it_is_served(start, backend, certificates,
                                                                        pairs):
    """Another certificate of its names, by exact name or wildcard."""
    end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 4))
    postern = start(backend, certificate={
        "short": {"certificate": certificates.dated("short", PAST[0], end, "one.wild.example"),
                  "key": certificates.key},
        "wild": pairs["wild"]})
    wait.until(lambda: shown(postern, "one.wild.example") == "wild.cn", "the other certificate")
    assert shown(postern, "two.wild.example") == "wild.cn"


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
