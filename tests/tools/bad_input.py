# SPDX-License-Identifier: BSD-2-Clause
"""Gives the built tools bad input, one row of a table after the other: exit code, message, time,
and that nothing is left behind.

usage: bad_input.py TOOLS_DIR FIXTURES_DIR [WORDS_OF_A_NAME...]"""
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
WANTED = sys.argv[3:]
MODEL, OTHER = FIXTURES / "quickstart-model", FIXTURES / "tiny-v-model"
CLIP = FIXTURES / "media/plain.mp4"
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULE = "scheduler/scheduler_config.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SLOWEST = 20.0  # seconds, on a busy machine with sanitizers
SMALL = ["--width", 32, "--height", 16, "--num-frames", 2, "--threads", 1, "--seed", 1]
NAN = b"\0\0\xc0\x7f"

CASES = []  # (name, tool, function of a scratch directory that gives the arguments, code, message)


def case(name, tool, code, message, make, limit=None):
    CASES.append((name, tool, make, code, message, limit))


def infer(path, *more, model=MODEL):
    return ["-m", model, "-p", "a test", "-o", path / "out", *SMALL, "-s", 1, *more]


def train(path, *more, model=MODEL, video=CLIP):
    return ["--model", model, "--video", video, "--prompt", "a test", "--output-dir", path / "out",
            *SMALL, "--rank", 2, "--steps", 2, "--validation-every", 0, *more]


# Files

def read_tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def write_tensors(path, tensors, metadata=None):
    header, body = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def zeros(*shape, item=4):
    count = 1
    for side in shape:
        count *= side
    return list(shape), bytes(count * item)


def f32(*shape):
    return ("F32", *zeros(*shape))


# Models with one fault

def faulty(path, file, change, model=MODEL):
    """A copy of the model in which `change` was applied to the path of one file."""
    copy = path / "model"
    shutil.copytree(model, copy)
    change(copy / file)
    return copy


def with_bytes(data):
    return lambda file: file.write_bytes(data)


def cut_to(share):
    return lambda file: file.write_bytes(file.read_bytes()[:int(file.stat().st_size * share)])


def flip(place):
    def change(file):
        data = bytearray(file.read_bytes())
        data[int(len(data) * place)] ^= 0x10
        file.write_bytes(data)
    return change


def setting(**values):
    def change(file):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.update(values)
        file.write_text(json.dumps(config).replace("\"HUGE\"", "1e999"), encoding="utf-8")
    return change


def tensors(edit):
    def change(file):
        held = read_tensors(file)
        edit(held)
        write_tensors(file, held)
    return change


def model_case(name, file, change, code, message, tool="infer", model=MODEL):
    make = infer if tool == "infer" else train
    case(name, tool, code, message,
         lambda path: make(path, model=faulty(path, file, change, model)))


def models():
    case("no such model", "infer", 3, "nowhere", lambda p: infer(p, model=p / "nowhere"))
    case("a file as a model", "train", 3, "plain.mp4", lambda p: train(p, model=CLIP))
    for folder in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"]:
        model_case(f"no {folder}", folder, shutil.rmtree, 3, folder)
    for file in [UNET, UNET_WEIGHTS, "tokenizer/vocab.json", "tokenizer/merges.txt", SCHEDULE]:
        model_case(f"no {file}", file, pathlib.Path.unlink, 3, file.split("/")[0], tool="train")
    for share in [0, 0.00001, 0.01, 0.05, 0.5, 0.9999]:
        model_case(f"weights cut to {share}", UNET_WEIGHTS, cut_to(share), 3, UNET_WEIGHTS)
    for share in [0, 0.1, 0.5, 0.99, 0.9999]:
        model_case(f"archive cut to {share}", "text_encoder/pytorch_model.bin", cut_to(share), 3,
                   "pytorch_model.bin", model=OTHER)
    model_case("archive with a flipped bit", "text_encoder/pytorch_model.bin", flip(0.5), 3,
               "pytorch_model.bin", model=OTHER, tool="train")
    text = b"These are not the weights you are looking for.\n" * 20
    model_case("text named .bin", "text_encoder/pytorch_model.bin", with_bytes(text), 3,
               "pytorch_model.bin", model=OTHER)
    model_case("text named .safetensors", UNET_WEIGHTS, with_bytes(text), 3, UNET_WEIGHTS)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5645\n"
    model_case("Git-LFS pointer", UNET_WEIGHTS, with_bytes(pointer), 3, "git lfs pull")
    model_case("header of 2^63 bytes", UNET_WEIGHTS, with_bytes(b"\xff" * 7 + b"\x7f{}"), 3,
               UNET_WEIGHTS)
    name = "conv_in.weight"
    model_case("missing tensor", UNET_WEIGHTS, tensors(lambda t: t.pop(name)), 3, name)
    model_case("misshapen tensor", UNET_WEIGHTS,
               tensors(lambda t: t.update({name: f32(8, 4, 3, 2)})), 3, name)
    model_case("tensor of another type", UNET_WEIGHTS,
               tensors(lambda t: t.update({name: ("I64", *zeros(8, 4, 3, 3, item=8))})), 3, name)
    model_case("extra tensor", UNET_WEIGHTS, tensors(lambda t: t.update({"stray": f32(3)})), 0,
               "stray")
    model_case("weights that are no numbers", UNET_WEIGHTS,
               tensors(lambda t: t.update({name: ("F32", [8, 4, 3, 3], NAN * 288)})), 7, "finite")
    model_case("training with weights that are no numbers", UNET_WEIGHTS,
               tensors(lambda t: t.update({name: ("F32", [8, 4, 3, 3], NAN * 288)})), 7, "finite",
               tool="train")


def configs():
    model_case("wrong UNet class", UNET, setting(_class_name="UNet2DConditionModel"), 4,
               "UNet2DConditionModel")
    model_case("wrong VAE class", VAE, setting(_class_name="VQModel"), 4, "VQModel")
    model_case("wrong scheduler", SCHEDULE, setting(_class_name="PNDMScheduler"), 4,
               "PNDMScheduler")
    model_case("wrong text encoder", TEXT, setting(architectures=["T5EncoderModel"]), 4,
               "T5EncoderModel")
    model_case("wrong class in the index", "model_index.json",
               setting(unet=["diffusers", "SomeUNet"]), 4, "SomeUNet", tool="train")
    model_case("unknown block", UNET, setting(down_block_types=["OddBlock"] * 3), 4, "OddBlock")
    model_case("unknown activation", UNET, setting(act_fn="cosine"), 4, "cosine")
    model_case("unknown prediction", SCHEDULE, setting(prediction_type="guess"), 4, "guess")
    model_case("unknown schedule", SCHEDULE, setting(beta_schedule="zigzag"), 4, "zigzag")
    rows = [
        (UNET, "block_out_channels", [[0, 8, 8], [-1, 8, 8], [2**31, 8, 8], [8] * 20000, [], 8]),
        (UNET, "attention_head_dim", [0, -4, 2**40, "4", 3.5, 64]),
        (UNET, "norm_num_groups", [0, 3, 2**31]),
        (UNET, "layers_per_block", [0, 10**9]),
        (UNET, "cross_attention_dim", [0, 31, 10**12]),
        (UNET, "in_channels", [0, 5]),
        (UNET, "norm_eps", ["HUGE", -1]),
        (UNET, "down_block_types", ["CrossAttnDownBlock3D", [1, 2, 3], ["DownBlock3D"]]),
        (VAE, "latent_channels", [0, 10**9]),
        (VAE, "scaling_factor", [0, "HUGE"]),
        (VAE, "norm_num_groups", [5]),
        (TEXT, "hidden_size", [0, 10**9]),
        (TEXT, "num_attention_heads", [0, 3]),
        (TEXT, "num_hidden_layers", [-1, 10**9]),
        (TEXT, "vocab_size", [0, 3, 10**12]),
        (TEXT, "max_position_embeddings", [0]),
        (SCHEDULE, "num_train_timesteps", [0, 2**31]),
        (SCHEDULE, "beta_start", ["HUGE", 2, "small"]),
        (SCHEDULE, "steps_offset", [-1, 10**12]),
    ]
    for file, key, values in rows:
        for value in values:
            model_case(f"{file}: {key} {str(value)[:20]}", file, setting(**{key: value}), 3, "")
    model_case("text encoder for short texts", TEXT, setting(max_position_embeddings=5), 4, "5")
    model_case("config that is no object", UNET, with_bytes(b"[1]"), 3, UNET)
    model_case("config with a deep nest", UNET, with_bytes(b"[" * 100000), 3, UNET)
    model_case("config that is not UTF-8", VAE, with_bytes(b'{"a": "\xff"}'), 3, "UTF-8")
    model_case("config cut short", SCHEDULE, cut_to(0.5), 3, SCHEDULE)
    vocabulary = "tokenizer/vocab.json"
    model_case("token id beyond the table", vocabulary, setting(zzz=10**9), 3, "vocab.json")
    model_case("token id twice", vocabulary, setting(zzz=1), 3, "vocab.json")
    model_case("token id below 0", vocabulary, setting(zzz=-1), 3, "vocab.json")
    model_case("no vocabulary", vocabulary, with_bytes(b"{}"), 3, "vocab.json")
    model_case("bad merge", "tokenizer/merges.txt", with_bytes(b"#version: 0.2\na b c\n"), 3,
               "merges.txt")


def videos():
    media = FIXTURES / "media"

    def video(path, data):
        (path / "clip.mp4").write_bytes(data)
        return path / "clip.mp4"

    case("no such video", "train", 3, "none.mp4", lambda p: train(p, video=p / "none.mp4"))
    case("directory as a video", "train", 3, "media", lambda p: train(p, video=media))
    case("sound alone", "train", 3, "song.flac", lambda p: train(p, video=media / "song.flac"))
    case("empty video", "train", 3, "clip.mp4", lambda p: train(p, video=video(p, b"")))
    case("text as a video", "train", 3, "clip.mp4",
         lambda p: train(p, video=video(p, b"no video\n" * 99)))
    for share in [0.1, 0.5, 0.95]:
        case(f"video cut to {share}", "train", 3, "clip.mp4",
             lambda p, share=share: train(p, "--num-frames", 6, video=video(
                 p, CLIP.read_bytes()[:int(CLIP.stat().st_size * share)])))
    case("too few frames", "train", 3, "3 frames",
         lambda p: train(p, "--num-frames", 16, video=media / "three.mp4"))
    case("start beyond the end", "train", 3, "frame",
         lambda p: train(p, "--start-frame", 1000000))
    case("playlist", "train", 4, "playlist.m3u8",
         lambda p: train(p, video=media / "playlist.m3u8"))
    case("script of files", "train", 4, "ffconcat",
         lambda p: train(p, video=media / "script.ffconcat"))
    case("session description", "train", 4, "session.sdp",
         lambda p: train(p, video=media / "session.sdp"))
    case("no such reference", "infer", 3, "none.mp4",
         lambda p: infer(p, "--noise-prior", 0.5, "--reference", p / "none.mp4"))


def usage():
    case("no multiple of the factor", "train", 2, "multiples of 4",
         lambda p: train(p, "--width", 30))
    case("no multiple when sampling", "infer", 2, "multiples of 4",
         lambda p: infer(p, "--height", 30))
    for option, value in [("steps", 0), ("rank", 0), ("rank", 10**9), ("learning-rate", -1),
                          ("learning-rate", "nan"), ("noise-prior", 1.5), ("width", 0),
                          ("width", 10**9), ("num-frames", 0), ("lora-dropout", 1),
                          ("adam-beta1", 1), ("min-timestep", -1), ("seed", -1), ("threads", -1),
                          ("objective", "fun"), ("num-frames", "2.5"), ("memory-budget", "lots"),
                          ("spatial-scale-factor", 3), ("spatial-scale-factor", 64),
                          ("min-timestep", 5000), ("validation-num-steps", 0)]:
        case(f"--{option} {value}", "train", 2, option,
             lambda p, option=option, value=value: train(p, f"--{option}", value))
    for option, value in [("num-steps", 5000), ("guidance-scale", "nan"), ("fps", 0),
                          ("repeat-num", 0), ("lora", "x.safetensors:1001")]:
        case(f"--{option} {value}", "infer", 2, option.split("-")[-1],
             lambda p, option=option, value=value: infer(p, f"--{option}", value))
    case("both weights 0", "train", 2, "both 0",
         lambda p: train(p, "--spatial-weight", 0, "--temporal-weight", 0))
    case("noise prior with samples of another size", "train", 2, "own size",
         lambda p: train(p, "--noise-prior", 0.5, "--validation-width", 64))
    case("noise prior without reference", "infer", 2, "option reference",
         lambda p: infer(p, "--noise-prior", 0.5))
    case("CUDA", "infer", 6, "cuda", lambda p: infer(p, "--device", "cuda"))
    case("f16", "infer", 4, "f16", lambda p: infer(p, "--precision", "f16"))
    for budget in ["1", "1M", "20M"]:
        case(f"training in {budget}", "train", 5, "budget",
             lambda p, budget=budget: train(p, "--memory-budget", budget))
        case(f"sampling in {budget}", "infer", 5, "budget",
             lambda p, budget=budget: infer(p, "--memory-budget", budget))
    case("a size beyond memory", "train", 5, "budget",
         lambda p: train(p, "--width", 8192, "--height", 8192, "--num-frames", 64,
                         "--memory-budget", "1G"))


def prompts():
    def prompt(path, text):
        file = path / "config.json"
        file.write_text(json.dumps({"prompt": text}), encoding="utf-8")
        return ["--config", file, "-m", MODEL, "-o", path / "out", *SMALL, "-s", 1]

    for data in [b"\xff", b"a \xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80"]:
        case(f"prompt {data}", "infer", 2, "UTF-8", lambda p, data=data: infer(p, "-p", data))
    case("validation prompt that is not UTF-8", "train", 2, "UTF-8",
         lambda p: train(p, "--validation-prompt", b"\xff"))
    case("prompt of 1 MB", "infer", 0, "", lambda p: prompt(p, "word " * 200000))
    case("prompt of one word of 1 MB", "infer", 0, "", lambda p: prompt(p, "w" * 1000000))
    case("prompt of combining marks", "infer", 0, "", lambda p: prompt(p, "a" + "\u0301" * 300000))
    case("empty prompt", "infer", 0, "", lambda p: prompt(p, ""))
    case("special tokens alone", "infer", 0, "",
         lambda p: prompt(p, "<|startoftext|><|endoftext|><|endoftext|>"))
    case("hostile file name", "infer", 0, "", lambda p: prompt(p, "../../etc/passwd\n%n\x01\u202e"))


def loras(trained):
    good = trained / "checkpoint-2/lora.safetensors"

    def lora(path, edit):
        held = read_tensors(good)
        edit(held)
        return write_tensors(path / "lora.safetensors", held)

    def lora_case(name, code, message, edit):
        case(name, "infer", code, message, lambda p: infer(p, "--lora", lora(p, edit)))

    def first(held, half):
        return next(name for name in held if half in name)

    def resize(rank):
        def edit(held):
            down = first(held, "lora_A")
            up = down.replace("lora_A", "lora_B")
            held[down] = f32(rank, held[down][1][1])
            held[up] = f32(held[up][1][0], rank)
        return edit

    def fill(data):
        def edit(held):
            for half in ["lora_A", "lora_B"]:
                for name, (dtype, shape, old) in list(held.items()):
                    if half in name:
                        held[name] = (dtype, shape, data * (len(old) // 4))
        return edit

    case("no such LoRA", "infer", 3, "none.safetensors",
         lambda p: infer(p, "--lora", p / "none.safetensors"))
    lora_case("rank above its layer", 3, "rank", resize(4096))
    lora_case("rank 0", 3, "", resize(0))
    lora_case("one half missing", 3, "lora_B", lambda held: held.pop(first(held, "lora_B")))
    lora_case("halves of two ranks", 3, "",
              lambda held: held.update({first(held, "lora_A"): f32(3, 8)}))
    lora_case("no LoRA at all", 3, "lora.safetensors",
              lambda held: (held.clear(), held.update({"x": f32(1)})))
    lora_case("LoRA that is no number", 7, "finite", fill(NAN))
    lora_case("LoRA that is infinite", 7, "finite", fill(b"\0\0\x80\x7f"))
    case("LoRA of another model", "infer", 3, "lora",
         lambda p: infer(p, "--lora", good, model=OTHER))
    case("showing a LoRA of another model", "lora", 3, "lora",
         lambda p: ["info", good, "--model", OTHER])
    case("converting what is no LoRA", "lora", 3, "plain.mp4",
         lambda p: ["convert", CLIP, p / "out.pt", "--model", MODEL])
    case("converting into no directory", "lora", 1, "nowhere",
         lambda p: ["convert", good, p / "nowhere/out.pt", "--model", MODEL])
    for share in [0, 0.2, 0.999]:
        case(f"LoRA cut to {share}", "infer", 3, "l.safetensors", lambda p, share=share: infer(
            p, "--lora", shutil.copy(good, p / "l.safetensors"),
            *(cut_to(share)(p / "l.safetensors"), [])[1]))
    case("no such run", "infer", 3, "nowhere",
         lambda p: ["-p", "x", "-o", p / "out", "--checkpoint-folder", p / "nowhere"])
    case("no such checkpoint", "infer", 3, "checkpoint-9",
         lambda p: ["-p", "x", "-o", p / "out", "--checkpoint-folder", trained,
                    "--checkpoint-index", 9])


def latents(trained):
    shape = [1, 4, 2, 4, 8]
    lora = read_tensors(trained / "checkpoint-2/lora.safetensors")
    good = {"latents": f32(*shape), "noise": f32(*shape),
            "timestep": ("I64", [1], struct.pack("<q", 600))}

    def replay(name, code, message, edit):
        def make(path):
            held = dict(good)
            edit(held)
            return ["--model", MODEL, "--replay", write_tensors(path / "in.safetensors", held),
                    "--dump", path / "out.safetensors", "--prompt", "x", "--seed", 1]
        case("replay: " + name, "train", code, message, make)

    for name in good:
        replay(f"no {name}", 3, name, lambda held, name=name: held.pop(name))
    replay("latents of 4 sides", 3, "latents", lambda h: h.update(latents=f32(4, 2, 4, 8)))
    replay("latents of no frames", 3, "latents", lambda h: h.update(latents=f32(1, 4, 0, 4, 8)))
    replay("noise of another size", 3, "noise", lambda h: h.update(noise=f32(1, 4, 2, 4, 4)))
    replay("latents as whole numbers", 3, "latents",
           lambda h: h.update(latents=("I64", *zeros(*shape, item=8))))
    replay("timestep as f32", 3, "timestep", lambda h: h.update(timestep=f32(1)))
    replay("two timesteps", 3, "timestep", lambda h: h.update(timestep=("I64", [2], bytes(16))))
    replay("timestep 5000", 3, "5000",
           lambda h: h.update(timestep=("I64", [1], struct.pack("<q", 5000))))
    replay("timestep -1", 3, "-1",
           lambda h: h.update(timestep=("I64", [1], struct.pack("<q", -1))))
    replay("misshapen text", 3, "encoder_hidden_states",
           lambda h: h.update(encoder_hidden_states=f32(1, 76, 32)))
    replay("latents that are no numbers", 7, "finite",
           lambda h: h.update(latents=("F32", shape, NAN * 256)))
    replay("half a LoRA", 3, "lora_B", lambda h: h.update(
        {name: value for name, value in lora.items() if "lora_A" in name}))
    case("replay: no such file", "train", 3, "none",
         lambda p: ["--model", MODEL, "--replay", p / "none", "--dump", p / "x.safetensors"])
    case("replay: no directory for the dump", "train", 1, "nowhere",
         lambda p: ["--model", MODEL, "--replay", write_tensors(p / "in.safetensors", good),
                    "--dump", p / "nowhere/x.safetensors"])

    for option, extra in [("--init-latents", []), ("--reference-latents", ["--noise-prior", 0.5])]:
        for name, code, message, held in [
                ("misshapen", 3, "latents", {"latents": f32(1, 4, 2, 4, 4)}),
                ("missing", 3, "latents", {"x": f32(1)}),
                ("as whole numbers", 3, "latents", {"latents": ("I64", *zeros(*shape, item=8))}),
                ("no numbers", 7, "finite", {"latents": ("F32", shape, NAN * 256)})]:
            case(f"{option}: {name}", "infer", code, message,
                 lambda p, held=held, option=option, extra=extra: infer(
                     p, option, write_tensors(p / "in.safetensors", held), *extra))


def outputs():
    def blocked(path):
        (path / "file").write_text("in the way")
        return path / "file"

    case("a file as a run", "train", 1, "in the way",
         lambda p: train(p, "--output-dir", blocked(p)))
    case("a file above a run", "train", 1, "file",
         lambda p: train(p, "--output-dir", blocked(p) / "run"))
    case("a file above the samples", "infer", 1, "file",
         lambda p: infer(p, "-o", blocked(p) / "deeper" / "out"))
    case("a run where nothing can be", "train", 1, "/proc",
         lambda p: train(p, "--output-dir", "/proc/motion"))
    case("samples where nothing can be", "infer", 1, "/proc",
         lambda p: infer(p, "-o", "/proc/motion"))
    case("run without a name", "train", 2, "output",
         lambda p: train(p, "--output-dir", ""))
    for option in ["--output", "--save-latents", "--save-frames", "--save-inversion"]:
        name = "x.mp4" if option == "--output" else "x.safetensors"
        prior = ["--noise-prior", 0.5, "--reference", CLIP]
        case(f"{option} into no directory", "infer", 1, "nowhere",
             lambda p, o=option, n=name: infer(p, o, p / "nowhere" / n, *prior))
        case(f"{option} onto a directory", "infer", 1, "directory",
             lambda p, o=option: infer(p, o, FIXTURES, *prior))
        case(f"{option} onto a device", "infer", 1, "/dev/full",
             lambda p, o=option: infer(p, o, "/dev/full", *prior))
    for limit in [0, 1000, 10000]:
        case(f"training with files of {limit} bytes", "train", 1, "too large", train, limit)
        case(f"sampling with files of {limit} bytes", "infer", 1, "too large",
             lambda p: infer(p, "--save-frames", p / "f.safetensors", "-W", 64, "-H", 64), limit)


def runs(trained):
    def copy(path):
        return pathlib.Path(shutil.copytree(trained, path / "run"))

    def resumed(name, code, message, change, *more):
        def make(path):
            run = copy(path)
            change(run)
            return ["--resume", run, "--steps", 3, *more]
        case("resume: " + name, "train", code, message, make)

    nothing = lambda run: None
    resumed("another rank", 2, "rank", nothing, "--rank", 5)
    resumed("another model", 2, "model", nothing, "--model", OTHER)
    resumed("a config of another model", 3, "", lambda run: setting(model=str(OTHER))(
        run / "config.json"))
    resumed("a config of another size", 3, "latents",
            lambda run: setting(width=64)(run / "config.json"))
    resumed("a config cut short", 3, "config.json", lambda run: cut_to(0.5)(run / "config.json"))
    resumed("no latents", 3, "cached_0.safetensors",
            lambda run: shutil.rmtree(run / "cached_latents"))
    resumed("latents cut short", 3, "cached_0.safetensors",
            lambda run: cut_to(0.5)(run / "cached_latents/cached_0.safetensors"))
    resumed("a damaged checkpoint", 0, "passed over",
            lambda run: flip(0.9)(run / "checkpoint-2/lora.safetensors"))
    resumed("half a checkpoint", 0, "passed over",
            lambda run: (run / "checkpoint-2/state.safetensors").unlink())
    case("resume: no such run", "train", 3, "nowhere", lambda p: ["--resume", p / "nowhere"])
    case("a directory that holds a run", "train", 2, "resume it",
         lambda p: train(p, "--output-dir", trained))
    case("a directory that holds checkpoints", "train", 2, "checkpoints",
         lambda p: train(p, "--output-dir", (copy(p), (p / "run/config.json").unlink())[0]))


# Running

def limit_files(limit):
    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return prepare


def listing(path):
    return {str(file.relative_to(path)): file.stat().st_size
            for file in path.rglob("*") if not file.is_dir()}


def faults(done, seconds, code, message, before, after):
    errors = re.findall(r"^mm-\w+: error: (.*)$", done.stderr, re.MULTILINE)
    if done.returncode != code:
        yield f"exit code {done.returncode}, not {code}"
    if message.lower().replace("-", "_") not in done.stderr.lower().replace("-", "_"):
        yield f"the message lacks '{message}'"
    if code and (len(errors) != 1 or not errors[0]):
        yield f"{len(errors)} error messages"
    if code and before != after:
        yield f"leaves {sorted(set(after.items()) ^ set(before.items()))}"
    if seconds > SLOWEST:
        yield f"{seconds:.0f} seconds"


def run(row):
    name, tool, make, code, message, limit = row
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        arguments = [argument if isinstance(argument, bytes) else str(argument).encode()
                     for argument in make(path)]
        before, start = listing(path), time.monotonic()
        done = subprocess.run([os.fsencode(TOOLS / f"mm-{tool}"), *arguments], check=False,
                              capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
                              preexec_fn=limit_files(limit) if limit is not None else None)
        seconds, after = time.monotonic() - start, listing(path)
        done.stderr = done.stderr.decode()
        wrong = list(faults(done, seconds, code, message, before, after))
    if not wrong:
        return None
    return f"{name} (mm-{tool}): {'; '.join(wrong)}\n{done.stderr[-2000:]}"


def run_safely(row):
    try:
        return run(row)
    except Exception:  # of the test itself: reported with its row
        return f"{row[0]}: {traceback.format_exc()}"


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        trained = path / "out"
        subprocess.run([str(part) for part in [TOOLS / "mm-train", "--quiet", *train(path)]],
                       check=True, stdout=subprocess.DEVNULL)
        models(), configs(), videos(), usage(), prompts(), outputs()
        loras(trained), latents(trained), runs(trained)
        rows = [row for row in CASES if all(word in row[0] for word in WANTED)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            failed = [text for text in pool.map(run_safely, rows) if text]
    print("\n".join(failed))
    print(f"{len(rows)} cases, {len(failed)} failed")
    return 1 if failed or not rows else 0


sys.exit(main())
