# SPDX-License-Identifier: BSD-2-Clause
"""docs/lora-in-diffusers.md: shows the example's own lines, and commands that work. The example itself
needs PyTorch: tests/parity/check_lora.py runs it.

usage: lora_in_diffusers.py SOURCE_DIR TOOLS_DIR FEATURES"""
import ast
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, TOOLS = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
FIXTURES = SOURCE / "tests" / "fixtures"
PAGE = (SOURCE / "docs" / "lora-in-diffusers.md").read_text(encoding="utf-8")
EXAMPLE = (SOURCE / "examples" / "python" / "lora_in_diffusers.py").read_text(encoding="utf-8")
# The last of an option counts: what makes drawing quick.
QUICK = ["--width", "40", "--height", "24", "--num-frames", "3", "--num-steps", "1", "--threads", "1"]


def commands(program):
    blocks = re.findall(r"(?ms)^```sh[^\n]*\n(.*?)^```$", PAGE.replace("\\\n", " "))
    return [shlex.split(line) for block in blocks for line in block.splitlines()
            if line.startswith(program)]


class Page(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)

    def run_tool(self, command):
        done = subprocess.run(command, cwd=self.path, text=True, capture_output=True, check=False,
                              env={**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

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

    def test_commands(self):
        (self.path / "zeroscope_v2_576w").symlink_to(FIXTURES / "quickstart-model")
        (self.path / "adapter").symlink_to(FIXTURES / "lora" / "adapter")
        checkpoint = self.path / "run" / "checkpoint-400"
        checkpoint.mkdir(parents=True)
        shutil.copy(FIXTURES / "lora" / "trained.safetensors", checkpoint / "lora.safetensors")
        self.run_tool(["mm-lora", "convert", checkpoint / "lora.safetensors", "400_unet.pt", "--model",
                       "zeroscope_v2_576w"])
        convert, info = commands("mm-lora")
        self.run_tool(convert)
        self.assertIn("14 of 14 tensors applied", self.run_tool(info))
        lora = self.run_tool(["mm-lora", "info", "lora.safetensors", "--model", "zeroscope_v2_576w"])
        self.assertIn("340 of 340 tensors applied", lora)
        if "ffmpeg" in sys.argv[3].split(","):
            draw, = commands("mm-infer")
            self.run_tool([*draw, *QUICK])
            self.assertEqual((self.path / "lion.gif").read_bytes()[:3], b"GIF")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
