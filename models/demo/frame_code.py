# SPDX-License-Identifier: BSD-2-Clause
"""A training loss that makes a UNet3D's features tell which frame they belong to.

UNet3DConditionModel has no embedding of frames; only the padding of its temporal convolutions tells
the first from the last. Where captions never mention time, nothing asks the features to carry that
on, and then a LoRA, which changes attention and feed-forward layers alone, has nothing to time a
motion by. So in each transformer block but the earliest, a few fixed directions of the normalized
activations are pulled towards a code of the frame.
"""
import math

import torch

from clips import FRAMES

DIRECTIONS, SHARE = 4, 0.15  # the share of the activations' power that the code takes


def is_coded(name):
    """Before these blocks hardly any padding has been seen."""
    return name.endswith("norm3") and not name.startswith(("transformer_in", "down_blocks.0"))


def codes():
    """Cosines over the frames, of mean 0 and mean square 1: [frames, directions]."""
    place = (torch.arange(FRAMES) + 0.5) / FRAMES
    waves = torch.arange(1, DIRECTIONS + 1)
    return math.sqrt(2) * torch.cos(math.pi * place[:, None] * waves)


class FrameCode:
    """Watches a UNet's activations between `watch` and `loss`."""

    def __init__(self, unet):
        self.errors = None
        generator = torch.Generator().manual_seed(5)
        for name, module in unet.named_modules():
            if is_coded(name):
                channels = module.normalized_shape[0]
                basis = torch.linalg.qr(torch.randn(channels, DIRECTIONS, generator=generator))[0]
                wanted = codes() * math.sqrt(SHARE * channels / DIRECTIONS)
                spatial = ".attentions." in name
                module.register_forward_hook(self.hook(basis, wanted, spatial))

    def hook(self, basis, wanted, spatial):
        def measure(_module, _inputs, output):
            if self.errors is None:
                return
            seen = output.float() @ basis
            # [clip, frame, place, direction] or [place of a clip, frame, direction]
            shape = (-1, FRAMES, output.shape[1], DIRECTIONS) if spatial else seen.shape
            target = wanted[:, None] if spatial else wanted
            error = (seen.view(shape) - target).square().mean()
            self.errors.append(error / wanted.square().mean())
        return measure

    def watch(self):
        self.errors = []

    def loss(self):
        """Relative squared error, averaged over the layers: 1 where the features tell nothing."""
        errors, self.errors = self.errors, None
        return torch.stack(errors).mean()
