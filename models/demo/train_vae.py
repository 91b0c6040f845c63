#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""First part of the demo model's recipe: the VAE (diffusers' AutoencoderKL, factor 4).

    python3 models/demo/train_vae.py --work DIR [--steps 1300]

Checkpoints go to DIR and a second call goes on from them; DIR/vae is the result.
"""
import argparse
import csv
import json
import pathlib
import time

import numpy as np
import torch
from diffusers import AutoencoderKL

import clips

CONFIG = dict(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 3,
              up_block_types=["UpDecoderBlock2D"] * 3, block_out_channels=[32, 48, 64],
              layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=clips.SIZE)
BATCH, LEARNING_RATE, KL_WEIGHT, OBJECT_WEIGHT = 20, 3e-3, 2e-5, 4.0
WARM_UP, COOL_DOWN = 200, 0.5
LOG_VARIANCE = -12.0


def random_image(rng):
    """One frame of a random clip with up to five more objects in any colour, and its weights."""
    clip = clips.random_clip(rng)
    frame = rng.integers(clips.FRAMES)
    x, y = clips.pixel_grid()
    picture = np.repeat(clips.ground(clip, frame)[..., None], 3, 2)
    weight = np.ones(x.shape)
    for _ in range(rng.integers(1, 7)):
        palette = rng.random() < 0.5
        colour = clips.COLOURS[str(rng.choice(list(clips.COLOURS)))] if palette \
            else rng.uniform(0, 255, 3)
        centre = rng.uniform(4, clips.SIZE - 4, 2)
        cover = clips.coverage(str(rng.choice(clips.SHAPES)), x - centre[0], y - centre[1],
                               rng.uniform(6, 18))
        picture = picture * (1 - cover[..., None]) + cover[..., None] * np.array(colour, float)
        weight = np.maximum(weight, 1 + (OBJECT_WEIGHT - 1) * (cover > 0))
    return picture / 127.5 - 1, weight


def batch_of_images(step):
    rng = np.random.default_rng([1, step])
    pictures, weights = zip(*(random_image(rng) for _ in range(BATCH)))
    pictures = torch.tensor(np.stack(pictures), dtype=torch.float32).permute(0, 3, 1, 2)
    return pictures, torch.tensor(np.stack(weights), dtype=torch.float32)[:, None]


def loss_of(vae, step):
    pictures, weights = batch_of_images(step)
    torch.manual_seed(step)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(pictures).latent_dist
        decoded = vae.decode(posterior.sample()).sample.float()
    error = decoded - pictures
    loss = (weights * (error.abs() + error.square())).mean()
    return loss + KL_WEIGHT * posterior.kl().float().mean(), error.square().mean().item()


def measure_scaling(vae):
    """One over the standard deviation of the latents, as Stable Diffusion chose its own."""
    with torch.no_grad():
        latents = torch.cat([vae.encode(batch_of_images(10 ** 6 + i)[0]).latent_dist.mean
                             for i in range(5)])
    return 1 / latents.std().item()


def learning_rate(step, steps):
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP, (steps - step) / (COOL_DOWN * steps))


def narrow_posterior(vae):
    """Training leaves the posterior wide, for a decoder that forgives noise; the UNet learns its
    means, so its samples shall be these."""
    channels = vae.config.latent_channels
    with torch.no_grad():
        vae.quant_conv.weight[channels:] = 0
        vae.quant_conv.bias[channels:] = LOG_VARIANCE


def train(work, steps):
    torch.manual_seed(0)
    vae = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), LEARNING_RATE, weight_decay=1e-4)
    checkpoint, first = work / "vae.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    started = time.time()
    with open(work / "vae.csv", "a", newline="") as log:
        writer = csv.writer(log)
        for step in range(first, steps):
            loss, error = loss_of(vae, step)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            optimizer.step()
            if step % 20 == 19:
                writer.writerow([step + 1, f"{loss.item():.5f}", f"{error:.6f}",
                                 f"{time.time() - started:.0f}"])
                log.flush()
            if step % 250 == 249 or step + 1 == steps:
                torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(),
                            "step": step + 1}, checkpoint)
    return vae


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=1300)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    vae = train(arguments.work, arguments.steps).eval()
    narrow_posterior(vae)
    vae.register_to_config(scaling_factor=measure_scaling(vae))
    vae.save_pretrained(arguments.work / "vae")
    print(json.dumps({"scaling_factor": vae.config.scaling_factor}))


if __name__ == "__main__":
    main()
