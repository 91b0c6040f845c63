# SPDX-License-Identifier: BSD-2-Clause
"""MotionMatcher in PyTorch, as the yardstick for libmotionmatcher.

Written from the paper's equations on top of diffusers' own networks, plainly and without regard
to speed. Everything runs in the dtype that a Model is loaded with; float64 is the reference and
float32 shows what rounding alone does. Dropout is off throughout.

Shapes are the command line's: latents [1, 4, F, h, w], frames [F, 3, H, W] in -1..1.
"""
import contextlib
from collections import namedtuple
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
diffusers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

Maps = namedtuple("Maps", "ca tsa")
Settings = namedtuple(
    "Settings",
    "objective spatial_weight temporal_weight spatial_scale temporal_scale num_denoise_steps "
    "learning_rate",
    defaults=("motion", 2000.0, 2000.0, 4, 4, 1, 5e-4),
)


class Model:
    def __init__(self, folder, dtype=torch.float64):
        self.folder = Path(folder)
        self.dtype = dtype
        self.tokenizer = CLIPTokenizer.from_pretrained(self.folder / "tokenizer")
        self.text_encoder = self._load(CLIPTextModel, "text_encoder", attn_implementation="sdpa")
        self.vae = self._load(AutoencoderKL, "vae")
        self.unet = self._load(UNet3DConditionModel, "unet")
        self.schedule = Schedule(self.folder / "scheduler", dtype)

    def _load(self, network, name, **options):
        folder = self.folder / name
        plain = [f for f in folder.iterdir() if f.suffix in (".bin", ".safetensors")]
        if plain and all(".fp16" in f.name for f in plain):
            options["variant"] = "fp16"
        model = network.from_pretrained(folder, torch_dtype=self.dtype, **options)
        return model.to(self.dtype).eval().requires_grad_(False)

    # Text and frames

    def token_ids(self, prompt):
        return self.tokenizer(
            prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids

    def encode_text(self, prompt):
        with torch.no_grad():
            return self.text_encoder(self.token_ids(prompt)).last_hidden_state

    def moments(self, frames):
        """Mean and log-variance of each frame, [F, 2*4, h, w], unscaled."""
        with torch.no_grad():
            each = [self.vae._encode(f[None].to(self.dtype)) for f in frames]
        return torch.cat(each)

    def decode(self, latents):
        """Frames in -1..1, not clamped, [F, 3, H, W]."""
        each = (latents[0].transpose(0, 1) / self.vae.config.scaling_factor).to(self.dtype)
        with torch.no_grad():
            return torch.cat([self.vae.decode(z[None]).sample for z in each])

    def decode_u8(self, latents):
        frames = (self.decode(latents) / 2 + 0.5).clamp(0, 1) * 255
        return frames.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    # UNet

    def predict(self, latents, timestep, context):
        return self.unet(latents, timestep, context).sample

    def features(self, latents, timestep, context, spatial_scale=4, temporal_scale=4):
        """CA [F, h', w', 77] and TSA [h'w', F, F]; None for a scale of None."""
        levels = [None if s is None else s.bit_length() - 1 for s in (spatial_scale, temporal_scale)]
        last = max(level for level in levels if level is not None)
        spatial, temporal = [], []
        with contextlib.ExitStack() as stack:
            if levels[0] is not None:
                for module in self._spatial_maps(levels[0]):
                    stack.enter_context(recording(module, spatial))
            if levels[1] is not None:
                for module in self._temporal_maps(levels[1]):
                    stack.enter_context(recording(module, temporal))
            stack.enter_context(stopping_after(self.unet.down_blocks[last]))
            with contextlib.suppress(Stopped):
                self.unet(latents, timestep, context)
        ca = tsa = None
        if spatial:
            ca = torch.stack(spatial).mean(0)
            height = halved(latents.shape[3], levels[0])
            ca = ca.reshape(ca.shape[0], height, -1, ca.shape[-1])
        if temporal:
            tsa = torch.stack(temporal).mean(0)
        return Maps(ca, tsa)

    def _spatial_maps(self, level):
        for transformer in self.unet.down_blocks[level].attentions:
            for block in transformer.transformer_blocks:
                yield block.attn2

    def _temporal_maps(self, level):
        for transformer in self.unet.down_blocks[level].temp_attentions:
            for block in transformer.transformer_blocks:
                yield block.attn1
                yield block.attn2


def halved(side, times):
    for _ in range(times):
        side = (side + 1) // 2
    return side


class Stopped(Exception):
    pass


@contextlib.contextmanager
def stopping_after(module):
    def stop(*_):
        raise Stopped

    handle = module.register_forward_hook(stop)
    try:
        yield
    finally:
        handle.remove()


class RecordingProcessor:
    """Attention with its probabilities written out; keeps their mean over heads."""

    def __init__(self, maps):
        self.maps = maps

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(x):
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        query, key = heads(attn.to_q(hidden_states)), heads(attn.to_k(context))
        value = heads(attn.to_v(context))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        probabilities = scores.softmax(-1)
        self.maps.append(probabilities.mean(1))
        result = (probabilities @ value).transpose(1, 2).flatten(2)
        return attn.to_out[0](result)


@contextlib.contextmanager
def recording(attention, maps):
    before = attention.processor
    attention.processor = RecordingProcessor(maps)
    try:
        yield
    finally:
        attention.processor = before


# LoRA


class LoraLinear(torch.nn.Module):
    def __init__(self, base, down, up):
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(down)
        self.up = torch.nn.Parameter(up)
        self.scale = 1.0

    def forward(self, x):
        y = self.base(x)
        if self.scale == 0:
            return y
        return y + self.scale * F.linear(F.linear(x, self.down), self.up)


def lora_targets(unet):
    """Path and Linear of every target: all spatial transformers first, then all temporal ones."""
    families = [(Transformer2DModel, ("attn1", "ff")), (TransformerTemporalModel, ("attn1", "attn2", "ff"))]
    for family, wanted in families:
        for path, transformer in unet.named_modules():
            if not isinstance(transformer, family):
                continue
            for name, module in transformer.named_modules():
                if isinstance(module, torch.nn.Linear) and set(name.split(".")) & set(wanted):
                    yield f"{path}.{name}", module


def random_lora(unet, rank, generator, up_scale=0.0):
    """PEFT-named f32 tensors; `up_scale` above 0 makes every gradient differ from zero."""
    tensors = {}
    for path, linear in lora_targets(unet):
        r = min(rank, linear.in_features, linear.out_features)
        down = torch.randn(r, linear.in_features, generator=generator) / r
        up = up_scale * torch.randn(linear.out_features, r, generator=generator)
        tensors[f"unet.{path}.lora_A.weight"] = down
        tensors[f"unet.{path}.lora_B.weight"] = up
    return tensors


class Lora:
    def __init__(self, model, tensors):
        self.layers = {}
        for path, linear in list(lora_targets(model.unet)):
            down, up = (
                tensors[f"unet.{path}.lora_{side}.weight"].to(model.dtype).clone() for side in "AB"
            )
            layer = LoraLinear(linear, down, up)
            parent, _, child = path.rpartition(".")
            setattr(model.unet.get_submodule(parent), child, layer)
            self.layers[path] = layer
        self.model = model

    def set_scale(self, scale):
        for layer in self.layers.values():
            layer.scale = scale

    @contextlib.contextmanager
    def off(self):
        before = {path: layer.scale for path, layer in self.layers.items()}
        self.set_scale(0.0)
        try:
            yield
        finally:
            for path, layer in self.layers.items():
                layer.scale = before[path]

    def named_parameters(self):
        for path, layer in self.layers.items():
            yield f"unet.{path}.lora_A.weight", layer.down
            yield f"unet.{path}.lora_B.weight", layer.up

    def parameters(self):
        return [p for _, p in self.named_parameters()]

    def tensors(self):
        return {name: p.detach().clone() for name, p in self.named_parameters()}

    def gradients(self):
        return {name: p.grad.detach().clone() for name, p in self.named_parameters()}

    def remove(self):
        for path, layer in self.layers.items():
            parent, _, child = path.rpartition(".")
            setattr(self.model.unet.get_submodule(parent), child, layer.base)


# Schedule


class Schedule:
    """DDIM with eta 0. The table of cumulated alphas is diffusers' own, in float32 as there."""

    def __init__(self, folder, dtype):
        self.scheduler = DDIMScheduler.from_pretrained(folder)
        self.config = self.scheduler.config
        self.alphas = self.scheduler.alphas_cumprod.to(dtype)
        self.final_alpha = self.scheduler.final_alpha_cumprod.to(dtype)

    def alpha(self, timestep):
        return self.alphas[timestep] if timestep >= 0 else self.final_alpha

    def timesteps(self, steps):
        self.scheduler.set_timesteps(steps)
        return [int(t) for t in self.scheduler.timesteps]

    def stride(self, steps):
        return self.config.num_train_timesteps // steps

    def add_noise(self, x0, noise, timestep):
        a = self.alpha(timestep)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def target(self, x0, noise, timestep):
        """What the network should have said."""
        if self.config.prediction_type == "epsilon":
            return noise
        a = self.alpha(timestep)
        return a.sqrt() * noise - (1 - a).sqrt() * x0

    def split(self, output, x, a):
        """The clean sample and the noise that `output` stands for in x at level a."""
        if self.config.prediction_type == "epsilon":
            return (x - (1 - a).sqrt() * output) / a.sqrt(), output
        if self.config.prediction_type != "v_prediction":
            raise ValueError(self.config.prediction_type)
        return a.sqrt() * x - (1 - a).sqrt() * output, a.sqrt() * output + (1 - a).sqrt() * x

    def step(self, output, x, timestep, previous):
        x0, noise = self.split(output, x, self.alpha(timestep))
        if self.config.clip_sample:
            x0 = x0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        a = self.alpha(previous)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def inverse_step(self, output, x, timestep, previous):
        """From the level of `previous` up to that of `timestep`; never clipped."""
        x0, noise = self.split(output, x, self.alpha(previous))
        a = self.alpha(timestep)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise


def posterior_mean(model, frames):
    """Latents [1, 4, F, h, w], scaled, with nothing left to chance."""
    mean = model.moments(frames).chunk(2, 1)[0]
    return model.vae.config.scaling_factor * mean.transpose(0, 1)[None]


# Training


def training_loss(model, lora, settings, latents, noise, timestep, context):
    """One step's forward pass: everything that --dump writes about it."""
    schedule = model.schedule
    noisy = schedule.add_noise(latents, noise, timestep)
    prediction = model.predict(noisy, timestep, context)
    target = schedule.target(latents, noise, timestep)
    zero = torch.zeros((), dtype=model.dtype)
    if settings.objective == "ddpm":
        loss = ((prediction - target) ** 2).mean()
        return dict(loss=loss, spatial=zero, temporal=zero, noise_pred=prediction)

    previous = timestep - settings.num_denoise_steps
    scales = (
        settings.spatial_scale if settings.spatial_weight else None,
        settings.temporal_scale if settings.temporal_weight else None,
    )
    with lora.off():
        predicted_step = schedule.step(prediction, noisy, timestep, previous)
        pred = model.features(predicted_step, previous, context, *scales)
        with torch.no_grad():
            true_step = schedule.step(target, noisy, timestep, previous)
            true = model.features(true_step, previous, context, *scales)
    spatial = temporal = zero
    if settings.spatial_weight:
        spatial = settings.spatial_weight * ((pred.ca - true.ca) ** 2).mean()
    if settings.temporal_weight:
        temporal = settings.temporal_weight * ((pred.tsa - true.tsa) ** 2).mean()
    return dict(
        loss=spatial + temporal,
        spatial=spatial,
        temporal=temporal,
        noise_pred=prediction,
        pred=pred,
        target=true,
    )


def replay(model, settings, prompt, given):
    """What `mm-train --replay` must write for the tensors `given` (with LoRA tensors)."""
    cast = lambda t: t.to(model.dtype)
    lora = Lora(model, {k: v for k, v in given.items() if ".lora_" in k})
    optimizer = torch.optim.AdamW(
        lora.parameters(), lr=settings.learning_rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8
    )
    encoded = model.encode_text(prompt)
    context = cast(given["encoder_hidden_states"]) if "encoder_hidden_states" in given else encoded
    terms = {"loss": [], "spatial": [], "temporal": []}
    for i, timestep in enumerate(given["timestep"].tolist()):
        optimizer.zero_grad()
        latents, noise = cast(given["latents"][i : i + 1]), cast(given["noise"][i : i + 1])
        seen = training_loss(model, lora, settings, latents, noise, timestep, context)
        seen["loss"].backward()
        gradients = lora.gradients()
        optimizer.step()
        for key, values in terms.items():
            values.append(seen[key].detach())
    out = {
        "token_ids": model.token_ids(prompt),
        "encoder_hidden_states": encoded,
        "loss": torch.stack(terms["loss"]),
        "loss_spatial": torch.stack(terms["spatial"]),
        "loss_temporal": torch.stack(terms["temporal"]),
        "noise_pred": seen["noise_pred"].detach(),
    }
    for side in ("pred", "target"):
        if side in seen:
            for name, value in zip(("ca", "tsa"), seen[side]):
                if value is not None:
                    out[f"{side}.{name}"] = value.detach()
    out.update({f"grad.{k}": v for k, v in gradients.items()})
    out.update({f"lora.{k}": v for k, v in lora.tensors().items()})
    lora.remove()
    return out


# Sampling


def sample(model, latents, context, negative, steps, guidance, lora=None, min_timestep=0, scale=1.0):
    """DDIM from the start `latents` down to the clean ones."""
    x = latents.to(model.dtype)
    stride = model.schedule.stride(steps)
    with torch.no_grad():
        for t in model.schedule.timesteps(steps):
            if lora is not None:
                lora.set_scale(scale if t >= min_timestep else 0.0)
            output = model.predict(x, t, context)
            if guidance > 1:
                unguided = model.predict(x, t, negative)
                output = unguided + guidance * (output - unguided)
            x = model.schedule.step(output, x, t, t - stride)
    return x


def invert(model, latents, steps):
    """DDIM inversion with the empty prompt and no guidance; the caller decides about the LoRA."""
    x = latents.to(model.dtype)
    context = model.encode_text("")
    stride = model.schedule.stride(steps)
    with torch.no_grad():
        for t in reversed(model.schedule.timesteps(steps)):
            output = model.predict(x, t, context)
            x = model.schedule.inverse_step(output, x, t, t - stride)
    return x


def mix(inverted, noise, prior):
    return prior**0.5 * inverted + (1 - prior) ** 0.5 * noise


# Comparing


def relative(got, want, floor=0.0):
    """Largest difference over the largest value."""
    got, want = got.double(), want.double()
    return float((got - want).abs().max()) / max(float(want.abs().max()), floor, 1e-300)


def worst(got, want, keys):
    """The worst of several tensors; one that should be all zero is measured by the others' size."""
    floor = 1e-4 * max(float(want[k].abs().max()) for k in keys)
    return max(relative(got[k], want[k], floor) for k in keys)


def relative_norm(got, want, keys):
    """Length of the difference over the length of the value, all tensors as one vector."""
    difference = sum(float(((got[k].double() - want[k].double()) ** 2).sum()) for k in keys)
    return (difference / max(sum(float((want[k].double() ** 2).sum()) for k in keys), 1e-300)) ** 0.5
