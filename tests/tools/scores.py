# SPDX-License-Identifier: BSD-2-Clause
"""mm-eval clip-scores and mm-eval image-reward: tables, events, folders, and bad input.

usage: scores.py TOOLS_DIR FIXTURES_DIR FEATURES"""
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

from mm_eval import events, run, spoil_clip_model, spoil_reward_model

FIXTURES = pathlib.Path(sys.argv[2]).resolve()
EVALUATION = FIXTURES / "evaluation"
EXPECTED = json.loads((EVALUATION / "expected.json").read_text(encoding="utf-8"))
CLIP, REWARD = EVALUATION / "clip", EVALUATION / "image-reward"
MOVING, STILL = EVALUATION / "moving.mkv", EVALUATION / "still.png"
PROMPT = ["--prompt", EXPECTED["prompt"]]
SKIPPED = 77
ROOM = tempfile.TemporaryDirectory()
PATH = pathlib.Path(ROOM.name)


def tearDownModule():
    ROOM.cleanup()


def clip_scores(*arguments, code=0):
    return run("clip-scores", "--clip-model", CLIP, *arguments, code=code)


def image_reward(*arguments, code=0):
    return run("image-reward", "--image-reward-model", REWARD, "--vision-heads", 4, *arguments,
               code=code)


def make_folder(name, **videos):
    """Videos by name with their prompts; None: no .json beside it."""
    folder = PATH / name
    folder.mkdir()
    for video, prompt in videos.items():
        shutil.copy(MOVING, folder / (video + ".mkv"))
        if prompt is not None:
            (folder / (video + ".json")).write_text(json.dumps({"prompt": prompt}))
    return folder


class Scores(unittest.TestCase):
    def assert_close(self, have, want):
        self.assertLessEqual(abs(have - want), 1e-5 * abs(want))

    def test_events(self):
        done = clip_scores(MOVING, STILL, *PROMPT, "--json")
        moving, still = events(done, "score")
        self.assertEqual(moving["path"], str(MOVING))
        self.assertEqual((moving["frames"], still["frames"]), (6, 1))
        want = EXPECTED["clip"]
        for figure in ("clip_text", "frame_consistency"):
            self.assert_close(moving[figure], want["moving"][figure])
        self.assert_close(still["clip_text"], want["still"]["clip_text"])
        self.assertIsNone(still["frame_consistency"])
        mean = events(done, "mean")[0]
        self.assert_close(mean["clip_text"], (moving["clip_text"] + still["clip_text"]) / 2)
        self.assertEqual(mean["frame_consistency"], moving["frame_consistency"])
        self.assertEqual([e["event"] for e in map(json.loads, done.stdout.splitlines())][-1], "mean")
        self.assertEqual(len(events(done, "plan")), 1)
        self.assertIn("frame_consistency is undefined", done.stderr)

    def test_table(self):
        done = clip_scores(MOVING, STILL, *PROMPT)
        titles, moving, still, mean = done.stdout.splitlines()
        self.assertIn("clip_text x100", titles)
        figures = EXPECTED["clip"]["moving"]
        self.assertEqual(moving.split(), [f"{100 * figures['clip_text']:.2f}",
                                          f"{100 * figures['frame_consistency']:.2f}", str(MOVING)])
        self.assertEqual(still.split()[1:], ["-", str(STILL)])
        self.assertIn("mean of 2 videos", mean)

    def test_image_reward(self):
        done = image_reward(MOVING, *PROMPT, "--json")
        self.assert_close(events(done, "score")[0]["image_reward"],
                          EXPECTED["image-reward"]["moving"]["image_reward"])

    def test_prompts_beside_the_videos(self):
        folder = make_folder("described", a=EXPECTED["prompt"], b="")
        first, second = events(image_reward(folder, "--json"), "score")
        want = EXPECTED["image-reward"]
        self.assert_close(first["image_reward"], want["moving"]["image_reward"])
        self.assert_close(second["image_reward"], want["empty"]["image_reward"])
        same = events(image_reward(folder, "--json", "--prompt", ""), "score")
        self.assertEqual(same[0]["image_reward"], same[1]["image_reward"])

    def test_broken_video_among_good_ones(self):
        folder = make_folder("broken", a="x", c="x")
        (folder / "b.mkv").write_bytes(MOVING.read_bytes()[:100])
        done = clip_scores(folder, "--prompt", "x", "--json", code=1)
        self.assertEqual(len(events(done, "score")), 2)
        self.assertTrue(events(done, "skipped")[0]["path"].endswith("b.mkv"))
        self.assertEqual(events(done, "mean")[0]["videos"], 2)
        self.assertIn("b.mkv", clip_scores(folder, "--prompt", "x", code=1).stderr)
        clip_scores(folder / "b.mkv", "--prompt", "x", code=3)
        clip_scores(folder, "--prompt", "x", "--dry-run", code=3)

    def test_dry_run(self):
        done = clip_scores(MOVING, *PROMPT, "--dry-run", "--json")
        self.assertGreater(events(done, "plan")[0]["planned_peak_bytes"], 1 << 20)
        self.assertEqual(events(done, "loaded"), [])
        self.assertEqual(events(done, "score"), [])

    def test_wrong_usage(self):
        self.assertIn("--clip-model", run("clip-scores", MOVING, *PROMPT, code=2).stderr)
        self.assertIn("no videos", clip_scores(code=2).stderr)
        self.assertIn(".json", clip_scores(MOVING, code=2).stderr)
        self.assertIn("--vision-heads", clip_scores(MOVING, "--vision-heads", 4, code=2).stderr)

    def test_bad_input(self):
        empty = make_folder("empty")
        self.assertIn("no videos", clip_scores(empty, *PROMPT, code=3).stderr)
        clip_scores(PATH / "nowhere.mp4", *PROMPT, code=3)
        done = run("clip-scores", "--clip-model", REWARD, MOVING, *PROMPT, code=3)
        self.assertIn("CLIPModel", done.stderr)
        done = run("image-reward", "--image-reward-model", CLIP, MOVING, *PROMPT, code=3)
        self.assertIn("ImageReward.pt", done.stderr)

    def test_long_prompts(self):
        done = image_reward(MOVING, "--prompt", "snow " * 60, "--json")
        self.assertIn("too long", done.stderr)
        self.assert_close(events(done, "score")[0]["image_reward"],
                          EXPECTED["image-reward"]["long"]["image_reward"])
        self.assertIn("too long", clip_scores(MOVING, "--prompt", "snow " * 90).stderr)

    def test_figures_that_are_not_finite(self):
        model = spoil_clip_model(PATH / "not-finite")
        done = run("clip-scores", "--clip-model", model, MOVING, *PROMPT, code=7)
        self.assertIn("moving.mkv", done.stderr)
        model = spoil_reward_model(PATH / "not-finite-either")
        done = image_reward(MOVING, *PROMPT, "--image-reward-model", model, code=7)
        self.assertIn("moving.mkv", done.stderr)

    def test_memory_budget(self):
        clip_scores(MOVING, *PROMPT, "--memory-budget", "1M", code=5)


if "ffmpeg" not in sys.argv[3].split(","):
    sys.exit(SKIPPED)
unittest.main(argv=sys.argv[:1])
