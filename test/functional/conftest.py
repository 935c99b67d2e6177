"""Fixtures: servers are started on demand, and stopped and checked behind each test."""

import os
import pathlib
import shutil
import tempfile

import pytest

from support import backend as backends
from support import certificates as certificates_module
from support import dns
from support import machine
from support import pam as pam_module
from support import postern as posterns

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def pytest_configure():
    if not os.access(posterns.BINARY, os.X_OK):
        pytest.exit(f"there is no {posterns.BINARY}: build it, or set POSTERN_BINARY", 1)


@pytest.hookimpl(trylast=True)  # what is deselected needs no machine
def pytest_collection_modifyitems(items):
    machine.take_over(items)


@pytest.fixture(scope="session")
def work():
    """A directory for everything, which other users may enter (unlike pytest's own)."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="postern-test-"))
    made.chmod(0o755)
    yield made
    if not os.environ.get("POSTERN_TEST_KEEP"):
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def scratch(work):
    """A directory for one test."""
    made = pathlib.Path(tempfile.mkdtemp(dir=work))
    made.chmod(0o755)
    return made


@pytest.fixture(scope="session")
def certificates(work):
    directory = work / "certificates"
    directory.mkdir()
    return certificates_module.Certificates(directory)


@pytest.fixture(scope="session")
def pam_services(work):
    directory = work / "pam"
    directory.mkdir()
    services = pam_module.Pam(directory)
    yield services
    services.close()


@pytest.fixture
def pam(pam_services):
    """PAM's services; whoever is stuck in one of them is let go behind the test."""
    yield pam_services
    pam_services.reset()


@pytest.fixture
def system_user():
    user = pam_module.SystemUser()
    yield user
    user.remove()


other_system_user = system_user


class PostfixFactory:
    """Postfix instances by their settings, each started once in a run."""

    def __init__(self, work):
        self._work = work
        self._running = {}

    def __call__(self, **settings):
        from support.postfix import Postfix
        key = tuple(sorted(settings.items()))
        if key not in self._running:
            self._running[key] = Postfix(tempfile.mkdtemp(dir=self._work, prefix="postfix-"),
                                         **settings)
        return self._running[key]

    def stop(self):
        for postfix in self._running.values():
            postfix.stop()


@pytest.fixture(scope="session")
def postfix_with(work):
    if os.geteuid() != 0:
        pytest.skip("Postfix's master needs root")
    factory = PostfixFactory(work)
    yield factory
    factory.stop()


@pytest.fixture(scope="session")
def postfix(postfix_with):
    return postfix_with()


@pytest.fixture
def backend():
    made = backends.Backend()
    yield made
    made.close()


@pytest.fixture
def nameserver():
    made = dns.NameServer()
    yield made
    made.close()


class PosternFactory:
    def __init__(self, directory, certificates, pam):
        self._directory, self._certificates, self._pam = directory, certificates, pam
        self.running = []

    def __call__(self, backend_address, **settings):
        """Starts one in front of a backend (or of the address of one)."""
        address = getattr(backend_address, "address", backend_address)
        if isinstance(address, tuple):
            address = "%s:%d" % address
        made = posterns.Postern(self._directory / f"postern-{len(self.running)}",
                                self._certificates, self._pam, address, **settings)
        self.running.append(made)
        return made

    def stop(self):
        failures = []
        for each in self.running:
            try:
                each.stop()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]


_RUNNING = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With a failure stands what each Postern of the test has written: it may not come again."""
    report = (yield).get_result()
    if call.when == "call" and report.failed:
        for each in item.stash.get(_RUNNING, []):
            report.sections.append((f"log of {each.directory.name}", each.output()[-6000:]))


@pytest.fixture
def start(request, scratch, certificates, pam):
    """start(backend, auth={…}, …) -> a running Postern, which is stopped and checked behind the
    test."""
    factory = PosternFactory(scratch, certificates, pam)
    request.node.stash[_RUNNING] = factory.running
    yield factory
    factory.stop()


@pytest.fixture
def postern(start, backend):
    """A Postern with ordinary settings in front of `backend`."""
    return start(backend)
