#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Clips of one coloured shape that moves, with known ground truth.

The training data of the demo model, the reference clips of the quickstart and of bench/claims.
Everything follows from a seed. A clip is described by a `Clip`, drawn by `render`, worded by
`caption`; the motion is never in the caption.

    python3 models/demo/clips.py --seed 7 --count 12 --output clips

writes clip-0007.mp4 ... with a .json of the ground truth beside each.
"""
import argparse
import dataclasses
import json
import math
import pathlib
import subprocess

import numpy as np

FRAMES, SIZE = 16, 64
COLOURS = {"red": (226, 38, 38), "green": (40, 176, 64), "blue": (44, 84, 232),
           "yellow": (240, 216, 36), "purple": (152, 52, 204), "orange": (244, 136, 24)}
SHAPES = ("circle", "square", "triangle", "star")
PLAIN = {"black": 16, "white": 238, "gray": 128}
TEXTURED = ("checkered", "striped")
# Their light depends on the pixel and on the frame, so a model must know both to draw them.
LIGHT = ("dawn", "dusk")
BACKGROUNDS = tuple(PLAIN) + TEXTURED + LIGHT
MOTIONS = ("straight", "arc", "circle", "back-and-forth", "bounce", "zigzag", "spiral", "still")
CAMERAS = ("fixed", "pan", "zoom")
RADIUS = (10.0, 13.5)


@dataclasses.dataclass
class Clip:
    """What is seen: `path` is the object's centre in pixels on the ground, [frames, 2]; `camera` is
    (x, y, zoom) a frame: a ground point p is seen at (p - (x, y) - centre) * zoom + centre."""
    shape: str
    colour: str
    background: str
    motion: str
    camera_motion: str
    radius: np.ndarray
    path: np.ndarray
    camera: np.ndarray
    phase: tuple

    def track(self):
        """Centre of the object in the picture, in pixels: [frames, 2]."""
        return to_picture(self.path, self.camera)

    def ground_tracks(self, points):
        """Where ground points [n, 2] are seen: [n, frames, 2]."""
        return np.stack([to_picture(np.broadcast_to(p, self.path.shape), self.camera)
                         for p in np.asarray(points, float)])


def to_picture(points, camera):
    centre = SIZE / 2
    return (points - camera[:, :2] - centre) * camera[:, 2:] + centre


def eased(steps, ease):
    """Progress 0..1 over the frames, between even (0) and slow at both ends (1)."""
    return (1 - ease) * steps + ease * steps * steps * (3 - 2 * steps)


def rotated(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def raw_path(motion, progress, rng):
    """The motion's curve around the origin, of about unit size."""
    p = progress
    if motion == "straight":
        return np.stack([2 * p - 1, 0 * p], 1)
    if motion == "arc":
        bend = rng.uniform(0.5, 1.0)
        return np.stack([2 * p - 1, bend * (1 - 4 * (p - 0.5) ** 2)], 1)
    if motion == "circle":
        turn = 2 * math.pi * p * rng.choice((-1, 1))
        return np.stack([np.cos(turn), np.sin(turn)], 1)
    if motion == "back-and-forth":
        return np.stack([-np.cos(2 * math.pi * p), 0 * p], 1)
    if motion == "bounce":
        hops = rng.choice((2, 3))
        return np.stack([2 * p - 1, 1 - 1.6 * np.abs(np.sin(math.pi * hops * p))], 1)
    if motion == "zigzag":
        corners = rng.choice((2, 3))
        return np.stack([2 * p - 1, 0.6 * (4 * np.abs((corners * p / 2) % 1 - 0.5) - 1)], 1)
    if motion == "spiral":
        turn = 3 * math.pi * p * rng.choice((-1, 1))
        return np.stack([p * np.cos(turn), p * np.sin(turn)], 1)
    return np.zeros((len(p), 2))


def random_path(motion, margin, rng):
    """A random size, direction and place that keep the object in the picture."""
    progress = eased(np.linspace(0, 1, FRAMES), rng.uniform(0, 1))
    curve = raw_path(motion, progress, rng)
    upright = motion == "bounce"
    turn = rng.choice((0, math.pi)) if upright else rng.uniform(0, 2 * math.pi)
    curve = curve * [math.cos(turn), 1] if upright else rotated(curve, turn)
    low, high = curve.min(0), curve.max(0)
    room = SIZE - 2 * margin
    extent = max((high - low).max(), 1e-6)
    scale = rng.uniform(0.6, 1.0) * room / extent if motion != "still" else 0.0
    low, high = low * scale, high * scale
    return curve * scale + rng.uniform(margin - low, SIZE - margin - high)


def random_radius(rng, kind=None):
    kind = kind or rng.choice(("constant", "growing", "shrinking"), p=(0.7, 0.15, 0.15))
    small, large = np.sort(rng.uniform(*RADIUS, size=2))
    if kind == "constant":
        return np.full(FRAMES, large)
    grown = np.linspace(0.75 * small, 1.15 * large, FRAMES)
    return grown if kind == "growing" else grown[::-1].copy()


def random_camera(kind, rng):
    steps = eased(np.linspace(0, 1, FRAMES), rng.uniform(0, 1))
    camera = np.zeros((FRAMES, 3))
    camera[:, 2] = 1
    if kind == "pan":
        angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(16, 40)
        camera[:, 0], camera[:, 1] = (length * steps * f(angle) for f in (math.cos, math.sin))
    if kind == "zoom":
        end = rng.uniform(1.3, 1.7)
        zoom = end ** steps
        camera[:, 2] = zoom if rng.random() < 0.5 else zoom[::-1]
    return camera


def followed(path, camera):
    """Ground positions from which the object is seen on `path` although the camera moves."""
    centre = SIZE / 2
    return (path - centre) / camera[:, 2:] + centre + camera[:, :2]


def random_clip(rng, **wanted):
    """A random clip; `wanted` fixes shape, colour, background, motion, camera_motion or size."""
    textured = rng.random() < 0.4
    background = wanted.get("background") or str(
        rng.choice(TEXTURED if textured else tuple(PLAIN) + LIGHT))
    cameras = CAMERAS if background in TEXTURED else ("fixed",)
    camera_motion = wanted.get("camera_motion") or str(rng.choice(cameras))
    camera = random_camera(camera_motion, rng)
    radius = random_radius(rng, wanted.get("size"))
    motion = wanted.get("motion") or str(rng.choice(MOTIONS))
    path = followed(random_path(motion, 1.05 * radius.max(), rng), camera)
    return Clip(wanted.get("shape") or str(rng.choice(SHAPES)),
                wanted.get("colour") or str(rng.choice(tuple(COLOURS))), background, motion,
                camera_motion, radius, path, camera, tuple(rng.uniform(0, 16, 2)))


def coverage(shape, x, y, radius):
    """How much of each pixel the shape covers, 0..1, from the distance to its outline."""
    if shape == "circle":
        distance = np.hypot(x, y) - radius
    elif shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - 0.88 * radius
    elif shape == "triangle":
        y = y - 0.25 * radius
        slope = 0.866 * np.abs(x) - 0.5 * y
        distance = np.maximum(slope, y) - 0.62 * radius
    else:
        distance = star_distance(x, y, 1.22 * radius)
    return np.clip(0.5 - distance, 0, 1)


def star_distance(x, y, radius):
    """Five points, one up; every tenth of the star is the same wedge, cut by one line."""
    wedge = 2 * math.pi / 5
    angle = np.abs((np.arctan2(x, -y) + wedge / 2) % wedge - wedge / 2)
    reach = np.hypot(x, y)
    inner = 0.45
    tip, notch = np.array([1, 0.0]), inner * np.array([math.cos(wedge / 2), math.sin(wedge / 2)])
    edge = notch - tip
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return reach * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1]) - radius * normal[0]


def pixel_grid():
    centres = np.arange(SIZE) + 0.5
    return np.meshgrid(centres, centres)


def soft_wave(phase, sharpness):
    """A square wave of period 1 whose edges are as wide as a pixel."""
    triangle = 1 - 4 * np.abs(phase % 1 - 0.5)
    return np.clip(triangle * sharpness, -1, 1)


def ground(clip, frame):
    """Gray level of the background at every pixel."""
    x, y = pixel_grid()
    if clip.background in PLAIN:
        return np.full(x.shape, PLAIN[clip.background], float)
    progress = frame / (FRAMES - 1)
    if clip.background == "dawn":
        return 30 + 150 * progress * (y / SIZE) + 40 * progress
    if clip.background == "dusk":
        return 220 - 150 * progress * (x / SIZE) - 40 * progress
    shift_x, shift_y, zoom = clip.camera[frame]
    centre = SIZE / 2
    ground_x = (x - centre) / zoom + centre + shift_x + clip.phase[0]
    ground_y = (y - centre) / zoom + centre + shift_y + clip.phase[1]
    if clip.background == "striped":
        return 110 + 50 * soft_wave((ground_x + ground_y) / (16 * math.sqrt(2)), 4 * zoom)
    return 110 + 50 * soft_wave(ground_x / 20, 5 * zoom) * soft_wave(ground_y / 20, 5 * zoom)


def render(clip):
    """Frames of the clip: uint8 [frames, height, width, 3]."""
    x, y = pixel_grid()
    frames = np.empty((FRAMES, SIZE, SIZE, 3))
    for frame, (centre_x, centre_y) in enumerate(clip.track()):
        cover = coverage(clip.shape, x - centre_x, y - centre_y, clip.radius[frame])[..., None]
        frames[frame] = (1 - cover) * ground(clip, frame)[..., None] \
            + cover * np.array(COLOURS[clip.colour], float)
    return np.rint(frames).astype(np.uint8)


WORDINGS = (
    "a {colour} {shape} on a {background} background",
    "a {colour} {shape} on a {background} background",
    "a {colour} {shape} on {background}",
    "{colour} {shape}, {background} background",
    "a {shape} that is {colour}, the background is {background}",
    "a {background} background with a {colour} {shape}",
    "a video of a {colour} {shape} on a {background} background",
    "one {colour} {shape} against a {background} background",
    "{background} background, a {shape} in {colour}",
    "the {colour} {shape} over a {background} ground",
)
PARTIAL_WORDINGS = (
    "a {colour} {shape}", "a {shape} on a {background} background", "a {colour} shape",
    "something {colour} on a {background} background", "a {shape}", "a {background} background",
    "a {colour} shape on a {background} background",
)
HELD_OUT_WORDINGS = (
    "a video of one {shape} in {colour} against {background}",
    "the background is {background}, the {shape} is {colour}",
    "one {colour} {shape} with a {background} ground",
    "{colour} {shape} over {background}",
)


def caption(clip, rng, partial=0.2):
    wordings = PARTIAL_WORDINGS if rng.random() < partial else WORDINGS
    return str(rng.choice(wordings)).format(colour=clip.colour, shape=clip.shape,
                                            background=clip.background)


def ground_truth(clip):
    seen = {name: getattr(clip, name)
            for name in ("shape", "colour", "background", "motion", "camera_motion")}
    return {**seen, "prompt": WORDINGS[0].format(**seen), "track": clip.track().tolist(),
            "radius": (clip.radius * clip.camera[:, 2]).tolist(), "camera": clip.camera.tolist()}


def write_video(path, frames, fps=8):
    """MP4 with the colours at full resolution: small objects suffer from halved chroma."""
    height, width = frames.shape[1:3]
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
               "-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-c:v", "libx264",
               "-pix_fmt", "yuv444p", "-crf", "4", "-bitexact", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)


def write_clip(clip, stem):
    write_video(stem.with_suffix(".mp4"), render(clip))
    stem.with_suffix(".json").write_text(json.dumps(ground_truth(clip)) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the first clip (default 0)")
    parser.add_argument("--count", type=int, default=1, help="how many clips (default 1)")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--colour", choices=tuple(COLOURS))
    parser.add_argument("--background", choices=BACKGROUNDS)
    parser.add_argument("--motion", choices=MOTIONS)
    parser.add_argument("--camera-motion", choices=CAMERAS)
    parser.add_argument("--size", choices=("constant", "growing", "shrinking"))
    arguments = vars(parser.parse_args())
    seed, count, output = (arguments.pop(name) for name in ("seed", "count", "output"))
    output.mkdir(parents=True, exist_ok=True)
    for index in range(seed, seed + count):
        clip = random_clip(np.random.default_rng(index), **arguments)
        write_clip(clip, output / f"clip-{index:04d}")


if __name__ == "__main__":
    main()
