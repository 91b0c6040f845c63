#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compare the tools with reference.py on every model of a directory.

    check_tools.py --build BUILD_DIR --models DIR [--name MODEL ...] [--part PART ...] [--threads N]
                   [--strict]

Prints, for each figure, our error, the error that PyTorch makes in float32, and the limit, which
is raised to four times PyTorch's error where that is more (not with --strict); the exit status says whether all are
kept (1: no, 2: the tools are missing).
"""
import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import reference as R
from make_fixtures import PROMPTS, make_models, noised_features

PROMPT = PROMPTS[0]
STEPS, GUIDANCE, PRIOR, MIN_TIMESTEP = 6, 12.0, 0.3, 500
VIDEO = Path(__file__).resolve().parents[2] / "examples" / "reference.mp4"


class Verdict:
    def __init__(self, strict=False):
        self.failed, self.strict = 0, strict
        print(f"{'model':18} {'case':20} {'figure':22} {'ours':>8} {'f32':>8} {'limit':>8}")

    def figure(self, model, case, figure, error, limit, rounding=None):
        """Where float32 in PyTorch does badly itself, the model decides nothing more finely."""
        allowed = limit if self.strict else max(limit, 4 * (rounding or 0.0))
        bad = not error <= allowed
        self.failed += bad
        shown = "" if rounding is None else f"{rounding:.1e}"
        note = "FAILED" if bad else "raised" if allowed > limit else ""
        limit = allowed
        line = f"{model:18} {case:20} {figure:22} {error:8.1e} {shown:>8} {limit:8.1e} {note}"
        print(line.rstrip(), flush=True)

    def broken(self, model, case, reason):
        self.failed += 1
        print(f"{model:18} {case:20} FAILED: {reason}", flush=True)


class Subject:
    """One model, its geometry, its inputs, and the reference in both precisions."""

    def __init__(self, folder, tools, threads=0):
        self.folder, self.tools, self.name = folder, tools, folder.name
        self.common = ["--model", folder, "--precision", "f32"]
        if threads:
            self.common += ["--threads", threads]
        self.generator = make_models.seeded("tools " + self.name)
        self.exact, self.rounded = R.Model(folder), R.Model(folder, torch.float32)
        known = self.name in make_models.MODELS
        spec = make_models.model_spec(self.name) if known else make_models.BASE
        self.case = spec["case"]
        self.factor = 2 ** (len(self.exact.vae.config.block_out_channels) - 1)

    @property
    def latent_shape(self):
        case = self.case
        return (4, case["frames"], case["height"] // self.factor, case["width"] // self.factor)

    def normal(self, count=1):
        return torch.randn((count, *self.latent_shape), generator=self.generator)

    @cached_property
    def lora(self):
        return R.random_lora(self.exact.unet, 12, self.generator, up_scale=0.1)

    def run(self, tool, *arguments):
        """Arguments first: a command must be the first one."""
        return run_tool([self.tools / tool, *arguments, *self.common])

    def size(self):
        case = self.case
        return ["--width", case["width"], "--height", case["height"], "--num-frames", case["frames"]]


def run_tool(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        words = " ".join(str(c) for c in command)
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()[-400:]}\n  {words}")
    return done.stdout


def store(path, tensors):
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    return path


# Training


def replay_options(settings):
    return [
        "--objective", settings.objective,
        "--spatial-weight", settings.spatial_weight,
        "--temporal-weight", settings.temporal_weight,
        "--spatial-scale-factor", settings.spatial_scale,
        "--temporal-scale-factor", settings.temporal_scale,
        "--num-denoise-steps", settings.num_denoise_steps,
        "--learning-rate", settings.learning_rate,
    ]  # fmt: skip


def replays(subject):
    """Label, settings and timesteps of each replay."""
    first, *others = subject.case["scales"]
    top = 999 if subject.exact.schedule.config.rescale_betas_zero_snr else 981
    yield f"scale {first}", R.Settings(spatial_scale=first, temporal_scale=first), [731]
    yield "5 steps", R.Settings(spatial_scale=first, temporal_scale=first), [top, 500, 733, 640, 877]
    for scale in others:
        mixed = R.Settings(
            spatial_scale=scale, temporal_scale=first, num_denoise_steps=9, spatial_weight=8000.0
        )
        yield f"scale {scale}/{first}, n 9", mixed, [top]
    yield "CA alone", R.Settings(temporal_weight=0.0, spatial_scale=first), [600]
    yield "ddpm", R.Settings(objective="ddpm"), [870]


def check_replay(subject, verdict, work):
    for label, settings, timesteps in replays(subject):
        n = len(timesteps)
        given = {
            "latents": subject.normal(n),
            "noise": subject.normal(n),
            "timestep": torch.tensor(timesteps),
            **subject.lora,
        }
        source, target = work / "in.safetensors", work / "out.safetensors"
        store(source, given)
        try:
            subject.run(
                "mm-train", "--prompt", PROMPT, "--replay", source, "--dump", target,
                *replay_options(settings),
            )  # fmt: skip
            compare_replay(subject, verdict, label, load_file(target), settings, given)
        except (RuntimeError, KeyError, OSError) as problem:
            verdict.broken(subject.name, label, repr(problem))


LOSSES = ("loss", "loss_spatial", "loss_temporal")


def loss_rounding(rough, want):
    """A loss is what is left of maps that nearly cancel: take the worst of its terms."""
    return max(R.relative(rough[k][:1], want[k][:1]) for k in LOSSES if float(want[k][0]))


def compare_replay(subject, verdict, label, ours, settings, given):
    want = R.replay(subject.exact, settings, PROMPT, given)
    rough = R.replay(subject.rounded, settings, PROMPT, given)
    missing = sorted(set(want) - set(ours))
    if missing:
        verdict.broken(subject.name, label, f"{len(missing)} tensors missing, e.g. {missing[:3]}")
        return

    def figure(title, limit, keys):
        keys = [k for k in keys if k in want]
        if keys:
            errors = R.worst(ours, want, keys), R.worst(rough, want, keys)
            verdict.figure(subject.name, label, title, errors[0], limit, errors[1])

    def overall(title, limit, prefix):
        keys = [k for k in want if k.startswith(prefix)]
        errors = R.relative_norm(ours, want, keys), R.relative_norm(rough, want, keys)
        verdict.figure(subject.name, label, title, errors[0], limit, errors[1])

    steps = len(given["timestep"])
    if steps > 1:
        # After the first update the runs may part where a gradient is next to zero.
        lora = [k for k in want if k.startswith("lora.")]
        overall("LoRA, all", 1e-3, "lora.")
        largest = max(float(want[k].abs().max()) for k in lora)

        def off(got):
            return max(float((got[k].double() - want[k].double()).abs().max()) for k in lora) / largest

        verdict.figure(subject.name, label, "LoRA, worst number", off(ours), 1e-3, off(rough))
        error = R.relative(ours["loss"][:1], want["loss"][:1])
        verdict.figure(subject.name, label, "first loss", error, 1e-4, loss_rounding(rough, want))
        return
    same = torch.equal(ours["token_ids"].flatten(), want["token_ids"].flatten())
    verdict.figure(subject.name, label, "token ids differ", float(not same), 0)
    figure("text encoder", 1e-4, ["encoder_hidden_states"])
    figure("UNet output", 1e-4, ["noise_pred"])
    figure("maps", 1e-4, ["pred.ca", "pred.tsa", "target.ca", "target.tsa"])
    for key in LOSSES:
        if float(want[key]):
            error = R.relative(ours[key], want[key])
            verdict.figure(subject.name, label, key, error, 1e-4, loss_rounding(rough, want))
    figure("gradient, worst", 3e-3, [k for k in want if k.startswith("grad.")])
    overall("gradient, all", 1e-3, "grad.")
    overall("LoRA, all", 1e-3, "lora.")


def check_tokens(subject, verdict, work):
    source, target = work / "in.safetensors", work / "out.safetensors"
    given = {"latents": subject.normal(), "noise": subject.normal(), "timestep": torch.tensor([700])}
    store(source, given)
    for i, prompt in enumerate(PROMPTS):
        arguments = ["--prompt", prompt, "--replay", source, "--dump", target, "--objective", "ddpm"]
        try:
            subject.run("mm-train", *arguments, "--rank", 1)
        except RuntimeError as problem:
            verdict.broken(subject.name, f"prompt {i}", problem)
            continue
        ours, want = load_file(target), subject.exact.token_ids(prompt)
        differ = int((ours["token_ids"].flatten() != want.flatten()).sum())
        verdict.figure(subject.name, f"prompt {i}", "token ids differ", float(differ), 0)
        states = [m.encode_text(prompt) for m in (subject.exact, subject.rounded)]
        error = R.relative(ours["encoder_hidden_states"], states[0])
        rounding = R.relative(states[1], states[0])
        verdict.figure(subject.name, f"prompt {i}", "text encoder", error, 1e-4, rounding)


# The VAE


def frames_by_ffmpeg(case):
    scale = f"scale={case['width']}:{case['height']}:flags=bilinear"
    command = ["ffmpeg", "-v", "error", "-i", VIDEO, "-vf", scale, "-frames:v", case["frames"]]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run([str(c) for c in command], capture_output=True, check=True).stdout
    shape = (case["frames"], case["height"], case["width"], 3)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(shape).permute(0, 3, 1, 2)


def train_options(subject, steps, out):
    first = subject.case["scales"][0]
    return [
        "--video", VIDEO, "--prompt", PROMPT, "--output-dir", out, "--steps", steps,
        "--checkpoint-every", 1, "--validation-every", 0, "--seed", 7, "--rank", 4,
        "--spatial-scale-factor", first, "--temporal-scale-factor", first, *subject.size(),
    ]  # fmt: skip


def check_vae(subject, verdict, work):
    out = work / "encoded"
    try:
        subject.run("mm-train", *train_options(subject, 1, out))
        cached = load_file(out / "cached_latents" / "cached_0.safetensors")
        compare_encoded(subject, verdict, cached)
    except (RuntimeError, KeyError, OSError) as problem:
        verdict.broken(subject.name, "encode", problem)
    latents = 0.3 * subject.normal()
    arguments = ["--init-latents", store(work / "z.safetensors", {"latents": latents})]
    arguments += ["--num-steps", 0, "--save-frames", work / "frames.safetensors", *subject.size()]
    try:
        subject.run("mm-infer", "--prompt", PROMPT, *arguments, "--output-dir", work / "decoded")
        ours = load_file(work / "frames.safetensors")["frames"].int()
        want = subject.exact.decode_u8(latents).int()
        error = float((ours - want).abs().max())
        verdict.figure(subject.name, "decode", "levels of 255", error, 1)
    except (RuntimeError, KeyError, OSError) as problem:
        verdict.broken(subject.name, "decode", problem)


def compare_encoded(subject, verdict, cached):
    pixels = cached["pixel_values"]
    levels = (pixels.double() * 127.5 + 127.5 - frames_by_ffmpeg(subject.case).double()).abs()
    verdict.figure(subject.name, "decode video", "levels, mean", float(levels.mean()), 0.5)
    verdict.figure(subject.name, "decode video", "levels, worst", float(levels.max()), 4)
    want, rough = (m.moments(pixels) for m in (subject.exact, subject.rounded))
    errors = [R.relative(v, want) for v in (cached["moments"], rough)]
    verdict.figure(subject.name, "encode", "moments", errors[0], 1e-4, errors[1])
    mean, logvar = want.chunk(2, 1)
    scale = subject.exact.vae.config.scaling_factor
    drawn = cached["latents"][0].transpose(0, 1).double() / scale
    normal = (drawn - mean) / (0.5 * logvar.clamp(-30, 20)).exp()
    verdict.figure(subject.name, "encode", "sample: |std - 1|", float((normal.std() - 1).abs()), 0.2)


# Features


def check_features(subject, verdict, work):
    """A clip without loss, known noise; every pair of scales next to each other."""
    case, scales = subject.case, subject.case["scales"]
    shape = (case["frames"], case["height"], case["width"], 3)
    frames = torch.randint(256, shape, generator=subject.generator, dtype=torch.uint8)
    noise = subject.normal()
    clip, target = work / "clip.avi", work / "features.safetensors"
    write_lossless(clip, frames)
    options = ["--prompt", PROMPT, "--output", target, *subject.size()]
    options += ["--noise", store(work / "noise.safetensors", {"noise": noise})]
    for spatial, temporal in zip(scales, scales[1:] + scales[:1]):
        for timestep in (0, 417, 999):
            label = f"t {timestep}, 1/{spatial}, 1/{temporal}"
            try:
                subject.run(
                    "mm-eval", "features", clip, "--timestep", timestep, *options,
                    "--spatial-scale-factor", spatial, "--temporal-scale-factor", temporal,
                )  # fmt: skip
                want, rough = (
                    noised_features(m, frames, noise, timestep, spatial, temporal)
                    for m in (subject.exact, subject.rounded)
                )
                compare_features(subject, verdict, label, load_file(target), want, rough)
            except (RuntimeError, KeyError, OSError) as problem:
                verdict.broken(subject.name, label, problem)


def write_lossless(path, frames):
    _, height, width, _ = frames.shape
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", "8", "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0", path]
    subprocess.run([str(c) for c in command], input=frames.numpy().tobytes(), check=True)


def compare_features(subject, verdict, label, ours, want, rough):
    for name, exact, rounded in zip(("ca", "tsa"), want, rough):
        error, rounding = R.relative(ours[name], exact), R.relative(rounded, exact)
        verdict.figure(subject.name, label, name, error, 2e-6, rounding)
        off = float((ours[name].double().sum(-1) - 1).abs().max())
        verdict.figure(subject.name, label, f"{name}, sum - 1", off, 1e-5)


# Sampling


def check_sampling(subject, verdict, work):
    start, reference = subject.normal(), (0.5 * subject.normal()).half().float()
    files = {
        "start": store(work / "start.safetensors", {"latents": start}),
        "reference": store(work / "reference.safetensors", {"latents": reference}),
        "lora": work / "lora.safetensors",
    }
    save_file(subject.lora, files["lora"], metadata={"format": "pt"})
    common = [
        "--prompt", PROMPT, "--num-steps", STEPS, "--guidance-scale", GUIDANCE,
        "--min-timestep", MIN_TIMESTEP, "--init-latents", files["start"], "--steps-only",
        "--save-latents", work / "final.safetensors", *subject.size(),
    ]  # fmt: skip
    prior = [
        "--noise-prior", PRIOR, "--reference-latents", files["reference"],
        "--save-inversion", work / "inversion.safetensors",
    ]  # fmt: skip
    released_run(subject, work / "released", reference)
    released = [
        "--checkpoint-folder", work / "released", "--checkpoint-index", 400, "--noise-prior",
    ]  # fmt: skip
    with_lora = ["--lora", files["lora"]]
    halved = ["--lora", f"{files['lora']}:0.5", "--lora-scale", 0.5, "--negative-prompt", "a cat"]
    halved += ["--lora", f"{files['lora']}:0.25"]
    variants = {
        "sampling": (with_lora, {}),
        "two LoRAs, scale .5": (halved, dict(scale=0.375, negative="a cat")),
        "unguided": ([*with_lora, "--guidance-scale", 1], dict(guidance=1.0)),
        "noise prior": ([*with_lora, *prior], dict(reference=reference)),
        "inversion with LoRA": (
            [*with_lora, *prior, "--inversion-lora"],
            dict(reference=reference, invert_with_lora=True),
        ),
        "released run": ([*released, 0], {}),
        "released run, prior": ([*released, PRIOR], dict(reference=reference)),
    }
    for label, (options, changes) in variants.items():
        out = work / label.replace(" ", "-")
        try:
            subject.run("mm-infer", *common, *options, "--output-dir", out)
            compare_sampling(subject, verdict, label, work, start, changes)
        except (RuntimeError, KeyError, OSError) as problem:
            verdict.broken(subject.name, label, problem)


def released_run(subject, folder, reference):
    """A run directory as the released code leaves it: a bare list of parameters, up before down."""
    (folder / "checkpoint-400" / "lora").mkdir(parents=True)
    (folder / "cached_latents").mkdir()
    parameters = []
    for path, _ in R.lora_targets(subject.exact.unet):
        for side in "BA":
            tensor = subject.lora[f"unet.{path}.lora_{side}.weight"]
            parameters.append(torch.nn.Parameter(tensor.clone()))
    torch.save(parameters, folder / "checkpoint-400" / "lora" / "400_unet.pt")
    cached = {
        "pixel_values": torch.zeros(2, 3, 8, 8),
        "prompt_ids": subject.exact.token_ids(PROMPT)[0],
        "text_prompt": PROMPT,
        "latents": reference[0].half(),
        "inversion_noise": R.invert(subject.exact, reference, STEPS)[0].float(),
    }
    torch.save(cached, folder / "cached_latents" / "cached_0.pt")


def expected_sampling(
    model, tensors, start, guidance=GUIDANCE, scale=1.0, negative="", reference=None, invert_with_lora=False
):
    out = {}
    start = start.to(model.dtype)
    lora = R.Lora(model, tensors)
    if reference is not None:
        lora.set_scale(float(invert_with_lora))
        out["inversion"] = R.invert(model, reference, STEPS)
        start = R.mix(out["inversion"], start, PRIOR)
    texts = model.encode_text(PROMPT), model.encode_text(negative)
    out["final"] = R.sample(model, start, *texts, STEPS, guidance, lora, MIN_TIMESTEP, scale)
    lora.remove()
    return out


def compare_sampling(subject, verdict, label, work, start, changes):
    want, rough = (
        expected_sampling(m, subject.lora, start, **changes) for m in (subject.exact, subject.rounded)
    )
    names = {"inversion": "inversion_noise", "final": "latents"}
    for key, value in want.items():
        path = work / f"{key}.safetensors"
        if not path.exists():
            continue  # not asked for
        ours = load_file(path)[names[key]]
        path.unlink()
        rounding = R.relative(rough[key], value)
        verdict.figure(subject.name, label, key, R.relative(ours, value), 1e-3, rounding)


# Runs: equal bytes


def lora_bytes(folder, step):
    return (folder / f"checkpoint-{step}" / "lora.safetensors").read_bytes()


def check_runs(subject, verdict, work):
    steps = 16
    runs = {"b": "run twice", "c": "resumed", "d": "killed, resumed", "e": "interrupted, resumed"}
    try:
        for name in ("a", "b"):
            subject.run("mm-train", *train_options(subject, steps, work / name))
        subject.run("mm-train", *train_options(subject, 2, work / "c"))
        run_tool([subject.tools / "mm-train", "--resume", work / "c", "--steps", steps])
        stopped_and_resumed(subject, steps, work / "d", signal.SIGKILL, -signal.SIGKILL)
        stopped_and_resumed(subject, steps, work / "e", signal.SIGINT, 130)
        whole = lora_bytes(work / "a", steps)
        for name, title in runs.items():
            differs = float(lora_bytes(work / name, steps) != whole)
            verdict.figure(subject.name, "equal bytes", title, differs, 0)
            lines = (work / name / "metrics.jsonl").read_text().splitlines()
            counted = [json.loads(line)["step"] for line in lines]
            wrong = float(counted != list(range(1, steps + 1)))
            verdict.figure(subject.name, "metrics.jsonl", title, wrong, 0)
    except (RuntimeError, OSError) as problem:
        verdict.broken(subject.name, "equal bytes", problem)


def stopped_and_resumed(subject, steps, out, how, expected):
    options = [*subject.common, *train_options(subject, steps, out)]
    command = [str(c) for c in (subject.tools / "mm-train", *options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out / "checkpoint-2" / "lora.safetensors").exists():
        time.sleep(0.001)
    process.send_signal(how)
    if process.wait() != expected:
        raise RuntimeError(f"{how.name}: exit {process.returncode} instead of {expected}")
    run_tool([subject.tools / "mm-train", "--resume", out])


PARTS = {
    "tokens": check_tokens,
    "replay": check_replay,
    "vae": check_vae,
    "features": check_features,
    "sampling": check_sampling,
    "runs": check_runs,
}
# These do not depend on the shape of the networks.
ON_FEW = {"tokens": ("quickstart-model", "tiny-v-model"), "runs": ("quickstart-model", "v-zero-snr")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", action="append")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--threads", type=int, default=0, help="of the tools and of PyTorch")
    parser.add_argument("--strict", action="store_true", help="never raise a limit")
    arguments = parser.parse_args()
    tools = arguments.build.resolve() / "tools"
    if not all((tools / tool).exists() for tool in ("mm-train", "mm-infer", "mm-eval")):
        print(f"not all of mm-train, mm-infer and mm-eval are in {tools}", file=sys.stderr)
        sys.exit(2)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    verdict = Verdict(arguments.strict)
    folders = sorted(f.parent for f in arguments.models.resolve().glob("*/model_index.json"))
    folders = [f for f in folders if not arguments.name or f.name in arguments.name]
    for folder in folders:
        subject = Subject(folder, tools, arguments.threads)
        for part in arguments.part or PARTS:
            if not arguments.part and folder.name not in ON_FEW.get(part, (folder.name,)):
                continue
            work = Path(tempfile.mkdtemp(prefix="mm-check-"))
            try:
                PARTS[part](subject, verdict, work)
            except Exception:
                verdict.broken(subject.name, part, traceback.format_exc())
            shutil.rmtree(work, ignore_errors=True)
    print(f"{len(folders)} models, {verdict.failed} failures")
    sys.exit(verdict.failed > 0 or not folders)


if __name__ == "__main__":
    main()
