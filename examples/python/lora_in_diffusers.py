# SPDX-License-Identifier: BSD-2-Clause
"""Draws a prompt with diffusers and a LoRA of mm-train; docs/lora-in-diffusers.md explains it.

    lora_in_diffusers.py --model DIR --lora FILE --prompt TEXT --output FILE.gif

FILE is a PEFT file: a checkpoint's lora.safetensors, or what `mm-lora convert --to peft` made of any
other layout. Needs torch, diffusers, transformers, peft and safetensors, and nothing of ours.
"""
import argparse
import json
from typing import Any, Optional

import torch
from diffusers import DDIMScheduler, TextToVideoSDPipeline
from diffusers.utils import export_to_gif, export_to_video
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def add_lora(unet: Any, path: str) -> int:
    """Adds the LoRA to diffusers' UNet; returns the least timestep that it was trained for."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name.removeprefix("unet."): file.get_tensor(name) for name in file.keys()}
    described = json.loads(metadata["lora_adapter_metadata"])
    config = LoraConfig(**{key.removeprefix("unet."): value for key, value in described.items()})
    inject_adapter_in_model(config, unet)
    result = set_peft_model_state_dict(unet, tensors)
    missing = [name for name in result.missing_keys if ".lora_" in name]
    if result.unexpected_keys or missing:
        raise ValueError(f"{path}: a LoRA for another model ({result.unexpected_keys + missing})")
    return int(metadata.get("mm_min_timestep", 0))


def limit_to_timesteps(unet: Any, least: int) -> None:
    """Keeps the LoRA on at timesteps from `least` up, and off below."""
    layers = [module for module in unet.modules() if isinstance(module, BaseTunerLayer)]

    def switch(module: Any, args: Any, kwargs: Any) -> None:
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        for layer in layers:
            layer.enable_adapters(int(timestep) >= least)

    unet.register_forward_pre_hook(switch, with_kwargs=True)


def draw(pipe: Any, start: Optional[torch.Tensor], options: argparse.Namespace) -> torch.Tensor:
    """The final latents."""
    return pipe(
        options.prompt,
        width=options.width,
        height=options.height,
        num_frames=options.num_frames,
        num_inference_steps=options.num_steps,
        guidance_scale=options.guidance_scale,
        generator=torch.Generator().manual_seed(options.seed),
        latents=start,
        output_type="latent",
    ).frames


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--lora", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--output", help="FILE.gif or FILE.mp4")
    parser.add_argument("--min-timestep", type=int, help="default: the LoRA's own")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--num-steps", type=int, default=75)
    parser.add_argument("--guidance-scale", type=float, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init-latents", help="as in mm-infer")
    parser.add_argument("--save-latents", help="as in mm-infer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["f64", "f32", "f16"], default="f32")
    options = parser.parse_args()

    dtype = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16}[options.precision]
    pipe = TextToVideoSDPipeline.from_pretrained(options.model, torch_dtype=dtype)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    least = add_lora(pipe.unet, options.lora)
    limit_to_timesteps(pipe.unet, least if options.min_timestep is None else options.min_timestep)
    pipe.to(options.device, dtype)

    start = load_file(options.init_latents)["latents"] if options.init_latents else None
    latents = draw(pipe, start if start is None else start.to(dtype), options)
    if options.save_latents:
        save_file({"latents": latents.float().cpu().contiguous()}, options.save_latents)
    if options.output:
        with torch.no_grad():
            frames = pipe.video_processor.postprocess_video(pipe.decode_latents(latents), "pil")[0]
        export = export_to_gif if options.output.endswith(".gif") else export_to_video
        export(frames, options.output, fps=8)


if __name__ == "__main__":
    main()
