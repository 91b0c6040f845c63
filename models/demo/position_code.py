# SPDX-License-Identifier: BSD-2-Clause
"""Training losses that make a UNet3D's features tell which frame, and which place, they belong to.

UNet3DConditionModel has no embedding of either; only the padding of its convolutions tells the
first frame from the last and one edge from another. Where captions never mention time or place,
nothing asks the features to carry that on, and then a LoRA, which changes attention and
feed-forward layers alone, has nothing to time and place a motion by. So in each transformer block
but the earliest, a few fixed directions of the normalized activations are pulled towards a code of
the frame, a few others towards one of the place.
"""
import math

import torch

from clips import FRAMES

FRAME_DIRECTIONS, PLACE_DIRECTIONS = 4, 3  # the latter for each of the two axes
SHARE = 0.15  # the share of the activations' power that each of the two codes takes


def is_coded(name):
    """Before these blocks hardly any padding has been seen."""
    return name.endswith("norm3") and not name.startswith(("transformer_in", "down_blocks.0"))


def waves(length, count):
    """Cosines of mean 0 and mean square 1: [length, count]."""
    place = (torch.arange(length) + 0.5) / length
    return math.sqrt(2) * torch.cos(math.pi * place[:, None] * torch.arange(1, count + 1))


def place_waves(places):
    """The same for the rows, then for the columns, of a square: [places, 2 x count]."""
    side = math.isqrt(places)
    one = waves(side, PLACE_DIRECTIONS)
    return torch.cat([one[:, None].expand(side, side, -1), one[None].expand(side, side, -1)],
                     dim=2).reshape(places, -1)


def directions(channels, generators):
    """Bases [channels, directions] of the frame's and of the place's code, orthogonal to each
    other."""
    frames, places = (torch.randn(channels, count, generator=generator) for count, generator in
                      zip((FRAME_DIRECTIONS, 2 * PLACE_DIRECTIONS), generators))
    return torch.linalg.qr(torch.cat([frames, places], 1))[0].split(
        (FRAME_DIRECTIONS, 2 * PLACE_DIRECTIONS), 1)


def relative_error(seen, code):
    """0 where the features are the code, 1 where they tell nothing of it."""
    wanted = code * math.sqrt(SHARE / code.shape[-1])
    return (seen - wanted).square().mean() / wanted.square().mean()


class PositionCode:
    """Watches a UNet's activations between `watch` and `losses`."""

    def __init__(self, unet):
        self.errors = None
        generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
        for name, module in unet.named_modules():
            if is_coded(name):
                bases = directions(module.normalized_shape[0], generators)
                module.register_forward_hook(self.hook(bases, ".attentions." in name))

    def hook(self, bases, spatial):
        def measure(_module, _inputs, output):
            if self.errors is None:
                return
            # [clip, frame, place, channel], or [clip and place, frame, channel]
            seen = output.float() / math.sqrt(output.shape[-1])
            if spatial:
                seen = seen.view(-1, FRAMES, *seen.shape[1:])
                places = place_waves(seen.shape[2])
            else:
                places = self.places
                seen = seen.view(-1, len(places), FRAMES, seen.shape[2]).transpose(1, 2)
            self.places = places
            frames = waves(FRAMES, FRAME_DIRECTIONS)[:, None]
            self.errors.append(torch.stack([relative_error(seen @ bases[0], frames),
                                            relative_error(seen @ bases[1], places)]))
        return measure

    def watch(self):
        self.errors = []

    def losses(self):
        """Relative squared errors of the frame's and of the place's code, averaged over the layers:
        1 where the features tell nothing."""
        errors, self.errors = self.errors, None
        return torch.stack(errors).mean(0)
