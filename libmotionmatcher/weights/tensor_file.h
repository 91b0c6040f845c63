/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named tensors on disk. One reader for every container: safetensors, PyTorch zip archives
 * (symbolic pickle), sharded indexes; told apart by content, never by the file's name.
 *
 * Everything about the container is checked at opening; nothing in proportion to the tensors'
 * sizes is allocated. Data is then read in slices with pread, from any thread.
 */
#ifndef MM_WEIGHTS_TENSOR_FILE_H
#define MM_WEIGHTS_TENSOR_FILE_H

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/shape.h"

typedef struct mm_tensor_file mm_tensor_file;

typedef struct mm_tensor_info {
    const char *name; /* UTF-8; "" in an unnamed list */
    mm_dtype dtype;   /* as stored */
    mm_shape shape;
} mm_tensor_info;

/* Opens a tensor file, or an index ("*.index*.json") with all its shards. A dict that wraps the
   tensors under "state_dict" or "model" is unwrapped. MM_ERR_INPUT, MM_ERR_UNSUPPORTED (legacy or
   TorchScript archives and other recognised formats), MM_ERR_MEMORY. */
mm_status mm_tensor_file_open(mm_tensor_file **out, const char *path, mm_error *error);
void mm_tensor_file_close(mm_tensor_file **file);

const char *mm_tensor_file_path(const mm_tensor_file *file);
/* Tensors in the file's own order: for a pickled list, the order of the list. */
size_t mm_tensor_file_count(const mm_tensor_file *file);
const mm_tensor_info *mm_tensor_file_info(const mm_tensor_file *file, size_t index);
/* -1 when absent, always in an unnamed list; logarithmic time. */
int64_t mm_tensor_file_find(const mm_tensor_file *file, const char *name);
/* A value of safetensors' __metadata__ or a text entry of a pickled dict; NULL when absent. */
const char *mm_tensor_file_metadata(const mm_tensor_file *file, const char *key);
/* True for a pickle that is a flat list of tensors (the released code's LoRA files). */
bool mm_tensor_file_is_list(const mm_tensor_file *file);

/* Reads elements first .. first + count - 1 (row-major order of the logical shape, whatever the
   strides in the file) converted to f32, f16 or bf16; where they are stored so, straight into
   `out`. Integer tensors: MM_ERR_INPUT. Any thread. A PyTorch archive's checksum is verified when
   one call reads a whole storage. */
mm_status mm_tensor_file_read_as(const mm_tensor_file *file, size_t index, int64_t first,
                                 int64_t count, mm_dtype dtype, void *out, mm_error *error);
mm_status mm_tensor_file_read_f32(const mm_tensor_file *file, size_t index, int64_t first,
                                  int64_t count, float *out, mm_error *error);
/* The same without conversion, little-endian as stored. */
mm_status mm_tensor_file_read_raw(const mm_tensor_file *file, size_t index, int64_t first,
                                  int64_t count, void *out, mm_error *error);
/* A whole tensor by name with the shape it must have; MM_ERR_INPUT names file, tensor and both
   shapes. */
mm_status mm_tensor_file_read_named_f32(const mm_tensor_file *file, const char *name,
                                        const mm_shape *shape, float *out, mm_error *error);

/* A tensor to be written; data is row-major, little-endian. */
typedef struct mm_tensor_entry {
    const char *name;
    mm_dtype dtype;
    mm_shape shape;
    const void *data;
} mm_tensor_entry;

typedef struct mm_metadata_entry {
    const char *key, *value;
} mm_metadata_entry;

/* The key under which a safetensors file names the program that wrote it, "pt" for PyTorch; some
   programs open no file without it. */
#define MM_SAFETENSORS_FORMAT "format"

/* Writes a safetensors file atomically, tensors and metadata sorted by name, header padded to 8
   bytes with blanks, so that equal content gives equal bytes. MM_ERR_RUNTIME, MM_ERR_MEMORY. */
mm_status mm_safetensors_write(const char *path, const mm_tensor_entry *tensors, size_t count,
                               const mm_metadata_entry *metadata, size_t metadata_count,
                               mm_error *error);
/* Writes the numbers of entries without data, in the order of their names, with
   mm_output_file_write. */
typedef struct mm_tensor_source {
    mm_status (*write)(void *user, const mm_tensor_entry *entry, mm_output_file *file,
                       mm_error *error);
    void *user;
} mm_tensor_source;

/* The same for tensors that are not in memory all at once. */
mm_status mm_safetensors_write_from(const char *path, const mm_tensor_entry *tensors, size_t count,
                                    const mm_metadata_entry *metadata, size_t metadata_count,
                                    const mm_tensor_source *source, mm_error *error);
/* Writes the released code's LoRA file: a torch zip archive whose pickle is a flat list of f32
   Parameters, in the order given (names are not stored). Atomic. torch.load must open it, with
   weights_only too. */
mm_status mm_pickle_list_write(const char *path, const mm_tensor_entry *tensors, size_t count,
                               mm_error *error);

/*
 * Finds the file of one component of a diffusers directory, as diffusers looks: sharded index,
 * then one safetensors file, then index and single .bin; plain names before "fp16" variants.
 * `stem` is "diffusion_pytorch_model" or "model" (transformers: model.safetensors,
 * pytorch_model.bin). *out is a fresh path. MM_ERR_INPUT names the directory and what was looked
 * for.
 */
mm_status mm_component_find(char **out, const char *directory, const char *stem, mm_error *error);

#endif
