# SPDX-License-Identifier: BSD-2-Clause
"""Motion customization of text-to-video diffusion models: libmotionmatcher for Python.

    import motionmatcher as mm

    with mm.Context() as context, mm.Model(context, "zeroscope_v2_576w") as model:
        video = mm.Video.decode(context, "reference.mp4", num_frames=16)
        trainer = mm.Trainer(model, steps=400)
        trainer.add_clip(video, "a car drives in a circle")
        trainer.run()
        sampler = mm.Sampler(model, prompt="a boat at sea", lora=trainer.lora())
        sampler.draw().write(context, "boat.mp4")

Keyword arguments are the library's options: motionmatcher.describe("train") lists them.
"""
from ._native import version
from .context import Context, Event
from .errors import (
    Cancelled,
    DeviceError,
    Error,
    InputError,
    NonFiniteError,
    OutOfMemoryError,
    RunError,
    UnsupportedError,
    UsageError,
)
from .evaluator import Evaluator, Score
from .extractor import Extractor
from .lora import Lora, LoraLayer
from .model import Model
from .options import Option, Options, describe
from .progress import ProgressBar
from .retriever import Retrieval, Retriever
from .sampler import Sampler
from .tensor import Tensor
from .trainer import Trainer
from .video import Video, VideoInfo, probe, read_prompt

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Context",
    "DeviceError",
    "Error",
    "Evaluator",
    "Event",
    "Extractor",
    "InputError",
    "Lora",
    "LoraLayer",
    "Model",
    "NonFiniteError",
    "Option",
    "Options",
    "OutOfMemoryError",
    "ProgressBar",
    "Retrieval",
    "Retriever",
    "RunError",
    "Sampler",
    "Score",
    "Tensor",
    "Trainer",
    "UnsupportedError",
    "UsageError",
    "Video",
    "VideoInfo",
    "describe",
    "probe",
    "read_prompt",
    "version",
]
