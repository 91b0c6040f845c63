/* SPDX-License-Identifier: BSD-2-Clause */
/* The CPU's own kernels on every instruction set: agreement with double precision and with each
   other at large sizes, independence of the threads, extreme values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cpu/kernels.h"
#include "base/memory.h"
#include "base/rng.h"
#include "config.h"

#if MM_HAVE_OPENMP
#include <omp.h>
#endif

enum { guard_bytes = 256, most_threads = 3 };

typedef struct test_case {
    const char *name;
    mm_op op;
    const mm_cpu_kernel *kernel;
    mm_shape shape;
    mm_attributes attr;
    int32_t sources;
    mm_shape source[4];
} test_case;

static bool has_isa(mm_isa isa)
{
    if (isa == MM_ISA_AVX512_BF16)
        return has_isa(MM_ISA_AVX512) && __builtin_cpu_supports("avx512bf16");
    if (isa == MM_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (isa == MM_ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return __builtin_cpu_supports("sse4.1");
}

static size_t bytes_of(const mm_shape *shape)
{
    return (size_t)mm_shape_elements(shape) * sizeof(float);
}

static void *take(size_t bytes)
{
    void *block = mm_pages_alloc(bytes);
    assert_non_null(block);
    return block;
}

/* Runs the case's kernel with a workspace of exactly the size it asked for. */
static mm_status run_case(const test_case *c, mm_isa isa, int threads, float *const *data,
                          float *out, const atomic_int *cancel, mm_error *error)
{
    mm_cpu_context context = {.threads = threads, .isa = isa};
    mm_node source[4] = {0}, node = {.op = c->op, .shape = c->shape, .attr = c->attr};
    mm_kernel_call call = {.node = &node, .destination = out, .cancel = cancel};
    mm_kernel kernel = {.node = &node};
    node.source_count = c->sources;
    for (int32_t i = 0; i < c->sources; i++) {
        source[i].shape = c->source[i];
        node.source[i] = &source[i];
        call.source[i] = data[i];
    }
    if (c->kernel->prepare)
        assert_int_equal(c->kernel->prepare(&context, &node, &kernel, error), MM_OK);
    size_t bytes = kernel.workspace_bytes + guard_bytes;
    unsigned char *workspace = take(bytes);
    memset(workspace, 0xff, bytes); /* NaN, were it read */
    call.workspace = workspace;
#if MM_HAVE_OPENMP
    omp_set_num_threads(threads);
#endif
    mm_status status = c->kernel->run(&context, &kernel, &call, error);
    for (size_t i = kernel.workspace_bytes; i < bytes; i++)
        assert_int_equal(workspace[i], 0xff);
    mm_pages_free(workspace, bytes);
    return status;
}

static void run_on(const test_case *c, mm_isa isa, int threads, float *const *data, float *out)
{
    mm_error error;
    assert_int_equal(run_case(c, isa, threads, data, out, NULL, &error), MM_OK);
}

static void take_sources(const test_case *c, float **data, float spread)
{
    for (int32_t i = 0; i < c->sources; i++) {
        size_t count = (size_t)mm_shape_elements(&c->source[i]);
        mm_rng rng = {11, (uint32_t)i, 0};
        data[i] = take(count * sizeof(float));
        mm_rng_normal(&rng, 0, data[i], count);
        for (size_t k = 0; k < count; k++)
            data[i][k] *= spread;
    }
}

static void free_sources(const test_case *c, float **data)
{
    for (int32_t i = 0; i < c->sources; i++)
        mm_pages_free(data[i], bytes_of(&c->source[i]));
}

/* Largest difference over the largest value. */
static double distance(const float *a, const float *b, int64_t count)
{
    double most = 0.0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        most = difference <= most ? most : difference; /* a NaN stays */
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

#define CASE(op_name, ...)                                                                \
    {                                                                                     \
        .name = #op_name, .op = MM_OP_##op_name, .kernel = &mm_cpu_##op_name, __VA_ARGS__ \
    }
#define SELF(outer, length, inner, heads_, width) \
    .attr.attention = {.sequences = {outer, length, inner}, .heads = heads_, .head_width = width}
#define CROSS(heads_, width) .attr.cross_attention = {.heads = heads_, .head_width = width}
#define GROUPS(groups_, instances_) \
    .attr.group_norm = {groups_, instances_, 1e-5f, MM_ACTIVATION_SILU}

static const test_case cases[] = {
    CASE(group_norm, .shape = MM_SHAPE(2100, 96), GROUPS(32, 4), .sources = 3,
         .source = {MM_SHAPE(2100, 96), MM_SHAPE(96), MM_SHAPE(96)}),
    CASE(group_norm, .shape = MM_SHAPE(2101, 34), GROUPS(2, 1), .sources = 3,
         .source = {MM_SHAPE(2101, 34), MM_SHAPE(34), MM_SHAPE(34)}),
    CASE(group_norm_grad, .shape = MM_SHAPE(2101, 34), GROUPS(17, 1), .sources = 4,
         .source = {MM_SHAPE(2101, 34), MM_SHAPE(34), MM_SHAPE(34), MM_SHAPE(2101, 34)}),
    CASE(layer_norm, .shape = MM_SHAPE(50, 1283), .attr.layer_norm.eps = 1e-5f, .sources = 3,
         .source = {MM_SHAPE(50, 1283), MM_SHAPE(1283), MM_SHAPE(1283)}),
    CASE(layer_norm_grad, .shape = MM_SHAPE(50, 1283), .attr.layer_norm.eps = 1e-5f, .sources = 3,
         .source = {MM_SHAPE(50, 1283), MM_SHAPE(1283), MM_SHAPE(50, 1283)}),
    CASE(activation, .shape = MM_SHAPE(33333), .attr.activation.kind = MM_ACTIVATION_GELU,
         .sources = 1, .source = {MM_SHAPE(33333)}),
    CASE(geglu, .shape = MM_SHAPE(301, 77), .sources = 1, .source = {MM_SHAPE(301, 154)}),
    CASE(geglu_grad, .shape = MM_SHAPE(301, 154), .sources = 2,
         .source = {MM_SHAPE(301, 154), MM_SHAPE(301, 77)}),
    CASE(add_rows, .shape = MM_SHAPE(3, 1000, 37), .sources = 2,
         .source = {MM_SHAPE(3, 1000, 37), MM_SHAPE(3, 37)}),
    CASE(resize_nearest_grad, .shape = MM_SHAPE(2, 9, 7, 33), .attr.resize = {9, 7}, .sources = 1,
         .source = {MM_SHAPE(2, 31, 20, 33)}),
    CASE(attention, .shape = MM_SHAPE(1500, 80), SELF(1, 1500, 1, 2, 40), .sources = 1,
         .source = {MM_SHAPE(1500, 240)}),
    CASE(attention, .shape = MM_SHAPE(16 * 90, 128), SELF(1, 16, 90, 2, 64), .sources = 1,
         .source = {MM_SHAPE(16 * 90, 384)}),
    CASE(attention_grad, .shape = MM_SHAPE(700, 60), SELF(1, 700, 1, 1, 20), .sources = 2,
         .source = {MM_SHAPE(700, 60), MM_SHAPE(700, 20)}),
    CASE(attention_map, .shape = MM_SHAPE(12, 50, 50), SELF(2, 50, 6, 3, 16), .sources = 1,
         .source = {MM_SHAPE(600, 144)}),
    CASE(attention_map_grad, .shape = MM_SHAPE(600, 144), SELF(2, 50, 6, 3, 16), .sources = 2,
         .source = {MM_SHAPE(600, 144), MM_SHAPE(12, 50, 50)}),
    CASE(cross_attention, .shape = MM_SHAPE(2, 130, 96), CROSS(3, 32), .sources = 2,
         .source = {MM_SHAPE(2, 130, 96), MM_SHAPE(2, 77, 192)}),
    CASE(cross_attention_grad, .shape = MM_SHAPE(2, 130, 96), CROSS(3, 32), .sources = 3,
         .source = {MM_SHAPE(2, 130, 96), MM_SHAPE(2, 77, 192), MM_SHAPE(2, 130, 96)}),
    CASE(cross_attention_map, .shape = MM_SHAPE(2, 130, 77), CROSS(3, 32), .sources = 2,
         .source = {MM_SHAPE(2, 130, 96), MM_SHAPE(2, 77, 192)}),
    CASE(cross_attention_map_grad, .shape = MM_SHAPE(2, 130, 96), CROSS(3, 32), .sources = 3,
         .source = {MM_SHAPE(2, 130, 96), MM_SHAPE(2, 77, 192), MM_SHAPE(2, 130, 77)}),
    CASE(mean_squared_error, .shape = {0}, .sources = 2,
         .source = {MM_SHAPE(100003), MM_SHAPE(100003)}),
};

static void check_levels(const test_case *c, float *const *data)
{
    size_t bytes = bytes_of(&c->shape);
    float *base = take(bytes), *out = take(bytes);
    run_on(c, MM_ISA_SSE4, 1, data, base);
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++) {
        run_on(c, isa, 1, data, out);
        double apart = distance(out, base, mm_shape_elements(&c->shape));
        if (!(apart < 1e-6))
            fail_msg("%s at level %d: %.2e from level 0", c->name, (int)isa, apart);
    }
    mm_pages_free(base, bytes);
    mm_pages_free(out, bytes);
}

static void test_levels_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        float *data[4];
        take_sources(&cases[i], data, 1.0f);
        check_levels(&cases[i], data);
        free_sources(&cases[i], data);
    }
}

static void check_threads(const test_case *c, mm_isa isa, float *const *data)
{
    size_t bytes = bytes_of(&c->shape);
    float *base = take(bytes), *out = take(bytes);
    run_on(c, isa, 1, data, base);
    for (int threads = 2; threads <= most_threads; threads++) {
        memset(out, 0xff, bytes);
        run_on(c, isa, threads, data, out);
        if (memcmp(out, base, bytes) != 0)
            fail_msg("%s: %d threads give other bits than one", c->name, threads);
    }
    mm_pages_free(base, bytes);
    mm_pages_free(out, bytes);
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        float *data[4];
        take_sources(&cases[i], data, 1.0f);
        for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++)
            check_threads(&cases[i], isa, data);
        free_sources(&cases[i], data);
    }
}

/* Probabilities of one query of a sequence with one head, in double. */
static void probabilities(const float *qkv, int64_t length, int64_t width, int64_t query, double *p)
{
    const float *q = qkv + query * 3 * width;
    double most = -INFINITY, sum = 0.0;
    for (int64_t k = 0; k < length; k++) {
        const float *key = qkv + k * 3 * width + width;
        p[k] = 0.0;
        for (int64_t d = 0; d < width; d++)
            p[k] += (double)q[d] * (double)key[d] / sqrt((double)width);
        most = fmax(most, p[k]);
    }
    for (int64_t k = 0; k < length; k++)
        sum += p[k] = exp(p[k] - most);
    for (int64_t k = 0; k < length; k++)
        p[k] /= sum;
}

enum { long_length = 2305, long_width = 24 };
static const test_case long_attention = CASE(attention, .shape = MM_SHAPE(long_length, long_width),
                                             SELF(1, long_length, 1, 1, long_width), .sources = 1,
                                             .source = {MM_SHAPE(long_length, 3 * long_width)});

static void test_long_attention_is_exact(void **state)
{
    (void)state;
    static double p[long_length];
    static float out[long_length * long_width];
    float *qkv;
    take_sources(&long_attention, &qkv, 1.0f);
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++) {
        run_on(&long_attention, isa, 2, &qkv, out);
        for (int64_t query = 0; query < long_length; query += 64) {
            probabilities(qkv, long_length, long_width, query, p);
            for (int64_t d = 0; d < long_width; d++) {
                double expected = 0.0;
                for (int64_t k = 0; k < long_length; k++)
                    expected += p[k] * (double)qkv[(k * 3 + 2) * long_width + d];
                assert_true(fabs((double)out[query * long_width + d] - expected) < 1e-6);
            }
        }
    }
    free_sources(&long_attention, &qkv);
}

/* The map's gradient summed against a direction equals the map's change along it. */
static void test_map_gradient_is_exact(void **state)
{
    (void)state;
    enum { length = 61, width = 8, count = length * 3 * width };
    static const test_case c =
        CASE(attention_map_grad, .shape = MM_SHAPE(length, 3 * width), SELF(1, length, 1, 1, width),
             .sources = 2, .source = {MM_SHAPE(length, 3 * width), MM_SHAPE(1, length, length)});
    float *data[2], *gradient = take(count * sizeof(float));
    static float moved[2][count];
    double p[2][length], expected = 0.0, got = 0.0;
    take_sources(&c, data, 1.0f);
    run_on(&c, MM_ISA_SSE4, 1, data, gradient);
    mm_rng rng = {5, 5, 5};
    static float direction[count];
    mm_rng_normal(&rng, 0, direction, count);
    const float step = 0x1p-8f;
    for (int i = 0; i < count; i++) {
        moved[0][i] = data[0][i] - step * direction[i];
        moved[1][i] = data[0][i] + step * direction[i];
        got += (double)gradient[i] * ((double)moved[1][i] - (double)moved[0][i]);
    }
    for (int64_t query = 0; query < length; query++) {
        for (int side = 0; side < 2; side++)
            probabilities(moved[side], length, width, query, p[side]);
        for (int64_t k = 0; k < length; k++)
            expected += (p[1][k] - p[0][k]) * (double)data[1][query * length + k];
    }
    assert_true(fabs(got - expected) < 2e-4 * fabs(expected));
    for (int64_t row = 0; row < length; row++)
        for (int64_t d = 2 * width; d < 3 * width; d++)
            assert_true(gradient[row * 3 * width + d] == 0.0f);
    free_sources(&c, data);
    mm_pages_free(gradient, count * sizeof(float));
}

static void test_huge_scores(void **state)
{
    (void)state;
    enum { length = 50, width = 4 };
    static const test_case c =
        CASE(attention, .shape = MM_SHAPE(2 * length, width), SELF(2, length, 1, 1, width),
             .sources = 1, .source = {MM_SHAPE(2 * length, 3 * width)});
    float *qkv, out[2 * length * width];
    take_sources(&c, &qkv, 1.0f);
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++) {
        for (int i = 0; i < 2 * length; i++) /* scores of -1e30, but for key 7 of each sequence */
            for (int d = 0; d < width; d++) {
                qkv[i * 3 * width + d] = 1e15f;
                qkv[i * 3 * width + width + d] = i % length == 7 ? 1e4f : -5e14f;
            }
        run_on(&c, isa, 2, &qkv, out);
        for (int i = 0; i < 2 * length; i++)
            for (int d = 0; d < width; d++)
                assert_true(out[i * width + d] ==
                            qkv[(i / length * length + 7) * 3 * width + 2 * width + d]);
        qkv[3 * width * 20 + width] = NAN; /* a key of the first sequence */
        run_on(&c, isa, 2, &qkv, out);
        for (int i = 0; i < 2 * length * width; i++)
            assert_int_equal(isnan(out[i]) != 0, i < length * width);
    }
    free_sources(&c, &qkv);
}

static double exact_activation(mm_activation_kind kind, double x)
{
    switch (kind) {
    case MM_ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case MM_ACTIVATION_GELU:
        return 0.5 * x * erfc(-x * sqrt(0.5));
    case MM_ACTIVATION_GELU_TANH:
        return x / (1.0 + exp(-2.0 * sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
        return x / (1.0 + exp(-1.702 * x));
    }
}

static double exact_slope(mm_activation_kind kind, double x)
{
    const double h = 1e-5;
    return (exact_activation(kind, x + h) - exact_activation(kind, x - h)) / (2.0 * h);
}

enum { sweep = 200001 };

static void check_activation(mm_activation_kind kind, mm_isa isa, float *const *data)
{
    static float y[sweep];
    test_case forward = CASE(activation, .shape = MM_SHAPE(sweep), .attr.activation.kind = kind,
                             .sources = 1, .source = {MM_SHAPE(sweep)});
    test_case backward =
        CASE(activation_grad, .shape = MM_SHAPE(sweep), .attr.activation.kind = kind, .sources = 2,
             .source = {MM_SHAPE(sweep), MM_SHAPE(sweep)});
    run_on(&forward, isa, 1, data, y);
    for (int i = 0; i < sweep; i++) {
        double expected = exact_activation(kind, (double)data[0][i]);
        assert_true(fabs((double)y[i] - expected) <= 5e-7 * fabs(expected) + 2e-8);
    }
    run_on(&backward, isa, 1, data, y);
    for (int i = 0; i < sweep; i++)
        assert_true(fabs((double)y[i] - exact_slope(kind, (double)data[0][i])) < 6e-7);
}

static void test_activations_are_exact(void **state)
{
    (void)state;
    static float x[sweep], one[sweep];
    float *data[2] = {x, one};
    for (int i = 0; i < sweep; i++) {
        x[i] = ((float)i - (sweep - 1) / 2) * 2e-4f;
        one[i] = 1.0f;
    }
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++)
        for (mm_activation_kind kind = MM_ACTIVATION_SILU; kind <= MM_ACTIVATION_QUICK_GELU; kind++)
            check_activation(kind, isa, data);
}

static void test_activations_of_extremes(void **state)
{
    (void)state;
    float x[5] = {NAN, 1e30f, INFINITY, -100.0f, 0.0f}, one[5] = {1, 1, 1, 1, 1}, y[5], slope[5];
    float *data[2] = {x, one};
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++)
        for (mm_activation_kind kind = MM_ACTIVATION_SILU; kind <= MM_ACTIVATION_QUICK_GELU;
             kind++) {
            test_case forward = CASE(activation, .shape = MM_SHAPE(5), .attr.activation.kind = kind,
                                     .sources = 1, .source = {MM_SHAPE(5)});
            test_case backward =
                CASE(activation_grad, .shape = MM_SHAPE(5), .attr.activation.kind = kind,
                     .sources = 2, .source = {MM_SHAPE(5), MM_SHAPE(5)});
            run_on(&forward, isa, 1, data, y);
            run_on(&backward, isa, 1, data, slope);
            assert_true(isnan(y[0]) && isnan(slope[0]));
            assert_true(y[1] == 1e30f && y[2] == INFINITY && slope[1] == 1.0f);
            assert_true(fabsf(y[3]) < 1e-30f && fabsf(slope[3]) < 1e-30f);
            assert_true(y[4] == 0.0f && fabsf(slope[4] - 0.5f) < 1e-7f);
        }
}

static void test_relu_of_extremes(void **state)
{
    (void)state;
    float x[5] = {NAN, 1e30f, INFINITY, -100.0f, 0.0f}, one[5] = {1, 1, 1, 1, 1}, y[5], slope[5];
    float *data[2] = {x, one};
    test_case forward =
        CASE(activation, .shape = MM_SHAPE(5), .attr.activation.kind = MM_ACTIVATION_RELU,
             .sources = 1, .source = {MM_SHAPE(5)});
    test_case backward =
        CASE(activation_grad, .shape = MM_SHAPE(5), .attr.activation.kind = MM_ACTIVATION_RELU,
             .sources = 2, .source = {MM_SHAPE(5), MM_SHAPE(5)});
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++) {
        run_on(&forward, isa, 1, data, y);
        run_on(&backward, isa, 1, data, slope);
        assert_true(isnan(y[0]) && isnan(slope[0]));
        assert_true(y[1] == 1e30f && y[2] == INFINITY && y[3] == 0.0f && y[4] == 0.0f);
        assert_true(slope[1] == 1.0f && slope[2] == 1.0f && slope[3] == 0.0f && slope[4] == 0.0f);
    }
}

/* A mean a million times the deviation: the variance must not drown in it. */
static void test_norm_far_from_zero(void **state)
{
    (void)state;
    enum { rows = 513, channels = 32 };
    test_case c =
        CASE(group_norm, .shape = MM_SHAPE(rows, channels), .sources = 3,
             .attr.group_norm = {4, 1, 1e-12f, MM_ACTIVATION_NONE},
             .source = {MM_SHAPE(rows, channels), MM_SHAPE(channels), MM_SHAPE(channels)});
    static float x[rows * channels], y[rows * channels], one[channels], zero[channels];
    float *data[3] = {x, one, zero};
    for (int i = 0; i < rows * channels; i++)
        x[i] = 65536.0f + (i % 2 ? 0.0625f : -0.0625f); /* exact numbers, variance 1/256 */
    for (int i = 0; i < channels; i++)
        one[i] = 1.0f;
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++) {
        run_on(&c, isa, 2, data, y);
        for (int i = 0; i < rows * channels; i++)
            assert_true(fabsf(y[i] - (i % 2 ? 1.0f : -1.0f)) < 1e-5f);
    }
}

static void test_dropout_draws_the_documented_numbers(void **state)
{
    (void)state;
    enum { count = 20011 };
    test_case c = CASE(dropout, .shape = MM_SHAPE(count), .sources = 2,
                       .attr.dropout = {0.3f, MM_STREAM_DROPOUT + 9},
                       .source = {MM_SHAPE(count), MM_SHAPE(3)});
    static float x[count], y[count], uniform[count];
    int32_t key[3] = {-5, 77, 12};
    mm_rng rng = {(77ull << 32) | 0xfffffffbu, MM_STREAM_DROPOUT + 9, 12};
    mm_rng_uniform(&rng, 0, uniform, count);
    for (int i = 0; i < count; i++)
        x[i] = (float)i + 1.0f;
    float *data[2] = {x, (float *)(void *)key};
    for (mm_isa isa = MM_ISA_SSE4; isa < MM_ISA_COUNT && has_isa(isa); isa++)
        for (int threads = 1; threads <= most_threads; threads++) {
            run_on(&c, isa, threads, data, y);
            for (int i = 0; i < count; i++)
                assert_true(y[i] == (uniform[i] < 0.3f ? 0.0f : x[i] / (1.0f - 0.3f)));
        }
}

static void test_id_outside_the_table(void **state)
{
    (void)state;
    test_case c = CASE(embedding, .shape = MM_SHAPE(2, 3), .sources = 2,
                       .source = {MM_SHAPE(4, 3), MM_SHAPE(2)});
    int64_t ids[2] = {3, 4};
    float table[12] = {0}, out[6], *data[2] = {table, (float *)(void *)ids};
    mm_error error;
    assert_int_equal(run_case(&c, MM_ISA_SSE4, 1, data, out, NULL, &error), MM_ERR_USAGE);
    assert_non_null(strstr(error.text, "id 4"));
    ids[1] = -1;
    assert_int_equal(run_case(&c, MM_ISA_SSE4, 1, data, out, NULL, &error), MM_ERR_USAGE);
}

static void test_cancelled_attention_stops(void **state)
{
    (void)state;
    static float out[long_length * long_width];
    float *qkv;
    mm_error error;
    atomic_int cancel = 1;
    take_sources(&long_attention, &qkv, 1.0f);
    out[0] = 123.0f;
    mm_status status = run_case(&long_attention, MM_ISA_SSE4, 2, &qkv, out, &cancel, &error);
    assert_int_equal(status, MM_OK); /* the executor reports it */
    assert_true(out[0] == 123.0f);
    free_sources(&long_attention, &qkv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_agree),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_long_attention_is_exact),
        cmocka_unit_test(test_map_gradient_is_exact),
        cmocka_unit_test(test_huge_scores),
        cmocka_unit_test(test_activations_are_exact),
        cmocka_unit_test(test_activations_of_extremes),
        cmocka_unit_test(test_relu_of_extremes),
        cmocka_unit_test(test_norm_far_from_zero),
        cmocka_unit_test(test_dropout_draws_the_documented_numbers),
        cmocka_unit_test(test_id_outside_the_table),
        cmocka_unit_test(test_cancelled_attention_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
