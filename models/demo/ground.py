# SPDX-License-Identifier: BSD-2-Clause
"""What an object lies on, from pixels alone: the background's name, and how the camera moves over
it where it has a texture."""
import numpy as np

OBJECT_CHROMA = 25  # of 255: pixels with at least this are not ground
TEXTURE = 18  # gray levels: a ground that deviates more from a plane has a texture
SEARCH = 5  # pixels: the farthest that the ground moves between two frames


def dilated(mask, steps):
    """Every frame's mask grown by that many pixels."""
    for _ in range(steps):
        grown = mask.copy()
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        grown[:, :, 1:] |= mask[:, :, :-1]
        grown[:, :, :-1] |= mask[:, :, 1:]
        mask = grown
    return mask


def planes(gray, free):
    """Of every frame the level and its change across the picture, (mean, right, down), of the plane
    nearest to the free pixels, and how far they are from it (rms)."""
    height, width = gray.shape[1:]
    y, x = np.mgrid[:height, :width]
    basis = np.stack([np.ones(x.shape), x / (width - 1) - 0.5, y / (height - 1) - 0.5], 2)
    found, errors = [], []
    for frame, usable in zip(gray, free):
        plane = np.linalg.lstsq(basis[usable], frame[usable], rcond=None)[0]
        found.append(plane)
        errors.append(np.sqrt(np.mean((frame[usable] - basis[usable] @ plane) ** 2)))
    return np.array(found), np.array(errors)


def stripes(gray, free):
    """Unit vector across most edges, and 0 where edges run in all directions alike to 1 where they
    all run in one."""
    down, right = np.gradient(gray, axis=(1, 2))
    inner = ~dilated(~free, 1)
    right, down = right[inner], down[inner]
    xx, yy, xy = (right * right).sum(), (down * down).sum(), (right * down).sum()
    angle = np.arctan2(2 * xy, xx - yy) / 2
    across = np.array([np.cos(angle), np.sin(angle)])
    return across, np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-9)


def name(gray, free):
    """Name of the background, "other" where none fits."""
    plane, error = planes(gray, free)
    if np.median(error) > TEXTURE:
        return "striped" if stripes(gray, free)[1] > 0.5 else "checkered"
    third = max(1, len(gray) // 3)
    brighter = plane[-third:, 0].mean() - plane[:third, 0].mean()
    right, down = np.abs(plane[-third:, 1:].mean(0))
    if abs(brighter) > 25 or max(right, down) > 40:
        if brighter > 0 and down > right:
            return "dawn"
        return "dusk" if brighter < 0 and right > down else "other"
    level = np.median(plane[:, 0])
    return "black" if level < 72 else "gray" if level < 183 else "white"


def sampled(picture, x, y):
    """Bilinear values of the picture at points; outside its edge is repeated."""
    height, width = picture.shape
    x, y = x.clip(0, width - 1.001), y.clip(0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    right, down = x - column, y - row
    upper = picture[row, column] * (1 - right) + picture[row, column + 1] * right
    lower = picture[row + 1, column] * (1 - right) + picture[row + 1, column + 1] * right
    return upper * (1 - down) + lower * down


def blurred(picture):
    """The picture under a binomial filter of five pixels."""
    for axis in (0, 1):
        padded = np.pad(picture, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        size = picture.shape[axis]
        picture = sum(w * np.take(padded, range(i, i + size), axis)
                      for i, w in enumerate((1, 4, 6, 4, 1))) / 16
    return picture


def best_shift(first, second, usable):
    """Whole shift (x, y) in pixels after which `first` looks most like `second`, short ones
    preferred: along a stripe nothing tells."""
    height, width = first.shape
    inner = slice(SEARCH, height - SEARCH), slice(SEARCH, width - SEARCH)
    best = (np.inf, 0, 0)
    for y in range(-SEARCH, SEARCH + 1):
        for x in range(-SEARCH, SEARCH + 1):
            from_ = (slice(SEARCH - y, height - SEARCH - y), slice(SEARCH - x, width - SEARCH - x))
            weight = usable[inner] & usable[from_]
            error = (((second[inner] - first[from_]) ** 2) * weight).sum() / max(weight.sum(), 1)
            best = min(best, (error + 0.5 * (x * x + y * y), x, y))
    return best[1:]


def motion(first, second, usable):
    """How the ground moves between two frames: (x, y, zoom), after which `first` at
    (p - centre) / zoom + centre - (x, y) looks as `second` at p. Least squares by Gauss-Newton."""
    height, width = first.shape
    row, column = np.nonzero(usable)
    u, v = column - (width - 1) / 2, row - (height - 1) / 2
    x, y, zoom = *best_shift(first, second, usable), 1.0
    gradient_y, gradient_x = np.gradient(first)
    for _ in range(8):
        at = u / zoom + (width - 1) / 2 - x, v / zoom + (height - 1) / 2 - y
        inside = (at[0] >= 0) & (at[0] <= width - 1) & (at[1] >= 0) & (at[1] <= height - 1)
        right, down = (sampled(g, *at) * inside for g in (gradient_x, gradient_y))
        slopes = np.stack([-right, -down, -(right * u + down * v) / zoom ** 2 / 32], 1)
        error = (second[row, column] - sampled(first, *at)) * inside
        # Small singular values: along stripes the ground's shift cannot be seen and is left alone.
        step = np.linalg.lstsq(slopes.T @ slopes, slopes.T @ error, rcond=0.02)[0]
        x, y, zoom = x + step[0], y + step[1], zoom + step[2] / 32
    return x, y, zoom


def camera_path(gray, free):
    """(x, y, zoom) of every frame against the first."""
    soft = [blurred(frame) for frame in gray]
    path = [(0.0, 0.0, 1.0)]
    for f in range(1, len(gray)):
        x, y, zoom = motion(soft[f - 1], soft[f], free[f - 1] & free[f])
        last_x, last_y, last_zoom = path[-1]
        # A point that moves by (x, y) on the screen is as if the camera moved the other way.
        path.append((last_x - x / last_zoom, last_y - y / last_zoom, last_zoom * zoom))
    return np.array(path)


def analyse(frames):
    """Name of the background; the camera's path [frames, 3], NaN where there is no texture; the
    unit vector across stripes, NaN where there are none."""
    unseen, nowhere = np.full((len(frames), 3), np.nan), np.full(2, np.nan)
    gray = frames.mean(3)
    free = ~dilated(frames.max(3) - frames.min(3) > OBJECT_CHROMA, 2)
    if free.mean((1, 2)).min() < 0.05:
        return "other", unseen, nowhere
    background = name(gray, free)
    if background not in ("checkered", "striped"):
        return background, unseen, nowhere
    across = stripes(gray, free)[0] if background == "striped" else nowhere
    return background, camera_path(gray, free), across
