# SPDX-License-Identifier: BSD-2-Clause
"""Frames in memory."""
import ctypes
from dataclasses import dataclass
from typing import Any, Optional

from . import _prototypes as c
from ._native import Handle, Path, by_reference, check, encode_path, lib, out_pointer, take_string
from .context import Context
from .options import Options, Value
from .tensor import Tensor


class Video(Handle):
    """u8 frames [frames, height, width, 3], from an array (without copying) or from decode()."""

    _free = "mm_video_free"

    def __init__(self, frames: Any, fps: float = 0.0) -> None:
        pointer = out_pointer()
        tensor = Tensor.of(frames)
        check(lib.mm_video_from_tensor(by_reference(pointer), tensor.pointer, fps))
        self._adopt(pointer)

    @classmethod
    def decode(cls, context: Context, path: Path, **options: Value) -> "Video":
        """A clip of a file. Options of table "features" say which: width, height, num_frames,
        frame_step, start_frame, scaling."""
        video, pointer = cls.__new__(cls), out_pointer()
        with Options("features", options) as settings:
            context._run(
                lib.mm_video_decode,
                by_reference(pointer),
                context.pointer,
                encode_path(path),
                settings.pointer,
            )
        video._adopt(pointer)
        return video

    @property
    def frames(self) -> Tensor:
        pointer = out_pointer()
        check(lib.mm_video_tensor(self.pointer, by_reference(pointer)))
        return Tensor._of_pointer(pointer)

    @property
    def fps(self) -> float:
        """0 when unknown."""
        return float(lib.mm_video_fps(self.pointer))

    @property
    def width(self) -> int:
        return int(lib.mm_video_width(self.pointer))

    @property
    def height(self) -> int:
        return int(lib.mm_video_height(self.pointer))

    def __len__(self) -> int:
        return int(lib.mm_video_frames(self.pointer))

    def write(self, context: Context, path: Path) -> None:
        """By the name's ending: .mp4 .mkv .mov .webm .avi, .gif, .png or .jpg (contact
        sheet)."""
        context._run(lib.mm_video_write, self.pointer, context.pointer, encode_path(path))


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself."""

    width: int  # as shown, after rotation
    height: int
    frames: int  # 0 when the file does not say
    fps: float  # 0 when unknown
    codec: str


def probe(path: Path) -> VideoInfo:
    """Looks at a video file without decoding it."""
    info = c.VideoInfo(struct_size=ctypes.sizeof(c.VideoInfo))
    check(lib.mm_video_probe(encode_path(path), by_reference(info)))
    return VideoInfo(info.width, info.height, info.frames, info.fps, info.codec.decode())


def read_prompt(path: Path) -> Optional[str]:
    """The prompt in the .json file beside a video; None where there is none."""
    pointer = out_pointer()
    check(lib.mm_video_read_prompt(encode_path(path), by_reference(pointer)))
    return take_string(pointer)
