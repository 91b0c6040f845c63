#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Write what the committed models must compute, by reference.py in float64, stored as float32.

    make_fixtures.py FIXTURES_DIR [--no-models]

Makes the models first (tests/fixtures/make_models.py), then FIXTURES_DIR/parity/. README.md
describes the files. Printed beside each figure: what float32 in PyTorch gets wrong.
"""
import json
import sys
import unicodedata
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

import reference as R

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures"))
import make_models  # noqa: E402

PROMPTS = [
    "A dog is sitting in the snow.",
    "",
    "a  Lion\tIS running... on the 21st floor!?",
    "Café naïve ÅNGSTRÖM Straße ﬁne İstanbul e\u0301te\u0301",
    "雪の中に座っているライオン，很好。 한국어",
    "snow! it's they'll we've \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
    "the <|endoftext|> in <|startoftext|> text!!! <|ENDOFTEXT|>",
    " ".join(f"word{i} moving" for i in range(45)),
    "½ ² Ⅷ ١٢٣ 3.14_under-score #tag @me 'quoted' \"double\" a\u00a0b\u3000c",
]

CASES = {
    # The seeds are picked so that float32 in PyTorch is well within the limits.
    "quickstart-model": {
        "seed": "",
        "rank": 1,
        "inputs": {"replay": [723], "replay-5-steps": [981, 500, 733, 640, 877]},
        "outputs": [
            dict(name="replay", given="replay", without="lora."),
            dict(name="replay-5-steps", given="replay-5-steps", without="grad."),
        ],
    },
    "tiny-v-model": {
        "seed": " 6",
        "rank": 2,
        "inputs": {"replay": [999]},
        "outputs": [
            dict(
                name="replay",
                given="replay",
                settings=dict(
                    num_denoise_steps=7, temporal_scale=1, spatial_weight=8000.0, temporal_weight=800.0
                ),
            ),
            dict(name="replay-ddpm", given="replay", settings=dict(objective="ddpm"), without="lora."),
        ],
    },
}
UP_SCALE = 0.1
ZEROSCOPE = make_models.BASE["scheduler"]
SCHEDULES = {
    "zeroscope": ZEROSCOPE,
    "defaults": {},
    "trailing-v-zero-snr": {
        **ZEROSCOPE,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
    },
    "linspace-clipped": {
        **ZEROSCOPE,
        "timestep_spacing": "linspace",
        "clip_sample": True,
        "clip_sample_range": 0.7,
        "set_alpha_to_one": True,
    },
    "linear-v-offset-0": {
        "beta_schedule": "linear",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "num_train_timesteps": 500,
    },
}
SCHEDULE_STEPS = (1, 6, 7, 75, 300)


def f32(tensors):
    def stored(t):
        return (t.float() if t.is_floating_point() else t).contiguous()

    return {k: stored(v) for k, v in tensors.items()}


def geometry(name):
    spec = make_models.model_spec(name)
    case = spec["case"]
    factor = 2 ** (len(spec["vae"]["block_out_channels"]) - 1)
    return case["frames"], case["height"], case["width"], factor, case["scales"]


def networks(model, name, inputs):
    """Text, VAE, UNet and maps."""
    out = dict(inputs)
    scales = geometry(name)[4]
    context = model.encode_text(PROMPTS[0])
    out["token_ids"] = torch.cat([model.token_ids(p) for p in PROMPTS])
    out["encoder_hidden_states"] = context
    out["empty.encoder_hidden_states"] = model.encode_text("")
    out["moments"] = model.moments(inputs["frames"])
    out["decoded"] = model.decode(inputs["latents"])
    out["decoded_u8"] = model.decode_u8(inputs["latents"])
    x = inputs["latents"].to(model.dtype)
    timestep = int(inputs["timestep"])
    with torch.no_grad():
        out["unet_output"] = model.predict(x, timestep, context)
        for scale in scales:
            maps = model.features(x, timestep, context, scale, scale)
            out[f"ca.{scale}"], out[f"tsa.{scale}"] = maps
    return out


def sampling(model, inputs, tensors):
    """Six steps at guidance 12 with the LoRA on from timestep 500 up; inversion; noise prior."""
    context, empty = model.encode_text(PROMPTS[0]), model.encode_text("")
    inverted = R.invert(model, inputs["latents"], 6)
    start = R.mix(inverted, inputs["init_latents"].to(model.dtype), 0.3)
    lora = R.Lora(model, tensors)
    run = lambda x: R.sample(model, x, context, empty, 6, 12.0, lora, min_timestep=500)
    out = {
        "latents": inputs["latents"],
        "init_latents": inputs["init_latents"],
        "final_latents": run(inputs["init_latents"]),
        "inversion_noise": inverted,
        "prior_start": start,
        "prior_final_latents": run(start),
    }
    lora.remove()
    return out


def replay_input(name, timesteps, tensors, generator):
    frames, height, width, factor, _ = geometry(name)
    shape = (len(timesteps), 4, frames, height // factor, width // factor)
    given = {
        "latents": torch.randn(shape, generator=generator),
        "noise": torch.randn(shape, generator=generator),
        "timestep": torch.tensor(timesteps),
    }
    return {**given, **tensors}


def report(name, exact, rounded):
    """Worst relative error of each kind of tensor; for gradients and LoRA also that of all."""
    errors = {}
    for kind in ("grad.", "lora."):
        keys = [k for k in exact if k.startswith(kind)]
        if keys:
            errors[f"all-{kind[:4]}"] = R.relative_norm(rounded, exact, keys)
    groups = {}
    for key, want in exact.items():
        if want.is_floating_point():
            groups.setdefault(key.split(".")[0], []).append(key)
    errors.update({group: R.worst(rounded, exact, keys) for group, keys in groups.items()})
    print(name, " ".join(f"{k} {e:.0e}" for k, e in errors.items()), flush=True)


def write(folder, file, tensors, **metadata):
    save_file(f32(tensors), folder / f"{file}.safetensors", metadata=metadata or None)


def both(function, models, file, *arguments):
    exact, rounded = (function(model, *arguments) for model in models)
    report(file, exact, rounded)
    return exact


def make(fixtures, name):
    folder = fixtures / "parity"
    models = [R.Model(fixtures / name, dtype) for dtype in (torch.float64, torch.float32)]
    case = CASES[name]
    generator = make_models.seeded(f"parity {name}{case['seed']}")
    frames, height, width, factor, _ = geometry(name)
    latent_shape = (1, 4, frames, height // factor, width // factor)
    inputs = {
        "frames": torch.rand(frames, 3, height, width, generator=generator) * 2 - 1,
        "latents": torch.randn(latent_shape, generator=generator),
        "timestep": torch.tensor([731]),
    }
    tensors = R.random_lora(models[0].unet, case["rank"], generator, UP_SCALE)
    write(folder, name, both(networks, models, name, name, inputs))
    inputs["init_latents"] = torch.randn(latent_shape, generator=generator)
    write(folder, f"{name}-sampling", both(sampling, models, f"{name}-sampling", inputs, tensors))
    given = {}
    for label, timesteps in case["inputs"].items():
        given[label] = replay_input(name, timesteps, tensors, generator)
        write(folder, f"{name}-{label}-in", given[label])
    for output in case["outputs"]:
        settings = R.Settings(**output.get("settings", {}))
        run = lambda model: R.replay(model, settings, PROMPTS[0], given[output["given"]])
        found = both(run, models, f"{name}-{output['name']}")
        dropped = output.get("without", "-")
        kept = {k: v for k, v in found.items() if not k.startswith(dropped)}
        described = json.dumps({"prompt": PROMPTS[0], **settings._asdict()})
        write(folder, f"{name}-{output['name']}-out", kept, settings=described)


def noised_features(model, frames, noise, timestep, spatial, temporal):
    """Maps of 8-bit frames [F, H, W, 3] with noise on them, as `mm-eval features` makes them."""
    pixels = frames.permute(0, 3, 1, 2).to(model.dtype) / 127.5 - 1
    clean, context = R.posterior_mean(model, pixels), model.encode_text(PROMPTS[0])
    noisy = model.schedule.add_noise(clean, noise.to(model.dtype), timestep)
    with torch.no_grad():
        return model.features(noisy, timestep, context, spatial, temporal)


def features(model, given, scales):
    out = dict(given)
    for scale in scales:
        out[f"ca.{scale}"], out[f"tsa.{scale}"] = noised_features(
            model, given["frames"], given["noise"], int(given["timestep"]), scale, scale
        )
    return out


def make_features(fixtures, name):
    models = [R.Model(fixtures / name, dtype) for dtype in (torch.float64, torch.float32)]
    generator = make_models.seeded(f"features {name}")
    frames, height, width, factor, scales = geometry(name)
    given = {
        "frames": torch.randint(
            256, (frames, height, width, 3), generator=generator, dtype=torch.uint8
        ),
        "noise": torch.randn((1, 4, frames, height // factor, width // factor), generator=generator),
        "timestep": torch.tensor([417]),
    }
    found = both(features, models, f"{name}-features", given, scales)
    write(fixtures / "parity", f"{name}-features", found)


def odd_prompt(generator):
    """A few pieces from all over Unicode, specials and contractions among them."""

    def pick(sequence):
        return sequence[int(torch.randint(len(sequence), (1,), generator=generator))]

    ranges = [(0x20, 0x7E)] * 4 + [
        (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x531, 0x6FF), (0x900, 0xDFF), (0xE00, 0x10FF),
        (0x1100, 0x13FF), (0x1680, 0x1FFF), (0x2000, 0x2027), (0x202A, 0x218B), (0x2190, 0x2BFF),
        (0x3000, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFFEF),
        (0x10000, 0x10FFF), (0x1D400, 0x1D7FF), (0x1F100, 0x1FAFF), (0x2F800, 0x2FA1D),
    ]  # fmt: skip
    phrases = ["it's", "WE'LL", "they'Re", "don't!", "'s", "<|endoftext|>", "<|startoftext|>", "<|END"]
    phrases += ["!", "!!", "dog!", " ", "  ", "\t", "a b", "\u00a0", "\u3000", "e\u0301", "A\u030a"]
    phrases += ["\u0130", "\u03a3\u03a3", "\u1e9e", "\ufb01", "12", "3.14", "x_y", "\u200d", "\ufe0f"]
    pieces = []
    for _ in range(1 + int(torch.randint(12, (1,), generator=generator))):
        if pick((True, False, False)):
            pieces.append(pick(phrases))
            continue
        low, high = pick(ranges)
        run = [chr(pick(range(low, high + 1))) for _ in range(pick((1, 2, 4)))]
        pieces += [c for c in run if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
        pieces.append(pick(("", " ")))
    return "".join(pieces)


def make_tokens(fixtures):
    """Odd prompts, one a line, and for each model a line of token ids up to the end token."""
    generator = make_models.seeded("tokens")
    prompts = [odd_prompt(generator) for _ in range(300)]
    folder = fixtures / "parity"
    (folder / "odd-prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8", newline="\n")
    for name in CASES:
        tokenizer = R.CLIPTokenizer.from_pretrained(fixtures / name / "tokenizer")
        rows = [tokenizer(p, max_length=77, truncation=True).input_ids for p in prompts]
        text = "\n".join(" ".join(map(str, row)) for row in rows) + "\n"
        (folder / f"{name}-odd-prompts-ids.txt").write_text(text)


def make_schedules(folder):
    """diffusers' own tables, timesteps and one step at the first and the last timestep."""
    (folder / "schedules").mkdir(exist_ok=True)
    generator = make_models.seeded("schedules")
    out = {}
    for name, config in SCHEDULES.items():
        scheduler = DDIMScheduler(**config)
        scheduler.save_config(folder / "schedules")
        (folder / "schedules" / "scheduler_config.json").rename(folder / "schedules" / f"{name}.json")
        out[f"{name}.alphas_cumprod"] = scheduler.alphas_cumprod
        out[f"{name}.final_alpha_cumprod"] = scheduler.final_alpha_cumprod.clone().reshape(1)
        for steps in SCHEDULE_STEPS:
            scheduler.set_timesteps(steps)
            out[f"{name}.timesteps.{steps}"] = scheduler.timesteps
        scheduler.set_timesteps(6)
        x, output = torch.randn(2, 1, 4, 2, 3, 5, generator=generator)
        out[f"{name}.sample"], out[f"{name}.output"] = x, output
        for end, t in (("first", scheduler.timesteps[0]), ("last", scheduler.timesteps[-1])):
            stepped = scheduler.step(output.double(), t, x.double()).prev_sample
            out[f"{name}.stepped.{end}"] = stepped
    write(folder, "schedules", out)


def main():
    fixtures = Path(sys.argv[1])
    (fixtures / "parity").mkdir(parents=True, exist_ok=True)
    (fixtures / "parity" / "prompts.txt").write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    make_schedules(fixtures / "parity")
    for name in CASES:
        if "--no-models" not in sys.argv:
            make_models.make_model(fixtures, name)
        make(fixtures, name)
        make_features(fixtures, name)
    make_tokens(fixtures)


if __name__ == "__main__":
    main()
