"""The pieces of configuration that the README shows are understood as they stand there."""

import pathlib
import re

import pytest

from support import postern as posterns

README = pathlib.Path(__file__).parents[2] / "README.md"


def pieces():
    """Indented blocks that are configuration of ours."""
    blocks = re.findall(r"(?:^    .*\n)+", README.read_text(), re.MULTILINE)
    return [block for block in blocks if re.match(r" +(tls|backend|listen|limits|admin)\b.*\{", block)]


@pytest.mark.parametrize("piece", pieces())
def test_piece_of_the_readme_is_a_good_configuration(piece, certificates, scratch):
    recipients = scratch / "recipients"
    recipients.write_text("example.net\n")
    text = piece if "fullchain.pem" in piece else \
        f'tls {{ certificate = "{certificates.certificate}" key = "{certificates.key}" }}\n{piece}'
    for shown, real in (("/etc/postern/fullchain.pem", certificates.certificate),
                        ("/etc/postern/privkey.pem", certificates.key),
                        ("/etc/postern/recipients", recipients)):
        text = text.replace(shown, str(real))
    text = re.sub(r"/etc/postern/\w+\.pem", str(certificates.certificate), text)
    path = scratch / "postern.conf"
    path.write_text(f'user = "nobody"\n{text}')
    result = posterns.run("-c", path, "-n")
    assert result.returncode == 0, result.stderr + text


def test_readme_shows_pieces_of_configuration():
    assert len(pieces()) >= 4
