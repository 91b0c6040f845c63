#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Check reference.py against diffusers' schedulers, diffusers' attention and PEFT's LoRA.

    self_check.py MODEL_DIR...
"""
import sys
from pathlib import Path

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file

import reference as R

LIMITS = {  # diffusers' schedulers take square roots in float32
    "check_precision": 1e-2,
    "check_ddim": 1e-5,
    "check_inversion": 1e-5,
}


def latents_for(model, frames=3, height=7, width=10):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 4, frames, height, width, generator=generator, dtype=model.dtype)


def stored_tensors(folder):
    tensors = {}
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            tensors.update(load_file(path))
        elif path.suffix == ".bin":
            tensors.update(torch.load(path, weights_only=True))
    return tensors


def check_loading(folder):
    """Every stored value must have reached its network, whatever the file's spelling."""
    model = R.Model(folder)
    renamed = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    worst = 0.0
    for name in ("text_encoder", "vae", "unet"):
        stored = stored_tensors(folder / name)
        loaded = getattr(model, name).state_dict()
        stored.pop("text_model.embeddings.position_ids", None)
        assert len(stored) == len(loaded), (name, len(stored), len(loaded))
        for key, value in stored.items():
            key = key.removeprefix("text_model.")
            for old, new in renamed.items():
                key = key.replace(f"attentions.0.{old}.", f"attentions.0.{new}.")
            worst = max(worst, R.relative(loaded[key], value))
    return worst


def feature_scale(model):
    """The coarsest one whose down block has attention."""
    return max(1 << i for i, b in enumerate(model.unet.down_blocks) if hasattr(b, "attentions"))


def check_precision(folder):
    """A change of 1e-10 must come through linearly; a hidden float32 would swallow it."""
    model = R.Model(folder)
    x, context = latents_for(model), model.encode_text("a dog")
    scale = feature_scale(model)
    frames = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(3)).double()
    table = model.text_encoder.get_input_embeddings().weight
    kept = table.data.clone()

    def text(factor):
        table.data = kept * factor
        return model.encode_text("a dog")

    probes = {
        "unet": lambda f: model.predict(x * f, 700, context),
        "ca": lambda f: model.features(x, 700, context * f, scale, scale).ca,
        "tsa": lambda f: model.features(x * f, 700, context, scale, scale).tsa,
        "encode": lambda f: model.moments(frames * f),
        "decode": lambda f: model.decode(x * f),
        "text": text,
    }
    worst = 0.0
    with torch.no_grad():
        for probe in probes.values():
            base, once, twice = (probe(1 + k * 1e-10) for k in (0, 1, 2))
            worst = max(worst, R.relative(twice - once, once - base))
    return worst


def check_lora(folder):
    """Our LoRA against PEFT's, at scale 1: the same names, the same output."""
    ours, theirs = R.Model(folder), R.Model(folder)
    tensors = R.random_lora(ours.unet, 3, torch.Generator().manual_seed(2), up_scale=0.3)
    x, context = latents_for(ours), ours.encode_text("a dog")
    with torch.no_grad():
        without = ours.predict(x, 700, context)
    lora = R.Lora(ours, tensors)
    with torch.no_grad():
        assert R.relative(ours.predict(x, 700, context), without) > 1e-2
        with lora.off():
            assert torch.equal(ours.predict(x, 700, context), without)
    paths = [k[len("unet.") : -len(".lora_A.weight")] for k in tensors if "lora_A" in k]
    unet = inject_adapter_in_model(LoraConfig(r=3, lora_alpha=3, target_modules=paths), theirs.unet)
    loaded = set_peft_model_state_dict(unet, {k[len("unet.") :]: v for k, v in tensors.items()})
    assert not loaded.unexpected_keys, loaded.unexpected_keys[:3]
    unet.double()
    with torch.no_grad():
        return R.relative(ours.predict(x, 700, context), unet(x, 700, context).sample)


def check_ddim(folder):
    model = R.Model(folder)
    x, context = latents_for(model), model.encode_text("a dog")
    negative = model.encode_text("")
    mine = R.sample(model, x, context, negative, 4, 2.0)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(4)
    with torch.no_grad():
        for t in scheduler.timesteps:
            low, high = model.unet(
                torch.cat([x, x]), t, torch.cat([negative, context])
            ).sample.chunk(2)
            x = scheduler.step(low + 2.0 * (high - low), t, x).prev_sample
    return R.relative(mine, x)


def check_inversion(folder):
    model = R.Model(folder)
    config = dict(model.schedule.config, clip_sample=False)
    if config["timestep_spacing"] == "linspace":
        return None  # diffusers' inverse scheduler has none
    x = latents_for(model)
    mine = R.invert(model, x, 4)
    scheduler = DDIMInverseScheduler.from_config(config)
    scheduler.set_timesteps(4)
    context = model.encode_text("")
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(model.unet(x, t, context).sample, t, x).prev_sample
    return R.relative(mine, x)


def check_attention(folder):
    """Reading the maps must not change what the block gives on."""
    model = R.Model(folder)
    scale = feature_scale(model)
    level = scale.bit_length() - 1
    outputs = []
    handle = model.unet.down_blocks[level].register_forward_hook(lambda *a: outputs.append(a[-1][0]))
    x, context = latents_for(model), model.encode_text("a dog")
    with torch.no_grad():
        maps = model.features(x, 600, context, scale, scale)
        model.unet.set_attn_processor(AttnProcessor())
        model.unet(x, 600, context)
    handle.remove()
    sums = max(float((m.sum(-1) - 1).abs().max()) for m in maps)
    return max(R.relative(*outputs), sums)


def main():
    failed = False
    for folder in map(Path, sys.argv[1:]):
        for check in (check_loading, check_precision, check_lora, check_ddim, check_inversion, check_attention):
            error = check(folder)
            bad = error is not None and not error < LIMITS.get(check.__name__, 1e-12)
            failed |= bad
            shown = "not in diffusers" if error is None else f"{error:.1e}"
            note = "  WRONG" if bad else ""
            print(f"{folder.name:20} {check.__name__:16} {shown}{note}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
