"""TLS towards a backend: its certificate is looked at, its name too, and nothing said before
counts."""

import re
import ssl
import subprocess

import pytest

from support import postern as posterns
from support.backend import Backend


def server_context(certificates, name="good"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = certificates.pair(name)
    context.load_cert_chain(certificate, key)
    return context


def secure(connection, context):
    connection.socket = context.wrap_socket(connection.socket, server_side=True)
    connection._buffer = b""
    connection.version = connection.socket.version()


def implicit(backend, context):
    def connect(connection, _):
        secure(connection, context)
        connection.say("220 fake.test ESMTP")
    return backend.on("connect", connect)


def starttls(backend, context, behind=b""):
    def begin(connection, _):
        connection.send(b"220 2.0.0 Ready\r\n" + behind)
        connection.plaintext = list(connection.commands)
        secure(connection, context)
    backend.extensions = (*backend.extensions, "STARTTLS")
    return backend.on("STARTTLS", begin)


KINDS = {"implicit": implicit, "starttls": starttls}


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return request.param


def settings(kind, certificates, **changes):
    return {"tls": kind, "ca": certificates.certificate, "tls_name": "mail.example.org", **changes}


def message_through(postern, message=b"x\r\n"):
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], message)
        one.quit()
    return one


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_goes_through_under_tls(start, backend, certificates, kind, version):
    context = server_context(certificates)
    context.minimum_version = context.maximum_version = version
    KINDS[kind](backend, context)
    postern = start(backend, backend=settings(kind, certificates))
    message_through(postern)
    session = backend.session()
    assert session.version == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
    assert session.identity["LOGIN"] == "alice" and len(session.messages) == 1
    if kind == "starttls":
        assert session.plaintext == [b"EHLO mail.example.org", b"STARTTLS"]


def test_address_is_a_name_too(start, backend, certificates, kind):
    KINDS[kind](backend, server_context(certificates))
    message_through(start(backend, backend=settings(kind, certificates, tls_name="")))
    assert len(backend.session().messages) == 1


def test_large_message_arrives_whole_under_tls(start, backend, certificates, kind):
    KINDS[kind](backend, server_context(certificates))
    postern = start(backend, backend=settings(kind, certificates))
    message = b"".join(b"%07d %s\r\n" % (n, b"y" * 60) for n in range(120000))
    message_through(postern, message)
    assert backend.session().messages == [message + b".\r\n"]


@pytest.mark.parametrize("change, why", [
    ({"tls_name": "other.example.org"}, "hostname mismatch"),
    ({"ca": "other"}, "self-signed certificate|unable to get"),
])
def test_backend_that_does_not_prove_who_it_is_gets_nothing(start, backend, certificates, kind,
                                                            change, why):
    """Promise 3: no identity and no byte of the client's goes to a stranger."""
    KINDS[kind](backend, server_context(certificates))
    change = {key: certificates.pair("other")[0] if value == "other" else value
              for key, value in change.items()}
    postern = start(backend, backend=settings(kind, certificates, **change))
    with postern.connect() as one:
        one.ehlo("secret-name.example")
        one.login("alice", "wonderland", 454)
        one.expect_closed()
    record = postern.wait_for_record(event="session refused")
    assert re.search(f"no TLS with the backend: .*({why})", record["cause"])
    assert b"alice" not in backend.everything_received()


@pytest.fixture
def common(certificates):
    """A certificate whose only name is its common name, and its key."""
    return certificates.dated("common", "20200101000000Z", "20900101000000Z",
                              alternatives=False), certificates.key


def serve_pair(kind, backend, pair):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    KINDS[kind](backend, made)


def test_common_name_is_no_name(start, backend, certificates, kind, common):
    """RFC 9525 section 2: anybody may have been issued it for anything."""
    serve_pair(kind, backend, common)
    postern = start(backend, backend=settings(kind, certificates, ca=common[0]))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "hostname mismatch" in postern.wait_for_record(event="session refused")["cause"]
    assert b"alice" not in backend.everything_received()


def test_common_name_of_an_old_server_is_one_where_the_postmaster_says_so(start, backend, kind,
                                                                          certificates, common):
    serve_pair(kind, backend, common)
    postern = start(backend, backend=settings(kind, certificates, ca=common[0],
                                              tls_common_name=True))
    message_through(postern)
    assert len(backend.session().messages) == 1


def test_other_common_name_is_none_all_the_same(start, backend, certificates, kind, common):
    serve_pair(kind, backend, common)
    postern = start(backend, backend=settings(kind, certificates, ca=common[0],
                                              tls_common_name=True, tls_name="other.example.org"))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "hostname mismatch" in postern.wait_for_record(event="session refused")["cause"]


@pytest.mark.parametrize("name", [".example.org", "*.example.org", "mail..example.org", "mail-",
                                  "[127.0.0.1]"])
def test_name_that_fits_others_too_stops_a_start(scratch, certificates, name):
    """OpenSSL takes .example.org for every name below it."""
    path = scratch / "postern.conf"
    path.write_text(posterns.configuration({
        "tls": {"certificate": certificates.certificate, "key": certificates.key},
        "backend": {"address": "127.0.0.1:25", "tls": "implicit", "tls_name": name}}))
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 1
    assert f'tls_name: "{name}" is not the name of a host or an IP address' in result.stderr


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "mail.example.org", "localhost"])
def test_name_of_one_host_is_taken(scratch, certificates, name):
    path = scratch / "postern.conf"
    path.write_text(posterns.configuration({
        "hostname": "mail.example.org", "user": "nobody",
        "tls": {"certificate": certificates.certificate, "key": certificates.key},
        "backend": {"address": "127.0.0.1:25", "tls": "implicit", "tls_name": name}}))
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 0, result.stderr


def test_expired_certificate_is_told_as_such(start, backend, certificates, kind):
    KINDS[kind](backend, server_context(certificates, "expired"))
    postern = start(backend, backend=settings(kind, certificates,
                                              ca=certificates.pair("expired")[0]))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "expired" in postern.wait_for_record(event="session refused")["cause"]


def test_backend_that_offers_no_starttls_is_refused(start, backend, certificates):
    """Whoever takes the offer out on the way gains nothing."""
    postern = start(backend, backend=settings("starttls", certificates))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "does not offer STARTTLS" in postern.wait_for_record(event="session refused")["cause"]
    assert b"XCLIENT" not in backend.everything_received()


def test_threat_03_what_the_backend_says_before_the_handshake_is_forgotten(start, backend,
                                                                            certificates):
    """250-XCLIENT in plaintext behind the 220: not an offer of the backend's."""
    backend.attributes = None
    starttls(backend, server_context(certificates),
             behind=b"250-fake.test\r\n250 XCLIENT ADDR LOGIN\r\n")
    postern = start(backend, backend=settings("starttls", certificates))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "does not offer XCLIENT" in postern.wait_for_record(event="session refused")["cause"]
    assert b"XCLIENT" not in backend.everything_received()


def test_reply_to_ehlo_under_tls_counts_and_not_the_one_before(start, backend, certificates):
    offers = []

    def ehlo(connection, _):
        offers.append(connection.socket)
        under_tls = isinstance(connection.socket, ssl.SSLSocket)
        connection.say("250 fake.test\n250 XCLIENT ADDR LOGIN\n250 SIZE 7000" if under_tls
                       else "250 fake.test\n250 STARTTLS\n250 SIZE 9000")
    starttls(backend, server_context(certificates))
    backend.on("EHLO", ehlo)
    postern = start(backend, backend=settings("starttls", certificates))
    with postern.log_in() as one:
        assert one.ehlo()["SIZE"] == "7000"
        one.quit()


def test_authorities_that_cannot_be_read_stop_a_start(start, backend, certificates):
    postern = start(backend)
    postern.configure(backend={"tls": "implicit", "ca": "/nonexistent.pem"})
    errors = postern.reload_refused()
    assert any("/nonexistent.pem" in each for each in errors)


def test_authorities_of_the_system_are_read_before_the_root_is_empty(start, backend, certificates,
                                                                     scratch):
    """As with a directory: nothing can be looked up later."""
    directory = scratch / "authorities"
    directory.mkdir()
    (directory / "some.pem").write_bytes(certificates.certificate.read_bytes())
    (directory / "README").write_text("no certificate")
    subprocess.run(["openssl", "rehash", directory], check=True, capture_output=True)
    for number, (ca, environment) in enumerate((
            (directory, {}), ("", {"SSL_CERT_DIR": str(directory), "SSL_CERT_FILE": "/none"}))):
        starttls(backend, server_context(certificates))
        postern = start(backend, environment=environment, backend=settings("starttls", certificates, ca=ca))
        message_through(postern)
        assert len(backend.session(number).messages) == 1
