# SPDX-License-Identifier: BSD-2-Clause
"""What the C headers declare. Made by generate.py; not to be edited."""
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, List, Tuple

LEVEL_WARNING = 1
LEVEL_NOTICE = 2
LEVEL_INFO = 3
LEVEL_DEBUG = 4
EVENT_LOADED = 1
EVENT_PLAN = 2
EVENT_STEP = 3
EVENT_OUTPUT = 4
EVENT_STAGE = 5
EVENT_SUBSTEP = 6
SOURCE_DEFAULT = 0
SOURCE_FILE = 1
SOURCE_SET = 2
SOURCE_COMMAND_LINE = 3
RETRIEVED_VIDEO = 1
RETRIEVED_QUERY = 2
RETRIEVED_MEAN = 3
RETRIEVED_SKIPPED = 4
OK = 0
ERR_RUNTIME = -1
ERR_USAGE = -2
ERR_INPUT = -3
ERR_UNSUPPORTED = -4
ERR_MEMORY = -5
ERR_DEVICE = -6
ERR_NONFINITE = -7
ERR_CANCELLED = -130
TENSOR_MAX_RANK = 6
VERSION = "0.1.0"
ABI_VERSION = 0


class Event(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("step", c_int64),
        ("of", c_int64),
        ("seconds", c_double),
        ("loss", c_double),
        ("peak_bytes", c_uint64),
        ("planned_peak_bytes", c_uint64),
        ("path", c_char_p),
        ("text", c_char_p),
        ("timestep", c_int64),
        ("loss_spatial", c_double),
        ("loss_temporal", c_double),
    ]


class Score(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("status", c_int32),
        ("path", c_char_p),
        ("message", c_char_p),
        ("prompt", c_char_p),
        ("frames", c_int64),
        ("figure_count", c_size_t),
        ("figures", POINTER(c_char_p)),
        ("values", POINTER(c_double)),
        ("seconds", c_double),
        ("reference", c_char_p),
    ]


class LoraLayerInfo(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("path", c_char_p),
        ("dtype", c_char_p),
        ("rank", c_int64),
        ("in", c_int64),
        ("out", c_int64),
        ("alpha", c_double),
        ("norm", c_double),
    ]


class OptionInfo(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("repeatable", c_int32),
        ("name", c_char_p),
        ("type", c_char_p),
        ("fallback", c_char_p),
        ("unit", c_char_p),
        ("help", c_char_p),
        ("low", c_double),
        ("high", c_double),
    ]


class Retrieval(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("query", c_char_p),
        ("path", c_char_p),
        ("status", c_int32),
        ("message", c_char_p),
        ("rank", c_int64),
        ("positive", c_int32),
        ("positives", c_int64),
        ("candidates", c_int64),
        ("figure_count", c_size_t),
        ("figures", POINTER(c_char_p)),
        ("values", POINTER(c_double)),
        ("spreads", POINTER(c_double)),
        ("chance", c_double),
    ]


class VideoInfo(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("width", c_int32),
        ("height", c_int32),
        ("frames", c_int64),
        ("fps", c_double),
        ("codec", c_char * 32),
    ]


LogCallback = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
EventCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(Event))
ScoreCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(Score))
RetrievalCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(Retrieval))
ReleaseCallback = CFUNCTYPE(None, c_void_p)

FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "mm_abi_version": (c_uint32, []),
    "mm_context_cancel": (None, [c_void_p]),
    "mm_context_create": (c_int32, [POINTER(c_void_p), c_void_p]),
    "mm_context_device": (c_char_p, [c_void_p]),
    "mm_context_free": (None, [POINTER(c_void_p)]),
    "mm_context_memory_budget": (c_uint64, [c_void_p]),
    "mm_context_precision": (c_char_p, [c_void_p]),
    "mm_context_resume": (None, [c_void_p]),
    "mm_context_set_events": (None, [c_void_p, EventCallback, c_void_p]),
    "mm_context_set_log": (None, [c_void_p, LogCallback, c_void_p]),
    "mm_context_stop": (None, [c_void_p]),
    "mm_evaluator_add": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "mm_evaluator_add_pair": (c_int32, [c_void_p, c_char_p, c_char_p, c_char_p]),
    "mm_evaluator_create": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_evaluator_figures": (POINTER(c_char_p), [c_void_p, POINTER(c_size_t)]),
    "mm_evaluator_free": (None, [POINTER(c_void_p)]),
    "mm_evaluator_plan": (c_int32, [c_void_p]),
    "mm_evaluator_run": (c_int32, [c_void_p, ScoreCallback, c_void_p]),
    "mm_evaluator_video_count": (c_size_t, [c_void_p]),
    "mm_extractor_ca": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_extractor_create": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_extractor_free": (None, [POINTER(c_void_p)]),
    "mm_extractor_plan": (c_int32, [c_void_p]),
    "mm_extractor_run": (c_int32, [c_void_p]),
    "mm_extractor_run_at": (c_int32, [c_void_p, c_int64, c_void_p]),
    "mm_extractor_set_latents": (c_int32, [c_void_p, c_void_p, c_char_p]),
    "mm_extractor_set_video": (c_int32, [c_void_p, c_void_p, c_char_p]),
    "mm_extractor_token": (c_char_p, [c_void_p, c_int64]),
    "mm_extractor_tokens": (c_int64, [c_void_p]),
    "mm_extractor_tsa": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_extractor_write": (c_int32, [c_void_p, c_char_p]),
    "mm_extractor_write_pictures": (c_int32, [c_void_p, c_char_p]),
    "mm_last_error": (c_char_p, []),
    "mm_lora_add_layer": (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_double]),
    "mm_lora_create": (c_int32, [POINTER(c_void_p), c_void_p]),
    "mm_lora_describe": (c_int32, [c_void_p, c_int64, POINTER(LoraLayerInfo)]),
    "mm_lora_format": (c_char_p, [c_void_p]),
    "mm_lora_free": (None, [POINTER(c_void_p)]),
    "mm_lora_fuse": (c_int32, [c_void_p, c_char_p]),
    "mm_lora_matrices": (c_int32, [c_void_p, c_int64, POINTER(c_void_p), POINTER(c_void_p)]),
    "mm_lora_merge": (c_int32, [POINTER(c_void_p), POINTER(c_void_p), POINTER(c_double), c_size_t]),
    "mm_lora_metadata": (c_char_p, [c_void_p, c_char_p]),
    "mm_lora_metadata_key": (c_char_p, [c_void_p, c_size_t]),
    "mm_lora_modules": (c_int64, [c_void_p]),
    "mm_lora_open": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p]),
    "mm_lora_open_alone": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p]),
    "mm_lora_put_metadata": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "mm_lora_rank": (c_int64, [c_void_p]),
    "mm_lora_save": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "mm_lora_scale": (c_int32, [c_void_p, c_double]),
    "mm_lora_tensors": (c_int64, [c_void_p]),
    "mm_lora_tensors_applied": (c_int64, [c_void_p]),
    "mm_model_free": (None, [POINTER(c_void_p)]),
    "mm_model_open": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p]),
    "mm_model_tokenize": (c_int32, [c_void_p, c_char_p, POINTER(c_int64)]),
    "mm_model_vae_factor": (c_int64, [c_void_p]),
    "mm_option_count": (c_size_t, [c_char_p]),
    "mm_option_describe": (c_int32, [c_char_p, c_size_t, POINTER(OptionInfo)]),
    "mm_options_create": (c_int32, [POINTER(c_void_p), c_char_p]),
    "mm_options_free": (None, [POINTER(c_void_p)]),
    "mm_options_get": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_char_p)]),
    "mm_options_load": (c_int32, [c_void_p, c_void_p, c_char_p]),
    "mm_options_notices": (c_char_p, [c_void_p]),
    "mm_options_set": (c_int32, [c_void_p, c_char_p, c_char_p, c_int32]),
    "mm_options_source": (c_int32, [c_void_p, c_char_p]),
    "mm_options_to_json": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_retriever_add": (c_int32, [c_void_p, c_char_p]),
    "mm_retriever_create": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_retriever_free": (None, [POINTER(c_void_p)]),
    "mm_retriever_plan": (c_int32, [c_void_p]),
    "mm_retriever_run": (c_int32, [c_void_p, RetrievalCallback, c_void_p]),
    "mm_retriever_video_count": (c_size_t, [c_void_p]),
    "mm_sampler_complete_options": (c_int32, [c_void_p]),
    "mm_sampler_create": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_sampler_free": (None, [POINTER(c_void_p)]),
    "mm_sampler_inversion": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_sampler_latents": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_sampler_plan": (c_int32, [c_void_p]),
    "mm_sampler_run": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_sampler_set_init_latents": (c_int32, [c_void_p, c_void_p]),
    "mm_status_name": (c_char_p, [c_int32]),
    "mm_string_free": (None, [c_char_p]),
    "mm_tensor_data": (c_void_p, [c_void_p]),
    "mm_tensor_dtype": (c_char_p, [c_void_p]),
    "mm_tensor_free": (None, [POINTER(c_void_p)]),
    "mm_tensor_from_dlpack": (c_int32, [POINTER(c_void_p), c_void_p]),
    "mm_tensor_from_old_dlpack": (c_int32, [POINTER(c_void_p), c_void_p]),
    "mm_tensor_rank": (c_int32, [c_void_p]),
    "mm_tensor_shape": (POINTER(c_int64), [c_void_p]),
    "mm_tensor_strides": (POINTER(c_int64), [c_void_p]),
    "mm_tensor_to_dlpack": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_tensor_to_old_dlpack": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_tensor_wrap": (c_int32, [
        POINTER(c_void_p),
        c_void_p,
        c_char_p,
        c_int32,
        POINTER(c_int64),
        POINTER(c_int64),
        ReleaseCallback,
        c_void_p,
    ]),
    "mm_trainer_add_clip": (c_int32, [c_void_p, c_void_p, c_char_p]),
    "mm_trainer_complete_options": (c_int32, [c_void_p]),
    "mm_trainer_create": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_trainer_free": (None, [POINTER(c_void_p)]),
    "mm_trainer_load_options": (c_int32, [c_void_p, c_char_p]),
    "mm_trainer_lora": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_trainer_plan": (c_int32, [c_void_p]),
    "mm_trainer_replay": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "mm_trainer_resume": (c_int32, [POINTER(c_void_p), c_void_p, c_void_p]),
    "mm_trainer_run": (c_int32, [c_void_p]),
    "mm_version": (c_char_p, []),
    "mm_video_backend_versions": (c_char_p, []),
    "mm_video_decode": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p, c_void_p]),
    "mm_video_fps": (c_double, [c_void_p]),
    "mm_video_frames": (c_int64, [c_void_p]),
    "mm_video_free": (None, [POINTER(c_void_p)]),
    "mm_video_from_tensor": (c_int32, [POINTER(c_void_p), c_void_p, c_double]),
    "mm_video_height": (c_int64, [c_void_p]),
    "mm_video_probe": (c_int32, [c_char_p, POINTER(VideoInfo)]),
    "mm_video_read_prompt": (c_int32, [c_char_p, POINTER(c_void_p)]),
    "mm_video_tensor": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "mm_video_width": (c_int64, [c_void_p]),
    "mm_video_write": (c_int32, [c_void_p, c_void_p, c_char_p]),
}
