# SPDX-License-Identifier: BSD-2-Clause
"""What the documents name in running text is there: options, functions and constants, files.

usage: names.py SOURCE_DIR TOOLS_DIR"""
import pathlib
import re
import subprocess
import sys
import unittest

from documents import documents_of, inline_code_of

SOURCE, TOOLS = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
COMMANDS = {
    "mm-train": [],
    "mm-infer": [],
    "mm-lora": ["info", "convert", "merge", "scale", "fuse"],
    "mm-eval": ["features", "clip-scores", "image-reward", "motion-discrepancy", "retrieve",
                "report"],
}
# Of pkg-config; what stands for any name; what bench/claims/run.py puts together.
OTHER_OPTIONS = {"--cflags", "--libs", "--static", "--name", "--train-set", "--infer-set"}
# The node of the version script.
OTHER_NAMES = {"MM_0"}
CODE = {".c", ".h", ".hpp", ".def", ".py", ".sh", ".build"}
# Where a path in a document may begin.
ROOTS = ("", "libmotionmatcher", "include", "models/demo")


def options():
    found = set(OTHER_OPTIONS)
    for tool, commands in COMMANDS.items():
        for command in [[], *([name] for name in commands)]:
            done = subprocess.run([TOOLS / tool, *command, "--help"], check=True, text=True,
                                  capture_output=True)
            found |= set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    for script in (*SOURCE.glob("bench/**/*.py"), *SOURCE.glob("models/demo/*.py")):
        found |= set(re.findall(r"--[a-z][a-z-]+", script.read_text(encoding="utf-8")))
    return found


def code_names():
    found = set(OTHER_NAMES)
    for folder in ("include", "libmotionmatcher", "tools", "bindings", "examples"):
        for path in (SOURCE / folder).rglob("*"):
            if path.suffix in CODE:
                found |= set(re.findall(r"\b[mM][mM]_\w+", path.read_text(encoding="utf-8")))
    return found


class Names(unittest.TestCase):
    def codes(self):
        for document in documents_of(SOURCE):
            for code in inline_code_of((SOURCE / document).read_text(encoding="utf-8")):
                yield document, code

    def test_options(self):
        known, count = options(), 0
        for document, code in self.codes():
            for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", code):
                count += 1
                self.assertIn(option.replace("_", "-"), known, document)
        self.assertGreater(count, 50)

    def test_functions_and_constants(self):
        known, count = code_names(), 0
        for document, code in self.codes():
            for name in re.findall(r"\b[mM][mM]_\w+", code):
                count += 1
                self.assertIn(name, known, document)
        self.assertGreater(count, 50)

    def test_files(self):
        count = 0
        for document, code in self.codes():
            for path in re.findall(r"[\w.-]+/[\w./-]+\.(?:c|h|hpp|def|py|sh|abi)\b", code):
                count += 1
                places = [SOURCE / document.parent, *(SOURCE / root for root in ROOTS)]
                self.assertTrue(any((place / path).exists() for place in places),
                                f"{document}: {path}")
        self.assertGreater(count, 20)

    def test_method(self):
        """The functions that compute the paper's equations are in the files named."""
        text = (SOURCE / "docs" / "method.md").read_text(encoding="utf-8")
        pairs = re.findall(r"((?:`\w+`(?:, )?)+) in `([\w/]+\.c)`", text)
        self.assertGreater(len(pairs), 3)
        for names, path in pairs:
            code = (SOURCE / "libmotionmatcher" / path).read_text(encoding="utf-8")
            for name in re.findall(r"\w+", names):
                self.assertTrue(re.search(rf"\b{name}\(", code), f"{path}: {name}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
