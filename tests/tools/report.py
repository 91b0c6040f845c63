# SPDX-License-Identifier: BSD-2-Clause
"""mm-eval report: figures, intervals, the page, what is known from before, and bad input.

usage: report.py TOOLS_DIR FIXTURES_DIR FEATURES [TRACKER_TEST]
TRACKER_TEST: the program that writes a small tracker's weights"""
import csv
import hashlib
import html.parser
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from mm_eval import TOOLS, events, run, spoil_clip_model, spoil_reward_model

FIXTURES = pathlib.Path(sys.argv[2]).resolve()
WRITER = sys.argv[4] if len(sys.argv) > 4 else None
CLIP, REWARD = FIXTURES / "evaluation/clip", FIXTURES / "evaluation/image-reward"
SKIPPED = 77
HOSTILE = "\"><img src=x onerror=alert(1)> & 'ours'"
ROOM = tempfile.TemporaryDirectory()
PATH = pathlib.Path(ROOM.name)
SOURCES = {"mandelbrot": "mandelbrot=size=40x24:rate=8", "life": "life=size=32x32:rate=8:seed=3",
           "bars": "testsrc=size=32x48:rate=8", "pattern": "testsrc2=size=48x32:rate=8"}


def make_video(path, source, frames=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = PATH / f"{source}-{frames}.avi"
    if not stored.exists():
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", SOURCES[source], "-frames:v",
                        str(frames), "-c:v", "ffv1", "-fflags", "+bitexact", stored], check=True)
    shutil.copy(stored, path)
    return path


def write_pairs(path, *rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def setUpModule():
    make_video(PATH / "first.avi", "pattern")
    make_video(PATH / "second.avi", "bars")
    write_pairs(PATH / "pairs.csv", ["reference", "prompt"], ["first.avi", "a \"lion\", running"],
                ["second.avi", "<script>alert(1)</script> & \u2028 dogs"])
    videos = PATH / "videos"
    make_video(videos / "ours/1/x.avi", "mandelbrot")
    make_video(videos / "ours/1/y.avi", "life")
    make_video(videos / "ours/02/x.avi", "bars")
    make_video(videos / HOSTILE / "1/x.avi", "bars")
    make_video(videos / HOSTILE / "2/x.avi", "pattern")


def tearDownModule():
    ROOM.cleanup()


def report(*arguments, code=0, pairs=PATH / "pairs.csv", videos=PATH / "videos", output="out.html",
           models=("--clip-model", CLIP)):
    return run("report", "--pairs", pairs, "--videos", videos, "--output", PATH / output, *models,
               *arguments, "--threads", 1, code=code)


def load(name="out"):
    return json.loads((PATH / f"{name}.json").read_text(encoding="utf-8"))


class Page(html.parser.HTMLParser):
    """Checks that tags are closed, and collects what matters."""
    EMPTY = {"meta", "img", "br"}

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.pictures, self.text = [], [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "img":
            self.pictures.append(dict(attributes))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.done = report("--json", "--image-reward-model", REWARD, "--vision-heads", 4)
        cls.document = load()

    def test_videos(self):
        videos = self.document["videos"]
        self.assertEqual([(v["method"], v["pair"]) for v in videos],
                         [(HOSTILE, "1"), (HOSTILE, "2"), ("ours", "1"), ("ours", "1"),
                          ("ours", "2")])
        for video in videos:
            data = pathlib.Path(video["path"]).read_bytes()
            self.assertEqual(video["sha256"], hashlib.sha256(data).hexdigest())
            self.assertEqual(video["frames"], 4)
            self.assertIsNone(video["problem"])
        self.assertEqual(len(events(self.done, "score")), 10)

    def test_figures_are_those_of_the_other_commands(self):
        pairs = {p["pair"]: p["prompt"] for p in self.document["pairs"]}
        video = self.document["videos"][1]
        for command, models, figures in (
                ("clip-scores", ["--clip-model", CLIP], ["clip_text", "frame_consistency"]),
                ("image-reward", ["--image-reward-model", REWARD, "--vision-heads", "4"],
                 ["image_reward"])):
            alone = run(command, *models, video["path"], "--prompt", pairs["2"], "--json")
            score, = events(alone, "score")
            for figure in figures:
                self.assertAlmostEqual(video[figure], score[figure], places=9)

    def test_means(self):
        ours = self.document["methods"][1]
        for figure in ("clip_text", "frame_consistency", "image_reward"):
            values = [v[figure] for v in self.document["videos"] if v["method"] == "ours"]
            self.assertAlmostEqual(ours[figure]["mean"], sum(values) / 3, places=8)
            self.assertEqual(ours[figure]["videos"], 3)
            # Of two pairs a quarter of the draws is twice the one, a quarter twice the other.
            pairs = sum(values[:2]) / 2, values[2]
            self.assertAlmostEqual(ours[figure]["low"], min(pairs), places=8)
            self.assertAlmostEqual(ours[figure]["high"], max(pairs), places=8)
        mean = events(self.done, "mean")[1]
        self.assertEqual(mean["clip_text_low"], ours["clip_text"]["low"])

    def test_progress_is_that_of_the_whole_report(self):
        steps = events(self.done, "step")
        self.assertEqual([step["step"] for step in steps], list(range(1, 11)))
        self.assertEqual({step["of"] for step in steps}, {10})
        # Of CLIP's five videos four are left, and all of ImageReward's.
        first, sixth = steps[0], steps[5]
        self.assertGreater(first["seconds_left"], (4 + 5) * first["seconds"])
        self.assertAlmostEqual(sixth["seconds_left"] / (4 * sixth["seconds"]), 1, places=6)
        self.assertNotIn("seconds_left", steps[9])

    def test_csv(self):
        with open(PATH / "out.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["method"] for row in rows], [HOSTILE] * 2 + ["ours"] * 3)
        self.assertEqual(rows[0]["prompt"], "a \"lion\", running")
        for row, video in zip(rows, self.document["videos"]):
            self.assertAlmostEqual(float(row["image_reward"]), video["image_reward"], places=8)
            self.assertEqual(row["motion_discrepancy"], "")

    def test_page(self):
        page = Page(PATH / "out.html")
        self.assertFalse({"script", "link", "iframe", "a"} & {tag for tag, _ in page.tags})
        self.assertEqual(len(page.pictures), 2 + 5)
        for picture in page.pictures:
            self.assertTrue(picture["src"].startswith("data:image/jpeg;base64,/9j/"))
            self.assertFalse({"onerror", "onload"} & set(picture))
        self.assertNotIn("url(", page.source)
        self.assertIn(HOSTILE, page.text)
        self.assertIn("<script>alert(1)</script>", page.text)
        policy = [a for tag, a in page.tags if tag == "meta" and "content" in a]
        self.assertTrue(any("default-src 'none'" in a["content"] for a in policy))
        best = [a for tag, a in page.tags if a.get("class") == "best"]
        self.assertEqual(len(best), 3)

    def test_again(self):
        page = (PATH / "out.html").read_bytes()
        again = report("--json", "--image-reward-model", REWARD, "--vision-heads", 4)
        self.assertEqual(events(again, "loaded"), [])
        self.assertEqual(len(events(again, "score")), 10)
        self.assertEqual((PATH / "out.html").read_bytes(), page)
        self.assertEqual(load(), self.document)


class Memory(unittest.TestCase):
    """What is known from before, and when it no longer holds."""

    def setUp(self):
        self.videos = PATH / "remembered"
        shutil.rmtree(self.videos, ignore_errors=True)
        shutil.rmtree(PATH / "kept.cache", ignore_errors=True)
        make_video(self.videos / "a/1/x.avi", "life")
        make_video(self.videos / "a/1/y.avi", "bars")
        self.pairs = write_pairs(PATH / "kept.csv.in", ["first.avi", "a cat"])

    def count(self, expected, **more):
        done = report("--json", videos=self.videos, pairs=self.pairs, output="kept.html", **more)
        scored, known = map(int, re.search(r"CLIP: (\d+) videos to score, (\d+) known",
                                           done.stderr).groups())
        self.assertEqual((scored, known), expected)
        self.assertEqual([step["of"] for step in events(done, "step")], [scored] * scored)

    def test_contents_count(self):
        self.count((2, 0))
        self.count((0, 2))
        time_before = os.stat(self.videos / "a/1/x.avi").st_mtime_ns
        make_video(self.videos / "a/1/x.avi", "pattern")
        os.utime(self.videos / "a/1/x.avi", ns=(time_before, time_before))
        self.count((1, 1))
        (self.videos / "a/1/y.avi").rename(self.videos / "a/1/z.avi")
        os.utime(self.videos / "a/1/z.avi")
        self.count((0, 2))
        write_pairs(self.pairs, ["first.avi", "a dog"])
        self.count((2, 0))

    def test_models_count(self):
        model = PATH / "clip"
        shutil.copytree(CLIP, model)
        self.count((2, 0), models=("--clip-model", model))
        self.count((0, 2))
        with open(model / "merges.txt", "a", encoding="utf-8") as file:
            file.write("\n")
        self.count((2, 0), models=("--clip-model", model))

    def test_lines_that_were_cut_off(self):
        self.count((2, 0))
        stored = PATH / "kept.cache/scores.txt"
        stored.write_bytes(b"nonsense\n" + stored.read_bytes()[:-5])
        self.count((1, 1))
        self.count((0, 2))

    def test_going_on_after_an_end(self):
        for i in range(1, 31):
            make_video(self.videos / f"a/1/{i}.avi", "life", 4 + i)
        command = [str(TOOLS / "mm-eval"), "report", "--pairs", str(self.pairs), "--videos",
                   str(self.videos), "--output", str(PATH / "kept.html"), "--clip-model", str(CLIP),
                   "--threads", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        if process.returncode == 0:
            self.skipTest("it was faster than the signal")
        self.assertEqual(process.returncode, 130)
        known = 1 + rest.count(b"\n")
        self.count((32 - known, known))


class BadInput(unittest.TestCase):
    def refuse(self, code, text, *arguments, **more):
        self.assertIn(text, report(*arguments, code=code, output="bad.html", **more).stderr)
        self.assertFalse((PATH / "bad.html").exists())

    def write(self, text):
        path = PATH / "bad.csv.in"
        path.write_bytes(text)
        return path

    def test_usage(self):
        self.refuse(2, "nothing to measure", models=())
        self.assertIn("--pairs", run("report", "--clip-model", CLIP, code=2).stderr)
        self.refuse(2, "reference", models=("--reference", "x.avi"))
        self.refuse(2, "UTF-8", pairs=self.write(b"first.avi,a \xff\nsecond.avi,b\n"))

    def test_pairs(self):
        self.refuse(3, "nowhere.csv", pairs=PATH / "nowhere.csv")
        for text, message in ((b"", "no pairs"), (b"reference,prompt\n", "no pairs"),
                              (b"first.avi,a\n\"x", "line 2: a quotation mark"),
                              (b"first.avi,a\n\"x\"y,b\n", "line 2: text follows"),
                              (b"first.avi,a\n\nfirst.avi\n", "line 3: a row"),
                              (b"pair,reference,prompt\n../x,first.avi,a\n", "line 2: the name"),
                              (b"pair,reference,prompt\nx,first.avi,a\nx,first.avi,b\n",
                               "already"), (b"\0\0", "not a text file")):
            self.refuse(3, message, pairs=self.write(text))
        self.refuse(3, "not a text file", pairs=PATH / "first.avi")

    def test_videos(self):
        self.refuse(3, "nowhere", videos=PATH / "nowhere")
        empty = PATH / "empty/method/1"
        empty.mkdir(parents=True)
        self.refuse(3, "no videos in it", videos=PATH / "empty")
        self.refuse(3, "CLIPModel", models=("--clip-model", REWARD))
        if WRITER:
            self.refuse(3, "a directory", models=("--tracker-model", CLIP))
        done = report("--dry-run", code=3, models=("--image-reward-model", CLIP))
        self.assertIn("ImageReward.pt", done.stderr)

    def test_outputs_in_the_way(self):
        (PATH / "way.json").mkdir()
        self.assertIn("way.json", report(code=1, output="way.html").stderr)
        self.assertIn("cannot be created", report(code=1, output="nowhere/x.html").stderr)

    def test_broken_among_good(self):
        videos = PATH / "mixed"
        make_video(videos / "a/1/x.avi", "life")
        make_video(videos / "a/2/one.avi", "life", 1)
        (videos / "a/1/broken.avi").write_bytes((videos / "a/1/x.avi").read_bytes()[:300])
        os.mkfifo(videos / "a/1/pipe.avi")
        (videos / "b/2").mkdir(parents=True)
        (videos / "b/other").mkdir()
        make_video(videos / "b" / os.fsdecode(b"1/\xff\xfe.avi"), "bars")
        done = report("--json", videos=videos, output="mixed.html", code=1)
        for text in ("broken.avi", "pipe.avi", "no videos in this folder", "other: left out",
                     "frame_consistency is undefined"):
            self.assertIn(text, done.stderr)
        problems = {pathlib.Path(v["path"]).name: v["problem"] for v in load("mixed")["videos"]}
        self.assertEqual({name for name, problem in problems.items() if problem},
                         {"broken.avi", "pipe.avi"})
        scored = [v for v in load("mixed")["videos"] if v["clip_text"] is not None]
        self.assertEqual(len(scored), 3)
        page = Page(PATH / "mixed.html")
        self.assertIn("broken.avi", page.text)
        self.assertIn("\ufffd\ufffd.avi", page.text)

    def test_nothing_is_finite(self):
        model = spoil_clip_model(PATH / "not-finite")
        self.refuse(7, ".avi", models=("--clip-model", model))

    def test_what_was_scored_before_a_failure_is_kept(self):
        model = spoil_reward_model(PATH / "spoiled-reward")
        spoiled = ("--clip-model", CLIP, "--image-reward-model", model, "--vision-heads", 4)
        report(code=7, models=spoiled, output="spoiled.html")
        self.assertFalse((PATH / "spoiled.html").exists())
        done = report("--json", output="spoiled.html")
        self.assertIn("CLIP: 0 videos to score, 5 known", done.stderr)


class Names(unittest.TestCase):
    def names(self, pairs, *folders):
        videos = PATH / "named"
        shutil.rmtree(videos, ignore_errors=True)
        for folder in folders:
            make_video(videos / "m" / folder, "life")
        report(videos=videos, pairs=write_pairs(PATH / "named.csv.in", *pairs), output="named.html")
        document = load("named")
        return {str(pathlib.Path(v["path"]).relative_to(videos / "m")): v["pair"]
                for v in document["videos"]}

    def test_names(self):
        rows = [["first.avi", "A dog, running."], ["second.avi", "A cat"], ["first.avi", "A cat"]]
        self.assertEqual(self.names(rows, "001/x.avi", "3/x.avi"),
                         {"001/x.avi": "1", "3/x.avi": "3"})
        self.assertEqual(self.names(rows, "00/x.avi", "2/x.avi"),
                         {"00/x.avi": "1", "2/x.avi": "3"})
        self.assertEqual(self.names(rows, "a_dog_running/x.avi", "second/x.avi",
                                    "first_a_cat.avi"),
                         {"a_dog_running/x.avi": "1", "second/x.avi": "2", "first_a_cat.avi": "3"})
        titled = [["prompt", "pair", "reference"], ["a", "2", "first.avi"], ["b", "é", "first.avi"]]
        self.assertEqual(self.names(titled, "2/x.avi", "é/x.avi"),
                         {"2/x.avi": "2", "é/x.avi": "é"})


@unittest.skipUnless(WRITER, "built without the tracker")
class Motion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([WRITER, PATH], check=True)
        cls.models = ("--tracker-model", PATH / "narrow.safetensors", "--tracker-size", "64x96",
                      "--grid", 4)

    def test_tracks(self):
        done = report("--json", models=self.models, output="motion.html")
        videos = load("motion")["videos"]
        # Each compares itself with the reference of its own pair.
        self.assertEqual([v["motion_discrepancy"] == 0 for v in videos],
                         [False, False, False, False, True])
        self.assertEqual(len(Page(PATH / "motion.html").pictures), 2 * (2 + 5))
        self.assertFalse((PATH / "motion.cache/tracks").exists())
        self.assertEqual(len(list((PATH / "motion.cache").glob("tracks-*.jpg"))), 2 + 5)
        self.assertEqual(len(events(done, "output")), 3)
        again = report("--json", models=self.models, output="motion.html")
        self.assertEqual(events(again, "loaded"), [])
        self.assertEqual(len(Page(PATH / "motion.html").pictures), 2 * (2 + 5))
        native = report("--json", "--size", "native", models=self.models, output="motion.html")
        self.assertEqual(len(events(native, "loaded")), 1)
        self.assertIn("native: tracks in each video's own pixels",
                      Page(PATH / "motion.html").text)

    def test_one_metric_failing(self):
        videos = PATH / "lengths"
        make_video(videos / "a/1/short.avi", "life", 3)
        make_video(videos / "a/2/x.avi", "life")
        pairs = write_pairs(PATH / "lengths.csv.in", ["first.avi", "a"], ["broken.avi", "b"],
                            ["first.avi", "c"])
        (PATH / "broken.avi").write_bytes((PATH / "first.avi").read_bytes()[:300])
        make_video(videos / "a/3/x.avi", "life")
        done = report("--json", "--clip-model", CLIP, models=self.models, pairs=pairs,
                      videos=videos, output="lengths.html", code=1)
        short, other, good = load("lengths")["videos"]
        self.assertTrue(math.isfinite(short["clip_text"]) and math.isfinite(other["clip_text"]))
        self.assertIsNone(short["motion_discrepancy"])
        self.assertIn("3 frames, while the reference has 4", short["problem"])
        self.assertIn("broken.avi", other["problem"])
        self.assertGreater(good["motion_discrepancy"], 0)
        self.assertEqual(len(events(done, "skipped")), 2)

    def test_references_are_needed(self):
        pairs = write_pairs(PATH / "without.csv.in", ["prompt", "reference"], ["a", ""])
        self.assertIn("needs a reference",
                      report(models=self.models, pairs=pairs, code=3).stderr)

    def test_plan(self):
        done = report("--json", "--dry-run", "--clip-model", CLIP, models=self.models,
                      output="planned.html")
        self.assertEqual(len(events(done, "plan")), 1)
        self.assertEqual(list(PATH.glob("planned*")), [])
        report("--memory-budget", "10M", models=self.models, output="planned.html", code=5)


if __name__ == "__main__":
    if "ffmpeg" not in sys.argv[3].split(","):
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1] + sys.argv[5:])
