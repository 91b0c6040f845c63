# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages and completions: that they know what --help knows, and that the shells at hand and
groff can use them.

usage: describe.py TOOLS_DIR"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(sys.argv[1]).resolve()
NAMES = ["mm-train", "mm-infer", "mm-eval", "mm-lora"]
COMPLETE = """
compopt() { :; }
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
%s
printf '%%s\\n' "${COMPREPLY[@]}"
"""


def run(*command, code=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != code:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def describe(name, form):
    return run(TOOLS / name, "--describe", form).stdout


def commands_of(name):
    text = run(TOOLS / name, "--help").stdout
    found = re.search(r"^Commands.*\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+) ", found[1], re.M) if found else []


def helps(name):
    """The help of the tool and of each of its commands."""
    yield run(TOOLS / name, "--help").stdout
    for command in commands_of(name):
        yield run(TOOLS / name, command, "--help").stdout


def options_of(text):
    return set(re.findall(r"^  (?:-\w+, )?--([\w-]+)", text, re.M))


class Describe(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)

    def tearDown(self):
        self.directory.cleanup()

    def file(self, name, form):
        path = self.path / f"{name}.{form}"
        path.write_text(describe(name, form))
        return path

    def test_every_form_has_every_option(self):
        marks = {"man": "\\fB\\-\\-{}\\fR", "bash": "--{} ", "zsh": "'--{}", "fish": " -l {} "}
        for name in NAMES:
            options = set().union(*map(options_of, helps(name)))
            self.assertGreater(len(options), 10)
            for form, mark in marks.items():
                text = describe(name, form).replace("'*--", "'--")
                for option in options:
                    escaped = option.replace("-", "\\-") if form == "man" else option
                    self.assertIn(mark.format(escaped), text, (name, form))

    def test_a_form_that_is_none(self):
        done = run(TOOLS / "mm-train", "--describe", "tcsh", code=2)
        self.assertIn("man|bash|zsh|fish", done.stderr)

    @unittest.skipUnless(shutil.which("groff"), "no groff")
    def test_manual_pages_are_clean(self):
        for name in NAMES:
            done = run("groff", "-man", "-ww", "-z", self.file(name, "man"))
            self.assertEqual(done.stderr, "", name)

    def test_manual_page(self):
        text = describe("mm-lora", "man")
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS"]:
            self.assertIn(f".SH {section}\n", text)
        self.assertIn("mm\\-lora \\- shows, converts", text)
        self.assertIn(".SS merge\n", text)
        self.assertNotRegex(text, r"(?m)^'")
        self.assertIn("\\fB\\-W\\fR, \\fB\\-\\-width\\fR", describe("mm-infer", "man"))

    def complete(self, name, *words):
        function = "_" + name.replace("-", "_")
        path = self.file(name, "bash")
        done = run("bash", "-c", COMPLETE % function, "bash", path, name, *words)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    @unittest.skipUnless(shutil.which("bash"), "no bash")
    def test_bash(self):
        self.assertEqual(self.complete("mm-lora", "s"), ["scale"])
        self.assertEqual(self.complete("mm-lora", "convert", "--to", ""), ["peft", "pt", "kohya"])
        self.assertEqual(self.complete("mm-lora", "convert", "a", "--over"), ["--overwrite"])
        self.assertEqual(self.complete("mm-lora", "info", "a", "--over"), [])
        self.assertEqual(self.complete("mm-train", "--objective", "d"), ["ddpm"])
        self.assertEqual(self.complete("mm-train", "--width", ""), [])
        self.assertEqual(self.complete("mm-infer", "-d", "cu"), ["cuda"])
        self.assertIn("--save-latents", self.complete("mm-infer", "--save"))
        (self.path / "clip.mp4").touch()
        (self.path / "model").mkdir()
        self.assertEqual(self.complete("mm-train", "--video", f"{self.path}/cl"),
                         [f"{self.path}/clip.mp4"])
        self.assertEqual(self.complete("mm-train", "--model", f"{self.path}/m"),
                         [f"{self.path}/model"])

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_reads_it(self):
        for name in NAMES:
            run("zsh", "-f", "-n", self.file(name, "zsh"))

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish(self):
        path = self.file("mm-lora", "fish")

        def complete(line):
            found = run("fish", "--no-config", "-c", f"source {path}; complete -C '{line}'").stdout
            return [text.split("\t")[0] for text in found.splitlines()]

        self.assertIn("merge", complete("mm-lora "))
        self.assertEqual(sorted(complete("mm-lora convert --to ")), ["kohya", "peft", "pt"])
        self.assertIn("--overwrite", complete("mm-lora convert --over"))
        self.assertNotIn("--overwrite", complete("mm-lora info --over"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
