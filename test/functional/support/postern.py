"""Starting, watching and stopping a Postern of one's own."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from support import client, logfmt, manual, processes, wait

BINARY = os.path.abspath(os.environ.get("POSTERN_BINARY")
                         or pathlib.Path(__file__).parents[3] / "build/postern")

#: Faults that the sanitizers report end the process, with a report on standard error.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:halt_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "exitcode=99:report_objects=1",
}
#: The same without the memory that the sanitizer keeps back: for tests that measure.
LEAN = {"ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"]
        + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
#: The leak checker of a worker that was killed while it was leaving: no record, and no report.
_NOISE = re.compile(r"==\d+==Unable to get registers from thread \d+\.$")
_REPORT = re.compile(r"Sanitizer|runtime error:|Assertion .* failed")


class Word(str):
    """A value that stands in the configuration as it is, without quotes."""


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Word)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(_value(each) for each in value) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _has_titles(value):
    return isinstance(value, dict) and bool(value) and all(
        isinstance(each, dict) for each in value.values())


def configuration(settings):
    """The text of a file: {key: value, section: {key: value}, section: {title: {key: value}}}."""
    lines = []
    for name, value in settings.items():
        if _has_titles(value):
            for title, keys in value.items():
                lines += [f'{name} "{title}" {{',
                          *(f"  {key} = {_value(each)}" for key, each in keys.items()), "}"]
        elif isinstance(value, dict):
            lines += [f"{name} {{",
                      *(f"  {key} = {_value(each)}" for key, each in value.items()), "}"]
        else:
            lines.append(f"{name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _sections(text):
    """The names of what a file sets: sections, and keys outside of them."""
    return re.findall(r"^(\w+)\b.*[{=]", text, re.MULTILINE)


def merge(settings, changes):
    """`changes` over `settings`; None removes a key or section."""
    merged = dict(settings)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict) \
                and not _has_titles(value):
            merged[name] = merge(merged[name], value)
        else:
            merged[name] = value
    return merged


def run(*arguments, **options):
    """The binary to its end, for -n and its like; returns subprocess's result, text."""
    environment = {**os.environ, **SANITIZERS, **options.pop("environment", {})}
    return subprocess.run([BINARY, *map(str, arguments)], env=environment, text=True,
                          capture_output=True, timeout=wait.PATIENCE * 3, check=False, **options)


def for_everybody(binary, directory):
    """A copy that any user may run: the checkout may be somebody's own."""
    copy = pathlib.Path(directory, pathlib.Path(binary).name)
    if not copy.exists():
        shutil.copy(binary, copy)
        copy.chmod(0o755)
    return copy


class Postern:
    """One running server. Settings are sections of the configuration over those of the tests.

    With `example`, the text of a file from support.example, what that sets is left alone, but for
    the certificate."""

    def __init__(self, directory, certificates, pam, backend_address, environment=None,
                 pass_fds=(), command=(), ready=True, stderr=None, example=None, **settings):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.configuration_path = self.directory / "postern.conf"
        self.log_path = self.directory / "log"
        self.implicit = ("127.0.0.1", wait.free_port())
        self.starttls = ("127.0.0.1", wait.free_port())
        self._settings = merge({
            "hostname": "mail.example.org",
            "user": "nobody",
            "tls": {"certificate": certificates.certificate, "key": certificates.key},
            "listen": {
                "submissions": {"address": "%s:%d" % self.implicit, "tls": "implicit"},
                "submission": {"address": "%s:%d" % self.starttls, "tls": "starttls"},
            },
            "auth": {"pam_service": "users", "pam_confdir": pam.directory, "workers": 2,
                     "failure_delay": 0},
            "backend": {"address": backend_address},
            "timeouts": {"drain": 10},
            "admin": {"socket": self.directory / "control", "group": ""},
        }, settings)
        self._example = ""
        if example:
            self._example = example.replace("/etc/postern/fullchain.pem",
                                            str(certificates.certificate)).replace(
                "/etc/postern/privkey.pem", str(certificates.key))
            for section in _sections(example):
                self._settings.pop(section, None)
        self.configure()
        self._forgiven = self._abandoned = False
        environment = {**os.environ, **SANITIZERS, **(environment or {})}
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*command, BINARY, "-c", self.configuration_path],
                env=environment, cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=stderr or log,
                pass_fds=pass_fds, start_new_session=True)
        if ready:
            try:
                self.wait_until_serving()
            except BaseException:
                self.kill()
                raise

    @property
    def settings(self):
        """As the file has them now."""
        return self._settings

    def configure(self, **changes):
        """Writes the file anew, with changes that stay."""
        self._settings = merge(self._settings, changes)
        self.write_configuration(self._example + configuration(self._settings))

    def write_configuration(self, text):
        scratch = self.configuration_path.with_suffix(".new")
        scratch.write_text(text)
        scratch.rename(self.configuration_path)

    # the log

    def output(self):
        return self.log_path.read_text("utf-8", "surrogateescape")

    def records(self):
        """All records so far. A line that is not one fails, unless a test has announced it."""
        records = []
        for line in self.output().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # not written to its end yet
            record = self._record(line[:-1])
            if record:
                records.append(record)
        return records

    def _record(self, line):
        if line.startswith("postern: "):
            _, level, text = line.split(": ", 2)
            return {"level": level, "msg": text, "plain": True}
        if line.startswith("{"):
            return logfmt.parse_json(line)
        try:
            return logfmt.parse(line)
        except logfmt.Malformed:
            if self._forgiven or _NOISE.match(line):
                return None
            raise AssertionError(f"not a record: {line!r}\n{self.output()[-6000:]}") from None

    def find_records(self, **fields):
        """Records with these fields; a value may be a compiled pattern, or None for absent."""
        def matches(record):
            for key, wanted in fields.items():
                have = record.get(key)
                if isinstance(wanted, re.Pattern):
                    if have is None or not wanted.search(str(have)):
                        return False
                elif have != wanted:
                    return False
            return True
        return [record for record in self.records() if matches(record)]

    def wait_for_record(self, timeout=wait.PATIENCE, count=1, **fields):
        """The `count`-th record with these fields, once it is there."""
        try:
            return wait.until(lambda: self._record_or_death(count, fields),
                              f"record {count} with {fields}", timeout)
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.output()[-6000:]}") from None

    def _record_or_death(self, count, fields):
        died = self._died()     # asked first: what it wrote before its end is all there then
        found = self.find_records(**fields)
        if len(found) >= count:
            return found[count - 1]
        assert not died, f"ended while waiting for {fields}:\n{self.output()[-6000:]}"
        return None

    def _died(self):
        return not self._abandoned and self._process.poll() not in (None, 0)

    def wait_until_serving(self):
        self.wait_for_record(msg=re.compile(r"^serving: "))

    def session_record(self, of):
        """The record that ended the session of this client (support.client.Client)."""
        return self.wait_for_record(event="session ended", port=str(of.port))

    # its processes

    @property
    def pid(self):
        return self._process.pid

    def pids(self, role):
        """Of "reactor" or "auth worker"; or of "master"."""
        if role == "master":
            return [self.pid]
        return [pid for pid in processes.children(self.pid)
                if processes.title(pid).startswith(f"postern: {role}")]

    def team(self, role, count):
        """All of that role, once they are so many: named, and those before them ended."""
        return wait.until(lambda: len(self.pids(role)) == count and self.pids(role),
                          f"{count} × {role}")

    def sole(self, role):
        return self.team(role, 1)[0]

    def reload(self):
        """SIGHUP, and waits until the new generation serves."""
        before = len(self.find_records(msg=re.compile("^reloaded: ")))
        self.signal(signal.SIGHUP)
        self.wait_for_record(msg=re.compile("^reloaded: "), count=before + 1)

    def reload_refused(self):
        """SIGHUP, and waits until it is refused; returns the errors that say why."""
        before, errors = len(self.find_records(msg=re.compile("^reload refused"))), \
            len(self.find_records(level="error"))
        self.signal(signal.SIGHUP)
        self.wait_for_record(msg=re.compile("^reload refused"), count=before + 1)
        return [r["msg"] for r in self.find_records(level="error")[errors:]]

    def signal(self, number):
        self._process.send_signal(number)

    # its clients

    def connect(self, tls="implicit", **options):
        """A raw client behind the greeting; with tls="starttls" also behind STARTTLS and both
        EHLOs, with tls=None in plaintext on that port."""
        if tls == "implicit":
            made = client.Client(self.implicit, tls=True, **options)
            made.greeting()
            return made
        tls_context = options.pop("tls_context", None)
        made = client.Client(self.starttls, **options)
        made.greeting()
        if tls == "starttls":
            made.ehlo()
            made.starttls(tls_context)
        return made

    def log_in(self, user="alice", password="wonderland", tls="implicit", **options):
        """A raw client that has been let in."""
        made = self.connect(tls, **options)
        made.ehlo()
        made.login(user, password)
        return made

    # its end

    def wait(self, timeout=wait.PATIENCE):
        return self._process.wait(timeout)

    def kill(self):
        """With everything that belongs to it."""
        rest = [self.pid, *processes.descendants(self.pid)]
        for pid in rest:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()

    def forgive(self):
        """The test makes one of the processes crash: a report of it is no fault."""
        self._forgiven = True

    def abandon(self):
        """The test has killed the master: nothing is left to be stopped."""
        self._abandoned = True
        self._process.wait()

    def stop(self):
        """SIGTERM; it must end by itself, with all of its processes, and without a fault."""
        if self._abandoned:
            return
        rest = [pid for pid in processes.descendants(self.pid)
                if processes.title(pid).startswith("postern: ")]
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self._process.wait(wait.PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("does not end at SIGTERM:\n" + self.output()[-6000:]) from None
        wait.until(lambda: not any(processes.alive(pid) for pid in rest),
                   "the end of all its processes")
        self.check()
        assert status == 0, f"exit status {status}:\n{self.output()[-6000:]}"

    def check(self):
        """No report of a sanitizer, and every line a record as the manual has it."""
        output = self.output()
        assert self._forgiven or not _REPORT.search(output), output[-8000:]
        for record in self.records():
            manual.check_record(record)


def listening_socket(host="127.0.0.1"):
    """A socket to pass by LISTEN_FDS, and its address."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, 0))
    made.listen(50)
    return made, made.getsockname()
