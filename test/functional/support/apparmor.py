"""What an AppArmor profile allows of files, for kernels that do not enforce it: Debian's parser
flattens and compiles it, and paths are matched here as apparmor.d(5) describes."""

import itertools
import re
import subprocess

_RULE = re.compile(r"^\s*(?:(?:owner|audit|allow|deny)\s+)*(/\S*|@\{\S*)\s+(\w+)\s*,\s*(?:#.*)?$")
_VARIABLE = re.compile(r"^\s*(@\{\w+\})\s*(\+?=)\s*(.*)$")


class Profile:
    def __init__(self, path, *include):
        """`include` are directories for what it includes, besides the system's."""
        self._path = path
        self._include = [f"--Include={directory}" for directory in include]
        shown = self._parse("--preprocess")
        self._variables = {}
        self._rules = []
        for line in shown.splitlines():
            if variable := _VARIABLE.match(line):
                self._define(*variable.groups())
            elif rule := _RULE.match(line):
                self._rules += [(self._pattern(glob), rule[2]) for glob in self._expand(rule[1])]

    def _parse(self, *options):
        result = subprocess.run(["/usr/sbin/apparmor_parser", "--skip-kernel-load", "--skip-cache",
                                 *self._include, *options, self._path], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def compile(self):
        self._parse()

    def _define(self, name, how, values):
        words = [word.strip('"') for word in values.split()]
        self._variables[name] = (self._variables.get(name, []) if how == "+=" else []) + words

    def _expand(self, glob):
        used = re.findall(r"@\{\w+\}", glob)
        for choice in itertools.product(*(self._variables.get(name, []) for name in used)):
            text = glob
            for name, value in zip(used, choice):
                text = text.replace(name, value, 1)
            yield from self._expand(text) if "@{" in text else [text]

    @staticmethod
    def _pattern(glob):
        out, depth = "", 0
        for part in re.findall(r"\*\*|\[[^]]*\]|\\.|.", glob):
            if part == "{":
                depth += 1
            elif part == "}":
                depth -= 1
            out += {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}.get(
                part, "|" if part == "," and depth else
                part if part[0] in "[\\" else re.escape(part))
        return re.compile(re.sub(r"/+", "/", out))

    def allows(self, path, wanted):
        """Has one rule or have several together all of these letters: "r", "w", "x"?"""
        have = set()
        for pattern, letters in self._rules:
            if pattern.fullmatch(path):
                have |= set(letters.lower().replace("a", "w"))
        return set(wanted) <= have
