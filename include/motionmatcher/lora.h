/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file lora.h
 * LoRA files: reading every layout that is about, writing three of them, scaling, adding up, and
 * fusing into a model.
 *
 * A LoRA is a set of layers, each named by the path of its module in the UNet
 * ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"). A layer adds
 * alpha / rank * up * down to the module's weight: down is [rank, in], up is [out, rank]; for a
 * convolution `in` counts the taps too. Matrices keep the type in which they were stored.
 *
 * Formats, by name:
 * - "peft": safetensors, unet.PATH.lora_A.weight and lora_B.weight. Read also without "unet.",
 *   behind "base_model.model.", with the name of an adapter before ".weight". alpha is the rank
 *   unless the metadata's lora_adapter_metadata, a tensor PATH.alpha, or, beside a file named
 *   adapter_model, adapter_config.json says otherwise.
 * - "diffusers": older files, PATH.lora.down.weight or PATH.processor.to_q_lora.down.weight.
 *   Read only.
 * - "kohya": safetensors, lora_unet_PATH.lora_down.weight (with _ for .), .lora_up.weight, .alpha.
 * - "pt": the released MotionMatcher code's "STEP_unet.pt", a list of f32 matrices up, down, up,
 *   ... without names: only with the model can layers and places be told. Lists of the spatial or
 *   the temporal transformers alone are read and written too.
 * All but the list are read from PyTorch archives as well. Nothing in a file is executed.
 *
 * Thread-safety: one mm_lora must not be used by two threads at a time.
 */
#ifndef MOTIONMATCHER_LORA_H
#define MOTIONMATCHER_LORA_H

#include "motionmatcher/model.h"
#include "motionmatcher/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A set of low-rank layers with metadata. */
typedef struct mm_lora mm_lora;

/**
 * Reads a LoRA for a model: layers that the model's UNet has not are left out, the others must fit
 * it. The log says "N of M tensors applied", as a warning where N is less.
 * @param out   receives the handle, which keeps the model alive; NULL on failure.
 * @param model a model.
 * @param path  a file, a checkpoint directory of a run, or a directory that PEFT or diffusers
 *              saved a LoRA to.
 * @return MM_OK; MM_ERR_INPUT: missing, damaged, for another model, half a layer, a rank outside
 *         1..min(in, out), an alpha that is not finite, or nothing in it applies;
 *         MM_ERR_UNSUPPORTED: DoRA, LoHa, LoKr and other adapters that are more than two matrices a
 *         layer; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_open(mm_lora **out, mm_model *model, const char *path);
/**
 * Reads a LoRA by what the file itself says. A list without names is opened too, but its layers
 * are only numbered: it can be looked at, not changed or saved.
 * @param out     receives the handle, which keeps the context alive; NULL on failure.
 * @param context for its log and events.
 * @param path    as in mm_lora_open().
 * @return as mm_lora_open(); MM_ERR_INPUT also when no tensor in it belongs to a LoRA.
 */
MM_API mm_status mm_lora_open_alone(mm_lora **out, mm_context *context, const char *path);
/**
 * A LoRA without layers, to which mm_lora_add_layer() adds.
 * @param out   receives the handle, which keeps the model alive; NULL on failure.
 * @param model that the layers belong to.
 * @return MM_OK; MM_ERR_USAGE: NULL; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_create(mm_lora **out, mm_model *model);
/**
 * Adds a layer. Packed matrices are not copied.
 * @param lora  of a model.
 * @param path  of the module in the UNet.
 * @param down  [rank, in], or for a convolution [rank, in, kernel...]: f32, f16, bf16 or f64.
 * @param up    [out, rank], or with further sizes of 1.
 * @param alpha what alpha / rank * up * down takes; the rank for just up * down.
 * @return MM_OK; MM_ERR_USAGE: a LoRA opened without a model, the path is there already, matrices
 *         that do not fit each other, another type, a rank outside 1..min(in, out), an alpha that
 *         is not finite; MM_ERR_INPUT: the model has no such module, or of other sides;
 *         MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_add_layer(mm_lora *lora, const char *path, const mm_tensor *down,
                                   const mm_tensor *up, double alpha);
/** Frees and sets *lora to NULL; accepts NULL and a pointer to NULL. */
MM_API void mm_lora_free(mm_lora **lora);

/** The format it was read from: "peft", "diffusers", "kohya" or "pt"; "peft" where it was not read
 * from a file; static. */
MM_API const char *mm_lora_format(const mm_lora *lora);
/** Number of adapted layers; 0 for NULL. */
MM_API int64_t mm_lora_modules(const mm_lora *lora);
/** The largest rank of a layer; 0 for NULL. */
MM_API int64_t mm_lora_rank(const mm_lora *lora);
/** Tensors in the file, or as many as one would have. */
MM_API int64_t mm_lora_tensors(const mm_lora *lora);
/** Those of them that the layers hold, alphas included. */
MM_API int64_t mm_lora_tensors_applied(const mm_lora *lora);
/** A metadata value of the file, NULL when absent; owned by the handle. "format", with which
 * safetensors files say what wrote them ("pt"), is not kept: it is written anew. */
MM_API const char *mm_lora_metadata(const mm_lora *lora, const char *key);
/** The key of metadata entry `index`, in the order of the keys; NULL beyond the last. */
MM_API const char *mm_lora_metadata_key(const mm_lora *lora, size_t index);

/**
 * Sets a metadata value, which is saved with the LoRA. mm_min_timestep is the one that sampling
 * asks for.
 * @return MM_OK; MM_ERR_USAGE: NULL, not UTF-8, or the key "format"; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_put_metadata(mm_lora *lora, const char *key, const char *value);

/** One layer. Strings are owned by the handle. */
typedef struct mm_lora_layer_info {
    uint32_t struct_size; /**< set by the caller to sizeof(mm_lora_layer_info) */
    int32_t reserved;     /**< 0 */
    const char *path;     /**< of the module; its number in a list without names */
    const char *dtype;    /**< "f32", "f16", "bf16" or "f64", of the down matrix as stored */
    int64_t rank;         /**< rows of the down matrix */
    int64_t in;           /**< its columns */
    int64_t out;          /**< rows of the up matrix */
    double alpha;         /**< as stored; rank where nothing is said */
    double norm;          /**< Frobenius norm of alpha / rank * up * down */
} mm_lora_layer_info;

/**
 * Describes layer `index`, in the order of the paths.
 * @return MM_OK; MM_ERR_USAGE: no such layer, or struct_size is too small; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_describe(const mm_lora *lora, int64_t index, mm_lora_layer_info *info);

/**
 * The matrices of layer `index`, as they are stored, without copying. They stay as they are when
 * the LoRA is scaled.
 * @param down receives [rank, in...], to be freed with mm_tensor_free(); may be NULL.
 * @param up   receives [out, rank...], likewise; may be NULL.
 * @return MM_OK; MM_ERR_USAGE: NULL, no such layer.
 */
MM_API mm_status mm_lora_matrices(const mm_lora *lora, int64_t index, mm_tensor **down,
                                  mm_tensor **up);

/**
 * Multiplies what the LoRA adds. The factor goes into the numbers of the up matrices, so that every
 * program applies it; all matrices become f32 with alpha = rank.
 * @param factor from -1e6 to 1e6; 1 changes no number.
 * @return MM_OK; MM_ERR_USAGE: a factor outside that range, a list without names; MM_ERR_MEMORY
 *         (then the LoRA is only good for being freed).
 */
MM_API mm_status mm_lora_scale(mm_lora *lora, double factor);
/**
 * A LoRA that adds just what all of them add together, each times its weight. Ranks are
 * concatenated; where their sum would pass min(in, out) of a layer, the sum of the products itself
 * is stored as one matrix, beside an identity. A layer that one LoRA has alone, at weight 1, stays
 * as it is. Metadata on which all agree is kept; of mm_min_timestep the lowest.
 * @param out     receives a handle of its own; NULL on failure.
 * @param loras   `count` handles, of one context; unchanged.
 * @param weights `count` factors from -1e6 to 1e6.
 * @param count   at least 1.
 * @return MM_OK; MM_ERR_USAGE: no LoRA, a weight outside that range, a list without names;
 *         MM_ERR_INPUT: layers of one name with different sides; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_merge(mm_lora **out, const mm_lora *const *loras, const double *weights,
                               size_t count);

/**
 * Writes the LoRA with its metadata, whole or not at all; a file of that name is replaced.
 * @param format "peft", "kohya" or "pt"; NULL: by the path's ending, "peft" for ".safetensors",
 *               "pt" for ".pt". The ending must be the format's.
 * @return MM_OK; MM_ERR_USAGE: another format or ending, a LoRA without layers, a list without
 *         names, "pt" of a LoRA opened without its model; MM_ERR_UNSUPPORTED: "pt", and the LoRA's
 * layers are not just those of the list; MM_ERR_RUNTIME: cannot be written; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_save(const mm_lora *lora, const char *path, const char *format);
/**
 * Writes the model's UNet with the LoRA added to it, as a directory that diffusers' from_pretrained
 * opens: config.json, as it is in the model, and diffusion_pytorch_model.safetensors, each tensor
 * in the type it has in the model. The change is then on at every timestep.
 * @param lora      opened with mm_lora_open().
 * @param directory must not exist, or be empty; it appears whole or not at all.
 * @return MM_OK; MM_ERR_USAGE: a LoRA opened without a model; MM_ERR_NONFINITE: the LoRA holds
 *         numbers that are not finite; MM_ERR_INPUT: the model's files cannot be read;
 *         MM_ERR_RUNTIME: cannot be written, or something is in the way; MM_ERR_CANCELLED;
 *         MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_fuse(const mm_lora *lora, const char *directory);

#ifdef __cplusplus
}
#endif

#endif
