#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Second part of the demo model's recipe: text encoder and UNet3DConditionModel.

    python3 models/demo/train_unet.py --work DIR [--steps N] [--workers N]

DIR/vae comes from train_vae.py. Checkpoints go to DIR and a second call goes on from them, also
towards more steps; DIR/model is the result in the diffusers layout, in f16.
"""
import argparse
import csv
import json
import pathlib
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import clips
import look_alikes
import position_code
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
LEARNING_RATE = 1.2e-3
CLIPS = 8  # of a step; from step IMAGES_FROM on, half of them give way to as much work on images
IMAGES_FROM, IMAGES, IMAGE_TIMESTEPS = 2900, 64, (300, 1000)
FRAME_FROM, PLACE_FROM, CODE_WEIGHT = 4200, 6200, 0.1  # position_code.py
PAIRS_FROM, PAIRS_WEIGHT = 5150, 0.01  # look_alikes.py; half as many images, each denoised twice
TEXTURED_SHARE, LIGHT_SHARE = 0.25, 0.15  # of the clips; the others have a plain background
WARM_UP, COOL_DOWN, EMPTY_PROMPTS, EMA = 100, 0.2, 0.1, 0.999
SAVE_EVERY = 50


def training_clips():
    return [clips.random_clip(np.random.default_rng(i)) for i in range(CLIP_COUNT)]


class Data:
    """Latents of the training clips, computed once, and their captions' tokens."""

    def __init__(self, work, tokenizer):
        self.clips = training_clips()
        self.tokenizer, self.cache = tokenizer, {}
        self.latents = torch.load(work / "latents.pt", mmap=True)
        self.probabilities = self.shares()

    def tokens(self, caption):
        if caption not in self.cache:
            self.cache[caption] = self.tokenizer(caption, padding="max_length", max_length=77,
                                                 return_tensors="pt").input_ids[0]
        return self.cache[caption]

    def captions(self, chosen, rng):
        texts = ["" if rng.random() < EMPTY_PROMPTS else clips.caption(self.clips[i], rng)
                 for i in chosen]
        return torch.stack([self.tokens(text) for text in texts])

    def shares(self):
        """How likely each clip is drawn."""
        kinds = np.array([1 if clip.background in clips.TEXTURED else
                          2 if clip.background in clips.LIGHT else 0 for clip in self.clips])
        wanted = np.array([1 - TEXTURED_SHARE - LIGHT_SHARE, TEXTURED_SHARE, LIGHT_SHARE])
        return (wanted / np.bincount(kinds))[kinds]

    def batch(self, step, count):
        """Latents [count, 4, frames, h, w], some reversed in time, and their tokens."""
        rng = np.random.default_rng([3, step])
        chosen = rng.choice(len(self.clips), size=count, p=self.probabilities)
        latents = [self.latents[i].float() for i in chosen]
        for k, i in enumerate(chosen):
            if self.clips[i].background not in clips.LIGHT and rng.random() < 0.5:
                latents[k] = latents[k].flip(1)
        return torch.stack(latents), self.captions(chosen, rng)

    def images(self, step, count):
        """Single frames, [count, 4, 1, h, w], and their tokens."""
        rng = np.random.default_rng([4, step])
        chosen = rng.choice(len(self.clips), size=count, p=self.probabilities)
        frames = rng.integers(clips.FRAMES, size=count)
        latents = [self.latents[i][:, f:f + 1].float() for i, f in zip(chosen, frames)]
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


def encode_all(work):
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    partial = work / "latents.partial"
    torch.save(encode_clips(vae, training_clips()), partial)
    partial.replace(work / "latents.pt")


def new_unet():
    torch.manual_seed(0)
    unet = UNet3DConditionModel(**UNET)
    # The fused attention is slow on all but the longest of these short sequences.
    unet.set_attn_processor({name: AttnProcessor2_0() if long_sequence(name) else AttnProcessor()
                             for name in unet.attn_processors})
    for module in unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for parameter in unet.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return unet


def long_sequence(name):
    return name.startswith(("down_blocks.0.attentions", "up_blocks.2.attentions")) \
        and ".attn1." in name


def new_text_encoder(tokenizer):
    torch.manual_seed(1)
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **TEXT))


def noised(scheduler, latents, mine, low=0, high=1000):
    """The part `mine` of a batch at timesteps spread evenly over the batch, its velocities and
    timesteps."""
    count = len(latents)
    spread = (torch.randperm(count) + torch.rand(count)) / count
    timesteps = (low + spread * (high - low)).long()[mine]
    noise, latents = torch.randn_like(latents)[mine], latents[mine]
    return (scheduler.add_noise(latents, noise, timesteps),
            scheduler.get_velocity(latents, noise, timesteps), timesteps)


def errors_of(models, batch, tokens):
    """v-prediction error of each item of a batch from `noised`."""
    unet, text_encoder = models
    latents, velocities, timesteps = batch
    with torch.autocast("cpu", torch.bfloat16):
        context = text_encoder(tokens).last_hidden_state
        predicted = unet(latents, timesteps, context).sample
    return (predicted.float() - velocities).square().mean(dim=(1, 2, 3, 4))


def early_and_late(errors, timesteps):
    """Mean error at timesteps from 500 on and below."""
    early = timesteps >= 500
    return [errors[mask].mean().item() if mask.any() else 0 for mask in (early, ~early)]


class Trainer:
    """One of the workers, which share the batch and average their gradients."""

    def __init__(self, work, models, scheduler, tokenizer):
        self.path, self.models, self.scheduler = work / "unet.pt", models, scheduler
        self.modules = torch.nn.ModuleList(models)
        self.code = position_code.PositionCode(models[0])
        self.other_words = look_alikes.other_words(tokenizer)
        self.average = [p.detach().clone() for p in self.modules.parameters()]
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), LEARNING_RATE,
                                           weight_decay=1e-2)
        self.done = 0
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

    def run(self, data, total, log):
        rows, started = [], time.time()
        for step in range(self.done, total):
            rate = LEARNING_RATE * min(1, (step + 1) / WARM_UP, (total - step) / (COOL_DOWN * total))
            rows.append(self.step(data, step, rate))
            self.done = step + 1
            if dist.get_rank() > 0:
                continue
            if self.done % 25 == 0:
                means = [f"{value:.5f}" for value in np.mean(rows, 0)]
                log([self.done, *means, f"{time.time() - started:.0f}"])
                rows = []
            if self.done % SAVE_EVERY == 0 or self.done == total:
                self.save()

    def gradients(self, data, step):
        """Adds up the gradients of the step's clips and images; returns the clips' losses."""
        mixed = step >= IMAGES_FROM
        mine = slice(dist.get_rank(), None, dist.get_world_size())
        torch.manual_seed(step)
        latents, tokens = data.batch(step, CLIPS // 2 if mixed else CLIPS)
        self.code.watch()
        batch = noised(self.scheduler, latents, mine)
        errors = errors_of(self.models, batch, tokens[mine])
        codes = self.code.losses()
        counted = torch.tensor([step >= FRAME_FROM, step >= PLACE_FROM])
        (errors.mean() + CODE_WEIGHT * (codes * counted).sum()).backward()
        images = self.image_gradients(data, step, mine) if mixed else (0, 0)
        return [errors.mean().item(), *early_and_late(errors, batch[2]), images[0],
                codes[0].item(), images[1], codes[1].item()]

    def image_gradients(self, data, step, mine):
        """Returns the losses of images and of pairs."""
        paired = step >= PAIRS_FROM
        latents, tokens = data.images(step, IMAGES // 2 if paired else IMAGES)
        batch, tokens = noised(self.scheduler, latents, mine, *IMAGE_TIMESTEPS), tokens[mine]
        if not paired:
            images = errors_of(self.models, batch, tokens).mean()
            images.backward()
            return images.item(), 0
        errors = errors_of(self.models, [torch.cat([part, part]) for part in batch],
                           torch.cat([tokens, self.other_words[tokens]]))
        right, wrong = errors.chunk(2)
        pairs = look_alikes.loss(right, wrong, batch[2])
        (right.mean() + PAIRS_WEIGHT * pairs).backward()
        return right.mean().item(), pairs.item()

    def step(self, data, step, rate):
        self.optimizer.zero_grad()
        losses = self.gradients(data, step)
        self.average_gradients()
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        keep = min(EMA, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.modules.parameters()), 1 - keep)
        return losses

    def average_gradients(self):
        gradients = [p.grad for p in self.modules.parameters() if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        together /= dist.get_world_size()
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients])):
            gradient.copy_(part.view_as(gradient))


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


def work(rank, arguments, meeting_point):
    """Body of each worker."""
    dist.init_process_group("gloo", f"file://{meeting_point}", rank=rank,
                            world_size=arguments.workers)
    torch.set_num_threads(arguments.threads)
    vae = AutoencoderKL.from_pretrained(arguments.work / "vae").eval()
    tokenizer = CLIPTokenizer.from_pretrained(arguments.work / "model" / "tokenizer")
    data = Data(arguments.work, tokenizer)
    trainer = Trainer(arguments.work, (new_unet(), new_text_encoder(tokenizer)),
                      DDIMScheduler(**SCHEDULER), tokenizer)
    with open(arguments.work / "unet.csv", "a", newline="") as file:
        def log(row):
            csv.writer(file).writerow(row)
            file.flush()
        trainer.run(data, arguments.steps, log)
    if rank == 0:
        export(trainer, vae, arguments.work / "model")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=7400)
    parser.add_argument("--workers", type=int, choices=(1, 2, 4, 8), default=2,
                        help="processes that share each batch")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    arguments = parser.parse_args()
    words.save_tokenizer(arguments.work / "model" / "tokenizer")
    if not (arguments.work / "latents.pt").exists():
        encode_all(arguments.work)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (arguments, pathlib.Path(folder) / "meeting"),
                                    arguments.workers)


if __name__ == "__main__":
    main()
