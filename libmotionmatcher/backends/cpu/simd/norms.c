/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>

#include "backends/cpu/simd/activations.h"
#include "backends/cpu/simd/elements.h"
#include "backends/cpu/simd/workspace.h"

typedef struct group_norm {
    mm_group_norm_layout layout;
    mm_elements x, dy, y; /* y: the output, or the gradient */
    const float *weight, *bias;
    float eps;
    mm_activation_kind activation;
    double *moments;
    float *channel, *scratch;
} group_norm;

/* Rows of `channel`, per instance. */
enum { MEAN, SLOPE, SHIFT, INVERSE, DROP_CONSTANT, DROP_SLOPE };

static group_norm group_norm_of(const mm_kernel_call *call, int threads)
{
    mm_group_norm_layout layout = mm_group_norm_plan(call->node, threads);
    char *workspace = call->workspace;
    return (group_norm){
        .layout = layout,
        .x = mm_source(call, 0),
        .weight = call->source[1],
        .bias = call->source[2],
        .dy = mm_source(call, 3),
        .y = mm_destination(call),
        .eps = call->node->attr.group_norm.eps,
        .activation = call->node->attr.group_norm.activation,
        .moments = (double *)(void *)(workspace + layout.moments),
        .channel = (float *)(void *)(workspace + layout.channel),
        .scratch = (float *)(void *)(workspace + layout.scratch),
    };
}

static double *moments_of(const group_norm *job, int64_t instance, int64_t block)
{
    const mm_group_norm_layout *l = &job->layout;
    return job->moments + (instance * l->blocks + block) * l->groups * 2;
}

static float *channel_of(const group_norm *job, int64_t instance, int row)
{
    return job->channel + (instance * MM_NORM_ROWS + row) * job->layout.padded;
}

/* The thread's rows; those from BLOCK on hold a block of x that had to be widened. */
enum { FIRST, SECOND, THIRD, SLOPES, RESULT, BLOCK };

static float *scratch_of(const group_norm *job, int row)
{
    int64_t rows = MM_NORM_SCRATCH_ROWS + job->layout.block_rows;
    return job->scratch + (mm_thread_number() * rows + row) * job->layout.padded;
}

static int64_t rows_of(const group_norm *job, int64_t block)
{
    return mm_smaller(job->layout.block_rows, job->layout.rows - block * job->layout.block_rows);
}

static int64_t offset_of(const group_norm *job, int64_t instance, int64_t block)
{
    const mm_group_norm_layout *l = &job->layout;
    return (instance * l->rows + block * l->block_rows) * l->channels;
}

/* sum[c] += x[r, c] over the rows */
static void add_columns(float *restrict sum, const float *restrict x, int64_t rows,
                        int64_t channels)
{
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * channels) {
        const float *x1 = x + channels, *x2 = x1 + channels, *x3 = x2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            sum[c] += (x[c] + x1[c]) + (x2[c] + x3[c]);
    }
    for (; row < rows; row++, x += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            sum[c] += x[c];
    }
}

/* sum[c] += (x[r, c] - mean[c])^2 over the rows */
static void add_squares(float *restrict sum, const float *restrict mean, const float *restrict x,
                        int64_t rows, int64_t channels)
{
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2, x += 2 * channels) {
        const float *x1 = x + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float d0 = x[c] - mean[c], d1 = x1[c] - mean[c];
            sum[c] += d0 * d0 + d1 * d1;
        }
    }
    for (; row < rows; row++, x += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            sum[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
    }
}

static double sum_of(const float *x, int64_t count)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i];
    return sum;
}

/* Mean and sum of squared deviations of every group over one block: two passes while it is in the
   cache, so that a mean far from zero costs no accuracy. */
static void measure(const group_norm *job, int64_t instance, int64_t block)
{
    const mm_group_norm_layout *l = &job->layout;
    int64_t rows = rows_of(job, block), width = l->channels / l->groups;
    const float *x = mm_read(job->x, offset_of(job, instance, block), rows * l->channels,
                             scratch_of(job, BLOCK));
    float *sum = scratch_of(job, FIRST), *mean = scratch_of(job, SECOND);
    double *moments = moments_of(job, instance, block);
    size_t bytes = (size_t)l->channels * sizeof(*sum);
    memset(sum, 0, bytes);
    add_columns(sum, x, rows, l->channels);
    for (int64_t g = 0; g < l->groups; g++) {
        moments[2 * g] = sum_of(sum + g * width, width) / (double)(rows * width);
        for (int64_t c = 0; c < width; c++)
            mean[g * width + c] = (float)moments[2 * g];
    }
    memset(sum, 0, bytes);
    add_squares(sum, mean, x, rows, l->channels);
    for (int64_t g = 0; g < l->groups; g++) {
        double rounding = moments[2 * g] - (double)mean[g * width];
        double squares = sum_of(sum + g * width, width);
        moments[2 * g + 1] = squares - rounding * rounding * (double)(rows * width);
    }
}

/* Combines the blocks' means and squared deviations of one group. */
static void combine_moments(const group_norm *job, int64_t instance, int64_t group, double *mean,
                            double *variance)
{
    const mm_group_norm_layout *l = &job->layout;
    double count = 0.0, squares = 0.0;
    *mean = 0.0;
    for (int64_t block = 0; block < l->blocks; block++) {
        const double *moments = moments_of(job, instance, block) + 2 * group;
        double added = (double)(rows_of(job, block) * (l->channels / l->groups));
        double difference = moments[0] - *mean, total = count + added;
        squares += moments[1] + difference * difference * (count * added / total);
        *mean += difference * (added / total);
        count = total;
    }
    *variance = squares / count;
}

/* z = (x - mean) slope + shift for every channel of an instance */
static void settle(const group_norm *job, int64_t instance)
{
    const mm_group_norm_layout *l = &job->layout;
    int64_t width = l->channels / l->groups;
    for (int64_t g = 0; g < l->groups; g++) {
        double mean, variance;
        combine_moments(job, instance, g, &mean, &variance);
        double inverse = 1.0 / sqrt(variance + (double)job->eps);
        for (int64_t c = g * width; c < (g + 1) * width; c++) {
            double slope = (double)job->weight[c] * inverse;
            float rounded = (float)mean;
            channel_of(job, instance, MEAN)[c] = rounded;
            channel_of(job, instance, SLOPE)[c] = (float)slope;
            channel_of(job, instance, INVERSE)[c] = (float)inverse;
            channel_of(job, instance, SHIFT)[c] =
                (float)((double)job->bias[c] - (mean - (double)rounded) * slope);
        }
    }
}

static void normalise_row(float *restrict y, const float *restrict x, const float *restrict mean,
                          const float *restrict slope, const float *restrict shift,
                          int64_t channels)
{
#pragma omp simd
    for (int64_t c = 0; c < channels; c++)
        y[c] = (x[c] - mean[c]) * slope[c] + shift[c];
}

/* Row by row through scratch, since y may be x. */
static void normalise(const group_norm *job, int64_t instance, int64_t block)
{
    int64_t channels = job->layout.channels, offset = offset_of(job, instance, block);
    const float *mean = channel_of(job, instance, MEAN);
    const float *slope = channel_of(job, instance, SLOPE);
    const float *shift = channel_of(job, instance, SHIFT);
    float *z = scratch_of(job, FIRST);
    for (int64_t row = 0; row < rows_of(job, block); row++, offset += channels) {
        const float *x = mm_read(job->x, offset, channels, scratch_of(job, BLOCK));
        float *y = mm_place(job->y, offset, scratch_of(job, RESULT));
        normalise_row(z, x, mean, slope, shift, channels);
        mm_activate(job->activation, y, z, channels);
        mm_write(job->y, offset, channels, y);
    }
}

typedef struct slope_sums {
    float *gradient, *product; /* per channel: sums of d and of d times the normalised value */
} slope_sums;

/* dy becomes the gradient d of the normalised value; adds to the sums. */
static void slope_row(float *restrict dy, const float *restrict x, const float *restrict weight,
                      const float *restrict mean, const float *restrict inverse, slope_sums sums,
                      int64_t channels)
{
    float *restrict gradient = sums.gradient, *restrict product = sums.product;
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        float d = dy[c] * weight[c];
        dy[c] = d;
        gradient[c] += d;
        product[c] += d * ((x[c] - mean[c]) * inverse[c]);
    }
}

/* Leaves the gradient of the normalised value in y, and its sums for every group. */
static void measure_slopes(const group_norm *job, int64_t instance, int64_t block)
{
    const mm_group_norm_layout *l = &job->layout;
    int64_t offset = offset_of(job, instance, block), width = l->channels / l->groups;
    const float *mean = channel_of(job, instance, MEAN);
    const float *inverse = channel_of(job, instance, INVERSE);
    slope_sums sums = {scratch_of(job, SECOND), scratch_of(job, THIRD)};
    float *z = scratch_of(job, FIRST);
    memset(sums.gradient, 0, (size_t)l->channels * sizeof(float));
    memset(sums.product, 0, (size_t)l->channels * sizeof(float));
    for (int64_t row = 0; row < rows_of(job, block); row++, offset += l->channels) {
        const float *x = mm_read(job->x, offset, l->channels, scratch_of(job, BLOCK));
        const float *dy = mm_read(job->dy, offset, l->channels, scratch_of(job, SLOPES));
        float *y = mm_place(job->y, offset, scratch_of(job, RESULT));
        normalise_row(z, x, mean, channel_of(job, instance, SLOPE),
                      channel_of(job, instance, SHIFT), l->channels);
        mm_activate_grad(job->activation, y, z, dy, l->channels);
        slope_row(y, x, job->weight, mean, inverse, sums, l->channels);
        mm_write(job->y, offset, l->channels, y);
    }
    double *moments = moments_of(job, instance, block);
    for (int64_t g = 0; g < l->groups; g++) {
        moments[2 * g] = sum_of(sums.gradient + g * width, width);
        moments[2 * g + 1] = sum_of(sums.product + g * width, width);
    }
}

static void settle_slopes(const group_norm *job, int64_t instance)
{
    const mm_group_norm_layout *l = &job->layout;
    int64_t width = l->channels / l->groups;
    double count = (double)(l->rows * width);
    for (int64_t g = 0; g < l->groups; g++) {
        double gradient = 0.0, product = 0.0;
        for (int64_t block = 0; block < l->blocks; block++) {
            gradient += moments_of(job, instance, block)[2 * g];
            product += moments_of(job, instance, block)[2 * g + 1];
        }
        double inverse = (double)channel_of(job, instance, INVERSE)[g * width];
        for (int64_t c = g * width; c < (g + 1) * width; c++) {
            channel_of(job, instance, DROP_CONSTANT)[c] = (float)(inverse * gradient / count);
            channel_of(job, instance, DROP_SLOPE)[c] = (float)(inverse * inverse * product / count);
        }
    }
}

/* dx = inverse (d - mean of d - normalised value * mean of (d * normalised value)) */
static void finish_slopes(const group_norm *job, int64_t instance, int64_t block)
{
    int64_t channels = job->layout.channels, offset = offset_of(job, instance, block);
    const float *restrict mean = channel_of(job, instance, MEAN);
    const float *restrict inverse = channel_of(job, instance, INVERSE);
    const float *restrict constant = channel_of(job, instance, DROP_CONSTANT);
    const float *restrict slope = channel_of(job, instance, DROP_SLOPE);
    for (int64_t row = 0; row < rows_of(job, block); row++, offset += channels) {
        const float *restrict x = mm_read(job->x, offset, channels, scratch_of(job, BLOCK));
        const float *before = mm_read(job->y, offset, channels, scratch_of(job, RESULT));
        float *y = mm_place(job->y, offset, scratch_of(job, RESULT));
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            y[c] = before[c] * inverse[c] - constant[c] - (x[c] - mean[c]) * slope[c];
        mm_write(job->y, offset, channels, y);
    }
}

typedef void block_step(const group_norm *job, int64_t instance, int64_t block);
typedef void instance_step(const group_norm *job, int64_t instance);

/* A step over blocks, one over instances, a step over blocks. */
static void three_steps(const group_norm *job, block_step *first, instance_step *second,
                        block_step *third)
{
    int64_t blocks = job->layout.blocks, instances = job->layout.instances;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < instances * blocks; i++)
            first(job, i / blocks, i % blocks);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < instances; i++)
            second(job, i);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < instances * blocks; i++)
            third(job, i / blocks, i % blocks);
    }
}

/* The same with an instance to a thread, which keeps it in the thread's cache. */
static void three_steps_of_instance(const group_norm *job, int64_t instance, block_step *first,
                                    instance_step *second, block_step *third)
{
    for (int64_t block = 0; block < job->layout.blocks; block++)
        first(job, instance, block);
    second(job, instance);
    for (int64_t block = 0; block < job->layout.blocks; block++)
        third(job, instance, block);
}

/* Whether handing out whole instances keeps all threads about equally busy. */
static bool share_instances(int64_t instances, int threads)
{
    return instances % threads == 0 || instances >= 4 * threads;
}

MM_SIMD_KERNEL(group_norm)
{
    group_norm job = group_norm_of(call, threads);
    int64_t instances = job.layout.instances;
    if (!share_instances(instances, threads)) {
        three_steps(&job, measure, settle, normalise);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < instances; i++)
        three_steps_of_instance(&job, i, measure, settle, normalise);
}

MM_SIMD_KERNEL(group_norm_grad)
{
    group_norm job = group_norm_of(call, threads);
    int64_t instances = job.layout.instances, blocks = job.layout.blocks;
    if (!share_instances(instances, threads)) {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < instances * blocks; i++)
            measure(&job, i / blocks, i % blocks);
        for (int64_t i = 0; i < instances; i++)
            settle(&job, i);
        three_steps(&job, measure_slopes, settle_slopes, finish_slopes);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < instances; i++) {
        for (int64_t block = 0; block < blocks; block++)
            measure(&job, i, block);
        settle(&job, i);
        three_steps_of_instance(&job, i, measure_slopes, settle_slopes, finish_slopes);
    }
}

#define RUN 1024 /* elements that single precision sums before double takes over */

static double row_sum(const float *x, int64_t count)
{
    double total = 0.0;
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t end = mm_smaller(first + RUN, count);
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < end; i++)
            sum += x[i];
        total += (double)sum;
    }
    return total;
}

static double row_squares(const float *x, float mean, int64_t count)
{
    double total = 0.0;
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t end = mm_smaller(first + RUN, count);
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < end; i++)
            sum += (x[i] - mean) * (x[i] - mean);
        total += (double)sum;
    }
    return total;
}

static void row_moments(const float *x, int64_t count, float eps, float *mean, float *inverse)
{
    double exact = row_sum(x, count) / (double)count;
    *mean = (float)exact;
    double rounding = exact - (double)*mean;
    double variance = row_squares(x, *mean, count) / (double)count - rounding * rounding;
    *inverse = (float)(1.0 / sqrt(variance + (double)eps));
}

static void layer_norm_row(float *y, const float *x, const float *weight, const float *bias,
                           float eps, int64_t channels)
{
    float mean, inverse;
    row_moments(x, channels, eps, &mean, &inverse);
#pragma omp simd
    for (int64_t c = 0; c < channels; c++)
        y[c] = (x[c] - mean) * inverse * weight[c] + bias[c];
}

/* A thread's rows for what is not f32. */
static float *layer_norm_scratch(const mm_kernel_call *call, int64_t channels)
{
    float *scratch = call->workspace;
    return scratch ? scratch + mm_thread_number() * MM_LAYER_NORM_ROWS * channels : NULL;
}

MM_SIMD_KERNEL(layer_norm)
{
    int64_t channels = mm_last_dim(call->node), count = mm_shape_elements(&call->node->shape);
    float eps = call->node->attr.layer_norm.eps;
    const float *weight = call->source[1], *bias = call->source[2];
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
    int64_t rows = channels ? count / channels : 0;
#pragma omp parallel for schedule(static) if (count > 16 * RUN)
    for (int64_t row = 0; row < rows; row++) {
        float *scratch = layer_norm_scratch(call, channels);
        const float *from = mm_read(x, row * channels, channels, scratch);
        float *to = mm_place(y, row * channels, scratch);
        layer_norm_row(to, from, weight, bias, eps, channels);
        mm_write(y, row * channels, channels, to);
    }
}

static void layer_norm_grad_row(float *dx, const float *restrict x, const float *restrict weight,
                                const float *dy, float eps, int64_t channels)
{
    float mean, inverse;
    row_moments(x, channels, eps, &mean, &inverse);
    double gradient = 0.0, product = 0.0;
    for (int64_t first = 0; first < channels; first += RUN) {
        int64_t end = mm_smaller(first + RUN, channels);
        float sum = 0.0f, sum_product = 0.0f;
#pragma omp simd reduction(+ : sum, sum_product)
        for (int64_t c = first; c < end; c++) {
            float d = dy[c] * weight[c];
            sum += d;
            sum_product += d * (x[c] - mean);
        }
        gradient += (double)sum;
        product += (double)sum_product;
    }
    float constant = (float)(gradient / (double)channels);
    float slope = (float)(product / (double)channels * (double)inverse * (double)inverse);
#pragma omp simd
    for (int64_t c = 0; c < channels; c++)
        dx[c] = inverse * (dy[c] * weight[c] - constant - (x[c] - mean) * slope);
}

MM_SIMD_KERNEL(layer_norm_grad)
{
    int64_t channels = mm_last_dim(call->node), count = mm_shape_elements(&call->node->shape);
    float eps = call->node->attr.layer_norm.eps;
    const float *weight = call->source[1];
    mm_elements x = mm_source(call, 0), dy = mm_source(call, 2), dx = mm_destination(call);
    int64_t rows = channels ? count / channels : 0;
#pragma omp parallel for schedule(static) if (count > 16 * RUN)
    for (int64_t row = 0; row < rows; row++) {
        float *scratch = layer_norm_scratch(call, channels);
        const float *from = mm_read(x, row * channels, channels, scratch);
        const float *slope = mm_read(dy, row * channels, channels, scratch + channels);
        float *to = mm_place(dx, row * channels, scratch + channels);
        layer_norm_grad_row(to, from, weight, slope, eps, channels);
        mm_write(dx, row * channels, channels, to);
    }
}
