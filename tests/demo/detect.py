# SPDX-License-Identifier: BSD-2-Clause
"""detect.py DEMO_DIRECTORY: what models/demo/detect.py finds in random clips of clips.py against
what was drawn: as they are, softened as a model's decoder leaves them, enlarged, and as mp4s with
the settings of mm-infer."""
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, sys.argv[1])
import clips  # noqa: E402
import detect  # noqa: E402

SEED = 3_000_000
MP4 = ["-vf", "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt601:"
       "out_range=limited,format=yuv420p", "-colorspace", "smpte170m", "-color_range", "tv",
       "-c:v", "libx264", "-crf", "18", "-preset", "medium"]


def drawn(count):
    return [clips.random_clip(np.random.default_rng(SEED + i)) for i in range(count)]


def rms(values):
    return math.sqrt(np.mean(np.square(values)))


def camera_error(clip, camera):
    """Largest errors (shift in pixels, zoom); along stripes a shift cannot be seen."""
    zoom = clip.camera[:, 2] / clip.camera[0, 2]
    shift = (clip.camera[:, :2] - clip.camera[0, :2]) * clip.camera[0, 2]
    error = camera[:, :2] - shift
    if clip.background == "striped":
        error = error @ [[math.sqrt(0.5)], [math.sqrt(0.5)]]
    return np.abs(error).max(), np.abs(camera[:, 2] - zoom).max()


def compare(name, pairs):
    """What share of the clips is named right, and the errors of their tracks and cameras."""
    found = {key: np.mean([getattr(clip, key) == getattr(seen, key) for clip, seen in pairs])
             for key in ("colour", "background", "shape")}
    found["single"] = np.mean([seen.single for _, seen in pairs])
    found["smooth"] = np.mean([seen.smooth for _, seen in pairs])
    found["track"] = rms([np.hypot(*(seen.positions - clip.track()).T) for clip, seen in pairs])
    errors = [camera_error(clip, seen.camera) for clip, seen in pairs
              if clip.background in clips.TEXTURED and clip.background == seen.background]
    found["shift"], found["zoom"] = np.max(errors, 0)
    print(name, {key: round(float(value), 3) for key, value in found.items()})
    return found


def check(found, shape, shift):
    assert found["colour"] == 1 and found["background"] >= 0.99 and found["shape"] >= shape
    assert found["single"] >= 0.99 and found["track"] < 1 and found["smooth"] >= 0.85
    assert found["shift"] < shift and found["zoom"] < 0.05


def softened(frames, rng):
    """Blur of about a pixel, and grain."""
    soft = frames.astype(float)
    for axis in (1, 2):
        ahead, behind = np.roll(soft, 1, axis), np.roll(soft, -1, axis)
        soft = (ahead + 2 * soft + behind) / 4
    return np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)


def enlarged(frames, factor):
    return frames.repeat(factor, 1).repeat(factor, 2)


def through_mp4(frames, path):
    height, width = frames.shape[1:3]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                    f"{width}x{height}", "-r", "8", "-i", "-", *MP4, path],
                   input=frames.tobytes(), check=True)
    return detect.read_video(path)


def test_mp4(sample):
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "clip.mp4")
        check(compare("mp4", [(clip, detect.analyse(through_mp4(clips.render(clip), path)))
                              for clip in sample]), 0.95, 0.75)


def test_enlarged(clip):
    factor = 5
    seen = detect.analyse(enlarged(clips.render(clip), factor))
    assert (seen.colour, seen.shape, seen.background) == (clip.colour, clip.shape, clip.background)
    assert rms(seen.positions / factor - clip.track()) < 1


def test_several_and_none():
    """Two objects are counted, none gives no position, and a jump is not smooth."""
    empty = np.full((clips.FRAMES, clips.SIZE, clips.SIZE, 3), 128, np.uint8)
    seen = detect.analyse(empty)
    assert (seen.counts == 0).all() and np.isnan(seen.positions).all() and not seen.smooth
    assert seen.background == "gray" and seen.colour == "" and seen.to_json()["roughness"] is None
    two = empty.copy()
    two[:, 4:20, 4:20] = two[:, 40:56, 40:56] = (226, 38, 38)
    assert (detect.analyse(two).counts == 2).all()
    jump = empty.copy()
    jump[:8, 4:20, 4:20] = (226, 38, 38)
    jump[8:, 40:56, 40:56] = (226, 38, 38)
    seen = detect.analyse(jump)
    assert seen.single == 1 and not seen.smooth and seen.shape == "square" and seen.colour == "red"
    assert np.allclose(seen.positions[0], 12, atol=0.3)
    assert np.allclose(seen.positions[-1], 48, atol=0.3)


def main():
    sample = drawn(100)
    check(compare("plain", [(clip, detect.analyse(clips.render(clip))) for clip in sample]),
          0.97, 0.5)
    rng = np.random.default_rng(SEED)
    check(compare("soft", [(clip, detect.analyse(softened(clips.render(clip), rng)))
                           for clip in sample[:10]]), 0.95, 0.75)
    test_enlarged(sample[0])
    test_several_and_none()
    if shutil.which("ffmpeg"):
        test_mp4(sample[:10])


main()
