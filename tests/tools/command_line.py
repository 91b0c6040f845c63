# SPDX-License-Identifier: BSD-2-Clause
"""Runs the built tools: help, versions, configs, usage errors and their exit codes.

usage: command_line.py TOOLS_DIR FIXTURES_DIR FEATURES"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
MODEL = FIXTURES / "quickstart-model"
needs_yaml = unittest.skipIf("yaml" not in sys.argv[3].split(","), "built without YAML")


def run(tool, *arguments, environment=None):
    done = subprocess.run([TOOLS / f"mm-{tool}", *map(str, arguments)], capture_output=True,
                          env={**os.environ, **(environment or {})}, timeout=60, check=False)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    return done


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def write(self, name, text):
        (self.path / name).write_text(text, encoding="utf-8")
        return self.path / name

    def config(self, tool, *arguments):
        done = run(tool, *arguments, "--print-config")
        self.assertEqual(done.returncode, 0, done.err)
        return json.loads(done.out)

    def train_config(self, *arguments):
        return self.config("train", "--model", "m", "--video", "v", "--prompt", "p",
                           "--output-dir", "o", *arguments)

    def fails(self, code, tool, *arguments, says="", environment=None):
        done = run(tool, *arguments, environment=environment)
        self.assertEqual(done.returncode, code, done.out + done.err)
        self.assertIn(says, done.err)
        self.assertNotIn("Traceback", done.err)
        return done

    def test_help_goes_to_standard_output(self):
        for tool in ["train", "infer", "lora", "eval"]:
            for flag in ["-h", "--help"]:
                done = run(tool, "--quiet", flag)
                self.assertEqual((done.returncode, done.err), (0, ""))
                self.assertIn("--memory-budget", done.out)
                self.assertLessEqual(max(map(len, done.out.split("\n"))), 100)
        self.assertIn("--spatial-scale-factor", run("train", "-h").out)
        self.assertIn("[5e-4]", run("train", "-h").out)

    def test_version(self):
        done = run("train", "--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.out, r"libmotionmatcher \d+\.\d+\.\d+ \(ABI \d+\)")
        self.assertIn("cpu", done.out)

    @needs_yaml
    def test_precedence(self):
        config = self.write("c.yaml", "max_train_steps: 1\nlora_rank: 2\nmin_timestep: 3\n")
        got = self.train_config("--steps", 30, "--set", "steps=20", "--set", "max_train_steps=21",
                                "--set", "lora_rank=22", "--config", config)
        self.assertEqual((got["steps"], got["rank"], got["min_timestep"]), (30, 22, 3))
        self.assertEqual(got["learning_rate"], 0.0005)

    @needs_yaml
    def test_reference_config(self):
        got = self.config("train", "--config", FIXTURES / "run-configs/reference.yaml",
                          "--set", "pretrained_model_path=elsewhere", "--video", "x.mp4")
        self.assertEqual((got["model"], got["video"], got["width"], got["precision"]),
                         ("elsewhere", "x.mp4", 192, "auto"))
        self.assertEqual(len(got["validation_prompt"]), 2)
        again = self.write("again.json", json.dumps(got))
        self.assertEqual(self.config("train", "--config", again), got)

    def test_spellings(self):
        got = self.train_config("--num_frames=3", "--learning-rate", "1e-3", "--num-frames", 4,
                                "--memory_budget=2G", "--validation-prompt", "a",
                                "--validation-prompt=b", "--seed", 5)
        self.assertEqual((got["num_frames"], got["memory_budget"]), (4, 2 << 30))
        self.assertEqual(got["validation_prompt"], ["a", "b"])
        self.assertEqual(got["seed"], 5)

    def test_a_seed_is_chosen_and_printed(self):
        done = run("train", "--model", "m", "--video", "v", "--prompt", "p", "--output-dir", "o",
                   "--print-config")
        self.assertIn(f"seed {json.loads(done.out)['seed']}", done.err)

    def test_flags(self):
        base = ["--model", "m", "-p", "p", "-o", "o"]
        self.assertIs(self.config("infer", *base)["steps_only"], False)
        self.assertIs(self.config("infer", *base, "--steps-only")["steps_only"], True)
        self.assertIs(self.config("infer", *base, "--steps-only=no")["steps_only"], False)
        self.assertIs(self.config("infer", *base, "--steps-only", "--no-steps-only")["steps_only"],
                      False)
        self.fails(2, "infer", *base, "--steps-only=perhaps", says="--steps-only")

    def test_short_options_of_the_released_script(self):
        got = self.config("infer", "-m", "m", "-p", "a b", "-n", "no", "-o", "out", "-W64",
                          "-H", 32, "-T", 4, "-s", 9, "-g", 7.5, "-f", 6, "-d", "cpu", "-r", 3,
                          "-ls", 0.5, "-np", 0, "-rn", 2, "-mn", 400, "-x", "-S", "-lr", 8,
                          "-B", 1)
        expected = dict(model="m", prompt="a b", negative_prompt="no", output_dir="out", width=64,
                        height=32, num_frames=4, num_steps=9, guidance_scale=7.5, fps=6,
                        device="cpu", seed=3, lora_scale=0.5, noise_prior=0, repeat_num=2,
                        min_timestep=400)
        self.assertEqual({key: got[key] for key in expected}, expected)
        self.assertIn("-lr is ignored", run("infer", "-lr", 8).err)
        self.fails(4, "infer", "-B", 2, says="-B")

    def test_usage_errors(self):
        self.fails(2, "train", says="--model is needed")
        self.fails(2, "train", "--stesp", 3, says="--steps")
        self.fails(2, "train", "--steps", says="needs a value")
        self.fails(2, "train", "--steps", 0, says="outside")
        self.fails(2, "train", "--steps", "x", says="whole number")
        self.fails(2, "train", "-k", says="-k")
        self.fails(2, "train", "--=3")
        self.fails(2, "train", "left over", says="left over")
        self.fails(2, "train", "--set", "steps", says="key=value")
        self.fails(2, "train", "--set", "stpes=3", says="'steps'")
        self.fails(2, "train", "--prompt", b"\xff".decode("latin-1").encode("latin-1").decode(
            "utf-8", "surrogateescape"), says="UTF-8")
        self.fails(2, "train", "--replay", "x", says="--dump")
        self.fails(2, "infer", "-p", "x", "-m", "m", says="--output-dir")
        self.fails(2, "infer", "-o", "x", "-m", "m", says="--prompt")
        self.fails(2, "lora", says="usage")
        self.fails(2, "lora", "convert", "a", "b.pt", "--to", "peft", "--model", MODEL,
                   says=".safetensors")
        self.fails(2, "eval", says="usage")
        self.fails(2, "eval", "score", says="'score'")

    @needs_yaml
    def test_configs_that_are_refused(self):
        self.fails(3, "train", "--config", self.path / "missing.yaml", says="missing.yaml")
        bad = self.write("bad.yaml", "train_data:\n  widht: 8\n")
        self.fails(2, "train", "--config", bad, says="bad.yaml:2")
        unsupported = self.write("offset.yaml", "use_offset_noise: True\n")
        self.fails(4, "train", "--config", unsupported, says="use_offset_noise")
        broken = self.write("broken.json", "{")
        self.fails(3, "train", "--config", broken, says="broken.json")

    def test_devices(self):
        base = ["--model", MODEL, "--video", "v", "--prompt", "p", "--output-dir",
                self.path / "out"]
        self.fails(6, "train", *base, "--device", "cuda", says="cuda")
        self.fails(2, "train", *base, "--device", "gpu", says="gpu")
        self.fails(4, "train", *base, "--precision", "f16", says="f16")
        self.fails(6, "train", *base, "--precision", "bf16", says="bf16",
                   environment={"MM_CPU_MASK": "avx2"})
        self.fails(2, "train", *base, environment={"MM_CPU_MASK": "x"}, says="MM_CPU_MASK")
        self.assertFalse((self.path / "out").exists())

    def test_inputs_that_are_missing(self):
        base = ["--video", "v", "--prompt", "p", "--output-dir", self.path / "out"]
        self.fails(3, "train", "--model", self.path / "none", *base, says="none")
        self.fails(3 if "ffmpeg" in sys.argv[3] else 4, "train", "--model", MODEL, *base)
        self.fails(3, "train", "--resume", self.path / "none", says="none")
        self.assertFalse((self.path / "out").exists())
        self.fails(3, "infer", "-p", "x", "-o", self.path / "out", "-m", MODEL, "--lora",
                   self.path / "none.safetensors", says="none.safetensors")

    def test_json_errors(self):
        done = self.fails(2, "train", "--json")
        event = json.loads(done.out.strip().split("\n")[-1])
        self.assertEqual((event["event"], event["status"]), ("error", -2))
        self.assertIn("--model", event["message"])

    def test_plan_without_weights(self):
        done = run("infer", "-p", "x", "-o", self.path / "out", "-m", MODEL, "-W", 32, "-H", 32,
                   "-T", 2, "-s", 1, "--dry-run", "--json", "--seed", 1)
        self.assertEqual(done.returncode, 0, done.err)
        events = [json.loads(line) for line in done.out.strip().split("\n")]
        plans = [event for event in events if event["event"] == "plan"]
        self.assertGreater(plans[0]["planned_peak_bytes"], 0)
        self.assertNotIn("loaded", [event["event"] for event in events])

    def test_full_output(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([TOOLS / "mm-train", "--help"], stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)


unittest.main(argv=sys.argv[:1])
