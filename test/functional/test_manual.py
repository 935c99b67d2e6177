"""The manual pages say what the program says, and all of it: events of the log with their fields,
checks of the doctor, paths and commands of the administration. Both are read as they stand in the
source. (Metrics are compared by a unit test, options by another and by test_options.py, and what
every server of these tests has logged by support/manual.py.)"""

import re

import pytest

from support.manual import ROOT, SOURCES, events as told_events, literals, page as manual
from support.manual import section, words_of


def source(name):
    return (ROOT / name).read_text()


def functions(text):
    """(head, body) of each."""
    return re.findall(r"^(\w[^\n;]*\((?:[^;{}]*)\))\n\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)


def routes():
    """(method, path, names of its parameters, function) of each that the administration knows."""
    for path, method, allowed, handler in re.findall(
            r'\{"(/\w*)", ADMIN_(GET|POST), \w+,([^}]*?),\s*(admin_\w+)\}',
            source("proxy/admin/routes.c")):
        names = {each.lower() for each in re.findall(r"ADMIN_PARAMETER_(\w+)", allowed)}
        if "FILTERS" in allowed:
            names |= {"id", "user", "address"}
        yield method, path, names, handler


def fields_in(body):
    fields = set(re.findall(r'log_(?:text|bytes|number)\(&record, "(\w+)"', body))
    if "session_log_client(" in body:
        (client,) = [each for head, each in functions(source("proxy/session.c"))
                     if "void session_log_client(" in head]
        fields |= set(re.findall(r'log_(?:text|number)\(record, "(\w+)"', client))
    return fields


def literal_events(body):
    return re.findall(r'log_begin(?:_watched)?\(&record, [^;]*"([^"]+)"\);', body)


def orders():
    """What is logged of an order on addresses: all that it may be given."""
    given = {handler: names for _, _, names, handler in routes()}
    for head, body in functions(source("proxy/admin/permits.c")):
        for event in re.findall(r'\b(?:order|log_order)\(request,[^;]*"([^"]+)"\)', body):
            yield event, given[re.search(r"\w+(?=\()", head)[0]]
    for _, body in functions(source("proxy/admin/sessions.c")):
        for event in literal_events(body):
            yield event, given["admin_end_sessions"] | fields_in(body)


def events():
    """{event: its fields}, of all that the program can log."""
    found = {"log records lost": {"count"}}  # of log.c, which writes it by itself
    for path in SOURCES:
        text = path.read_text()
        begin = re.compile(r"log_begin(?:_watched)?\(&record")
        bodies = [body for _, body in functions(text) if begin.search(body)]
        assert len(begin.findall(text)) == len(bodies), path
        found |= {event: fields_in(body) for body in bodies for event in literal_events(body)}
    return found | dict(orders())


def test_source_is_read_right():
    assert len(events()) >= 12 and events()["login failed"] >= {"id", "client", "user", "result"}


@pytest.mark.parametrize("event", sorted(events()))
def test_event_is_in_the_manual_with_its_fields(event):
    told = told_events()
    assert event in told
    assert told[event].fields >= events()[event], events()[event] - told[event].fields


def test_manual_tells_of_no_other_events_and_fields():
    known = events()
    for event, told in told_events().items():
        assert event in known and told.fields <= known[event], (event, told.fields - known[event])


#: What ends a session, or refuses a connection, with its cause as the last argument.
ENDING = ("session_finish", "session_exceed", "session_abort", "session_end", "relay_finish",
          "relay_finish_after_verdict", "relay_close", "relay_lose_backend", "relay_leave_backend",
          "relay_cause_in_message", "refuse_message", "nonsense", "arrival_client_left",
          "backend_fail", "stream_fail")


def causes():
    """The texts of calls with a cause, with three dots for what is put in."""
    for path in SOURCES:
        text = re.sub(r'"\s*\n\s*"', "", path.read_text())
        for call in re.findall(rf"\b(?:{'|'.join(ENDING)})\(([^;{{}}]*)\);", text):
            for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', call):
                yield re.sub(r"%(?:\.\*)?[us]( %\.\*s)?", "...", literal)


def test_causes_are_read_right():
    assert len(set(causes())) > 50 and "backend refused ...: ..." in set(causes())


def test_every_cause_that_the_source_names_is_in_the_manual():
    told = told_events()
    known = {each for event in ("session ended", "session refused")
             for field in ("end", "cause") for each in told[event].values.get(field, [])}
    # The one in a program's text that stands before the cause, and what only a backend's TLS says.
    missing = set(causes()) - known - {"...", "...: ...", "no TLS with the backend",
                                       "cannot reach the backend",
                                       "the server left during the TLS handshake"}
    assert not missing


def test_every_cause_in_the_manual_is_in_the_source():
    texts = literals()
    for name, event in told_events().items():
        for value in (each for values in event.values.values() for each in values):
            for piece in (each.strip(" :") for each in value.split("...")):
                assert any(piece in text for text in texts), (name, value)


def test_results_of_logins_are_in_the_manual():
    results = re.findall(r'\[STATISTICS_LOGIN_\w+\] = "([\w ]+)"', source("proxy/login.c"))
    text = re.search(r"^\.Ss event=\\\(dqlogin failed.*?(?=^\.Ss)", manual("postern.8"),
                     re.MULTILINE | re.DOTALL)[0]
    assert len(results) == 4
    for result in results:
        assert re.search(rf"^\.It Ql {result}$", text, re.MULTILINE), result


def test_destinations_of_the_log_are_in_both_pages():
    words = re.findall(r'\[LOG_TO_\w+\] = "(\w+)"', source("proxy/config_table.c"))
    assert len(words) == 4
    for text in (section(manual("postern.8"), "LOG"), manual("postern.conf.5")):
        assert set(words) <= set(words_of("Ql", text))


def test_checks_of_the_doctor_are_in_the_manual():
    table = re.search(r"\} checks\[\] = \{(.*?)^\};", source("proxy/doctor.c"),
                      re.MULTILINE | re.DOTALL)[1]
    checks = {"configuration", "login", *re.findall(r'\{"([\w-]+)", doctor_', table)}
    text = re.search(r"^The checks are:\n(.*?)^\.Ss", manual("postern.8"),
                     re.MULTILINE | re.DOTALL)[1]
    assert len(checks) > 20 and set(words_of("Cm", text)) == checks


@pytest.mark.parametrize("file", ["main.c", "setup_answers.c", "doctor.c"])
def test_options_are_in_the_manual(file):
    options = set(re.findall(r'\{"(\w[\w-]*)", (?:no|required)_argument', source(f"proxy/{file}")))
    told = {word for line in re.findall(r"^\.It (?:Fl .*)$", manual("postern.8"), re.MULTILINE)
            for word in re.findall(r"Fl Fl (\S+)", line)}
    assert options and options <= told, options - told


def test_paths_of_the_administration_are_in_the_manual():
    items = dict(re.findall(r"^\.It Li ((?:GET|POST) /\w*)\n(.*?)(?=^\.It|^\.El)",
                            manual("posternctl.8"), re.MULTILINE | re.DOTALL))
    known = {f"{method} {path}": names for method, path, names, _ in routes()}
    assert len(known) > 10 and set(items) == set(known)
    for route, names in known.items():
        assert set(words_of("Ar", items[route])) == names, route


def statuses():
    """Of the administration's answers, as its source gives them."""
    named = {"HTTP_OK": "200", "HTTP_BADREQUEST": "400", "HTTP_NOTFOUND": "404",
             "HTTP_BADMETHOD": "405", "HTTP_INTERNAL": "500"}
    for path in (ROOT / "proxy/admin").glob("*.c"):
        for words in re.findall(r"admin_reply_(?:error|json_as)\([^;]*?, *((?:[^;\"]*?)(?:HTTP_\w+|\d{3})[^;\"]*)",
                                path.read_text()):
            for word in re.findall(r"HTTP_[A-Z]+|\b\d{3}\b", words):
                yield named.get(word, word)


def test_statuses_of_the_administration_are_in_the_manual():
    told = re.findall(r"^\.It (\d{3})$", manual("posternctl.8"), re.MULTILINE)
    assert {"200", "400", "403", "404", "405", "409", "503", "504"} <= set(statuses())
    assert set(told) == set(statuses()) and len(told) == len(set(told))


def test_commands_of_posternctl_are_in_the_manual():
    rows = re.findall(r'^    \{"(\w+)", "(?:GET|POST)", .*?"[^"]*"\},?$', source("proxy/ctl/main.c"),
                      re.MULTILINE | re.DOTALL)
    commands = section(manual("posternctl.8"), "DESCRIPTION")
    told = {words[0] for words in (line.split() for line in
                                   re.findall(r"^\.It Ic (.*)$", commands, re.MULTILINE))}
    assert len(rows) > 10 and told == set(rows)


def test_what_programs_are_told_is_in_the_manual():
    text = re.search(r"^\.Ss Programs\n(.*?)^\.Ss", manual("postern.conf.5"),
                     re.MULTILINE | re.DOTALL)[1]
    variables = set(re.findall(r'\{"([A-Z_]+)", ', source("proxy/opener_environment.c")))
    values = set(re.findall(r'\[PROGRAM_\w+\] = "(\w+)"', source("proxy/program_line.c")))
    assert len(variables) > 10 and set(words_of("Ev", text)) == variables
    assert len(values) > 8 and set(re.findall(r"%\{(\w+)\}", text)) == values


def test_limits_that_clients_meet_are_in_the_manual():
    told = re.findall(r"^\.It ([\d,]+)$", section(manual("postern.8"), "LIMITS"), re.MULTILINE)
    limits = {int(re.search(rf"^#define {name} +(\d+)", source(file), re.MULTILINE)[1])
              for file, name in (("proxy/smtp/command.h", "SMTP_COMMAND_LIMIT"),
                                 ("proxy/smtp/command.h", "SMTP_AUTH_LINE_LIMIT"),
                                 ("proxy/smtp/command.h", "SMTP_DOMAIN_LIMIT"),
                                 ("auth/sasl.h", "SASL_USER_LIMIT"),
                                 ("auth/sasl.h", "SASL_PASSWORD_LIMIT"))}
    assert {int(each.replace(",", "")) for each in told} == limits


def choices():
    """(section, key, words) of each option that takes words of a list."""
    text = re.sub(r"\s+", " ", source("proxy/config_table.c"))
    lists = {name: [word for word in re.findall(r'"([^"]*)"', words) if word]
             for name, words in re.findall(r"WORDS\((\w+), ?(.*?)\)(?= WORDS| static)", text)}
    for section, key, rest in re.findall(
            r'\{\{"(\w*)", "(\w+)", [^}]*\},(.*?)\}(?=,? \{\{|, \};)', text):
        word = re.search(r"\.word = (\w+)", rest)
        if word and word[1] in lists:
            yield section, key, lists[word[1]]


def keys_of_sections(text):
    """{section: its keys, in order}, of the items of postern.conf(5)."""
    parts = re.split(r"^\.Ss (.+)$", section(text, "DESCRIPTION"), flags=re.MULTILINE)
    keys = {name: re.findall(r"^\.It Ic (\w+)$", body, re.MULTILINE)
            for name, body in zip(parts[1::2], parts[2::2])}
    return {name: found for name, found in keys.items() if found}


def test_index_leads_to_every_key_of_the_configuration():
    text = manual("postern.conf.5")
    index = re.search(r"^\.Ss Index of keys\n(.*?)^\.El$", text, re.MULTILINE | re.DOTALL)[1]
    rows = re.split(r"^\.It Sx (.+)$", index, flags=re.MULTILINE)
    led_to = {name: words_of("Ic", body) for name, body in zip(rows[1::2], rows[2::2])}
    assert len(led_to) >= 9 and list(led_to) == list(keys_of_sections(text))
    for name, keys in keys_of_sections(text).items():
        assert led_to[name] == keys, name


@pytest.mark.parametrize("name, key, words", choices())
def test_words_of_an_option_are_in_the_manual(name, key, words):
    text = re.search(rf"^\.Ss {name or 'Top level'}\n(.*?)(?=^\.S[sh] )", manual("postern.conf.5"),
                     re.MULTILINE | re.DOTALL)[1]
    text = re.search(rf"^\.It Ic {key}\n(.*?)(?=^\.It Ic |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    assert set(words) <= set(words_of("Ql", text))


def test_choices_are_read_right():
    assert len(list(choices())) >= 10
