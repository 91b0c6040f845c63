# SPDX-License-Identifier: BSD-2-Clause
"""Runs the commands of the documents, block by block as documents.py says, in a scratch folder for
each document: with the tools that were just built, small models in place of large ones, and sizes
and numbers of steps that take no time. As they are written the commands have to pass
--print-config, so that every option and value in a document exists.

usage: commands.py SOURCE_DIR TOOLS_DIR [TRACKER_TEST]
TRACKER_TEST: the program that writes a small tracker's weights, in builds with a tracker"""
import collections
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

from documents import LANGUAGES, anchors_of, blocks_of, documents_of, links_of

SOURCE, TOOLS = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
TRACKER = sys.argv[3] if len(sys.argv) > 3 else None
FIXTURES = SOURCE / "tests" / "fixtures"
DOCUMENTS = documents_of(SOURCE)
BLOCK_SECONDS = 120

# What the documents name and a checkout does not have.
STAND_INS = {
    "zeroscope_v2_576w": "tests/fixtures/quickstart-model",
    "another_model": "tests/fixtures/tiny-v-model",
    "clip-vit-base-patch32": "tests/fixtures/evaluation/clip",
    "ImageReward": "tests/fixtures/evaluation/image-reward",
    "config_dog.yaml": "tests/fixtures/run-configs/reference.yaml",
    "adapter": "tests/fixtures/lora/adapter",
    "400_unet.pt": "tests/fixtures/lora/temporal.pt",
    "pan.safetensors": "tests/fixtures/lora/trained.safetensors",
    "dog.mp4": "examples/reference.mp4",
    "clip.mp4": "examples/reference.mp4",
    "clips/lion.mp4": "examples/reference.mp4",
    "clips/dog.mp4": "examples/reference.mp4",
    "out/lion.mp4": "examples/reference.mp4",
    "samples/lion.mp4": "examples/reference.mp4",
    "results/ours/snow/a.mp4": "examples/reference.mp4",
    "results/ours/dance/a.mp4": "examples/reference.mp4",
}
# For documents that train nothing themselves.
RUN = {"run/checkpoint-400/lora.safetensors": "tests/fixtures/lora/trained.safetensors"}
PAIRS = """pair,reference,prompt
snow,clips/lion.mp4,"A lion is running, seen from the side."
dance,clips/dog.mp4,A robot is dancing.
"""

SIZE = "--width 16 --height 16 --num-frames 16"
# By tool and, for mm-eval, command: what is added to the command line, where the last one counts.
SMALL = {
    "mm-train": f"{SIZE} --steps 2 --rank 2 --validation-every 0 --validation-num-steps 1 "
                "--start-frame 0 --frame-step 1",
    "mm-infer": f"{SIZE} --num-steps 2",
    "mm-eval features": SIZE,
    "mm-eval retrieve": SIZE,
}
SMALL_TRACKS = "--grid 4 --tracker-size 64x96"
# Ahead of each tool in PATH. A run that is resumed has its settings, a replay its tensors; what is
# to fail fails as it is written.
WRAPPER = """#!{python}
import os, re, subprocess, sys
tool, arguments, small = {tool!r}, sys.argv[1:], {small!r}
command = " ".join([{name!r}, *arguments[:{name!r} == "mm-eval"]])
given = [] if "AS_WRITTEN" in os.environ else small.get(command, "").split()
# The last of so few steps.
arguments = [a if os.path.exists(a) else re.sub("run/checkpoint-[0-9]+", "run/checkpoint-2", a)
             for a in arguments]
if "--checkpoint-index" in arguments:
    arguments[arguments.index("--checkpoint-index") + 1] = "2"
if given and "--resume" not in arguments and "--replay" not in arguments:
    if "--print-config" not in arguments:
        done = subprocess.run([tool, *arguments, "--print-config"], stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            sys.exit(done.returncode)
    arguments += given
if any(argument.startswith("--tracker-model") for argument in arguments):
    arguments += {tracks!r}.split()
if "--image-reward-model" in arguments:
    arguments += ["--vision-heads", "4"]
if arguments: # threads wait actively for each other, which on a busy machine costs most of all
    arguments += ["--threads", "1"]
sys.exit(subprocess.run([tool, *arguments]).returncode)
"""


# Tests change nothing of the machine they run on.
INSTALLERS = ("apt", "apt-get", "dpkg-buildpackage", "meson", "ninja", "pip", "sudo")


def has_stand_in(block):
    return TRACKER or not any("--tracker-model" in line for line in block.lines)


class Scratch:
    """A folder that looks like a checkout after a build, with what the documents name."""

    def __init__(self, path, blocks):
        self.path = path
        self._copy_checkout()
        self._wrap_tools()
        trains = any("mm-train" in line for block in blocks for line in block.lines)
        for name, target in (STAND_INS if trains else {**STAND_INS, **RUN}).items():
            self._stand_in(path / name, SOURCE / target)
        (path / "out/lion.json").write_text('{"prompt": "A lion is sitting."}')
        (path / "pairs.csv").write_text(PAIRS)
        if TRACKER:
            subprocess.run([TRACKER, path], check=True, stdout=subprocess.DEVNULL)
            (path / "narrow.safetensors").rename(path / "scaled_offline.pth")

    def _copy_checkout(self):
        for part in ("examples", "models/demo", "bench", "bindings", "docs"):
            shutil.copytree(SOURCE / part, self.path / part, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__", "training"))

    @staticmethod
    def _stand_in(path, target):
        path.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if target.is_dir() else shutil.copy
        copy(target, path)

    def _wrap_tools(self):
        folder = self.path / "build" / "tools"
        folder.mkdir(parents=True)
        for name in ("mm-train", "mm-infer", "mm-eval", "mm-lora"):
            self._program(folder / name, WRAPPER.format(
                python=sys.executable, tool=str(TOOLS / name), name=name, small=SMALL,
                tracks=SMALL_TRACKS))
        for name in INSTALLERS:
            self._program(folder / name, "#!/bin/sh\necho mark this block as not run\nexit 99\n")
        self._program(folder / "python3", f"#!/bin/sh\nexec {shlex.quote(sys.executable)} \"$@\"\n")

    @staticmethod
    def _program(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def run(self, block):
        environment = {**os.environ, "PATH": f"{self.path}/build/tools:{os.environ['PATH']}",
                       "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
        for name in [name for name in environment if name.startswith("MM_")]:
            del environment[name]
        if block.exit_status != 0:
            environment["AS_WRITTEN"] = "1"
        return subprocess.run(["sh", "-ec", "\n".join(block.lines)], cwd=self.path, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, env=environment, timeout=BLOCK_SECONDS,
                              check=False)


class Documents(unittest.TestCase):
    def test_commands(self):
        reasons, count = collections.Counter(), 0
        for document in DOCUMENTS:
            blocks = [block for block in blocks_of(SOURCE, document) if block.language == "sh"]
            for block in blocks:
                if block.reason:
                    reasons[f"{block.place}: {block.reason}"] += 1
            wanted = [block for block in blocks if not block.reason]
            count += len(wanted)
            if wanted:
                self.run_all(wanted)
        print(f"{count} blocks of commands were run; {len(reasons)} are marked as not run:")
        print("\n".join(f"  {reason}" for reason in reasons))
        self.assertGreater(count, 50)

    def run_all(self, blocks):
        with tempfile.TemporaryDirectory() as directory:
            scratch = Scratch(pathlib.Path(directory), blocks)
            for block in blocks:
                with self.subTest(block.place):
                    self.run_block(scratch, block)

    def run_block(self, scratch, block):
        if not has_stand_in(block):
            self.skipTest("no tracker in this build")
        done = scratch.run(block)
        told = "\n".join(block.lines) + "\n" + done.stdout
        self.assertEqual(done.returncode, block.exit_status, told)
        self.assertTrue(block.is_shown(done.stdout), told)

    def test_blocks_say_what_they_are(self):
        for document in DOCUMENTS:
            for block in blocks_of(SOURCE, document):
                with self.subTest(block.place):
                    self.assertIn(block.language, LANGUAGES)
                    if block.language == "python":
                        compile(textwrap.dedent("\n".join(block.lines)), block.place, "exec")

    def test_links_lead_somewhere(self):
        for document in DOCUMENTS:
            for path, anchor in links_of((SOURCE / document).read_text(encoding="utf-8")):
                target = SOURCE / (document.parent / path if path else document)
                self.assertTrue(target.exists(), f"{document}: {path}")
                if anchor:
                    self.assertIn(anchor, anchors_of(target.read_text(encoding="utf-8")), document)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
