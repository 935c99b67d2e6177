"""Variables of the environment that the configuration refers to, from the start to an upgrade."""

import pathlib
import signal
import subprocess

import pytest

from support import postern as posterns
from support.client import Client
from test_upgrade import POSTINST, program, replace, upgrade  # noqa: F401 (a fixture)

RELOADED = posterns.re.compile("^reloaded: ")


class Reference(posterns.Word):
    """A string with references, written as it is."""

    def __new__(cls, text):
        return super().__new__(cls, f'"{text}"')


def greeting(postern):
    with Client(postern.implicit, tls=True) as one:
        reply = one.greeting()
        one.quit()
    return str(reply)


@pytest.fixture
def variables(tmp_path):
    return {"POSTERN_TEST_NAME": "door.example.org", "POSTERN_TEST_HOME": str(tmp_path)}


def test_start_reload_and_upgrade_see_the_same_variables(start, backend, program, variables):
    postern = start(backend, hostname=Reference("${POSTERN_TEST_NAME}"), environment=variables)
    assert "door.example.org" in greeting(postern)
    postern.configure(hostname=Reference("second-${POSTERN_TEST_NAME}"))
    postern.signal(signal.SIGHUP)
    postern.wait_for_record(msg=RELOADED)
    assert "second-door.example.org" in greeting(postern)
    replace(program)
    upgrade(postern)
    assert "second-door.example.org" in greeting(postern)
    postern.signal(signal.SIGHUP)
    postern.wait_for_record(msg=RELOADED, count=2)
    assert "second-door.example.org" in greeting(postern)


def test_variable_that_is_not_set_leaves_the_running_server_as_it_was(start, backend, variables):
    postern = start(backend, hostname=Reference("${POSTERN_TEST_NAME}"), environment=variables)
    reactors = postern.team("reactor", 1)
    postern.configure(hostname=Reference("${POSTERN_TEST_NO_NAME}"))
    postern.signal(signal.SIGHUP)
    postern.wait_for_record(level="error", msg=posterns.re.compile(
        r":1:13: hostname: the variable POSTERN_TEST_NO_NAME is not set in the environment$"))
    assert postern.pids("reactor") == reactors
    assert "door.example.org" in greeting(postern)


def test_check_at_a_shell_says_which_variable_is_missing(start, backend, variables):
    postern = start(backend, hostname=Reference("${POSTERN_TEST_NAME}"), environment=variables)
    good = posterns.run("-c", postern.configuration_path, "-n", environment=variables)
    assert good.returncode == 0, good.stderr
    bad = posterns.run("-c", postern.configuration_path, "-n")
    assert bad.returncode != 0
    assert ":1:13: hostname: the variable POSTERN_TEST_NAME is not set" in bad.stderr


def test_value_cannot_open_another_door(start, backend, variables):
    """A value with quotes and braces is the name of a file that does not exist."""
    evil = '/none"\nkey = "/none" } listen "evil" { address = "127.0.0.1:2525" } tls { #'
    postern = start(backend, environment=variables)
    postern.configure(tls={"certificate": Reference("${POSTERN_TEST_EVIL}")})
    for value, said in ((evil, "has a control character"),
                        (evil.replace("\n", " "), 'cannot read the certificate')):
        result = posterns.run("-c", postern.configuration_path, "-n",
                              environment={"POSTERN_TEST_EVIL": value})
        assert result.returncode != 0 and said in result.stderr, result.stderr
        assert "evil" not in result.stderr.replace(value, "")


def test_package_reads_the_variables_of_the_unit(start, backend, scratch, variables):
    """What postinst asks before it starts or judges is the file as the unit sees it."""
    postern = start(backend, hostname=Reference("${POSTERN_TEST_NAME}"), environment=variables)
    text = POSTINST.read_text()
    function = text[text.index("check() {"):].partition("\n}\n")[0] + "\n}\n"
    settings = pathlib.Path(scratch, "default")
    binary = pathlib.Path(posterns.BINARY).parent

    def check():
        return subprocess.run(
            ["sh", "-euc", f"CONFIGURATION={postern.configuration_path}\nDEFAULTS={settings}\n"
             f"PATH={binary}:$PATH\n{function}\ncheck"], capture_output=True, text=True, check=False,
            env={**posterns.os.environ, **posterns.SANITIZERS})
    assert "POSTERN_TEST_NAME is not set" in check().stderr
    settings.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    assert check().returncode == 0, check().stderr
