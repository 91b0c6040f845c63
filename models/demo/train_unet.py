#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Second part of the demo model's recipe: text encoder and UNet3DConditionModel.

    python3 models/demo/train_unet.py --work DIR [--image-steps N] [--video-steps N]

First single frames, with the temporal layers left out, then whole clips; the transformers at the
latents' full resolution join late. DIR/vae comes from train_vae.py. Checkpoints go to DIR and a second call goes on from them, also towards more steps;
DIR/model is the result in the diffusers layout, in f16.
"""
import argparse
import csv
import json
import pathlib
import time

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import clips
import words

CLIP_COUNT = 5000
UNET = dict(sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
            down_block_types=["CrossAttnDownBlock3D"] * 3,
            up_block_types=["CrossAttnUpBlock3D"] * 3, block_out_channels=[32, 64, 112],
            cross_attention_dim=64, attention_head_dim=16, norm_num_groups=16)
TEXT = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=77, hidden_act="gelu")
SCHEDULER = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
                 num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=False,
                 steps_offset=1, prediction_type="v_prediction", rescale_betas_zero_snr=True,
                 timestep_spacing="trailing")
IMAGES = dict(batch=64, learning_rate=2e-3)
VIDEOS = dict(batch=4, learning_rate=1e-3)
TOP_TRANSFORMERS_FROM = 3000  # step of the clips
WARM_UP, COOL_DOWN, EMPTY_PROMPTS, EMA = 100, 0.2, 0.1, 0.999
SAVE_EVERY = 100


class Data:
    """Latents of the training clips, computed once, and their captions' tokens."""

    def __init__(self, work, vae, tokenizer):
        self.clips = [clips.random_clip(np.random.default_rng(i)) for i in range(CLIP_COUNT)]
        self.tokenizer, self.cache = tokenizer, {}
        path = work / "latents.pt"
        if not path.exists():
            torch.save(encode_clips(vae, self.clips), path)
        self.latents = torch.load(path, mmap=True)

    def tokens(self, caption):
        if caption not in self.cache:
            self.cache[caption] = self.tokenizer(caption, padding="max_length", max_length=77,
                                                 return_tensors="pt").input_ids[0]
        return self.cache[caption]

    def captions(self, chosen, rng):
        texts = ["" if rng.random() < EMPTY_PROMPTS else clips.caption(self.clips[i], rng)
                 for i in chosen]
        return torch.stack([self.tokens(text) for text in texts])

    def images(self, step, batch):
        """Latents [batch, 4, 1, h, w] of single frames, and their tokens."""
        rng = np.random.default_rng([2, step])
        chosen = rng.integers(len(self.clips), size=batch)
        frames = rng.integers(clips.FRAMES, size=batch)
        latents = torch.stack([self.latents[i, :, f:f + 1] for i, f in zip(chosen, frames)])
        return latents.float(), self.captions(chosen, rng)

    def videos(self, step, batch):
        """Latents [batch, 4, frames, h, w], some reversed in time, and their tokens."""
        rng = np.random.default_rng([3, step])
        chosen = rng.integers(len(self.clips), size=batch)
        latents = [self.latents[i].float() for i in chosen]
        for k, i in enumerate(chosen):
            if self.clips[i].background not in clips.LIGHT and rng.random() < 0.5:
                latents[k] = latents[k].flip(1)
        return torch.stack(latents), self.captions(chosen, rng)


@torch.no_grad()
def encode_clips(vae, chosen):
    latents = torch.empty(len(chosen), 4, clips.FRAMES, 16, 16, dtype=torch.float16)
    for index, clip in enumerate(chosen):
        frames = torch.tensor(clips.render(clip)).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(frames).latent_dist.mean
        latents[index] = (mean.float() * vae.config.scaling_factor).transpose(0, 1)
    return latents


def temporal_modules(unet):
    return [module for module in unet.modules()
            if type(module).__name__ in ("TemporalConvLayer", "TransformerTemporalModel")]


def top_transformers(unet):
    """Those at the latents' full resolution: a third of the cost of a step."""
    return [module for block in (unet.down_blocks[0], unet.up_blocks[-1])
            for module in (*block.attentions, *block.temp_attentions)]


def bypass(modules):
    """Leaves layers out, as if each only passed its input on."""
    for module in modules:
        if type(module).__name__ == "TemporalConvLayer":
            module.forward = lambda hidden, num_frames=1: hidden
        else:
            module.forward = lambda hidden, *_, **__: (hidden,)


def include_all(unet):
    for module in unet.modules():
        module.__dict__.pop("forward", None)


def new_unet():
    """Layers that join later begin as identities, so that they start from what is learned."""
    torch.manual_seed(0)
    unet = UNet3DConditionModel(**UNET)
    unet.set_attn_processor(AttnProcessor())  # the fused one is slow on sequences this short
    for module in temporal_modules(unet) + top_transformers(unet):
        if hasattr(module, "proj_out"):
            torch.nn.init.zeros_(module.proj_out.weight)
            torch.nn.init.zeros_(module.proj_out.bias)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    for parameter in unet.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return unet


def new_text_encoder(tokenizer):
    torch.manual_seed(1)
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **TEXT))


def loss_of(models, scheduler, latents, tokens, step):
    """v-prediction loss at timesteps spread evenly over the batch."""
    unet, text_encoder = models
    torch.manual_seed(step)
    batch = len(latents)
    timesteps = ((torch.randperm(batch) + torch.rand(batch)) / batch * 1000).long()
    noise = torch.randn_like(latents)
    noised = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    with torch.autocast("cpu", torch.bfloat16):
        context = text_encoder(tokens).last_hidden_state
        predicted = unet(noised, timesteps, context).sample
    error = (predicted.float() - target).square().mean(dim=(1, 2, 3, 4))
    high = timesteps >= 500
    return error.mean(), [error[mask].mean().item() if mask.any() else 0 for mask in (high, ~high)]


class Trainer:
    def __init__(self, work, models, scheduler):
        self.work, self.models, self.scheduler = work, models, scheduler
        self.modules = torch.nn.ModuleList(models)
        self.average = [p.detach().clone() for p in self.modules.parameters()]
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), 1e-3, weight_decay=1e-2)
        self.done = {"images": 0, "videos": 0}
        self.path = work / "unet.pt"
        if self.path.exists():
            self.load()

    def load(self):
        state = torch.load(self.path)
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.done = state["average"], state["done"]

    def save(self):
        partial = self.path.with_suffix(".partial")
        torch.save({"modules": self.modules.state_dict(), "average": self.average,
                    "optimizer": self.optimizer.state_dict(), "done": self.done}, partial)
        partial.replace(self.path)

    def choose_layers(self, kind, step):
        unet = self.models[0]
        include_all(unet)
        if kind == "images":
            bypass(temporal_modules(unet))
        if kind == "images" or step < TOP_TRANSFORMERS_FROM:
            bypass(top_transformers(unet))

    def run(self, kind, batches, recipe, total):
        started = time.time()
        with open(self.work / f"{kind}.csv", "a", newline="") as log:
            rows = []
            for step in range(self.done[kind], total):
                self.choose_layers(kind, step)
                rate = recipe["learning_rate"] * min(
                    1, (step + 1) / WARM_UP, (total - step) / (COOL_DOWN * total))
                rows.append(self.step(*batches(step, recipe["batch"]), step, rate))
                self.done[kind] = step + 1
                if (step + 1) % 25 == 0:
                    means = [f"{value:.5f}" for value in np.mean(rows, 0)]
                    csv.writer(log).writerow([step + 1, *means, f"{time.time() - started:.0f}"])
                    log.flush()
                    rows = []
                if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
                    self.save()

    def step(self, latents, tokens, step, rate):
        loss, parts = loss_of(self.models, self.scheduler, latents, tokens, step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        keep = min(EMA, (1 + sum(self.done.values())) / (10 + sum(self.done.values())))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.modules.parameters()), 1 - keep)
        return [loss.item(), *parts]


def forget_origin(path):
    """diffusers notes the folder that a model was read from; what is shipped does not."""
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def export(trainer, vae, folder):
    """The averaged weights as a diffusers model folder, in f16."""
    current = [p.detach().clone() for p in trainer.modules.parameters()]
    for parameter, average in zip(trainer.modules.parameters(), trainer.average):
        parameter.data.copy_(average)
    unet, text_encoder = trainer.models
    for name, module in (("unet", unet), ("text_encoder", text_encoder), ("vae", vae)):
        copy = module.half()
        copy.save_pretrained(folder / name)
        module.float()
        forget_origin(folder / name / "config.json")
    for parameter, value in zip(trainer.modules.parameters(), current):
        parameter.data.copy_(value)
    trainer.scheduler.save_pretrained(folder / "scheduler")
    words.save_tokenizer(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({
        "_class_name": "TextToVideoSDPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet3DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]},
        indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints")
    parser.add_argument("--image-steps", type=int, default=2000)
    parser.add_argument("--video-steps", type=int, default=6000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    vae = AutoencoderKL.from_pretrained(arguments.work / "vae").eval()
    words.save_tokenizer(arguments.work / "model" / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(arguments.work / "model" / "tokenizer")
    data = Data(arguments.work, vae, tokenizer)
    trainer = Trainer(arguments.work, (new_unet(), new_text_encoder(tokenizer)),
                      DDIMScheduler(**SCHEDULER))
    trainer.run("images", data.images, IMAGES, arguments.image_steps)
    trainer.run("videos", data.videos, VIDEOS, arguments.video_steps)
    export(trainer, vae, arguments.work / "model")


if __name__ == "__main__":
    main()
