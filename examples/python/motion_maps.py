# SPDX-License-Identifier: BSD-2-Clause
# %% [markdown]
# # A motion, seen and learnt
#
# Looks at the reference video through the eyes of the demo model, trains a LoRA on it for a few steps,
# and draws a new prompt with it. Runs as a program, and cell by cell in editors that know "# %%":
#
#     pip install ./bindings/python
#     MM_LIBRARY=build/libmotionmatcher/libmotionmatcher.so.0 python3 examples/python/motion_maps.py
#
# Needs NumPy. With Matplotlib the maps become pictures, with tqdm there are progress bars.

# %%
import argparse
import pathlib
from typing import Any, Dict, List

import motionmatcher as mm
import numpy as np

root = pathlib.Path(__file__).resolve().parents[2]
parser = argparse.ArgumentParser()
parser.add_argument("--model", default=root / "models" / "demo")
parser.add_argument("--video", default=root / "examples" / "reference.mp4")
parser.add_argument("--prompt", default="a red circle on a gray background")
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--sampling-steps", type=int, default=10)
parser.add_argument("--output", type=pathlib.Path, default="motion-maps")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

try:
    from tqdm.auto import tqdm

    on_event: Any = mm.ProgressBar(tqdm)
except ImportError:
    on_event = None

# %% [markdown]
# ## The model and the clip
#
# Keyword arguments are the options that the command-line tools have. `mm.describe("train")` lists them.

# %%
context = mm.Context(on_event=on_event)
model = mm.Model(context, arguments.model)
clip: Dict[str, Any] = {"width": 64, "height": 64, "num_frames": 16}
video = mm.Video.decode(context, arguments.video, **clip)
frames = video.frames.numpy()  # the library's own memory: nothing was copied
print("the clip:", frames.shape, frames.dtype)

# %% [markdown]
# ## What the method compares
#
# Cross-attention tells where each word of the prompt is seen in each frame; temporal self-attention how
# much each frame looks at each other one.

# %%
extractor = mm.Extractor(model, spatial_scale_factor=2, temporal_scale_factor=2, **clip)
extractor.set_video(video, arguments.prompt)
extractor.run(timestep=500)
ca, tsa = extractor.ca.numpy(), extractor.tsa.numpy()
words = [token.removesuffix("</w>") for token in extractor.tokens]
print("cross-attention [frames, h', w', tokens]:", ca.shape)
print("temporal self-attention [h', w', frame, frame]:", tsa.shape)
for index, word in enumerate(words):
    # Where the word is seen most, frame by frame: the way of its object.
    centres = [np.unravel_index(frame[..., index].argmax(), frame.shape[:2]) for frame in ca]
    print(f"{word:>16}", " ".join(f"{row},{column}" for row, column in centres))
extractor.write(arguments.output / "maps.safetensors")


# %%
def draw_maps() -> None:
    """One row of heat maps for each word, as in the paper's figure 3, and the mean of the
    frame-to-frame maps, as in its figure 4."""
    try:
        import matplotlib
    except ImportError:
        print("no pictures: Matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = range(1, len(words) - 1)
    figure, axes = pyplot.subplots(len(shown) + 1, len(ca), figsize=(len(ca), len(shown) + 1))
    for column in range(len(ca)):
        axes[0, column].imshow(frames[column])
        for row, index in enumerate(shown, 1):
            axes[row, column].imshow(ca[column, ..., index], vmax=ca[..., index].max())
            axes[row, 0].set_ylabel(words[index], rotation=0, ha="right")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.savefig(arguments.output / "cross-attention.png")
    figure, axis = pyplot.subplots()
    axis.imshow(tsa.mean(axis=(0, 1)))
    axis.set(xlabel="frame looked at", ylabel="frame that looks")
    figure.savefig(arguments.output / "temporal-self-attention.png")


draw_maps()

# %% [markdown]
# ## Learning the motion
#
# Ten steps show how it goes; `models/demo/mm-train.yaml` has 200.

# %%
losses: List[float] = []


def note(event: mm.Event) -> None:
    if on_event is not None:
        on_event(event)
    if event.kind == "step" and event.loss is not None:
        losses.append(event.loss)


context.on_event = note
trainer = mm.Trainer(
    model,
    steps=arguments.steps,
    rank=8,
    learning_rate=1e-3,
    spatial_scale_factor=2,
    temporal_scale_factor=2,
    validation_every=0,
    seed=1,
    **clip,
)
trainer.add_clip(video, arguments.prompt)
trainer.run()
lora = trainer.lora()
lora.save(arguments.output / "lora.safetensors")
print("losses:", " ".join(f"{loss:.3g}" for loss in losses))
largest = max(lora.layers, key=lambda layer: layer.norm)
print(f"{len(lora)} layers of rank {lora.rank}; most was learnt in {largest.path}")

# %% [markdown]
# ## A new prompt, with and without it
#
# The same seed: what differs is the LoRA's doing.

# %%
context.on_event = on_event
drawn = {}
for name, loras in (("without", None), ("with", lora)):
    sampler = mm.Sampler(
        model,
        prompt="a blue square on a black background",
        num_steps=arguments.sampling_steps,
        guidance_scale=5,
        lora=loras,
        seed=1,
        **clip,
    )
    sample = sampler.draw()
    sample.write(context, arguments.output / f"{name}-lora.gif")
    drawn[name] = sampler.latents.numpy()
change = np.abs(drawn["with"] - drawn["without"]).mean() / np.abs(drawn["without"]).mean()
print(f"the LoRA moves the latents by {change:.2%}")
