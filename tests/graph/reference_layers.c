/* SPDX-License-Identifier: BSD-2-Clause */
/* References of convolutions, norms, attention and the embeddings. */
#include <math.h>

#include "base/memory.h"
#include "reference.h"

void mm_reference_conv2d(const mm_node *node, double *y, const double *const *x)
{
    const int64_t *in = node->source[0]->shape.dim, *kernel = node->source[1]->shape.dim,
                  *out = node->shape.dim;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t co = i % out[3], ox = i / out[3] % out[2], oy = i / out[3] / out[2] % out[1],
                f = i / out[3] / out[2] / out[1];
        double sum = (x[2] ? x[2][co] : 0.0) + (x[3] ? x[3][i] : 0.0);
        for (int64_t t = 0; t < kernel[1] * kernel[2] * kernel[3]; t++) {
            int64_t kx = t % kernel[3], ky = t / kernel[3] % kernel[2],
                    ci = t / kernel[3] / kernel[2];
            int64_t iy = oy * node->attr.conv2d.stride + ky - node->attr.conv2d.pad_top;
            int64_t ix = ox * node->attr.conv2d.stride + kx - node->attr.conv2d.pad_left;
            if (iy >= 0 && iy < in[1] && ix >= 0 && ix < in[2])
                sum += x[0][((f * in[1] + iy) * in[2] + ix) * in[3] + ci] *
                       x[1][co * kernel[1] * kernel[2] * kernel[3] + t];
        }
        y[i] = sum;
    }
}

void mm_reference_temporal_conv(const mm_node *node, double *y, const double *const *x)
{
    int64_t frames = node->attr.temporal_conv.frames, total = node->shape.dim[0];
    int64_t co_count = mm_node_columns(node), ci_count = mm_node_columns(node->source[0]);
    int64_t inner = mm_node_rows(node) / total;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t co = i % co_count, place = i / co_count % inner, f = i / co_count / inner;
        double sum = (x[2] ? x[2][co] : 0.0) + (x[3] ? x[3][i] : 0.0);
        for (int64_t tap = 0; tap < 3; tap++) {
            int64_t from = f % frames + tap - 1;
            if (from < 0 || from >= frames)
                continue;
            int64_t row = (f - f % frames + from) * inner + place;
            for (int64_t ci = 0; ci < ci_count; ci++)
                sum += x[0][row * ci_count + ci] * x[1][(tap * co_count + co) * ci_count + ci];
        }
        y[i] = sum;
    }
}

/* Normalises a block of rows and columns of a matrix with `width` columns. */
static void normalise(const double *x, double *y, int64_t rows, int64_t columns, int64_t width,
                      double eps)
{
    double mean = 0.0, variance = 0.0, count = (double)(rows * columns);
    for (int64_t i = 0; i < rows * columns; i++)
        mean += x[i / columns * width + i % columns] / count;
    for (int64_t i = 0; i < rows * columns; i++) {
        double apart = x[i / columns * width + i % columns] - mean;
        variance += apart * apart / count;
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        int64_t at = i / columns * width + i % columns;
        y[at] = (x[at] - mean) / sqrt(variance + eps);
    }
}

static void scale_and_shift(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t c = i % mm_node_columns(node);
        y[i] = y[i] * x[1][c] + x[2][c];
    }
}

void mm_reference_group_norm(const mm_node *node, double *y, const double *const *x)
{
    int64_t groups = node->attr.group_norm.groups, instances = node->attr.group_norm.instances;
    int64_t width = mm_node_columns(node), rows = mm_node_rows(node) / instances;
    for (int64_t i = 0; i < instances * groups; i++) {
        int64_t first = i / groups * rows * width + i % groups * (width / groups);
        normalise(x[0] + first, y + first, rows, width / groups, width,
                  (double)node->attr.group_norm.eps);
    }
    scale_and_shift(node, y, x);
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = mm_reference_activate(node->attr.group_norm.activation, y[i]);
}

void mm_reference_layer_norm(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node);
    for (int64_t row = 0; row < mm_node_rows(node); row++)
        normalise(x[0] + row * width, y + row * width, 1, width, width,
                  (double)node->attr.layer_norm.eps);
    scale_and_shift(node, y, x);
}

/* Scores of one query against `count` keys, `stride` apart, turned into probabilities. */
static void probabilities(const double *q, const double *k, int64_t stride, int64_t count,
                          int64_t width, double *p)
{
    double sum = 0.0;
    for (int64_t j = 0; j < count; j++) {
        double score = 0.0;
        for (int64_t c = 0; c < width; c++)
            score += q[c] * k[j * stride + c];
        p[j] = exp(score / sqrt((double)width));
        sum += p[j];
    }
    for (int64_t j = 0; j < count; j++)
        p[j] /= sum;
}

/* Visits every head of every query of packed rows: adds to `map`, or mixes values into `y`. */
static void self_attention(const mm_node *node, double *y, const double *qkv, bool map)
{
    mm_sequences s = node->attr.attention.sequences;
    int64_t heads = node->attr.attention.heads, width = node->attr.attention.head_width;
    int64_t inner = heads * width, stride = 3 * inner * s.inner;
    double *p = mm_malloc((size_t)s.length * sizeof(double));
    for (int64_t i = 0; i < mm_node_rows(node->source[0]) * heads; i++) {
        int64_t head = i % heads, row = i / heads, in = row % s.inner;
        int64_t position = row / s.inner % s.length, out = row / s.inner / s.length;
        const double *first = qkv + (out * s.length * s.inner + in) * 3 * inner + head * width;
        int64_t count = node->attr.attention.causal ? position + 1 : s.length;
        probabilities(first + position * stride, first + inner, stride, count, width, p);
        for (int64_t j = 0; map && j < count; j++)
            y[((out * s.inner + in) * s.length + position) * s.length + j] += p[j] / (double)heads;
        for (int64_t j = 0; !map && j < count * width; j++)
            y[row * inner + head * width + j % width] +=
                p[j / width] * first[2 * inner + j / width * stride + j % width];
    }
    mm_free(p);
}

static void clear(const mm_node *node, double *y)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = 0.0;
}

void mm_reference_attention(const mm_node *node, double *y, const double *const *x)
{
    clear(node, y);
    self_attention(node, y, x[0], false);
}

void mm_reference_attention_map(const mm_node *node, double *y, const double *const *x)
{
    clear(node, y);
    self_attention(node, y, x[0], true);
}

static void cross_attention(const mm_node *node, double *y, const double *const *x, bool map)
{
    int64_t heads = node->attr.cross_attention.heads;
    int64_t width = node->attr.cross_attention.head_width, inner = heads * width;
    int64_t batches = node->source[1]->shape.dim[0], tokens = node->source[1]->shape.dim[1];
    int64_t rows = mm_node_rows(node->source[0]);
    double *p = mm_malloc((size_t)tokens * sizeof(double));
    clear(node, y);
    for (int64_t i = 0; i < rows * heads; i++) {
        int64_t row = i / heads, head = i % heads, batch = row / (rows / batches);
        const double *k = x[1] + batch * tokens * 2 * inner + head * width;
        probabilities(x[0] + row * inner + head * width, k, 2 * inner, tokens, width, p);
        for (int64_t j = 0; map && j < tokens; j++)
            y[row * tokens + j] += p[j] / (double)heads;
        for (int64_t j = 0; !map && j < tokens * width; j++)
            y[row * inner + head * width + j % width] +=
                p[j / width] * k[inner + j / width * 2 * inner + j % width];
    }
    mm_free(p);
}

void mm_reference_cross_attention(const mm_node *node, double *y, const double *const *x)
{
    cross_attention(node, y, x, false);
}

void mm_reference_cross_attention_map(const mm_node *node, double *y, const double *const *x)
{
    cross_attention(node, y, x, true);
}

static int64_t nearest(int64_t at, int64_t from, int64_t to)
{
    int64_t source = (int64_t)floorf((float)at * ((float)from / (float)to));
    return source < from ? source : from - 1;
}

void mm_reference_resize_nearest(const mm_node *node, double *y, const double *const *x)
{
    const int64_t *out = node->shape.dim, *in = node->source[0]->shape.dim;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t c = i % out[3], ox = i / out[3] % out[2], oy = i / out[3] / out[2] % out[1];
        int64_t row = i / out[3] / out[2] / out[1] * in[1] + nearest(oy, in[1], out[1]);
        y[i] = x[0][(row * in[2] + nearest(ox, in[2], out[2])) * in[3] + c];
    }
}

void mm_reference_embedding(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node);
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][(int64_t)x[1][i / width] * width + i % width];
}

void mm_reference_timestep_embedding(const mm_node *node, double *y, const double *const *x)
{
    int64_t channels = mm_node_columns(node), half = channels / 2;
    bool cosine_first = node->attr.timestep_embedding.flip_sin_to_cos;
    double shift = (double)node->attr.timestep_embedding.downscale_freq_shift;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t c = i % channels;
        double frequency = exp(-log(10000.0) * (double)(c % half) / ((double)half - shift));
        double angle = x[0][i / channels] * frequency;
        y[i] = (c < half) == cosine_first ? cos(angle) : sin(angle);
        if (c >= 2 * half)
            y[i] = 0.0;
    }
}

/* The value at a place between pixels, which must lie within the picture. */
static double between_pixels(const double *x, const int64_t *dim, double row, double column,
                             int64_t channel)
{
    double value = 0.0;
    for (int64_t v = (int64_t)row; v < dim[1] && v <= (int64_t)row + 1; v++) {
        for (int64_t h = (int64_t)column; h < dim[2] && h <= (int64_t)column + 1; h++)
            value += x[(v * dim[2] + h) * dim[3] + channel] * (1.0 - fabs(row - (double)v)) *
                     (1.0 - fabs(column - (double)h));
    }
    return value;
}

void mm_reference_resize_bilinear(const mm_node *node, double *y, const double *const *x)
{
    const int64_t *in = node->source[0]->shape.dim, *out = node->shape.dim;
    double down = out[1] > 1 ? (double)(in[1] - 1) / (double)(out[1] - 1) : 0.0;
    double right = out[2] > 1 ? (double)(in[2] - 1) / (double)(out[2] - 1) : 0.0;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t c = i % out[3], ox = i / out[3] % out[2], oy = i / out[3] / out[2] % out[1];
        const double *picture = x[0] + i / out[3] / out[2] / out[1] * in[1] * in[2] * in[3];
        y[i] = between_pixels(picture, in, fmin((double)oy * down, (double)(in[1] - 1)),
                              fmin((double)ox * right, (double)(in[2] - 1)), c);
    }
}

/* Sample number i of a patch around (x, y). */
static double sample(const double *picture, const int64_t *dim, const double *place, int64_t i,
                     int64_t radius, double scale, int64_t channel)
{
    int64_t side = 2 * radius + 1;
    double x = place[0] * scale + (double)(i / side - radius);
    double y = place[1] * scale + (double)(i % side - radius);
    return between_pixels(picture, dim, fmin(fmax(y, 0.0), (double)(dim[1] - 1)),
                          fmin(fmax(x, 0.0), (double)(dim[2] - 1)), channel);
}

void mm_reference_patch_correlation(const mm_node *node, double *y, const double *const *x)
{
    const int64_t *dim = node->source[0]->shape.dim;
    int64_t radius = node->attr.patch_correlation.radius, points = node->shape.dim[1];
    int64_t patch = (2 * radius + 1) * (2 * radius + 1);
    double scale = (double)node->attr.patch_correlation.scale;
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t origin = i % patch, place = i / patch % patch, row = i / patch / patch;
        const double *picture = x[0] + row / points * dim[1] * dim[2] * dim[3];
        y[i] = 0.0;
        for (int64_t c = 0; c < dim[3]; c++)
            y[i] += sample(picture, dim, x[2] + 2 * row, place, radius, scale, c) *
                    sample(x[0], dim, x[1] + row % points * 2, origin, radius, scale, c);
    }
}
