"""The pieces of configuration that README and guides show are understood as they stand there, and
their commands run."""

import pathlib
import re
import subprocess

import pytest

from support import postern as posterns

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "etc/guides").glob("*.md"))]
SECTIONS = r"(tls|backend|listen|certificate|auth|limits|admin)\b.*\{|hostname = "


def blocks(page):
    """What stands indented, without that indent."""
    text = re.sub(r"^- ", "  ", page.read_text(), flags=re.MULTILINE)
    for block in re.findall(r"(?:^ {4}.*\n|(?<=\n)\n(?= {4}))+", text, re.MULTILINE):
        block = block.lstrip("\n")
        indent = min(len(line) - len(line.lstrip()) for line in block.splitlines() if line.strip())
        yield "".join(line[indent:] + "\n" for line in block.splitlines())


def pieces():
    """Those that are configuration of ours."""
    return [pytest.param(block, id=f"{page.stem}-{number}") for page in PAGES
            for number, block in enumerate(blocks(page)) if re.match(SECTIONS, block)]


def replaced(text, certificates, scratch):
    """With files that are there in place of those that are shown."""
    (scratch / "recipients").write_text("example.net\n")
    (scratch / "secret").write_bytes(b"x" * 32)
    (scratch / "secret").chmod(0o600)
    for shown, real in (("/etc/postern/recipients", scratch / "recipients"),
                        ("/etc/postern/ticket-secret", scratch / "secret")):
        text = text.replace(shown, str(real))
    text = re.sub(r"/etc/[\w./-]+/privkey\.pem", str(certificates.key), text)
    return re.sub(r"/etc/(postern|letsencrypt)/[\w./-]+\.pem", str(certificates.certificate), text)


@pytest.mark.parametrize("piece", pieces())
def test_piece_of_a_page_is_a_good_configuration(piece, certificates, scratch):
    text = piece if "privkey.pem" in piece else \
        f'tls {{ certificate = "{certificates.certificate}" key = "{certificates.key}" }}\n{piece}'
    path = scratch / "postern.conf"
    path.write_text(f'user = "nobody"\n{replaced(text, certificates, scratch)}')
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 0, result.stderr + text


def test_pages_show_pieces_of_configuration():
    assert len(pieces()) >= 8


def commands(page, containing):
    (found,) = [block for block in blocks(ROOT / "etc/guides" / page) if containing in block]
    return found


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
