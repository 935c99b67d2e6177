"""Machines that log in with a certificate: whose counts, and as whom."""

import base64
import re
import ssl
import subprocess

import pytest

from support import client, wait

_CA = """
[ca]
default_ca = own
[own]
database = {work}/index
new_certs_dir = {work}
certificate = {work}/ca.pem
private_key = {work}/ca-key.pem
default_md = sha256
policy = any
rand_serial = yes
default_crl_days = 30
copy_extensions = copy
[any]
commonName = supplied
"""


class Authority:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        (directory / "index").touch()
        (directory / "cnf").write_text(_CA.format(work=directory))
        self.certificate, self.crl = directory / "ca.pem", directory / "crl.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-keyout", directory / "ca-key.pem", "-out", self.certificate,
                      "-days", "90", "-subj", "/CN=Authority")
        self.write_crl()

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def issue(self, name, alternatives="email:robot@example.org,DNS:robot.example.org"):
        paths = [self.directory / f"{name}{end}" for end in (".pem", "-key.pem", ".csr")]
        certificate, key, request = paths
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", key, "-out", request, "-subj", f"/CN={name}",
                      "-addext", f"subjectAltName={alternatives}")
        self._openssl("ca", "-batch", "-notext", "-config", self.directory / "cnf", "-days", "30",
                      "-in", request, "-out", certificate)
        return certificate, key

    def revoke(self, certificate):
        self._openssl("ca", "-config", self.directory / "cnf", "-revoke", certificate)
        self.write_crl()

    def write_crl(self, path=None, *options):
        self._openssl("ca", "-gencrl", "-config", self.directory / "cnf",
                      "-out", path or self.crl, *options)


def fingerprint(certificate):
    said = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in",
                           certificate], check=True, capture_output=True, text=True).stdout
    return said.strip().partition("=")[2]


@pytest.fixture(scope="module")
def authority(work):
    made = Authority(work / "machines-authority")
    made.robot = made.issue("robot")
    made.other = made.issue("other")
    made.revoked = made.issue("revoked")
    made.strange = made.issue("root@localhost", "DNS:x.example")
    made.revoke(made.revoked[0])
    return made


@pytest.fixture(scope="module")
def stranger(work):
    return Authority(work / "stranger").issue("robot")


def serve(start, backend, authority, **keys):
    port = wait.free_port()
    made = start(backend, listen={"machines": {
        "address": f"127.0.0.1:{port}", "tls": "implicit", "client_certificates": "request",
        "client_ca": authority.certificate, "external": "cn", **keys}})
    made.implicit = ("127.0.0.1", port)
    return made


def context_with(pair, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if pair:
        context.load_cert_chain(*pair)
    return context


def connect(postern, pair=None, version=None):
    made = client.Client(postern.implicit, tls=True, tls_context=context_with(pair, version))
    made.greeting()
    return made


def external(name=""):
    return "AUTH EXTERNAL " + (base64.b64encode(name.encode()).decode() or "=")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_machine_logs_in_by_its_certificate(start, backend, authority, version):
    postern = serve(start, backend, authority)
    with connect(postern, authority.robot, version) as one:
        assert "EXTERNAL" in one.ehlo()["AUTH"].split()
        one.command(external(), 235)
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    assert backend.session().identity["LOGIN"] == "robot"
    record = postern.session_record(one)
    assert record["user"] == "robot" and record["mechanism"] == "EXTERNAL"
    assert record["certificate"] == fingerprint(authority.robot[0]).replace(":", "").lower()


@pytest.mark.parametrize("mapping, login", [("cn", "robot"), ("email", "robot@example.org"),
                                            ("dns", "robot.example.org")])
def test_login_stands_where_the_postmaster_says(start, backend, authority, mapping, login):
    postern = serve(start, backend, authority, external=mapping)
    with connect(postern, authority.robot) as one:
        one.ehlo()
        one.command("AUTH EXTERNAL", 334)
        one.command(base64.b64encode(login.encode()).decode(), 235)
        one.quit()
    assert backend.session().identity["LOGIN"] == login


def test_login_by_fingerprint_is_read_again_at_a_reload(start, backend, authority, scratch):
    path = scratch / "fingerprints"
    path.write_text(f"# machines\n{fingerprint(authority.robot[0])}  printer # second floor\n")
    postern = serve(start, backend, authority, external=str(path))
    with connect(postern, authority.robot) as one:
        one.ehlo()
        one.command(external(), 235)
        one.quit()
    assert backend.session().identity["LOGIN"] == "printer"
    with connect(postern, authority.other) as one:
        assert "EXTERNAL" not in one.ehlo()["AUTH"]
        one.command(external(), 504)
    path.write_text(fingerprint(authority.other[0]).replace(":", "").upper() + "\tscanner\n")
    postern.reload()
    with connect(postern, authority.other) as one:
        one.ehlo()
        one.command(external("scanner"), 235)
    path.write_text("abc printer\n")
    assert any(f"{path}:1: not a SHA-256" in each for each in postern.reload_refused())


def test_threat_12_machine_cannot_be_somebody_else(start, backend, authority):
    postern = serve(start, backend, authority)
    with connect(postern, authority.robot) as one:
        one.ehlo()
        one.command(external("alice"), 535)
        one.command(external("robot2"), 535)
        one.command(external("robot"), 235)
    record = postern.wait_for_record(event="login failed")
    assert record["user"] == "alice" and record["mechanism"] == "EXTERNAL"


@pytest.mark.parametrize("who", ["nobody", "stranger", "revoked"])
def test_certificate_that_does_not_count_is_none(start, backend, authority, stranger, who):
    pair = {"nobody": None, "stranger": stranger, "revoked": authority.revoked}[who]
    postern = serve(start, backend, authority, client_crl=authority.crl)
    with connect(postern, pair) as one:
        assert one.ehlo()["AUTH"].split() == ["PLAIN", "LOGIN"]
        one.command(external(), 504)
        one.login("alice", "wonderland")
        one.quit()
    assert backend.session().identity["LOGIN"] == "alice"
    told = postern.find_records(event="client certificate does not count")
    assert len(told) == (who != "nobody")
    assert who != "revoked" or "revoked" in told[0]["cause"]


@pytest.mark.parametrize("who", ["nobody", "stranger", "revoked"])
def test_nobody_gets_in_without_a_good_certificate_where_one_is_required(start, backend, authority,
                                                                         stranger, who):
    pair = {"nobody": None, "stranger": stranger, "revoked": authority.revoked}[who]
    postern = serve(start, backend, authority, client_certificates="require",
                    client_crl=authority.crl)
    with pytest.raises((ssl.SSLError, client.Closed, ConnectionError)):
        connect(postern, pair)
    record = postern.wait_for_record(event="session ended")
    why = {"nobody": "did not return a certificate", "stranger": "issuer certificate",
           "revoked": "certificate revoked"}[who]
    assert record["messages"] == "0" and why in record["end"]
    with connect(postern, authority.robot) as one:
        one.ehlo()
        one.command(external(), 235)


def test_revocation_list_that_has_expired_is_told_of(start, backend, authority, scratch):
    """With it everybody is shut out, and the postmaster has to know why."""
    expired = scratch / "expired.pem"
    authority.write_crl(expired, "-crl_lastupdate", "200101000000Z",
                        "-crl_nextupdate", "200201000000Z")
    postern = serve(start, backend, authority, client_certificates="require",
                    client_crl=expired)
    postern.wait_for_record(level="warning", msg=re.compile(f"{expired}: .* has expired"))
    with pytest.raises((ssl.SSLError, client.Closed, ConnectionError)):
        connect(postern, authority.robot)
    assert "CRL has expired" in postern.wait_for_record(event="session ended")["end"]


def test_listener_may_offer_certificates_alone(start, backend, authority):
    postern = serve(start, backend, authority, client_certificates="require",
                    mechanisms=["EXTERNAL"])
    with connect(postern, authority.robot) as one:
        assert one.ehlo()["AUTH"] == "EXTERNAL"
        one.command("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=", 504)
        one.command(external(), 235)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_threat_20_certificate_is_looked_at_each_time(start, backend, authority, version):
    """No session is resumed here, so none outlives a revocation or a reload."""
    postern = serve(start, backend, authority, client_certificates="require")
    context = context_with(authority.robot, version)
    with client.Client(postern.implicit, tls=True, tls_context=context) as one:
        one.greeting()
        one.ehlo()
        session = one.session_ticket()
        one.quit()
    with client.Client(postern.implicit, tls=True, tls_context=context,
                       session=session) as one:
        one.greeting()
        assert not one.tls.session_reused
        one.ehlo()
        one.command(external(), 235)


def test_without_a_mapping_a_certificate_is_no_login(start, backend, authority):
    postern = serve(start, backend, authority, external="")
    with connect(postern, authority.robot) as one:
        assert "EXTERNAL" not in one.ehlo()["AUTH"]
        one.command(external(), 504)


def test_certificate_is_asked_for_by_starttls_too(start, backend, authority):
    postern = serve(start, backend, authority, tls="starttls")
    with client.Client(postern.implicit) as one:
        one.greeting()
        one.ehlo()
        one.starttls(context_with(authority.robot))
        one.ehlo()
        one.command(external(), 235)


def test_proxy_header_tells_whose_certificate_it_was(start, backend, authority):
    from test_identity_ways import read_v2, take_v2
    backend.on("connect", take_v2)
    port = wait.free_port()
    start(backend, backend={"identity": "proxy-v2"}, listen={"machines": {
        "address": f"127.0.0.1:{port}", "tls": "implicit", "client_certificates": "request",
        "client_ca": authority.certificate, "external": "cn"}})
    subprocess.run(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-cert",
         authority.robot[0], "-key", authority.robot[1], "-servername", "mail.example.org",
         "-alpn", "smtp", "-ign_eof"], input=b"EHLO x\r\nAUTH EXTERNAL =\r\nQUIT\r\n",
        capture_output=True, check=True, timeout=wait.PATIENCE)
    session = backend.wait(lambda: next((c for c in backend.connections if b"EHLO x" in c.commands),
                                        None), "no session")
    _, _, _, tlvs = read_v2(session.header)
    assert tlvs[0xe0] == b"robot" and tlvs[0x01] == b"smtp" and tlvs[0x02] == b"mail.example.org"
    assert tlvs[0x20][0] == 7 and tlvs[0x20][1:5] == b"\0\0\0\0"
    assert b"robot" in tlvs[0x20]


def test_authority_that_cannot_be_read_stops_a_start(start, backend, authority):
    postern = serve(start, backend, authority)
    for key, value in (("client_ca", "/nonexistent.pem"), ("client_crl", "/nonexistent.pem")):
        postern.configure(listen={"machines": {
            "address": "%s:%d" % postern.implicit, "tls": "implicit",
            "client_certificates": "require", "client_ca": authority.certificate, key: value}})
        assert any("/nonexistent.pem" in each for each in postern.reload_refused())


def test_authorities_may_be_a_hashed_directory(start, backend, authority, stranger, scratch):
    directory = scratch / "authorities"
    directory.mkdir()
    (directory / "one.pem").write_bytes(authority.certificate.read_bytes())
    subprocess.run(["openssl", "rehash", directory], check=True, capture_output=True)
    directory.chmod(0o755)
    postern = serve(start, backend, authority, client_certificates="require",
                    client_ca=directory)
    with connect(postern, authority.robot) as one:
        one.ehlo()
        one.command(external(), 235)
    with pytest.raises((ssl.SSLError, client.Closed, ConnectionError)):
        connect(postern, stranger)
