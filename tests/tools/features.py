# SPDX-License-Identifier: BSD-2-Clause
"""mm-eval features: the maps of a clip against PyTorch's (tests/parity/make_fixtures.py), what the
outputs promise, and bad input.

usage: features.py TOOLS_DIR FIXTURES_DIR FEATURES"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
SKIPPED = 77
MODEL, EXPECTED = (FIXTURES / name for name in
                   ("quickstart-model", "parity/quickstart-model-features.safetensors"))
PROMPT = "A dog is sitting in the snow."


def read_tensors(path):
    data = pathlib.Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    fields = json.loads(data[8:end])
    metadata = fields.pop("__metadata__", {})
    return metadata, {name: (field["dtype"], field["shape"], data[end:][slice(*field["data_offsets"])])
                      for name, field in fields.items()}


def write_tensors(path, tensors):
    fields, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        fields[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def floats(tensor):
    return struct.unpack(f"<{len(tensor[2]) // 4}f", tensor[2])


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


class Features(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.directory.name)
        cls.want = read_tensors(EXPECTED)[1]
        _, (cls.frames, height, width, _), pixels = cls.want["frames"]
        cls.size = ["--width", width, "--height", height, "--num-frames", cls.frames]
        cls.clip = cls.path / "clip.avi"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                        f"{width}x{height}", "-r", "8", "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0",
                        cls.clip], input=pixels, check=True)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def call(self, *arguments, code=0, says=""):
        done = subprocess.run([TOOLS / "mm-eval", "features", *map(str, arguments)],
                              capture_output=True, text=True, cwd=self.path, timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(says, done.stderr)
        return done

    def features(self, *arguments, **expected):
        return self.call(self.clip, "--model", MODEL, "--prompt", PROMPT, *self.size, "--timestep", 417,
                         "--precision", "f32",
                         "--threads", 1, *arguments, **expected)

    def assert_close(self, have, want):
        self.assertEqual(have[:2], want[:2])
        have, want = floats(have), floats(want)
        worst = max(abs(a - b) for a, b in zip(have, want)) / max(map(abs, want))
        self.assertLessEqual(worst, 2e-6)

    def test_parity(self):
        for spatial, temporal in [(4, 4), (2, 4), (4, 2)]:
            self.features("--noise", EXPECTED, "--output", "f.safetensors", "--spatial-scale-factor",
                          spatial, "--temporal_scale_factor", temporal)
            metadata, have = read_tensors(self.path / "f.safetensors")
            self.assertEqual(set(have), {"ca", "tsa"})
            self.assert_close(have["ca"], self.want[f"ca.{spatial}"])
            self.assert_close(have["tsa"], self.want[f"tsa.{temporal}"])
            self.assertNotIn("mm_seed", metadata)
        for name in ["ca", "tsa"]:
            values, last = floats(have[name]), have[name][1][-1]
            sums = [sum(values[i:i + last]) for i in range(0, len(values), last)]
            self.assertLess(max(abs(total - 1) for total in sums), 1e-5)

    def test_the_seed_decides(self):
        def maps(*arguments):
            self.features("--output", "s.safetensors", *arguments)
            return (self.path / "s.safetensors").read_bytes()

        first = maps("--seed", 5)
        self.assertEqual(first, maps("--seed", 5))
        self.assertNotEqual(first, maps("--seed", 6))
        self.assertNotEqual(first, maps("--seed", 5, "--timestep", 10))
        done = self.features("--output", "s.safetensors")
        chosen = read_tensors(self.path / "s.safetensors")[0]["mm_seed"]
        self.assertIn(f"seed {chosen}", done.stderr)
        again = (self.path / "s.safetensors").read_bytes()
        self.assertEqual(again, maps("--seed", chosen))

    def test_what_the_file_says(self):
        self.features("--output", "m.safetensors", "--seed", 5, "--spatial-scale-factor", 2)
        metadata = read_tensors(self.path / "m.safetensors")[0]
        self.assertEqual(metadata["mm_prompt"], PROMPT)
        self.assertEqual((metadata["mm_timestep"], metadata["mm_spatial_scale_factor"],
                          metadata["mm_temporal_scale_factor"]), ("417", "2", "4"))
        self.assertEqual((metadata["mm_tsa_height"], metadata["mm_tsa_width"]), ("2", "3"))
        self.assertEqual(metadata["mm_model"], str(MODEL))
        tokens = json.loads(metadata["mm_tokens"])
        self.assertEqual((tokens[0], tokens[-1]), ("<|startoftext|>", "<|endoftext|>"))

    def test_the_prompt_beside_the_video(self):
        shutil.copy(self.clip, self.path / "told.avi")
        arguments = ["told.avi", "--model", MODEL, *self.size, "--timestep", 1, "--output",
                     "p.safetensors", "--seed", 1]
        self.call(*arguments, code=2, says="--prompt")
        (self.path / "told.json").write_text('{"prompt": "a star", "track": [[1, 2]]}')
        self.call(*arguments)
        self.assertEqual(read_tensors(self.path / "p.safetensors")[0]["mm_prompt"], "a star")
        self.call(*arguments, "--prompt", "a moon")
        self.assertEqual(read_tensors(self.path / "p.safetensors")[0]["mm_prompt"], "a moon")
        (self.path / "told.json").write_text('{"prompt": ')
        self.call(*arguments, code=3, says="told.json")

    def test_pictures(self):
        done = self.features("--pictures", "a/b", "--json", "--seed", 1, "--prompt", "snow a/b: .")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        outputs = [event["path"] for event in events if event["event"] == "output"]
        pictures = {path.name: png_size(path) for path in (self.path / "a/b").iterdir()}
        self.assertEqual(sorted(outputs), sorted(f"a/b/{name}" for name in pictures))
        strips = sorted(name for name in pictures if name.startswith("ca-"))
        self.assertEqual(set(pictures) - set(strips), {"ca.png", "tsa.png", "tsa-places.png"})
        self.assertEqual((strips[0], strips[-1][5:]), ("ca-00-start.png", "-end.png"))
        self.assertEqual([name[3:5] for name in strips], [f"{i:02}" for i in range(len(strips))])
        # Maps of 3x2 at a scale that makes them about 96 wide, with a gap of 2.
        self.assertEqual({pictures[name] for name in strips}, {(self.frames * 98 - 2, 64)})
        width, height = pictures["ca.png"]
        self.assertGreater(width, self.frames * 98 - 2)
        self.assertEqual(height, (1 + len(strips)) * (64 + 2) - 2)
        self.assertEqual(pictures["tsa.png"], (384, 384))
        before = {path.name: path.read_bytes() for path in (self.path / "a/b").iterdir()}
        self.features("--pictures", "a/b", "--seed", 1, "--prompt", "snow a/b: .")
        self.assertEqual(before, {path.name: path.read_bytes() for path in (self.path / "a/b").iterdir()})

    def test_events(self):
        done = self.features("--output", "e.safetensors", "--seed", 1, "--json", "--quiet")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.stderr, "")
        self.assertTrue({"loaded", "plan", "output"} <= {event["event"] for event in events})
        self.assertEqual(events[-1], {"event": "output", "path": "e.safetensors"})
        plain = self.features("--output", "e.safetensors", "--seed", 1, "--quiet")
        self.assertEqual((plain.stdout, plain.stderr), ("e.safetensors\n", ""))

    def test_nothing_is_left_where_nothing_is_done(self):
        done = self.features("--output", "d.safetensors", "--pictures", "d", "--dry-run", "--json")
        names = [json.loads(line)["event"] for line in done.stdout.splitlines()]
        self.assertIn("plan", names)
        self.assertNotIn("loaded", names)
        config = json.loads(self.features("--output", "d.safetensors", "--print-config").stdout)
        self.assertEqual((config["timestep"], config["prompt"], config["output"]),
                         (417, PROMPT, "d.safetensors"))
        self.assertFalse((self.path / "d.safetensors").exists() or (self.path / "d").exists())
        (self.path / "config.json").write_text(json.dumps(config))
        self.call(self.clip, "--config", "config.json")
        self.assertTrue((self.path / "d.safetensors").exists())

    def test_wrong_usage(self):
        output = ["--output", "u.safetensors"]
        self.call("--model", MODEL, *output, code=2, says="one video")
        self.call("a", "b", code=2, says="'b'")
        self.call(self.clip, "--timestep", 3, *output, code=2, says="--model")
        self.call(self.clip, "--model", MODEL, "--prompt", "p", *output, code=2, says="--timestep")
        self.features(code=2, says="--output")
        self.features(*output, "--timestep", -1, code=2, says="timestep")
        self.features(*output, "--timestep", 1000, code=2, says="0..999")
        self.features(*output, "--timestep", "x", code=2, says="timestep")
        self.features(*output, "--width", 41, code=2, says="44x24")
        self.features(*output, "--spatial-scale-factor", 3, code=2, says="spatial_scale_factor")
        self.features(*output, "--temporal-scale-factor", 8, code=2, says="temporal_scale_factor")
        self.features(*output, "--temporal-scale-facto", 8, code=2, says="--temporal-scale-factor")
        self.features(*output, "--model", FIXTURES / "tiny-v-model", "--spatial-scale-factor", 2,
                      code=2, says="no attention")
        self.assertFalse((self.path / "u.safetensors").exists())

    def test_bad_input(self):
        output = ["--output", "i.safetensors"]
        (self.path / "text.mp4").write_text("not a video")
        self.features(*output, "--model", "nowhere", code=3, says="nowhere")
        self.features(*output, "--num-frames", self.frames + 1, code=3, says=str(self.frames))
        common = ["--model", MODEL, "--prompt", "p", *self.size, "--timestep", 1, *output]
        self.call("none.mp4", *common, code=3, says="none.mp4")
        self.call("text.mp4", *common, code=3, says="text.mp4")
        self.call(self.path, *common, code=3, says=str(self.path))
        self.assertFalse((self.path / "i.safetensors").exists())

    def test_bad_noise(self):
        dtype, shape, data = self.want["noise"]
        files = {
            "name": {"noises": (dtype, shape, data)},
            "shape": {"noise": (dtype, shape[:3] + shape[:2:-1], data)},
            "rank": {"noise": (dtype, [len(data) // 4], data)},
            "dtype": {"noise": ("I32", shape, data)},
            "short": {"noise": (dtype, shape, data[4:])},
        }
        for name, tensors in files.items():
            noise = write_tensors(self.path / f"{name}.safetensors", tensors)
            self.features("--output", "n.safetensors", "--noise", noise, code=3, says=str(noise))
        self.features("--output", "n.safetensors", "--noise", "none", code=3, says="none")
        nan = struct.pack("<f", float("nan")) + data[4:]
        noise = write_tensors(self.path / "nan.safetensors", {"noise": (dtype, shape, nan)})
        self.features("--output", "n.safetensors", "--noise", noise, code=7, says="not finite")
        self.assertFalse((self.path / "n.safetensors").exists())

    def test_outputs_that_cannot_be_written(self):
        (self.path / "file").write_text("in the way")
        self.features("--output", "file/x.safetensors", code=1, says="file")
        self.features("--output", "missing/x.safetensors", code=1, says="missing")
        self.features("--pictures", "file", code=1, says="file")
        self.features("--output", self.path, code=1)
        self.assertEqual((self.path / "file").read_text(), "in the way")

    def test_memory(self):
        self.features("--output", "b.safetensors", "--memory-budget", "1M", code=5, says="budget")


if "ffmpeg" not in sys.argv[3].split(",") or not shutil.which("ffmpeg"):
    sys.exit(SKIPPED)
unittest.main(argv=sys.argv[:1])
