"""The pieces of configuration that README, guides, examples and the manual show are understood as
they stand there, and their commands run."""

import re
import subprocess

import pytest

from support import pages
from support import postern as posterns

PAGES = ["README.md", *sorted(str(path.relative_to(pages.ROOT)) for directory in
                              ("guides/*.md", "examples/*/README.md")
                              for path in pages.ROOT.glob(f"etc/{directory}"))]
MANUAL = ["etc/postern.conf.5.in", "etc/postern.8.in", "etc/posternctl.8.in",
          "etc/postern-metrics.7.in"]
SECTIONS = r"(tls|backend|listen|certificate|auth|limits|admin)\b.*\{|hostname = |workers = "


def shown(page):
    return pages.displays(page) if page in MANUAL else pages.blocks(page)


def pieces():
    """Those that are configuration of ours."""
    return [pytest.param(block, id=f"{page}-{number}") for page in (*PAGES, *MANUAL)
            for number, block in enumerate(shown(page)) if re.match(SECTIONS, block)]


def keys():
    """{key: sections that have it}, of the manual; "Top level" is one."""
    found = {}
    sections = re.split(r"^\.Ss (.+)$", (pages.ROOT / MANUAL[0]).read_text(), flags=re.MULTILINE)
    for section, text in zip(sections[1::2], sections[2::2]):
        for line in re.findall(r"^\.It Ic (.*)$", text, re.MULTILINE):
            for key in line.split(" , "):
                found.setdefault(key, []).append(section)
    return found


#: What a key needs beside it, and what sections are besides their keys.
BESIDE = {"program": 'user = "nobody"', "user": 'program = "/bin/true"',
          "client_certificates": 'client_ca = "/etc/postern/machines.pem"'}
AROUND = {
    "Top level": "{}",
    "listen": 'listen "one" {{ address = "127.0.0.1:2525" {} }}',
    "backend": "backend {{ {} }}",
}


#: What a piece may refer to.
VARIABLES = {"POSTERN_HOSTNAME": "mail.example.org"}


def phrases():
    """Settings in the middle of a sentence, as `workers = 2`, of keys that are ours."""
    ours = keys()
    setting = re.compile(r'`((\w+) *= *("[^`]*"|\{[^`]*\}|\d+|true|false))`')
    return [pytest.param(text, key, id=f"{page}-{text}") for page in PAGES
            for text, key, _ in setting.findall((pages.ROOT / page).read_text()) if key in ours]


def replaced(text, certificates, scratch):
    """With files that are there in place of those that are shown."""
    (scratch / "recipients").write_text("example.net\n")
    (scratch / "secret").write_bytes(b"x" * 32)
    (scratch / "secret").chmod(0o600)
    for shown, real in (("/etc/postern/recipients", scratch / "recipients"),
                        ("/etc/postern/ticket-secret", scratch / "secret")):
        text = text.replace(shown, str(real))
    text = re.sub(r"/etc/[\w./${}-]+/privkey\.pem", str(certificates.key), text)
    text = re.sub(r'program( *)= "/\S+?(?=[ "])', r'program\1= "/bin/true', text)
    text = re.sub(r"/etc/(postern|letsencrypt)/[\w./${}-]+\.pem", str(certificates.certificate), text)
    return re.sub(r'user( *)= "[\w-]+"', r'user\1= "nobody"', text)


def check(piece, certificates, scratch):
    text = piece if "privkey.pem" in piece else \
        f'tls {{ certificate = "{certificates.certificate}" key = "{certificates.key}" }}\n{piece}'
    path = scratch / "postern.conf"
    path.write_text(f'user = "nobody"\n{replaced(text, certificates, scratch)}')
    return posterns.run("-c", path, "-n", environment=VARIABLES), text


@pytest.mark.parametrize("piece", pieces())
def test_piece_of_a_page_is_a_good_configuration(piece, certificates, scratch):
    result, text = check(piece, certificates, scratch)
    assert result.returncode == 0, result.stderr + text


@pytest.mark.parametrize("text, key", phrases())
def test_setting_in_a_sentence_is_a_good_one(text, key, certificates, scratch):
    """In a section that has it."""
    results = [check(AROUND.get(section, section + " {{ {} }}").format(
        f"{text} {BESIDE.get(key, '')}"), certificates, scratch) for section in keys()[key]]
    assert any(result.returncode == 0 for result, _ in results), \
        "\n".join(result.stderr + piece for result, piece in results)


def test_pages_show_pieces_of_configuration():
    shown_by = {param.id.rpartition("-")[0] for param in pieces()}
    assert {"README.md", "etc/postern.conf.5.in", "etc/postern.8.in"} <= shown_by
    assert len(pieces()) >= 12 and len(phrases()) >= 8


def commands(page, containing):
    return pages.block(f"etc/guides/{page}", containing)


def test_renewal_hook_reloads_postern(scratch):
    """As the page writes it, with a systemctl that tells what it was asked for."""
    hooks, asked, binaries = scratch / "hooks", scratch / "asked", scratch / "bin"
    hooks.mkdir()
    binaries.mkdir()
    systemctl = binaries / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    systemctl.chmod(0o755)
    script = commands("letsencrypt.md", "renewal-hooks").replace(
        "/etc/letsencrypt/renewal-hooks/deploy", str(hooks))
    subprocess.run(["sh", "-e"], input=script, text=True, check=True)
    subprocess.run([hooks / "postern"], env={"PATH": f"{binaries}:/usr/bin:/bin"}, check=True)
    assert asked.read_text() == "reload postern\n"


def test_ticket_secret_is_made_as_the_page_says(start, backend, scratch):
    path = scratch / "ticket-secret"
    script = commands("several-machines.md", "openssl rand").replace("/etc/postern/ticket-secret",
                                                                     str(path))
    subprocess.run(["sh", "-e"], input=script, text=True, check=True)
    with start(backend, tls={"ticket_secret": path}).log_in() as one:
        one.quit()


def test_program_that_checks_passwords_by_pam_exec(start, backend, pam, scratch):
    """The PAM service of the page about nginx."""
    program = scratch / "check-password"
    program.write_text('#!/bin/sh\nread -r password\n[ "$PAM_USER" = alice ] && '
                       '[ "$password" = wonderland ]\n')
    program.chmod(0o755)
    lines = commands("from-nginx.md", "pam_exec").replace("/usr/local/lib/check-password",
                                                          str(program))
    pam.service("exec", lines)
    postern = start(backend, auth={"pam_service": "exec"})
    with postern.log_in() as one:
        one.quit()
    with postern.connect() as two:
        two.ehlo()
        two.login("alice", "wrong", 535)
