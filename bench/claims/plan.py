# SPDX-License-Identifier: BSD-2-Clause
"""What is compared: reference clips, the prompts that take their motion over, and the methods."""
import dataclasses

import clips
import numpy as np

# Far from the seeds that the demo model was trained on.
FIRST_CLIP = 1_000_000
FIRST_SEED = 10_000
PROMPTS, SEEDS = 3, 2

# (motion of the object in the picture, of the camera, background or None for any)
KINDS = (("circle", "fixed", None), ("straight", "fixed", None), ("still", "pan", "checkered"),
         ("bounce", "fixed", None), ("arc", "fixed", None), ("still", "zoom", "checkered"),
         ("back-and-forth", "fixed", None), ("zigzag", "fixed", None),
         ("straight", "pan", "checkered"), ("spiral", "fixed", None), ("still", "fixed", None),
         ("arc", "zoom", "striped"))


@dataclasses.dataclass(frozen=True)
class Method:
    title: str
    training: dict = None  # options of mm-train beside the config; None: nothing is trained
    prior: bool = True  # starts from the reference's inverted noise, where the config says so


METHODS = {
    "base": Method("base model", prior=False),
    "base-prior": Method("base model, noise prior"),
    "motionmatcher": Method("MotionMatcher", {}),
    "without-ca": Method("without CA", {"spatial-weight": 0}),
    "without-tsa": Method("without TSA", {"temporal-weight": 0}),
    "ddpm": Method("DDPM objective", {"objective": "ddpm"}),
}


@dataclasses.dataclass
class Reference:
    name: str
    clip: clips.Clip
    prompts: list  # dictionaries: colour, shape, background, prompt, seeds

    @property
    def camera_moves(self):
        return self.clip.camera_motion != "fixed"

    @property
    def prompt(self):
        return clips.WORDINGS[0].format(**vars(self.clip))


def others(rng, names, own, count):
    """`count` different names, none of them the reference's own."""
    return [str(name) for name in rng.permutation([name for name in names if name != own])[:count]]


def prompts(clip, number, rng):
    """Colour and shape are never the reference's, and no two prompts share one. So with
    backgrounds, but where the camera moves they must show it."""
    backgrounds = others(rng, clips.BACKGROUNDS, clip.background, PROMPTS)
    if clip.camera_motion != "fixed":
        backgrounds = ["checkered", "striped", "checkered"]
    listed = []
    for index, (colour, shape, background) in enumerate(zip(
            others(rng, clips.COLOURS, clip.colour, PROMPTS),
            others(rng, clips.SHAPES, clip.shape, PROMPTS), backgrounds)):
        words = {"colour": colour, "shape": shape, "background": background}
        first = FIRST_SEED + 100 * number + 10 * index
        listed.append({**words, "prompt": clips.WORDINGS[0].format(**words),
                       "seeds": list(range(first, first + SEEDS))})
    return listed


def reference(number):
    motion, camera_motion, background = KINDS[number % len(KINDS)]
    rng = np.random.default_rng(FIRST_CLIP + number)
    clip = clips.random_clip(
        rng, motion=motion, camera_motion=camera_motion,
        colour=list(clips.COLOURS)[number % len(clips.COLOURS)],
        shape=clips.SHAPES[number % len(clips.SHAPES)],
        background=background or clips.BACKGROUNDS[number % len(clips.BACKGROUNDS)])
    name = f"{number:02d}-{motion}" + (f"-{camera_motion}" if camera_motion != "fixed" else "")
    return Reference(name, clip, prompts(clip, number, rng))


def references(count):
    return [reference(number) for number in range(count)]
