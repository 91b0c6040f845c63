/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A number depends on (seed, stream, step, index) alone, so it is the same for
 * any number of threads and on any device, and resuming needs no state but the step.
 *
 * One block = Philox(key = seed, counter = {block low, block high, step, stream}) = four 32-bit
 * words. Uniforms: word i of block index/4, (word >> 8) * 2^-24, in [0, 1). Normals: words (w0, w1)
 * give two, (w2, w3) give two, by Box-Muller in double: u = (w0 + 0.5) * 2^-32, v = w1 * 2^-32, r =
 * sqrt(-2 ln u), (r cos 2 pi v, r sin 2 pi v), with the logarithm, sine and cosine of rng.c:
 * additions, multiplications, divisions and square roots alone, each rounded once, no fused
 * operations, so every IEEE machine gets the same bits.
 */
#ifndef MM_BASE_RNG_H
#define MM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a number is drawn for. The values are part of what a seed means: never renumber. */
typedef enum mm_stream {
    MM_STREAM_TIMESTEP = 1,
    MM_STREAM_TRAINING_NOISE = 2,
    MM_STREAM_LORA_INIT = 3,
    MM_STREAM_POSTERIOR = 4, /* the VAE's posterior sample of the reference latents */
    MM_STREAM_SAMPLING_NOISE = 5,
    MM_STREAM_FEATURE_NOISE = 6,
    MM_STREAM_CLIP_CHOICE = 7,
    MM_STREAM_DROPOUT = 0x10000 /* plus the number of the dropout layer */
} mm_stream;

typedef struct mm_rng {
    uint64_t seed;
    uint32_t stream, step;
} mm_rng;

void mm_philox(uint64_t seed, uint64_t block, uint32_t step, uint32_t stream, uint32_t out[4]);
/* Numbers first, first + 1, ... of the sequence. */
void mm_rng_uniform(const mm_rng *rng, uint64_t first, float *out, size_t count);
void mm_rng_normal(const mm_rng *rng, uint64_t first, float *out, size_t count);
/* A whole number in low..high inclusive, without modulo bias worth speaking of (64-bit multiply).
 */
int64_t mm_rng_integer(const mm_rng *rng, uint64_t index, int64_t low, int64_t high);
/* A seed nobody chose: from the system's random source, below 2^31 so that it can be retyped. */
uint64_t mm_random_seed(void);

#endif
