"""Installed from the source, by the line of the README."""

import os
import shutil
import subprocess

from support import typed


def test_readme_installs_it_from_the_source(scratch):
    """Below DESTDIR, as nothing of the machine is to change."""
    line = typed.shown("meson setup build -Dbuildtype=release --prefix=/usr --sysconfdir=/etc && "
                       "meson install -C build")
    source, image = scratch / "source", scratch / "image"
    for name in ("auth", "etc", "proxy", "test", "tls", "meson.build", "meson_options.txt"):
        copy = shutil.copytree if (typed.ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(typed.ROOT / name, source / name)
    said = subprocess.run(["sh", "-ec", line], cwd=source, capture_output=True, text=True,
                          env={**os.environ, "DESTDIR": str(image)}, check=False)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    shown = subprocess.run([image / "usr/sbin/postern", "--version"], capture_output=True,
                           text=True, check=True)
    assert shown.stdout.startswith("postern ")
    assert (image / "etc/postern/postern.conf").is_file()
