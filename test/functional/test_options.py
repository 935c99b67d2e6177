"""What the pages list, asked of the programs. Of each option of postern.conf(5): its default, the
lowest and the highest value that is taken, and the words; further the options, verbs and checks.
The lists are the pages' own."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from support import manual, postern as posterns, wait
from support.postern import BINARY, Word, configuration, run

CONTROL = pathlib.Path(BINARY).with_name("posternctl")
OPTIONS = list(manual.options())
NUMBERS = [option for option in OPTIONS if option.is_number]
NEEDED = {("", "hostname"): "mail.example.org", ("tls", "certificate"): "/c", ("tls", "key"): "/k",
          ("listen", "address"): "127.0.0.1:4711", ("certificate", "certificate"): "/c",
          ("certificate", "key"): "/k"}
TITLED = ("certificate", "listen", "backend")


def named(option):
    return option.section, option.key


@pytest.fixture
def ask(scratch):
    """ask({(section, key): value}) -> what postern -T makes of a file with these."""
    def run_with(values):
        settings = {}
        for (section, key), value in {**NEEDED, **values}.items():
            if not section:
                settings[key] = value
            elif section in TITLED:
                settings.setdefault(section, {}).setdefault("one", {})[key] = value
            else:
                settings.setdefault(section, {})[key] = value
        path = scratch / "asked.conf"
        path.write_text(configuration(settings))
        return run("-T", "-c", path)
    return run_with


def printed(text):
    """{(section, key): value} of the program's own file."""
    section, found = "", {}
    for line in text.splitlines():
        if line == "}":
            section = ""
        elif line.endswith("{"):
            section = line.split()[0]
        else:
            key, _, value = line.strip().partition(" = ")
            found[section, key] = value
    return found


def same(one, other):
    """A list has no order."""
    return sorted(re.split(r"[{}, ]+", one)) == sorted(re.split(r"[{}, ]+", other))


def test_page_is_read_right():
    assert len(OPTIONS) > 90 and len(NUMBERS) > 30
    assert len(set(map(named, OPTIONS))) == len(OPTIONS)


def test_every_option_has_the_default_that_the_page_says(ask):
    result = ask({})
    assert result.returncode == 0 and not result.stderr, result.stderr
    found = printed(result.stdout)
    assert set(found) == set(map(named, OPTIONS))
    wrong = {repr(option): (option.default, found[named(option)]) for option in OPTIONS
             if named(option) not in NEEDED and not same(option.default, found[named(option)])}
    assert not wrong


def test_what_must_be_given_has_no_default():
    assert {named(option) for option in OPTIONS if option.default is None} \
        == set(NEEDED) - {("", "hostname")}


def test_every_number_has_its_bounds_on_the_page():
    assert not [option for option in NUMBERS if not option.bounds]


@pytest.mark.parametrize("end", [0, 1], ids=["lowest", "highest"])
def test_value_at_the_bound_that_the_page_says_is_taken(ask, end):
    wanted = {named(option): option.bounds[end] for option in NUMBERS}
    result = ask(wanted)
    assert result.returncode == 0, result.stderr
    found = printed(result.stdout)
    assert {name: int(found[name]) for name in wanted} == wanted


@pytest.mark.parametrize("end, beyond", [(0, -1), (1, 1)], ids=["lowest", "highest"])
def test_value_beyond_the_bound_that_the_page_says_is_an_error(ask, end, beyond):
    """And the error says the same bounds."""
    asked = [option for option in NUMBERS if end == 1 or option.bounds[0] > 0]
    result = ask({named(option): option.bounds[end] + beyond for option in asked})
    assert result.returncode == 1
    for option in asked:
        where = rf'\d: {option.section}( "one")?: {option.key}: ' if option.section \
            else rf"\d: {option.key}: "
        (line,) = [each for each in result.stderr.splitlines() if re.search(where, each)]
        assert "is not from %d to %d" % option.bounds in line


def test_words_that_the_program_takes_are_on_the_page(ask):
    """All of them are in the error for one that it does not take."""
    result = ask({named(option): "nonesuch" for option in OPTIONS
                  if not option.is_number and option.default not in ("true", "false")})
    found = re.findall(r':\d+: (?:(\w+)(?: "\w+")?: )?(\w+): "nonesuch" is none of (.*)$',
                       result.stderr, re.MULTILINE)
    assert len(found) > 12
    for name, key, list_of_words in found:
        (option,) = [each for each in OPTIONS if named(each) == (name, key)]
        plain = set(re.findall(r"[\w.-]+\w", option.text))
        words = set(re.findall(r'"([^"]*)"', list_of_words)) - {""}
        assert words and words <= plain, (option, words - plain)


def test_flags_are_taken_in_all_the_words_of_the_page(ask):
    flags = [option for option in OPTIONS if option.default in ("true", "false")]
    introduction = manual.page("postern.conf.5").split("Flags are")[1].split("Times are")[0]
    words = [word for word in manual.words_of("Ql", introduction) if word != "or"]
    assert len(flags) > 5 and len(words) == 6
    needs = {("backend", "trace"): True, ("backend", "tls"): "implicit"}
    for word in words:
        result = ask({**needs, **{named(flag): Word(word) for flag in flags}})
        assert result.returncode == 0, result.stderr
        assert len({printed(result.stdout)[named(flag)] for flag in flags}) == 1


def test_file_that_is_printed_means_the_same(ask, scratch):
    first = ask({("listen", "proxy_protocol"): ["10.0.0.0/8", "2001:db8::/32"],
                 ("listen", "withhold"): ["DSN"], ("auth", "workers"): 7,
                 ("timeouts", "drain"): "5m", ("log", "file"): '/var/log/a"b\\c'})
    path = scratch / "printed.conf"
    path.write_text(first.stdout)
    assert first.returncode == 0 and 'file = "/var/log/a\\"b\\\\c"' in first.stdout
    assert run("-T", "-c", path).stdout == first.stdout


def test_password_is_not_printed(ask):
    result = ask({("limits", "shared"): "redis://:sesame@127.0.0.1"})
    assert result.returncode == 0 and "sesame" not in result.stdout + result.stderr


def test_program_is_printed_without_an_address(ask, scratch):
    result = ask({("backend", "program"): "/bin/cat", ("backend", "user"): "nobody"})
    assert result.returncode == 0 and ("backend", "address") not in printed(result.stdout)
    path = scratch / "printed.conf"
    path.write_text(result.stdout)
    assert run("-T", "-c", path).stdout == result.stdout


def test_bad_file_is_not_printed(ask):
    result = ask({("auth", "workers"): 0})
    assert result.returncode == 1 and not result.stdout and "workers" in result.stderr


# what the programs themselves say

def spoken(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=wait.PATIENCE * 3,
                          env={**os.environ, **posterns.SANITIZERS}, check=False)


def test_help_names_the_options_of_the_page():
    items = manual.section(manual.page("postern.8"), "DESCRIPTION").split(".Ss ")[0]
    told = set(re.findall(r"^\.It Fl \w .*?Fl Fl (\w+)", items, re.MULTILINE))
    assert len(told) >= 5
    assert set(re.findall(r"^  -\w, --(\w+)", spoken(BINARY, "--help").stdout, re.MULTILINE)) == told


def test_help_of_posternctl_names_the_verbs_and_options_of_the_page():
    text = manual.section(manual.page("posternctl.8"), "DESCRIPTION")
    verbs = {line.split()[0] for line in re.findall(r"^\.It Ic (.*)$", text, re.MULTILINE)}
    options = set(re.findall(r"^\.It Fl \w , -(\w+)", text, re.MULTILINE))
    said = spoken(CONTROL, "--help").stdout
    assert set(re.findall(r"^  (\w+)", said, re.MULTILINE)) == verbs
    assert set(re.findall(r"^  -\w, --(\w+)", said, re.MULTILINE)) == options


def test_every_verb_of_the_page_is_one(scratch):
    """Nobody answers at this socket: what is asked there was understood."""
    text = manual.section(manual.page("posternctl.8"), "DESCRIPTION")
    for line in re.findall(r"^\.It Ic (.*)$", text, re.MULTILINE):
        verb, *rest = line.split()
        argument = {"address": ["192.0.2.1"], "id": ["x"], "level": ["info"]}.get(
            rest[1] if rest[:1] == ["Ar"] else None, [])
        if verb == "kick":
            argument = argument or ["--user", "alice"]
        result = spoken(CONTROL, "--socket", scratch / "nobody", verb, *argument)
        assert result.returncode == 3, (line, result.stderr)


def test_checks_that_the_doctor_makes_are_on_the_page(ask, scratch):
    ask({})
    result = spoken(BINARY, "doctor", "--json", "-c", scratch / "asked.conf")
    text = re.search(r"^The checks are:\n(.*?)^\.Ss", manual.page("postern.8"),
                     re.MULTILINE | re.DOTALL)[1]
    made = {finding["check"] for finding in json.loads(result.stdout)}
    assert len(made) > 8 and made <= set(manual.words_of("Cm", text))
