"""The servers that are compared: a row for each, with how it is configured and started.

A configuration asks of each what the others are asked: one process or thread that serves, TLS 1.3
with the same P-256 certificate and X25519, room for all the sessions, and logging as the server
does it by itself. The rest is left as Debian and the server's authors chose it.
"""

import dataclasses
import os
import pathlib
import pwd
import subprocess
import typing

USER = "nobody"
GROUP = "nogroup"
BACKLOG = 4096


@dataclasses.dataclass
class Place:
    """Where one server runs: its directory, ports and certificate."""

    directory: pathlib.Path
    peers: typing.Any
    postern: pathlib.Path
    certificate: pathlib.Path
    key: pathlib.Path
    tls: int
    starttls: int
    other: int
    sink: int
    room: int  # descriptors that a process may have
    reactors: int = 1

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="ascii")
        return str(path)

    def joined_certificate(self):
        """Certificate and key in one file, as some want them."""
        path = self.write("joined.pem", self.certificate.read_text() + self.key.read_text())
        os.chmod(path, 0o600)
        return path


@dataclasses.dataclass
class Row:
    """A server: its name, what it can do, and what gives the argv to start it in the foreground."""

    name: str
    title: str
    login: bool      # it authenticates; without, the load goes straight to MAIL
    modes: tuple     # of the load, each a port of the Place
    start: typing.Callable
    roles: tuple = ()  # (role, text in the process title), to tell costs apart
    idle_limit: int = 1 << 30  # sessions that it is asked to hold; a heavy one is asked for less
    peers_libraries: bool = True


def nginx(place):
    root = os.getuid() == 0
    config = f"""
{f'user {USER} {GROUP};' if root else ''}
daemon off;
worker_processes 1;
worker_rlimit_nofile {place.room};
pid {place.directory}/nginx.pid;
error_log {place.directory}/error.log;
load_module {place.peers.program('usr/lib/nginx/modules/ngx_mail_module.so')};
events {{ worker_connections {place.room}; }}
http {{
  access_log off;
  client_body_temp_path {place.directory}/body;
  proxy_temp_path {place.directory}/proxy;
  fastcgi_temp_path {place.directory}/fastcgi;
  uwsgi_temp_path {place.directory}/uwsgi;
  scgi_temp_path {place.directory}/scgi;
  server {{
    listen 127.0.0.1:{place.other} backlog={BACKLOG};
    location / {{
      add_header Auth-Status OK;
      add_header Auth-Server 127.0.0.1;
      add_header Auth-Port {place.sink};
      return 204;
    }}
  }}
}}
mail {{
  server_name mail.example.org;
  auth_http 127.0.0.1:{place.other}/;
  xclient on;
  ssl_certificate {place.certificate};
  ssl_certificate_key {place.key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ecdh_curve X25519;
  timeout 600s;
  server {{
    listen 127.0.0.1:{place.tls} ssl backlog={BACKLOG};
    protocol smtp;
    smtp_auth plain login;
  }}
  server {{
    listen 127.0.0.1:{place.starttls} backlog={BACKLOG};
    starttls on;
    protocol smtp;
    smtp_auth plain login;
  }}
}}
"""
    return [place.peers.program("usr/sbin/nginx"), "-p", str(place.directory),
            "-e", str(place.directory / "error.log"), "-c", place.write("nginx.conf", config)]


def haproxy(place):
    config = f"""
global
  nbthread 1
  maxconn {place.room // 2 - 100}
  {f'user {USER}' if os.getuid() == 0 else ''}
defaults
  mode tcp
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  backlog {BACKLOG}
frontend tls
  bind 127.0.0.1:{place.tls} ssl crt {place.joined_certificate()} ssl-min-ver TLSv1.2 curves X25519
  default_backend sink
backend sink
  server sink 127.0.0.1:{place.sink}
"""
    return [place.peers.program("usr/sbin/haproxy"), "-db", "-f",
            place.write("haproxy.cfg", config)]


def hitch(place):
    config = f"""
frontend = "[127.0.0.1]:{place.tls}"
backend = "[127.0.0.1]:{place.sink}"
pem-file = "{place.joined_certificate()}"
tls-protos = TLSv1.2 TLSv1.3
ecdh-curve = "X25519"
workers = 1
backlog = {BACKLOG}
{f'user = "{USER}"' if os.getuid() == 0 else ''}
daemon = off
"""
    return [place.peers.program("usr/sbin/hitch"), f"--config={place.write('hitch.conf', config)}"]


def stunnel(place):
    config = f"""
foreground = yes
syslog = no
pid =
cert = {place.certificate}
key = {place.key}
sslVersionMin = TLSv1.2
curves = X25519
[tls]
accept = 127.0.0.1:{place.tls}
connect = 127.0.0.1:{place.sink}
[starttls]
protocol = smtp
accept = 127.0.0.1:{place.starttls}
connect = 127.0.0.1:{place.sink}
"""
    return [place.peers.program("usr/bin/stunnel4"), place.write("stunnel.conf", config)]


def dovecot(place):
    """Its helpers and modules are looked for below /usr alone, so it gets to see them there: a
    mount that only its own processes have."""
    identity = pwd.getpwnam("mail")
    config = f"""
base_dir = {place.directory}/run
state_dir = {place.directory}/state
log_path = {place.directory}/dovecot.log
protocols = submission
listen = 127.0.0.1
import_environment = TZ LD_LIBRARY_PATH
default_internal_user = mail
default_internal_group = mail
default_login_user = {USER}
default_process_limit = 20000
default_client_limit = {place.room}
default_vsz_limit = 0
ssl = required
ssl_cert = <{place.certificate}
ssl_key = <{place.key}
ssl_curve_list = X25519
auth_mechanisms = plain login
disable_plaintext_auth = yes
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={identity.pw_uid} gid={identity.pw_gid} home={place.directory}/home allow_all_users=yes
}}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/mail
mail_max_userip_connections = 0
hostname = mail.example.org
submission_relay_host = 127.0.0.1
submission_relay_port = {place.sink}
service submission-login {{
  service_count = 0
  process_min_avail = 1
  process_limit = 1
  client_limit = {place.room // 2}
  inet_listener submission {{
    port = {place.starttls}
  }}
  inet_listener submissions {{
    port = {place.tls}
    ssl = yes
  }}
}}
service submission {{
  service_count = 256
  process_limit = 12000
}}
"""
    prefix = place.peers.root / "usr"
    program, file = place.peers.program("usr/sbin/dovecot"), place.write("dovecot.conf", config)
    mount = (f"mount -t overlay -o ro,lowerdir={prefix}:/usr overlay /usr && "
             f"exec {program} -F -c {file}")
    return ["unshare", "--mount", "sh", "-c", mount]


def postern(place):
    services = place.directory / "pam"
    services.mkdir(exist_ok=True)
    (services / "bench").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    config = f"""
hostname = "mail.example.org"
user = "{USER}"
workers = {place.reactors}
tls {{
  certificate = "{place.certificate}"
  key = "{place.key}"
}}
listen "tls" {{
  address = "127.0.0.1:{place.tls}"
  tls = "implicit"
}}
listen "starttls" {{
  address = "127.0.0.1:{place.starttls}"
  tls = "starttls"
}}
auth {{
  pam_service = "bench"
  pam_confdir = "{services}"
  share = 4
  queue = 20000
}}
backend {{
  address = "127.0.0.1:{place.sink}"
  identity_required = {{"HELO"}}
}}
limits {{
  connections = {place.room // 2 - 100}
  connections_per_address = 0
}}
"""
    return [str(place.postern), "-c", place.write("postern.conf", config)]


def another_postern(binary):
    """A row for another build of Postern, so that both are measured in the same rounds."""
    def start(place):
        return postern(dataclasses.replace(place, postern=binary))
    (row,) = (row for row in SERVERS if row.name == "postern")
    return dataclasses.replace(row, name="before", title="Postern, the other build", start=start)


def make_certificate(directory):
    """A throw-away P-256 certificate; the paths of certificate and key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                    "/CN=mail.example.org", "-addext", "subjectAltName=DNS:mail.example.org",
                    "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return certificate, key


SERVERS = (
    Row("nginx", "nginx mail (AUTH, XCLIENT)", True, ("tls", "starttls"), nginx),
    Row("haproxy", "HAProxy (no AUTH)", False, ("tls",), haproxy),
    Row("hitch", "hitch (no AUTH)", False, ("tls",), hitch),
    Row("stunnel", "stunnel (no AUTH)", False, ("tls", "starttls"), stunnel),
    Row("dovecot", "Dovecot submission (AUTH)", True, ("tls", "starttls"), dovecot,
        idle_limit=500),
    Row("postern", "Postern (AUTH, XCLIENT)", True, ("tls", "starttls"), postern,
        roles=(("reactor", "postern: reactor"), ("auth workers", "postern: auth")),
        peers_libraries=False),
)
