"""Throwaway certificates, made with openssl(1)."""

import pathlib
import subprocess
import tempfile

HOSTNAME = "mail.example.org"

#: Begin and end, as openssl-ca(1) takes them.
PAST = ("20200101000000Z", "20200201000000Z")
FUTURE = ("20900101000000Z", "20910101000000Z")

_CA = """
[ca]
default_ca = own
[own]
database = {work}/index
new_certs_dir = {work}
default_md = sha256
policy = any
rand_serial = yes
copy_extensions = copy
[any]
commonName = supplied
"""


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Certificates:
    """Paths of PEM files, each made once."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.certificate, self.key = self._pair("good")
        self.other_certificate, self.other_key = self._pair("other")
        self.rsa_certificate, self.rsa_key = self._pair("rsa", kind=("rsa:2048",))
        self.readable_key = self.directory / "readable-key.pem"
        self.readable_key.write_bytes(self.key.read_bytes())
        self.readable_key.chmod(0o644)
        self.private_certificate = self.directory / "private-certificate.pem"
        self.private_certificate.write_bytes(self.certificate.read_bytes())
        self.private_certificate.chmod(0o600)
        self.expired_certificate = self.dated("expired", *PAST)
        self.future_certificate = self.dated("future", *FUTURE)

    def _pair(self, name, host=HOSTNAME, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        certificate = self.directory / f"{name}.pem"
        key = self.directory / f"{name}-key.pem"
        _openssl("req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", certificate,
                 "-days", "90", "-subj", f"/CN={host}",
                 "-addext", f"subjectAltName=DNS:{host},IP:127.0.0.1")
        key.chmod(0o600)
        return certificate, key

    def dated(self, name, start, end, host=HOSTNAME, alternatives=True):
        """A certificate for the good key that is valid at another time, with the host's name as its
        common name and among its alternatives, or as the former alone."""
        certificate = self.directory / f"{name}.pem"
        with tempfile.TemporaryDirectory() as work:
            configuration, request = pathlib.Path(work, "cnf"), pathlib.Path(work, "request")
            configuration.write_text(_CA.format(work=work))
            pathlib.Path(work, "index").touch()
            _openssl("req", "-new", "-key", self.key, "-subj", f"/CN={host}", "-out", request,
                     *(("-addext", f"subjectAltName=DNS:{host}") if alternatives else ()))
            _openssl("ca", "-batch", "-notext", "-config", configuration, "-selfsign",
                     "-keyfile", self.key, "-startdate", start, "-enddate", end,
                     "-in", request, "-out", certificate)
        return certificate

    def pair(self, name):
        """Certificate and key: "good", "other" and "rsa" (of the same name), "expired"."""
        return {"good": (self.certificate, self.key),
                "other": (self.other_certificate, self.other_key),
                "rsa": (self.rsa_certificate, self.rsa_key),
                "expired": (self.expired_certificate, self.key)}[name]

    def install(self, name, directory):
        """Copies a pair to `directory` as cert.pem and key.pem, for tests that change them."""
        target = pathlib.Path(directory)
        certificate, key = target / "cert.pem", target / "key.pem"
        for path, source in zip((certificate, key), self.pair(name)):
            scratch = path.with_suffix(".new")
            scratch.write_bytes(source.read_bytes())
            scratch.chmod(0o600)
            scratch.rename(path)
        return certificate, key


_ISSUED = """
[req]
distinguished_name = dn
[dn]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
"""


class Authority:
    """A root, an intermediate below it, and what that one has issued."""

    def __init__(self, directory):
        self._directory = pathlib.Path(directory)
        self._configuration = self._directory / "authority.cnf"
        self._configuration.write_text(_ISSUED)
        self.root, self._root_key = self._issue("root", "authority")
        self.intermediate, self._key = self._issue("intermediate", "authority",
                                                   self.root, self._root_key)

    def _issue(self, name, extensions, issuer=None, issuer_key=None, days=90, *options):
        certificate, key = (self._directory / f"{name}{end}.pem" for end in ("", "-key"))
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-config", self._configuration, "-extensions", extensions, "-subj", f"/CN={name}",
                 "-days", days, "-keyout", key, "-out", certificate,
                 *(("-CA", issuer, "-CAkey", issuer_key) if issuer else ()), *options)
        key.chmod(0o600)
        return certificate, key

    def server(self, host=HOSTNAME, days=90, chain=True):
        """A certificate for `host` and its key, as section tls has them."""
        name = f"{host}-{days}"
        certificate, key = self._issue(name, "server", self.intermediate, self._key, days,
                                       "-addext", f"subjectAltName=DNS:{host}")
        whole = self._directory / f"{name}-chain.pem"
        whole.write_bytes(certificate.read_bytes() + self.intermediate.read_bytes())
        return {"certificate": whole if chain else certificate, "key": key}
