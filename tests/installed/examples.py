# SPDX-License-Identifier: BSD-2-Clause
"""Makes the examples in C and C++ with the installed library, by their own makefiles, and runs them on
the demo model.

usage: examples.py SOURCE_DIR

Read from the environment: what programs.py reads."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
MODEL, VIDEO = SOURCE / "models" / "demo", SOURCE / "examples" / "reference.mp4"
PROMPT = "a red circle on a gray background"
CLIP = ["width=32", "height=32", "num_frames=4"]
SCALES = ["spatial_scale_factor=2", "temporal_scale_factor=2"]
TRAINING = [*CLIP, *SCALES, "rank=2", "validation_every=0"]
STRICT = "-O1 -pedantic -Wall -Wextra -Werror"
USAGE, INPUT, CANCELLED = 2, 3, 130


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.directory.name)
        for language in ("c", "cpp"):
            shutil.copytree(SOURCE / "examples" / language, cls.path / language)
        cls.make("c", f"CC={os.environ.get('CC', 'cc')}", f"CFLAGS={STRICT}")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def make(cls, language, *settings):
        done = subprocess.run(["make", "-C", cls.path / language, *settings], text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, program, *arguments, text=True):
        return subprocess.Popen([self.path / program, *map(str, arguments)], cwd=self.path,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text)

    def check(self, status, program, *arguments, text=True):
        """Standard output and error of an example that ends so."""
        process = self.start(program, *arguments, text=text)
        output, error = process.communicate()
        self.assertEqual(process.returncode, status, error)
        return output, error

    def train(self, run, *options, status=0):
        return self.check(status, "c/train", MODEL, VIDEO, PROMPT, run, *TRAINING, *options)[1]

    def test_usage(self):
        for program in ("c/train", "c/sample", "c/features"):
            self.assertIn("usage:", self.check(USAGE, program)[1])
        self.assertIn("MM_ERR_USAGE: ", self.train("run-1", "rank=none", status=USAGE))
        error = self.check(INPUT, "c/sample", self.path, "a circle", "frames")[1]
        self.assertIn("MM_ERR_INPUT: ", error)

    def test_train_and_sample(self):
        error = self.train("run-2", "steps=2")
        self.assertRegex(error, r"\[#{15}\.{15}\] 1/2  loss \d[^\[]*\[#{30}\] 2/2")
        self.assertIn("going on in run-2", self.train("run-2", "steps=3"))
        self.assertTrue((self.path / "run-2/checkpoint-3/lora.safetensors").exists())
        self.assertIn("rank", self.train("run-2", "rank=3", status=USAGE))

        sampling = [*CLIP, "num_steps=2", "seed=3"]
        lora = "lora=run-2/checkpoint-3:50"
        error = self.check(0, "c/sample", MODEL, PROMPT, "with.rgb", *sampling, lora)[1]
        self.assertIn("-video_size 32x32", error)
        frames = (self.path / "with.rgb").read_bytes()
        self.assertEqual(len(frames), 4 * 32 * 32 * 3)
        piped = self.check(0, "c/sample", MODEL, PROMPT, "-", *sampling, lora, text=False)[0]
        self.assertEqual(piped, frames)
        without = self.check(0, "c/sample", MODEL, PROMPT, "-", *sampling, text=False)[0]
        self.assertNotEqual(without, frames)

    def test_interrupted_training(self):
        process = self.start("c/train", MODEL, VIDEO, PROMPT, "run-3", *TRAINING, "steps=5000")
        error = ""
        while "] 1/5000" not in error:
            character = process.stderr.read(1)
            self.assertTrue(character, error)
            error += character
        process.send_signal(signal.SIGINT)
        error += process.communicate()[1]
        self.assertEqual(process.returncode, CANCELLED, error)
        steps = max(map(int, re.findall(r"\] (\d+)/5000", error)))
        checkpoint = self.path / f"run-3/checkpoint-{steps}/lora.safetensors"
        self.assertTrue(checkpoint.exists(), error)

    def test_features(self):
        arguments = [MODEL, VIDEO, PROMPT]
        self.check(0, "c/features", *arguments, "circle", "map", *CLIP, *SCALES)
        self.assertEqual(len(list(self.path.glob("map-*.pgm"))), 4)
        values = set()
        for frame in range(4):
            header, size, largest, pixels = (self.path / f"map-{frame}.pgm").read_bytes().split(
                b"\n", 3)
            width, height = map(int, size.split())
            self.assertEqual((header, largest, len(pixels)), (b"P5", b"255", width * height))
            values |= set(pixels)
        self.assertEqual((min(values), max(values)), (0, 255))
        error = self.check(USAGE, "c/features", *arguments, "dog", "map", *CLIP, *SCALES)[1]
        self.assertIn("circle", error)

    @unittest.skipUnless(shutil.which(os.environ.get("CXX", "c++").split()[0]), "no C++ compiler")
    def test_cpp(self):
        self.make("cpp", f"CXX={os.environ.get('CXX', 'c++')}", f"CXXFLAGS={STRICT}")
        names = [MODEL, VIDEO, PROMPT, "a blue square on a black background", "square.gif"]
        options = [*TRAINING, "steps=1", "validation_num_steps=2"]
        error = self.check(0, "cpp/customize", *names, *options)[1]
        self.assertIn("1/1\n", error)
        self.assertEqual((self.path / "square.gif").read_bytes()[:3], b"GIF")
        self.assertTrue((self.path / "square.gif.safetensors").exists())
        error = self.check(USAGE, "cpp/customize", *names, "rank=none")[1]
        self.assertIn("MM_ERR_USAGE: ", error)
        error = self.check(INPUT, "cpp/customize", self.path, *names[1:], *options)[1]
        self.assertIn("MM_ERR_INPUT: ", error)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
