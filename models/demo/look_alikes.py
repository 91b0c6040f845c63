# SPDX-License-Identifier: BSD-2-Clause
"""A training loss that makes the word of a shape count, where two shapes look much alike.

The denoising loss alone tells the round shapes from the pointed ones early, but hardly gains by
telling a circle from a square or a triangle from a star: a few corners are a small part of a
picture. So an image is also denoised with its look-alike's word in the caption, and the right
caption has to do better: a classifier's loss on the relative difference of the two errors.
"""
import torch

LOOK_ALIKES = (("circle", "square"), ("triangle", "star"))
TIMESTEPS = (300, 800)  # less noise leaves nothing open, more noise hides the shape
CERTAINTY = 10.0  # a tenth less error makes the odds e to 1


def other_words(tokenizer):
    """Maps each token to itself, but a shape's to that of its look-alike."""
    table = torch.arange(len(tokenizer))
    for pair in LOOK_ALIKES:
        one, other = (tokenizer(word).input_ids[1] for word in pair)
        table[one], table[other] = other, one
    return table


def loss(right, wrong, timesteps):
    """From the errors [count] of the same noised images with the right and the wrong word."""
    low, high = TIMESTEPS
    telling = (timesteps >= low) & (timesteps < high)
    better = (wrong - right) / right.detach()
    doubt = torch.nn.functional.softplus(-CERTAINTY * better)
    return (doubt * telling).mean()
