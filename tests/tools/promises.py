# SPDX-License-Identifier: BSD-2-Clause
"""What the command line promises of its outputs: events, files, descriptions that draw a video again,
LoRA weights, configs that come back, quiet runs and terminals.

usage: promises.py TOOLS_DIR FIXTURES_DIR FEATURES"""
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
FEATURES = sys.argv[3].split(",")
MODEL = FIXTURES / "quickstart-model"
SKIPPED = 77
SIZE = ["--width", 32, "--height", 32, "--num-frames", 2]


def header(path):
    data = pathlib.Path(path).read_bytes()
    fields = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
    return fields.pop("__metadata__", {}), {k: (v["dtype"], v["shape"]) for k, v in fields.items()}


class Promises(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.directory.name)
        cls.video = cls.path / "clip.gif"
        cls.call("infer", "--model", MODEL, *SIZE, "--num-frames", 4, "--num-steps", 1, "--prompt",
                 "a clip", "--output", cls.video, "--seed", 3)
        cls.run_directory = cls.path / "run"
        cls.log = cls.train(cls.run_directory, "--noise-prior", 0.3, "--validation-prompt", "one",
                            "--validation-prompt", "t/w o", "--validation-every", 2,
                            "--validation-num-steps", 2, "--json")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def call(cls, tool, *arguments, code=0, directory=None):
        done = subprocess.run([TOOLS / f"mm-{tool}", *map(str, arguments)], capture_output=True,
                              text=True, cwd=directory or cls.path, timeout=120, check=False)
        if done.returncode != code:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @classmethod
    def train(cls, directory, *arguments, code=0):
        return cls.call("train", "--model", MODEL, "--video", cls.video, "--prompt", "a clip",
                        "--output-dir", directory, *SIZE, "--rank", 2, "--steps", 2,
                        "--checkpoint-every", 1, "--threads", 1, "--seed", 9, *arguments, code=code)

    def infer(self, *arguments, code=0, directory=None):
        return self.call("infer", "--num-steps", 2, "--seed", 4, "--prompt", "a", *arguments,
                         code=code, directory=directory)

    def latents(self, *arguments):
        target = self.path / "latents.safetensors"
        self.infer(*arguments, *SIZE, "--model", MODEL, "--steps-only", "--save-latents", target)
        return target.read_bytes()

    def test_events_and_files_of_a_run(self):
        events = [json.loads(line) for line in self.log.stdout.splitlines()]
        steps = [event for event in events if event["event"] == "step"]
        self.assertEqual([(event["step"], event["of"]) for event in steps], [(1, 2), (2, 2)])
        self.assertEqual(steps, sorted(steps, key=lambda event: event["peak_bytes"]))
        outputs = [event["path"] for event in events if event["event"] == "output"]
        samples = sorted(path.name for path in (self.run_directory / "samples").iterdir())
        self.assertEqual(samples, ["2_0_one_9.mp4", "2_1_t_w_o_9.mp4"])
        self.assertEqual(len(outputs), 4)
        for line in (self.run_directory / "metrics.jsonl").read_text().splitlines():
            self.assertTrue({"step", "timestep", "loss", "loss_spatial", "loss_temporal", "seconds",
                             "peak_bytes"} <= set(json.loads(line)))
        cached = header(self.run_directory / "cached_latents/cached_0.safetensors")[1]
        self.assertEqual(cached, {"latents": ("F32", [1, 4, 2, 8, 8]),
                                  "moments": ("F32", [2, 8, 8, 8]),
                                  "pixel_values": ("F32", [2, 3, 32, 32]),
                                  "inversion_noise": ("F32", [1, 4, 2, 8, 8])})

    def test_metadata_tells_nothing_of_the_machine(self):
        for name in ["lora", "state"]:
            text = str(header(self.run_directory / f"checkpoint-2/{name}.safetensors")[0])
            for word in [str(self.path), str(MODEL), os.uname().nodename, "thread"]:
                self.assertNotIn(word, text)

    def test_a_stored_config_is_the_same_run(self):
        config = self.run_directory / "config.json"
        self.call("train", "--config", config, "--output-dir", self.path / "again", "--threads", 1)
        for name in ["lora", "state"]:
            file = f"checkpoint-2/{name}.safetensors"
            self.assertEqual((self.run_directory / file).read_bytes(),
                             (self.path / "again" / file).read_bytes())
        self.assertEqual(config.read_text().replace(str(self.run_directory), "-"),
                         (self.path / "again/config.json").read_text().replace(
                             str(self.path / "again"), "-"))

    def test_resuming(self):
        self.train(self.path / "grown", "--validation-every", 0)
        resume = ["train", "--resume", "grown"]
        self.assertIn("2 of 2", self.call(*resume).stderr)
        plan = self.call(*resume, "--steps", 3, "--dry-run", "--json").stdout
        self.assertIn('"plan"', plan)
        self.assertNotIn('"loaded"', plan)
        self.call(*resume, "--output-dir", "elsewhere", code=2)
        self.call(*resume, "--seed", 1, code=2)
        self.call(*resume, "--output-dir", "./grown/", "--rank", 2, "--steps", 3, "--threads", 2)
        self.assertEqual(json.loads((self.path / "grown/config.json").read_text())["steps"], 3)
        self.assertIn("3 of 3", self.call(*resume).stderr)

    def test_a_description_draws_its_video_again(self):
        (self.path / "elsewhere").mkdir(exist_ok=True)
        (self.path / "lora.safetensors").write_bytes(
            (self.run_directory / "checkpoint-1/lora.safetensors").read_bytes())
        self.infer("--checkpoint-folder", "run", "--lora", "lora.safetensors:0.5", "--output-dir",
                   "out", "--save-latents", "l.safetensors", "--repeat-num", 1)
        (self.path / "l.safetensors").unlink()
        self.call("infer", "--config", "../out/a_4.json", "--output-dir", ".",
                  directory=self.path / "elsewhere")
        self.assertEqual((self.path / "out/a_4.mp4").read_bytes(),
                         (self.path / "elsewhere/a_4.mp4").read_bytes())
        self.assertEqual([path.name for path in self.path.glob("elsewhere/*")
                          if path.name not in ["a_4.mp4", "a_4.json"]], [])
        self.assertFalse((self.path / "l.safetensors").exists())
        described = json.loads((self.path / "out/a_4.json").read_text())
        self.assertEqual((described["checkpoint_index"], described["min_timestep"],
                          described["noise_prior"]), (2, 500, 0.3))

    def test_repeats_take_the_next_seeds(self):
        base = ["--model", MODEL, *SIZE]
        self.infer(*base, "--output-dir", "repeats", "--repeat-num", 2)
        self.infer(*base, "--output-dir", "single", "--seed", 5)
        self.assertEqual((self.path / "repeats/a_5.mp4").read_bytes(),
                         (self.path / "single/a_5.mp4").read_bytes())
        self.infer(*base, "--output", "x.mp4", "--repeat-num", 2, code=2)

    def test_formats(self):
        start = ["--model", MODEL, *SIZE, "--num-steps", 0]
        for name in ["v.mp4", "v.mkv", "v.webm", "v.avi", "v.gif", "sheet.png"]:
            self.assertEqual(self.infer(*start, "--output", name).stdout, name + "\n")
            self.assertGreater((self.path / name).stat().st_size, 100)
        self.infer(*start, "--output", "frame-%03d.png", "--save-frames", "f.safetensors")
        self.assertEqual(len(list(self.path.glob("frame-0*.png"))), 2)
        self.assertEqual(header(self.path / "f.safetensors")[1], {"frames": ("U8", [2, 32, 32, 3])})
        self.infer(*start, "--output", "v.xyz", code=2)

    def test_lora_weights(self):
        lora = self.run_directory / "checkpoint-2"
        always = ["--min-timestep", 0]
        plain, whole = self.latents(), self.latents("--lora", lora, *always)
        self.assertNotEqual(plain, whole)
        self.assertEqual(self.latents("--lora", f"{lora}:2", "--lora-scale", 0.5, *always), whole)
        self.assertEqual(self.latents("--lora", lora, "--lora-scale", 0, *always), plain)
        self.assertEqual(self.latents("--lora", lora, "--min-timestep", 1000), plain)
        self.assertNotEqual(self.latents("--lora", lora, "--lora", f"{lora}:-0.5", *always), whole)
        self.assertEqual(self.latents("--guidance-scale", 1), self.latents("-g", "-1"))

    def test_samples_follow_the_clip(self):
        config = self.path / "c.json"
        config.write_text(json.dumps({"validation_data": {
            "width": 384, "height": 384, "num_frames": 16, "noise_prior": 0.3, "prompt": ["x"]}}))
        plan = self.train(self.path / "none", "--config", config, "--dry-run").stdout
        self.assertIn("planned peak", plan)
        self.train(self.path / "none", "--config", config, "--validation-width", 64, "--dry-run",
                   code=2)
        self.assertFalse((self.path / "none").exists())

    def test_quiet(self):
        done = self.train(self.path / "quiet", "--quiet", "--rank", 64, "--validation-every", 0)
        self.assertEqual(done.stderr, "")
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertNotIn("s/step", self.log.stderr)

    def test_terminals(self):
        for environment, colour in [({}, True), ({"NO_COLOR": "1"}, False)]:
            shown = self.on_terminal(environment, "--model", MODEL, *SIZE, "--output-dir", "tty")
            self.assertRegex(shown, r"2/2 \[#+\].* s/step .*ETA")
            shown = self.on_terminal(environment, "--model", "none", "--output-dir", "tty")
            self.assertEqual("\033[" in shown, colour)

    def on_terminal(self, environment, *arguments):
        leader, follower = pty.openpty()
        command = [TOOLS / "mm-infer", "--prompt", "a", "--num-steps", "2", *map(str, arguments)]
        kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        subprocess.run(command, stderr=follower, stdout=subprocess.DEVNULL, cwd=self.path,
                       env={**kept, "TERM": "xterm", **environment}, timeout=60, check=False)
        os.close(follower)
        text = b""
        try:
            while chunk := os.read(leader, 65536):
                text += chunk
        except OSError:
            pass
        os.close(leader)
        return text.decode()


if "ffmpeg" not in FEATURES:
    sys.exit(SKIPPED)
unittest.main(argv=sys.argv[:1])
