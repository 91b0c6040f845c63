/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/rng.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

void mm_philox(uint64_t seed, uint64_t block, uint32_t step, uint32_t stream, uint32_t out[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), step, stream};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ key1, (uint32_t)a};
        memcpy(c, next, sizeof(c));
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof(c));
}

/* ln x for normal x > 0: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m-1)/(m+1)). */
static double natural_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof(m));
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        exponent += 1;
    }
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * s2 + 1.0 / (double)k;
    return 2.0 * s * sum + (double)exponent * 0.6931471805599453;
}

/* cos and sin of 2 pi v for v in [0, 1): reduced to an eighth of the circle, then Taylor. */
static void cos_sin_turn(double v, double *cosine, double *sine)
{
    int quadrant = (int)(v * 4.0 + 0.5);
    double x = (v - 0.25 * (double)quadrant) * 6.283185307179586, x2 = x * x;
    double c = 1.0, s = 1.0;
    for (int k = 18; k >= 2; k -= 2)
        c = 1.0 - c * x2 / (double)(k * (k - 1));
    for (int k = 19; k >= 3; k -= 2)
        s = 1.0 - s * x2 / (double)(k * (k - 1));
    s = s * x;
    switch (quadrant & 3) {
    case 0:
        *cosine = c, *sine = s;
        break;
    case 1:
        *cosine = -s, *sine = c;
        break;
    case 2:
        *cosine = -c, *sine = -s;
        break;
    default:
        *cosine = s, *sine = -c;
        break;
    }
}

static void normals_of_block(const mm_rng *rng, uint64_t block, float out[4])
{
    uint32_t word[4];
    mm_philox(rng->seed, block, rng->step, rng->stream, word);
    for (int pair = 0; pair < 2; pair++) {
        double u = ((double)word[2 * pair] + 0.5) * 0x1p-32;
        double v = (double)word[2 * pair + 1] * 0x1p-32;
        double radius = sqrt(-2.0 * natural_log(u)), c, s;
        cos_sin_turn(v, &c, &s);
        out[2 * pair] = (float)(radius * c);
        out[2 * pair + 1] = (float)(radius * s);
    }
}

static void uniforms_of_block(const mm_rng *rng, uint64_t block, float out[4])
{
    uint32_t word[4];
    mm_philox(rng->seed, block, rng->step, rng->stream, word);
    for (int i = 0; i < 4; i++)
        out[i] = (float)(word[i] >> 8) * 0x1p-24f;
}

static void fill(const mm_rng *rng, uint64_t first, float *out, size_t count,
                 void (*block)(const mm_rng *, uint64_t, float[4]))
{
    float four[4];
    uint64_t have = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t index = first + i;
        if (index / 4 != have) {
            have = index / 4;
            block(rng, have, four);
        }
        out[i] = four[index % 4];
    }
}

void mm_rng_uniform(const mm_rng *rng, uint64_t first, float *out, size_t count)
{
    fill(rng, first, out, count, uniforms_of_block);
}

void mm_rng_normal(const mm_rng *rng, uint64_t first, float *out, size_t count)
{
    fill(rng, first, out, count, normals_of_block);
}

int64_t mm_rng_integer(const mm_rng *rng, uint64_t index, int64_t low, int64_t high)
{
    uint32_t word[4];
    mm_philox(rng->seed, index, rng->step, rng->stream, word);
    uint64_t span = (uint64_t)(high - low) + 1;
    uint64_t draw = ((uint64_t)word[0] << 32) | word[1];
    return low + (int64_t)(uint64_t)(((unsigned __int128)draw * span) >> 64);
}

uint64_t mm_random_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = (uint32_t)time(NULL);
    return seed >> 1;
}
