#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""PyTorch's side of vs_pytorch.py: one measurement in a process of its own, as JSON.

    pytorch_side.py forward|step|load --model DIR [--precision f32|bf16] [--threads N]
                    [--frames 16] [--side 48] [--rank 32] [--runs 1]

forward: diffusers' UNet. step: a training step the way the method's released code does it: weights
in float32 under autocast, every layer's activations computed again in the backward pass (gradient
checkpointing), both feature passes through the whole down path and both with a graph, though only
one needs it. load: torch.load of the UNet's state dict without mmap; a model in safetensors is
saved as a PyTorch archive first, next to nothing of which is measured.
"""
import argparse
import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "parity"))

import reference as R

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
DROPOUT, TOKENS, FEATURE_LEVEL = 0.1, 77, 2


class Network(R.Model):
    """The UNet and the schedule alone."""

    def __init__(self, folder, dtype):
        self.folder, self.dtype = Path(folder), dtype
        self.unet = self._load(R.UNet3DConditionModel, "unet")
        self.schedule = R.Schedule(self.folder / "scheduler", torch.float32)


class DroppingLinear(R.LoraLinear):
    def forward(self, x):
        y = self.base(x)
        if self.scale == 0:
            return y
        return y + F.dropout(F.linear(F.linear(x, self.down), self.up), DROPOUT)


def inputs(unet, arguments):
    generator = torch.Generator().manual_seed(0)
    side = arguments.side
    latents, noise = (
        torch.randn(1, unet.config.in_channels, arguments.frames, side, side, generator=generator)
        for _ in range(2)
    )
    context = torch.randn(1, TOKENS, unet.config.cross_attention_dim, generator=generator)
    return latents, noise, context, generator


def timed(runs, work):
    for _ in range(runs):
        start = time.perf_counter()
        work()
        yield time.perf_counter() - start


def forward(arguments):
    dtype = TYPES[arguments.precision]
    unet = Network(arguments.model, dtype).unet
    latents, _, context, _ = inputs(unet, arguments)
    latents, context = latents.to(dtype), context.to(dtype)
    with torch.inference_mode():
        return list(timed(arguments.runs, lambda: unet(latents, 700, context)))


def layers_of(unet):
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    for block in blocks:
        for kind in ("resnets", "temp_convs", "attentions", "temp_attentions"):
            yield from getattr(block, kind, None) or ()


def recompute_layers(unet, lora):
    """Each layer again in the backward pass, under the LoRA's scale of its forward pass."""

    def wrap(plain):
        def run(scale, *values, **named):
            before = next(iter(lora.layers.values())).scale
            lora.set_scale(scale)
            try:
                return plain(*values, **named)
            finally:
                lora.set_scale(before)

        def call(*values, **named):
            scale = next(iter(lora.layers.values())).scale
            return checkpoint(run, scale, *values, use_reentrant=False, **named)

        return call

    for layer in layers_of(unet):
        layer.forward = wrap(layer.forward)


def whole_down_path(network, latents, timestep, context):
    """The maps of the feature level, at the end of the whole down path."""
    spatial, temporal = [], []
    unet = network.unet
    with contextlib.ExitStack() as stack:
        for module in network._spatial_maps(FEATURE_LEVEL):
            stack.enter_context(R.recording(module, spatial))
        for module in network._temporal_maps(FEATURE_LEVEL):
            stack.enter_context(R.recording(module, temporal))
        stack.enter_context(R.stopping_after(unet.down_blocks[-1]))
        with contextlib.suppress(R.Stopped):
            unet(latents, timestep, context)
    return torch.stack(spatial).mean(0), torch.stack(temporal).mean(0)


def keep_feature_layers(unet):
    """The layers whose maps are read keep their activations: what is recorded must have a graph."""
    block = unet.down_blocks[FEATURE_LEVEL]
    for layer in [*block.attentions, *block.temp_attentions]:
        del layer.forward


def step(arguments):
    R.LoraLinear = DroppingLinear
    network = Network(arguments.model, torch.float32)
    unet, schedule = network.unet, network.schedule
    latents, noise, context, generator = inputs(unet, arguments)
    lora = R.Lora(network, R.random_lora(unet, arguments.rank, generator, up_scale=0.01))
    recompute_layers(unet, lora)
    keep_feature_layers(unet)
    optimizer = torch.optim.AdamW(lora.parameters(), lr=5e-4, weight_decay=1e-2)
    autocast = torch.autocast("cpu", TYPES["bf16"], enabled=arguments.precision == "bf16")

    def once():
        optimizer.zero_grad()
        with autocast:
            noisy = schedule.add_noise(latents, noise, 700)
            prediction = unet(noisy, 700, context).sample.float()
            target = schedule.target(latents, noise, 700)
            with lora.off():
                pred, true = (
                    whole_down_path(network, schedule.step(x, noisy, 700, 699), 699, context)
                    for x in (prediction, target)
                )
            loss = sum(2000 * F.mse_loss(p.float(), t.float()) for p, t in zip(pred, true))
        loss.backward()
        optimizer.step()

    return list(timed(arguments.runs, once))


def archive_of(folder, work):
    found = sorted(folder.glob("*.bin"))
    if found:
        return found[0]
    path = Path(work) / "weights.bin"
    if not path.exists():
        from safetensors.torch import load_file

        torch.save(load_file(next(folder.glob("*.safetensors"))), path)
    return path


def load(arguments):
    path = archive_of(Path(arguments.model) / "unet", arguments.work)

    def read():
        torch.load(path, map_location="cpu", mmap=False, weights_only=True)

    read()  # fills the page cache
    return list(timed(arguments.runs, read))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=["forward", "step", "load"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", choices=TYPES, default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=48, help="of the latents")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--work", default=".", help="folder for the archive of load")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seconds = {"forward": forward, "step": step, "load": load}[arguments.part](arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
