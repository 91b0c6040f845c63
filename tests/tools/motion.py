# SPDX-License-Identifier: BSD-2-Clause
"""mm-eval motion-discrepancy and mm-eval retrieve with a small tracker of random weights: figures,
events, files, and bad input.

usage: motion.py TOOLS_DIR FIXTURES_DIR TRACKER_TEST FEATURES
TRACKER_TEST: the program that writes a small tracker's weights"""
import json
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from mm_eval import events, run

FIXTURES = pathlib.Path(sys.argv[2]).resolve()
WRITER = sys.argv[3]
MODEL, CLIP = FIXTURES / "quickstart-model", FIXTURES / "evaluation/clip"
SKIPPED = 77
FEATURES = ["--width", 32, "--height", 32, "--num-frames", 4, "--seed", 1, "--threads", 1,
            "--spatial-scale-factor", 2, "--temporal-scale-factor", 2]
ROOM = tempfile.TemporaryDirectory()
PATH = pathlib.Path(ROOM.name)
VIDEOS = PATH / "videos"
TRACKER = PATH / "narrow.safetensors"


def make_video(path, source, frames):
    path.parent.mkdir(exist_ok=True)
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames),
                    "-c:v", "ffv1", path], check=True)
    return path


def setUpModule():
    subprocess.run([WRITER, PATH], check=True)
    make_video(PATH / "reference.avi", "testsrc2=size=64x48:rate=8", 4)
    make_video(VIDEOS / "copy.avi", "testsrc2=size=64x48:rate=8", 4)
    make_video(VIDEOS / "other.avi", "mandelbrot=size=40x56:rate=8", 4)
    make_video(VIDEOS / "third.avi", "testsrc=size=32x32:rate=2", 4)
    make_video(PATH / "short.avi", "testsrc=size=32x32:rate=2", 3)
    make_video(PATH / "one.avi", "testsrc=size=32x32:rate=2", 1)
    make_video(PATH / "grey-48.avi", "color=gray:size=48x48:rate=8", 4)
    make_video(PATH / "grey-32.avi", "color=gray:size=32x32:rate=8", 4)
    (PATH / "broken.avi").write_bytes((VIDEOS / "copy.avi").read_bytes()[:200])
    (PATH / "empty").mkdir()


def tearDownModule():
    ROOM.cleanup()


def split(path):
    """Header and numbers of a safetensors file."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def join(path, header, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def read_tensor(path, name, code):
    header, body = split(path)
    entry = header[name]
    body = body[slice(*entry["data_offsets"])]
    return entry["shape"], struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body)


def spoil(path, name, to):
    """A copy whose first number of one tensor is a NaN, in f32 or f16."""
    header, body = split(path)
    first = header[name]["data_offsets"][0]
    return join(to, header, body[:first] + b"\0\x7e\xc0\x7f" + body[first + 4:])


def read_tracks(path):
    """Each point's coordinates, one list a point."""
    (frames, points, _), values = read_tensor(path, "tracks", "f")
    return [[values[(t * points + i) * 2 + axis] for t in range(frames) for axis in range(2)]
            for i in range(points)]


def discrepancy(a, b, area):
    distance = [[math.fsum((x - y) ** 2 for x, y in zip(p, q)) for q in b] for p in a]
    both = (math.fsum(map(min, distance)) / len(a) +
            math.fsum(min(row[j] for row in distance) for j in range(len(b))) / len(b))
    return both / (len(a[0]) * area)


class MotionDiscrepancy(unittest.TestCase):
    def measure(self, *arguments, code=0):
        return run("motion-discrepancy", "--tracker-model", TRACKER, "--tracker-size", "64x96",
                   "--grid", 4, "--threads", 1, "--reference", PATH / "reference.avi", "--json",
                   *arguments, code=code)

    def refuse(self, code, text, *arguments):
        self.assertIn(text, self.measure(*arguments, code=code).stderr)

    def test_scores(self):
        done = self.measure(VIDEOS)
        scores = {pathlib.Path(e["path"]).name: e["motion_discrepancy"]
                  for e in events(done, "score")}
        self.assertEqual(list(scores), ["copy.avi", "other.avi", "third.avi"])
        self.assertEqual(scores["copy.avi"], 0.0)
        self.assertGreater(scores["other.avi"], 0.0)
        last = events(done)[-1]
        self.assertEqual(last["event"], "mean")
        self.assertAlmostEqual(last["motion_discrepancy"], sum(scores.values()) / 3, places=9)
        self.assertEqual(events(done, "size")[0]["size"], "384x384")

    def test_saved_tracks(self):
        for size, factors in (("200x100", [(199 / 63, 99 / 47), (199 / 39, 99 / 55)]),
                              ("native", [(1, 1), (1, 1)])):
            folder = PATH / f"tracks-{size}"
            done = self.measure("--save-tracks", folder, "--size", size, VIDEOS / "other.avi")
            sides = [read_tracks(folder / name)
                     for name in ("reference-reference.safetensors", "other.safetensors")]
            for tracks, (x, y) in zip(sides, factors):
                for point in tracks:
                    point[:] = [c * (y if i % 2 else x) for i, c in enumerate(point)]
            area = 384 * 384 if size == "native" else 200 * 100
            have = events(done, "score")[0]["motion_discrepancy"]
            self.assertAlmostEqual(have / discrepancy(*sides, area), 1.0, delta=1e-6)
            self.assertEqual(read_tensor(folder / "other.safetensors", "visible", "B")[0], [4, 16])
            self.assertEqual((folder / "other.png").read_bytes()[:4], b"\x89PNG")
            self.assertEqual(len(events(done, "output")), 4)

    def test_videos_of_one_name(self):
        folder = PATH / "tracks-twice"
        self.measure("--save-tracks", folder, VIDEOS / "copy.avi", VIDEOS / "copy.avi")
        self.assertTrue((folder / "copy.safetensors").exists())
        self.assertTrue((folder / "copy_2.safetensors").exists())

    def test_static_videos_of_two_sizes(self):
        pair = ["--reference", PATH / "grey-48.avi", PATH / "grey-32.avi"]
        same, = events(self.measure(*pair), "score")
        self.assertLess(same["motion_discrepancy"], 1e-10)
        native, = events(self.measure("--size", "native", *pair), "score")
        self.assertGreater(native["motion_discrepancy"], 1e-5)

    def test_bad_videos_among_good_ones(self):
        bad = [PATH / name for name in ("short.avi", "one.avi", "broken.avi", "nowhere.avi")]
        done = self.measure(*bad, VIDEOS / "copy.avi", code=1)
        self.assertEqual([e["path"] for e in events(done, "score")], [str(VIDEOS / "copy.avi")])
        self.assertEqual([e["path"] for e in events(done, "skipped")], list(map(str, bad)))
        for text in ("3 frames, while the reference has 4", "broken.avi", "nowhere.avi"):
            self.assertIn(text, done.stderr)
        self.refuse(3, "1 frame, while the reference has 4", PATH / "one.avi")

    def test_bad_settings(self):
        video = VIDEOS / "copy.avi"
        self.refuse(2, "not a size such as", "--size", "0x0", video)
        self.refuse(2, "tracker_size", "--tracker-size", "64", video)
        self.refuse(2, "multiples of 32", "--tracker-size", "100x96", video)
        self.refuse(2, "grid", "--grid", 0, video)
        self.refuse(2, "no videos")
        self.refuse(3, "no videos in this folder", PATH / "empty")
        self.refuse(3, "nowhere.avi", "--reference", PATH / "nowhere.avi", video)
        self.refuse(3, "one frame", "--reference", PATH / "one.avi", video)
        self.refuse(3, "a directory", "--tracker-model", CLIP, video)
        self.refuse(3, "not the weights of CoTracker3", "--tracker-model",
                    CLIP / "model.safetensors", video)
        self.refuse(1, "narrow.safetensors", "--save-tracks", TRACKER, video)
        self.refuse(5, "memory budget", "--memory-budget", "10M", video)
        done = run("motion-discrepancy", "--tracker-model", TRACKER, video, code=2)
        self.assertIn("option reference", done.stderr)
        done = run("motion-discrepancy", "--reference", video, video, code=2)
        self.assertIn("--tracker-model", done.stderr.replace("_", "-"))

    def test_damaged_trackers(self):
        video, header, body = VIDEOS / "copy.avi", *split(TRACKER)
        name, file = "updateformer.flow_head.bias", PATH / "damaged.safetensors"
        self.refuse(3, "nowhere.pth", "--tracker-model", PATH / "nowhere.pth", video)
        file.write_bytes(TRACKER.read_bytes()[:-100])
        self.refuse(3, "damaged.safetensors", "--tracker-model", file, video)
        entry = header.pop(name)
        join(file, {**header, "other": entry}, body)
        self.refuse(3, name, "--tracker-model", file, video)
        join(file, {**header, name: {**entry, "shape": [1, *entry["shape"]]}}, body)
        self.refuse(3, name, "--tracker-model", file, video)

    def test_figures_that_are_not_finite(self):
        spoil(TRACKER, "updateformer.flow_head.bias", PATH / "not-finite.safetensors")
        self.refuse(7, "reference.avi", "--tracker-model", PATH / "not-finite.safetensors",
                    VIDEOS / "copy.avi")

    def test_plan(self):
        done = self.measure("--dry-run", VIDEOS)
        self.assertGreater(events(done, "plan")[0]["planned_peak_bytes"], 1 << 20)
        self.assertEqual(events(done, "score") + events(done, "loaded"), [])

    def planned(self, *arguments):
        return events(self.measure("--dry-run", *arguments), "plan")[0]["planned_peak_bytes"]

    def test_large_videos_are_planned_for(self):
        large = make_video(PATH / "large.avi", "testsrc2=size=1280x720:rate=8", 4)
        small = self.planned(VIDEOS / "copy.avi")
        self.assertGreater(self.planned(VIDEOS / "copy.avi", large), small + (32 << 20))
        self.assertGreater(self.planned("--reference", large, VIDEOS / "copy.avi"),
                           small + (32 << 20))

    def test_videos_that_are_longer_than_the_plan(self):
        # Matroska files do not tell how many frames they have.
        video = make_video(PATH / "long.mkv", "testsrc2=size=64x48:rate=8", 1000)
        budget = self.planned("--reference", video, video) + (4 << 20)
        self.refuse(5, "long.mkv", "--memory-budget", budget, "--reference", video, video)


class Retrieve(unittest.TestCase):
    def retrieve(self, *arguments, code=0):
        return run("retrieve", "--model", MODEL, *FEATURES, "--json", *arguments, code=code)

    def refuse(self, code, text, *arguments):
        self.assertIn(text, self.retrieve(*arguments, code=code).stderr)

    def test_ranking(self):
        done = self.retrieve("--query", PATH / "reference.avi", "--prompt", "a test", VIDEOS)
        found = events(done, "score")
        self.assertEqual([e["rank"] for e in found], [1, 2, 3])
        self.assertEqual(found[0]["path"], str(VIDEOS / "copy.avi"))
        for name in ("motion", "ca", "tsa", "latents", "residuals"):
            self.assertEqual(found[0][name], 0.0)
            self.assertGreater(found[1][name], 0.0)
        self.assertGreaterEqual(found[2]["motion"], found[1]["motion"])
        weighted = 2000 * found[1]["ca"] + 2000 * found[1]["tsa"]
        self.assertAlmostEqual(found[1]["motion"] / weighted, 1.0, places=8)
        self.assertNotIn("positive", found[0])
        self.assertIsNone(events(done, "mean")[0]["average_precision"])

    def test_positives(self):
        listed = PATH / "positives.txt"
        listed.write_text("# of the test pattern\ncopy.avi\n")
        done = self.retrieve("--query", PATH / "reference.avi", "--positives", listed, VIDEOS)
        self.assertEqual([e["positive"] for e in events(done, "score")], [True, False, False])
        query, = events(done, "query")
        self.assertEqual((query["positives"], query["candidates"]), (1, 3))
        self.assertEqual(query["average_precision"], 1.0)
        self.assertAlmostEqual(query["chance"], (1 + 1 / 2 + 1 / 3) / 3)

        listed.write_text("copy.avi, other.avi\r\nother.avi,copy.avi\nthird.avi,copy.avi\n")
        done = self.retrieve("--all", "--positives", listed, VIDEOS)
        queries, mean = events(done, "query"), events(done, "mean")[0]
        self.assertEqual(mean["queries"], 3)
        each = [query["average_precision_latents"] for query in queries]
        self.assertAlmostEqual(mean["average_precision_latents"], sum(each) / 3)
        self.assertAlmostEqual(mean["chance"], 0.75)

    def test_tracker(self):
        tracking = ["--tracker-model", TRACKER, "--tracker-size", "64x96", "--grid", 3]
        done = self.retrieve("--query", PATH / "reference.avi", *tracking, VIDEOS)
        self.assertEqual([e["positive"] for e in events(done, "score")], [True, False, False])
        done = self.retrieve("--all", *tracking, "--positive-share", 0.7, VIDEOS)
        self.assertEqual([query["positives"] for query in events(done, "query")], [1, 1, 1])

    def test_bad_input(self):
        video, listed = VIDEOS / "copy.avi", PATH / "strangers.txt"
        listed.write_text("stranger.avi\n")
        self.refuse(2, "option query", VIDEOS)
        self.refuse(2, "at least two videos", "--query", video, video)
        self.refuse(2, "'stranger.avi' is not among", "--query", video, "--positives", listed,
                    VIDEOS)
        self.refuse(3, "lacks a comma", "--all", "--positives", listed, VIDEOS)
        self.refuse(2, "one of them", "--all", "--positives", listed, "--tracker-model", TRACKER,
                    VIDEOS)
        self.refuse(3, "nowhere", "--all", "--positives", PATH / "nowhere", VIDEOS)
        self.refuse(3, "nowhere", "--all", "--tracker-model", PATH / "nowhere", VIDEOS)
        self.refuse(3, "broken.avi", "--query", PATH / "broken.avi", VIDEOS)
        self.refuse(3, "no videos", "--all", PATH / "empty")
        self.refuse(2, "timestep", "--all", "--timestep", 1000, VIDEOS)
        done = self.retrieve("--all", VIDEOS, PATH / "broken.avi", PATH / "short.avi", code=1)
        self.assertEqual(len(events(done, "skipped")), 2)
        self.assertEqual(events(done, "mean")[0]["queries"], 3)

    def test_features_that_are_not_finite(self):
        model, weights = PATH / "not-finite", "unet/diffusion_pytorch_model.safetensors"
        shutil.copytree(MODEL, model)
        spoil(MODEL / weights, "conv_in.bias", model / weights)
        self.refuse(7, "reference.avi", "--model", model, "--query", PATH / "reference.avi", VIDEOS)

    def test_plan(self):
        done = self.retrieve("--dry-run", "--all", VIDEOS)
        self.assertGreater(events(done, "plan")[0]["planned_peak_bytes"], 1 << 20)
        self.assertEqual(events(done, "score") + events(done, "loaded"), [])


if __name__ == "__main__":
    if "ffmpeg" not in sys.argv[4].split(","):
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1])
