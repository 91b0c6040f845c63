# SPDX-License-Identifier: BSD-2-Clause
"""quickstart.py SOURCE_DIRECTORY TOOLS_DIRECTORY: examples/quickstart.sh in a copy of the checkout, with
few steps of a model of random weights, and where it lacks what it would like to have. It never installs
anything here: apt-get and what asks for it are stand-ins."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, TOOLS = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
MODEL = SOURCE / "tests" / "fixtures" / "quickstart-model"
PROMPTS = ("a blue square on a black background", "a green star on a white background",
           "a yellow triangle on a checkered background")
# What every system has.
BASIC = ("sh", "cat", "date", "dirname", "find", "grep", "mkdir", "rm", "sed", "sort")


class Quickstart(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        self.checkout, self.programs = self.path / "a checkout", self.path / "programs"
        for part in ("examples", "models/demo", "bench/claims"):
            shutil.copytree(SOURCE / part, self.checkout / part,
                            ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
        self.programs.mkdir()
        self.program("apt-get", "exit 100")

    def program(self, name, line):
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run_it(self, path=None, **environment):
        environment = {**os.environ, "OMP_NUM_THREADS": "2", **environment,
                       "PATH": path or f"{self.programs}:{TOOLS}:{os.environ['PATH']}"}
        return subprocess.run(["sh", "a checkout/examples/quickstart.sh"], cwd=self.path, text=True,
                              capture_output=True, env=environment, check=False)

    def few_steps(self, **more):
        if not (self.path / "a model").exists():
            (self.path / "a model").symlink_to(MODEL)
        return self.run_it(MM_DEMO_MODEL="a model", MM_QUICKSTART_STEPS="2",
                           MM_QUICKSTART_SAMPLING_STEPS="1", **more)

    def check_output(self, done, pictures):
        output = self.checkout / "quickstart-output"
        self.assertEqual(done.returncode, 0, done.stderr)
        for prompt in PROMPTS:
            row = next(line for line in done.stdout.splitlines() if line.startswith(prompt))
            self.assertEqual(row.count(" px "), 2)
            for folder in ("without-lora", "with-lora"):
                video = output / folder / (prompt.replace(" ", "_") + "_1.mp4")
                self.assertTrue(video.exists() and video.with_suffix(".json").exists())
        self.assertTrue((output / "run" / "checkpoint-2" / "lora.safetensors").exists())
        self.assertTrue((output / "heat-maps" / "ca.png").exists())
        self.assertTrue((output / "heat-maps" / "tsa.png").exists())
        for name in ("contact-sheet.png", "loss.png"):
            self.assertEqual((output / name).exists(), pictures, done.stdout + done.stderr)

    def test_whole_then_again_without_matplotlib(self):
        """The second time over the first one's output, and nothing can be installed."""
        has_matplotlib = any(subprocess.run([python, "-c", "import numpy, matplotlib"], check=False,
                                            capture_output=True).returncode == 0
                             for python in ("/usr/bin/python3", "python3") if shutil.which(python))
        self.check_output(self.few_steps(), has_matplotlib)
        (self.checkout / "quickstart-output" / "mine.txt").write_text("kept")
        broken = self.path / "modules"
        broken.mkdir()
        (broken / "matplotlib.py").write_text("raise ImportError('none here')\n")
        self.program("dpkg-query", "exit 1")
        self.program("id", "echo 0")
        done = self.few_steps(PYTHONPATH=str(broken))
        self.check_output(done, False)
        self.assertIn("Not installed, going on without python3-matplotlib", done.stdout)
        self.assertIn("No plot of the loss", done.stdout)
        self.assertTrue((self.checkout / "quickstart-output" / "mine.txt").exists())

    def test_neither_root_nor_sudo(self):
        for name in BASIC:
            (self.programs / name).symlink_to(shutil.which(name))
        self.program("dpkg-query", "exit 1")
        self.program("id", "echo 1000")
        done = self.run_it(path=str(self.programs))
        self.assertEqual(done.returncode, 1)
        self.assertIn("Neither root nor sudo", done.stdout)
        self.assertIn("apt-get install meson ninja-build", done.stderr)

    def test_no_model(self):
        done = self.run_it(MM_DEMO_MODEL="no such model")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no model in", done.stderr)
        self.assertIn("no such model", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
