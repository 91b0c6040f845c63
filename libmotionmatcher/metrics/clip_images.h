/* SPDX-License-Identifier: BSD-2-Clause */
/* How a CLIPModel wants its pictures. */
#ifndef MM_METRICS_CLIP_IMAGES_H
#define MM_METRICS_CLIP_IMAGES_H

#include "metrics/picture_network.h"
#include "models/clip.h"

/* Sets geometry and pixels of the network: CLIP's own, unless the directory's
   preprocessor_config.json (or the image processor's part of processor_config.json) says otherwise.
   MM_ERR_INPUT: values out of range, or a square that is not the encoder's; MM_ERR_UNSUPPORTED:
   steps left out, or a filter other than bicubic. */
mm_status mm_clip_images_read(const char *directory, const mm_clip_vision_config *config,
                              mm_picture_network *network, mm_error *error);

#endif
