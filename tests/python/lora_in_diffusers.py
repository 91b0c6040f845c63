# SPDX-License-Identifier: BSD-2-Clause
"""docs/lora-in-diffusers.md: shows the example's own lines, and options that it takes. The example itself
needs PyTorch: tests/parity/check_lora.py runs it.

usage: lora_in_diffusers.py SOURCE_DIR"""
import ast
import pathlib
import re
import shlex
import sys
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
PAGE = (SOURCE / "docs" / "lora-in-diffusers.md").read_text(encoding="utf-8")
EXAMPLE = (SOURCE / "examples" / "python" / "lora_in_diffusers.py").read_text(encoding="utf-8")


def commands(program):
    blocks = re.findall(r"(?ms)^```sh[^\n]*\n(.*?)^```$", PAGE.replace("\\\n", " "))
    return [shlex.split(line) for block in blocks for line in block.splitlines()
            if line.startswith(program)]


class Page(unittest.TestCase):
    def test_shows_the_lines_of_the_example(self):
        blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            self.assertIn(block, EXAMPLE)

    def test_the_example_takes_these_options(self):
        ast.parse(EXAMPLE)
        command, = commands("python3")
        self.assertTrue((SOURCE / command[1]).exists())
        for option in filter(re.compile("--").match, command):
            self.assertIn(f'parser.add_argument("{option}"', EXAMPLE)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
