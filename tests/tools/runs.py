# SPDX-License-Identifier: BSD-2-Clause
"""Trains and samples with the built tools on the smallest model: files, events, resuming, signals.

usage: runs.py TOOLS_DIR FIXTURES_DIR FEATURES"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
MODEL = FIXTURES / "quickstart-model"
SKIPPED = 77


def command(tool, *arguments):
    return [str(TOOLS / f"mm-{tool}"), *map(str, arguments)]


def events(text):
    return [json.loads(line) for line in text.strip().split("\n") if line]


class Runs(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)
        self.video = self.path / "clip.avi"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=8",
                        "-frames:v", "6", "-c:v", "ffv1", self.video], check=True)

    def run_tool(self, tool, *arguments, code=0):
        done = subprocess.run(command(tool, *arguments), capture_output=True, text=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def training(self, directory, steps):
        return ["--model", MODEL, "--video", self.video, "--prompt", "a test", "--output-dir",
                directory, "--width", 32, "--height", 16, "--num-frames", 3, "--rank", 2,
                "--threads", 1, "--steps", steps, "--checkpoint-every", 2, "--validation-every", 0, "--seed", 11]

    def test_a_run_its_resume_and_a_sample(self):
        whole, parts = self.path / "whole", self.path / "parts"
        done = self.run_tool("train", *self.training(whole, 5), "--json")
        steps = [event for event in events(done.stdout) if event["event"] == "step"]
        self.assertEqual([event["step"] for event in steps], [1, 2, 3, 4, 5])
        self.assertEqual({event["of"] for event in steps}, {5})
        self.assertTrue(all(event["seconds"] > 0 and event["peak_bytes"] > 0 for event in steps))
        self.assertTrue({"plan", "loaded", "output"} <= {e["event"] for e in events(done.stdout)})
        metrics = events((whole / "metrics.jsonl").read_text())
        self.assertEqual([line["step"] for line in metrics], [1, 2, 3, 4, 5])

        self.run_tool("train", *self.training(parts, 3))
        self.run_tool("train", "--resume", parts, "--steps", 5)
        for name in ["lora.safetensors", "state.safetensors"]:
            self.assertEqual((whole / "checkpoint-5" / name).read_bytes(),
                             (parts / "checkpoint-5" / name).read_bytes(), name)
        self.run_tool("train", "--resume", parts, "--rank", 3, code=2)
        precision = json.loads((parts / "config.json").read_text())["precision"]
        self.assertIn(precision, ("f32", "bf16"))
        other = "bf16" if precision == "f32" else "f32"
        done = self.run_tool("train", "--resume", parts, "--steps", 6, "--precision", other, code=2)
        self.assertIn("precision", done.stderr)
        self.run_tool("train", *self.training(parts, 3), code=2)

        drawn = self.run_tool("infer", "--checkpoint-folder", whole, "-p", "another", "-o",
                              self.path / "out", "-W", 32, "-H", 16, "-T", 3, "-s", 2, "-r", 4,
                              "-np", 0, "--threads", 1, "--json")
        outputs = [event["path"] for event in events(drawn.stdout) if event["event"] == "output"]
        self.assertTrue(outputs and all(os.path.getsize(path) > 0 for path in outputs))

        lora = whole / "checkpoint-5/lora.safetensors"
        self.assertIn("rank 2", self.run_tool("lora", "info", lora, "--model", MODEL).stdout)
        self.run_tool("lora", "convert", lora, self.path / "l.pt", "--to", "pt", "--model", MODEL)
        self.run_tool("lora", "info", self.path / "l.pt", "--model", MODEL)

    def test_signals(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            directory = self.path / f"run-{number}"
            with subprocess.Popen(command("train", *self.training(directory, 1000000), "--json"),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True) as process:
                event = {"event": None}
                while event["event"] != "step":
                    event = json.loads(process.stdout.readline())
                process.send_signal(number)
                seen = [event] + events(process.stdout.read())
                self.assertEqual(process.wait(60), 130)
            last = max(event["step"] for event in seen if event["event"] == "step")
            self.assertTrue((directory / f"checkpoint-{last}" / "lora.safetensors").exists())
            self.assertEqual(len(events((directory / "metrics.jsonl").read_text())), last)

    def test_outputs_that_cannot_be_written(self):
        blocked = self.path / "file"
        blocked.write_text("in the way")
        self.run_tool("train", *self.training(blocked, 1), code=1)
        self.run_tool("train", *self.training(blocked / "below", 1), code=1)
        self.assertEqual(blocked.read_text(), "in the way")

    def test_a_clip_that_is_too_short(self):
        done = self.run_tool("train", *self.training(self.path / "run", 1), "--num-frames", 7,
                             code=3)
        self.assertIn("6", done.stderr)
        self.assertFalse((self.path / "run").exists())


if "ffmpeg" not in sys.argv[3].split(",") or not shutil.which("ffmpeg"):
    sys.exit(SKIPPED)
unittest.main(argv=sys.argv[:1])
