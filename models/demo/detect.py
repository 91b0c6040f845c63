#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Finds the coloured object of a video from its pixels alone: where it is in every frame, its
colour and shape, what it lies on, and how the camera moves over a textured ground.

    python3 models/demo/detect.py VIDEO...

prints one line of JSON a video. Knows nothing of how clips.py draws, nor of any prompt.
"""
import argparse
import dataclasses
import json
import pathlib
import subprocess

import numpy as np

import ground

# Where one hue's name ends and the next begins, in degrees.
HUES = ((15, "red"), (42, "orange"), (80, "yellow"), (180, "green"), (253, "blue"),
        (330, "purple"), (360, "red"))
SHAPES = ("circle", "square", "triangle", "star")
MIN_CHROMA = 60  # of 255: what differs less between its channels is ground
MIN_AREA = 0.006  # of the picture: what is smaller is a speck, not an object
# Random places come to 1.7, of true clips 93 % stay below: only sharp bounces are rougher.
MAX_ROUGHNESS = 1
ANGLES = np.linspace(-np.pi, np.pi, 1441)


@dataclasses.dataclass
class Analysis:
    """What was seen, in pixels of the video; NaN where nothing was. `camera` is (x, y, zoom): what
    the first frame shows at p, the frame shows at (p - (x, y) - centre) * zoom + centre."""
    positions: np.ndarray  # [frames, 2]: of a triangle half its height, else the centroid
    counts: np.ndarray  # [frames]
    areas: np.ndarray  # [frames]
    colour: str
    shape: str
    background: str
    roughness: float  # of the track: its changes of speed over its speed, rms
    camera: np.ndarray  # [frames, 3]; NaN where the ground shows no texture
    across: np.ndarray  # [2]: across stripes, the only way in which their shift is seen; else NaN

    @property
    def found(self):
        return ~np.isnan(self.positions[:, 0])

    @property
    def smooth(self):
        return bool(self.found.mean() >= 0.9 and self.roughness <= MAX_ROUGHNESS)

    @property
    def single(self):
        """Fraction of the frames with exactly one object."""
        return float((self.counts == 1).mean())

    def to_json(self):
        values = {"colour": self.colour, "shape": self.shape, "background": self.background,
                  "smooth": self.smooth}
        for name in ("roughness", "counts", "positions", "areas", "camera", "across"):
            values[name] = without_nan(np.round(getattr(self, name), 2).tolist())
        return values


def without_nan(value):
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if value != value else value


def read_video(path):
    """All frames of a video: uint8 [frames, height, width, 3]."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height",
         "-of", "csv=p=0", str(path)], capture_output=True, check=True, text=True).stdout
    width, height = (int(side) for side in probe.strip().strip(",").split(",")[:2])
    pixels = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24",
         "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-"],
        capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)


def reduced(frames):
    """Frames averaged over blocks to sides of 64 to 127 pixels, and the blocks' side."""
    count, height, width, _ = frames.shape
    block = max(1, min(height, width) // 64)
    rows, columns = height // block, width // block
    whole = frames[:, :rows * block, :columns * block]
    blocks = whole.reshape(count, rows, block, columns, block, 3)
    return blocks.mean((2, 4)), block


def label(mask):
    """Connected regions of every frame of a mask [frames, height, width]: 0 outside, else a number
    that no other region has."""
    index = np.arange(mask.size).reshape(mask.shape)
    along, down = mask[:, :, 1:] & mask[:, :, :-1], mask[:, 1:] & mask[:, :-1]
    first = np.concatenate([index[:, :, :-1][along], index[:, :-1][down]])
    second = np.concatenate([index[:, :, 1:][along], index[:, 1:][down]])
    parent = index.ravel()
    while True:
        joined = parent.copy()
        low = np.minimum(parent[first], parent[second])
        np.minimum.at(joined, parent[first], low)
        np.minimum.at(joined, parent[second], low)
        while not np.array_equal(joined, joined[joined]):
            joined = joined[joined]
        if np.array_equal(joined, parent):
            return np.where(mask, parent.reshape(mask.shape) + 1, 0)
        parent = joined


def regions(labels, min_area):
    """Of every frame the regions of at least that area: a list of (label, area, centre)."""
    found = []
    for frame in labels:
        numbers, areas = np.unique(frame[frame > 0], return_counts=True)
        found.append([(number, area, np.argwhere(frame == number).mean(0)[::-1] + 0.5)
                      for number, area in zip(numbers, areas) if area >= min_area])
    return found


def followed(candidates):
    """The region of every frame that is the object, None where there is none: the largest at first,
    then of those not much smaller than the largest the one nearest to where it was last."""
    chosen, last = [], None
    for frame in candidates:
        largest = max((area for _, area, _ in frame), default=0)
        likely = [region for region in frame if region[1] >= 0.4 * largest]
        if last is None:
            region = max(likely, key=lambda r: r[1], default=None)
        else:
            region = min(likely, key=lambda r: np.hypot(*(r[2] - last)), default=None)
        last = region[2] if region else last
        chosen.append(region)
    return chosen


def hue_name(colour):
    red, green, blue = colour
    low, high = min(colour), max(colour)
    if high == red:
        sector = (green - blue) / (high - low) % 6
    elif high == green:
        sector = (blue - red) / (high - low) + 2
    else:
        sector = (red - green) / (high - low) + 4
    return next(name for end, name in HUES if 60 * sector <= end)


def outline(shape):
    """Of an upright shape with the unit disc's area: at ANGLES the outline's distance from the
    centroid and how squarely a ray meets it."""
    if shape == "circle":
        return np.ones(ANGLES.size), np.ones(ANGLES.size)
    count, inner = {"square": (4, 1), "triangle": (3, 1), "star": (10, 0.42)}[shape]
    turn = np.pi / 4 if shape == "square" else -np.pi / 2
    reach = np.where(np.arange(count) % 2, inner, 1)
    angles = turn + 2 * np.pi * np.arange(count) / count
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
    edges = np.roll(corners, -1, 0) - corners
    side = ((ANGLES - turn) % (2 * np.pi) / (2 * np.pi) * count).astype(int) % count
    rays = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
    cross = corners[:, 0] * edges[:, 1] - corners[:, 1] * edges[:, 0]
    across = rays[:, 0] * edges[side, 1] - rays[:, 1] * edges[side, 0]
    distance = cross[side] / across
    area = np.abs(cross).sum() / 2
    return (distance * np.sqrt(np.pi / area),
            np.abs(across) / np.hypot(*edges[side].T))


OUTLINES = {shape: outline(shape) for shape in SHAPES}


def drawn(shape, place, x, y, edge):
    """The shape's soft mask at points x, y [frames, points], with (x, y, radius) of every frame in
    `place`."""
    x, y = x - place[:, :1], y - place[:, 1:2]
    angle = np.rint((np.arctan2(y, x) + np.pi) * ((ANGLES.size - 1) / (2 * np.pi))).astype(int)
    distance, squareness = (table[angle] for table in OUTLINES[shape])
    depth = (distance * place[:, 2:] - np.hypot(x, y)) * squareness
    return np.clip(0.5 + depth / edge, 0, 1)


def fit(shape, seen, weight, x, y, place):
    """Place of the shape that explains the mask `seen` best, by Gauss-Newton, and the squared error
    of every frame."""
    for edge in (4, 4, 4, 2, 2):
        model = drawn(shape, place, x, y, edge)
        slopes = np.stack([(drawn(shape, place + step, x, y, edge) - model) / 0.5
                           for step in 0.5 * np.eye(3)[:, None]], 2) * weight[..., None]
        normal = np.einsum("fpi,fpj->fij", slopes, slopes) + 1e-3 * np.eye(3)
        right = np.einsum("fpi,fp->fi", slopes, (seen - model) * weight)
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        place = place + np.clip(step, -3, 3)
        place[:, 2] = np.maximum(place[:, 2], 1)
    error = (drawn(shape, place, x, y, 2) - seen) * weight
    return place, (error ** 2).sum(1)


def windows(cover, known):
    """Of every frame with the object the soft mask around it, which of its pixels are in the
    picture, and their coordinates: four arrays [frames, points]."""
    height, width = cover.shape[1:]
    frames = np.flatnonzero(known)
    boxes = [np.argwhere(cover[f] > 0.25) for f in frames]
    half = int(max(max(np.ptp(box, 0)) for box in boxes) / 2) + 5
    offset = np.arange(-half, half + 1)
    middle = np.array([np.floor((box.min(0) + box.max(0)) / 2) for box in boxes], int)
    row = (middle[:, :1, None] + offset[:, None] + 0 * offset).reshape(len(frames), -1)
    column = (middle[:, 1:, None] + offset + 0 * offset[:, None]).reshape(len(frames), -1)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    seen = cover[frames[:, None], row.clip(0, height - 1), column.clip(0, width - 1)]
    return seen, inside.astype(float), column + 0.5, row + 0.5


def shape_and_places(cover, known, chosen):
    """The shape that explains all frames' masks best, and its (x, y, radius) in every frame."""
    seen, weight, x, y = windows(cover, known)
    centres = np.array([region[2] for region in chosen if region])
    radii = np.sqrt((seen * weight).sum(1, keepdims=True) / np.pi)
    start = np.concatenate([centres, radii], 1)
    fits = {shape: fit(shape, seen, weight, x, y, start) for shape in SHAPES}
    # Every frame counts the same, whatever its object's size.
    shape = min(fits, key=lambda s: (fits[s][1] / radii[:, 0] ** 2).mean())
    places = np.full((len(cover), 3), np.nan)
    places[known] = fits[shape][0]
    return shape, places


def object_cover(chroma, labels, chosen, known):
    """How much of each pixel the object covers, from 0 to 1: its chroma over that of its middle."""
    cover = np.zeros(chroma.shape)
    for frame in np.flatnonzero(known):
        mine = labels[frame] == chosen[frame][0]
        full = np.percentile(chroma[frame][mine], 70)
        near = ground.dilated(mine[None], 3)[0] & (mine | (labels[frame] == 0))
        cover[frame] = np.where(near, np.clip(chroma[frame] / full, 0, 1), 0)
    return cover


def roughness(positions, width):
    """How much the speed changes between frames over the speed, both rms; what moves by less than a
    hundredth of the picture is still, not rough."""
    known = np.flatnonzero(~np.isnan(positions[:, 0]))
    if known.size < 3:
        return float("nan")
    frames = np.arange(known[0], known[-1] + 1)
    track = np.stack([np.interp(frames, known, positions[known, axis]) for axis in (0, 1)], 1)
    change, speed = (np.sqrt((np.diff(track, n, 0) ** 2).sum(1).mean()) for n in (2, 1))
    return float(change / (speed + 0.01 * width))


def analyse(frames):
    """What is seen in frames uint8 [frames, height, width, 3]."""
    small, block = reduced(frames)
    chroma = small.max(3) - small.min(3)
    labels = label(chroma > MIN_CHROMA)
    candidates = regions(labels, MIN_AREA * labels[0].size)
    chosen = followed(candidates)
    known = np.array([region is not None for region in chosen])
    background, camera, across = ground.analyse(small)
    camera[:, :2] *= block
    shape, colour, places = "", "", np.full((len(small), 3), np.nan)
    if known.any():
        cover = object_cover(chroma, labels, chosen, known)
        colour = hue_name(np.median(small[cover > 0.9], 0))
        shape, places = shape_and_places(cover, known, chosen)
    areas = np.pi * places[:, 2] ** 2
    if shape == "triangle":
        # From the centroid, a third of the height up, to half of it.
        places[:, 1] -= np.sqrt(areas * np.sqrt(3)) / 6
    positions = places[:, :2] * block
    return Analysis(positions, np.array([len(c) for c in candidates]), areas * block ** 2, colour,
                    shape, background, roughness(positions, frames.shape[2]), camera, across)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("videos", nargs="+", type=pathlib.Path, metavar="VIDEO")
    for path in parser.parse_args().videos:
        print(json.dumps({"path": str(path), **analyse(read_video(path)).to_json()}), flush=True)


if __name__ == "__main__":
    main()
