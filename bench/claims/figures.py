# SPDX-License-Identifier: BSD-2-Clause
"""Figures of one sampled video against its reference's true motion and its own prompt."""
import clips
import numpy as np

GRID = 50  # ground points a side, as many as the paper tracks


def distance(first, second):
    """Mean over tracks of `first` of the mean squared distance to the nearest of `second`; both
    [tracks, frames, coordinates]."""
    a, b = (tracks.reshape(len(tracks), -1) for tracks in (first, second))
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return max(0.0, squares.min(1).mean() / a.shape[1])


def discrepancy(first, second, pixels=clips.SIZE ** 2):
    """The paper's motion discrepancy of two sets of tracks."""
    return (distance(first, second) + distance(second, first)) / pixels


def carried(positions):
    """The track with the nearest known position in frames without one; None where all are."""
    known = np.flatnonzero(~np.isnan(positions[:, 0]))
    if known.size == 0:
        return None
    frames = np.arange(len(positions))
    return positions[known[np.abs(frames[:, None] - known).argmin(1)]]


def worst_track(track):
    """In every frame the corner of the picture farthest from the track."""
    return np.where(track < clips.SIZE / 2, clips.SIZE, 0).astype(float)


def whole_track(positions, true):
    """The positions found, known in every frame; the worst track where nothing was found."""
    found = carried(positions)
    return worst_track(true) if found is None else found


def from_first_frame(camera):
    """A clip's camera (x, y, zoom) as seen from its first frame."""
    shift = (camera[:, :2] - camera[0, :2]) * camera[0, 2]
    return np.concatenate([shift, camera[:, 2:] / camera[0, 2]], 1)


def ground_tracks(camera):
    """Tracks of a grid of the first frame's ground points: [GRID * GRID, frames, 2]."""
    side = (np.arange(GRID) + 0.5) * clips.SIZE / GRID
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 1, 2)
    return clips.to_picture(points, camera)


def ground_discrepancy(clip, seen):
    """Along stripes no shift can be seen: there only the direction across counts. A ground without
    texture shows no motion."""
    camera = seen.camera
    if np.isnan(camera).any():
        camera = np.tile([0.0, 0.0, 1.0], (len(camera), 1))
    true, found = (ground_tracks(c) for c in (from_first_frame(clip.camera), camera))
    if not np.isnan(seen.across).any():
        true, found = true @ seen.across[:, None], found @ seen.across[:, None]
    return discrepancy(true, found)


def motion_figures(clip, seen):
    true = clip.track()
    found = whole_track(seen.positions, true)
    figures = {
        "object": discrepancy(true[None], found[None]),
        "path": discrepancy((true - true.mean(0))[None], (found - found.mean(0))[None]),
        "placement": float(np.hypot(*(true.mean(0) - found.mean(0)))),
        "missing": float(np.isnan(seen.positions[:, 0]).all()),
        "carried": float(np.isnan(seen.positions[:, 0]).mean()),
    }
    if clip.camera_motion == "fixed":
        return {**figures, "motion": figures["object"]}
    ground = ground_discrepancy(clip, seen)
    return {**figures, "ground": ground, "motion": (figures["object"] + ground) / 2}


def text_figures(clip, prompt, seen):
    """1 where what the prompt names is seen, and where the reference's is seen instead."""
    right = {key: float(getattr(seen, key) == prompt[key])
             for key in ("colour", "shape", "background")}
    leak = {"leak_" + key: float(getattr(seen, key) == getattr(clip, key))
            for key in ("colour", "shape")}
    return {**right, "text": sum(right.values()) / 3, **leak, "leak": max(leak.values()),
            "single": seen.single}


def video_figures(clip, prompt, seen):
    return {**motion_figures(clip, seen), **text_figures(clip, prompt, seen)}
