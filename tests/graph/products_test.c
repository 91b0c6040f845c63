/* SPDX-License-Identifier: BSD-2-Clause */
/* The CPU backend's products against plain loops: what one kernel is given in many ways. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backends/cpu/cpu.h"
#include "base/memory.h"
#include "graph/ops.h"

static mm_backend *backend;
static mm_graph *graph;
static uint32_t random_state;

static float *random_values(int64_t count)
{
    float *values = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        values[i] = (float)(random_state >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

typedef struct tensor {
    mm_node *node;
    float *value;
} tensor;

static tensor random_tensor(mm_shape shape)
{
    return (tensor){mm_input(graph, "x", MM_F32, &shape), random_values(mm_shape_elements(&shape))};
}

static void check(mm_status status, const mm_error *error)
{
    if (status != MM_OK)
        fail_msg("%s", error->text);
}

static void run_node(const mm_node *node, const float *const *source, float *destination)
{
    mm_error error = {0};
    mm_kernel kernel;
    void *workspace = NULL;
    check(mm_graph_status(graph, &error), &error);
    assert_true(backend->table->supports(backend, node));
    check(backend->table->prepare(backend, node, &kernel, &error), &error);
    size_t bytes = kernel.workspace_bytes + 64;
    check(backend->table->allocate(backend, bytes, &workspace, &error), &error);
    mm_kernel_call call = {.node = node, .destination = destination, .workspace = workspace};
    for (int32_t i = 0; i < node->source_count; i++)
        call.source[i] = source[i];
    for (int again = 0; again < 2; again++)
        if (again == 0 || call.source[3] != destination)
            check(backend->table->run(backend, &kernel, &call, &error), &error);
    for (int i = 0; i < 64; i++)
        assert_int_equal(((char *)workspace)[kernel.workspace_bytes + (size_t)i], 0);
    backend->table->discard(backend, &kernel);
    backend->table->release(backend, workspace, bytes);
}

/* Runs the node with the addend apart from the result and, when there is one, in its place. */
static void compare(const mm_node *node, const float *const *source, const float *expected)
{
    int64_t count = mm_shape_elements(&node->shape);
    bool has_addend = node->source_count > 3 && node->source[3];
    for (int in_place = 0; in_place <= (has_addend ? 1 : 0); in_place++) {
        const float *given[MM_MAX_SOURCES] = {0};
        float *result = malloc((size_t)count * sizeof(float));
        for (int32_t i = 0; i < node->source_count; i++)
            given[i] = source[i];
        if (in_place) {
            memcpy(result, source[3], (size_t)count * sizeof(float));
            given[3] = result;
        } else {
            for (int64_t i = 0; i < count; i++)
                result[i] = NAN;
        }
        run_node(node, given, result);
        for (int64_t i = 0; i < count; i++)
            if (!(fabsf(result[i] - expected[i]) <= 2e-5f * (1.0f + fabsf(expected[i]))))
                fail_msg("element %lld: %g instead of %g", (long long)i, (double)result[i],
                         (double)expected[i]);
        free(result);
    }
}

typedef struct matmul_case {
    int64_t m, n, k, groups;
    bool transpose_a, transpose_b, bias, addend;
    float alpha;
} matmul_case;

static double element(const matmul_case *c, const float *x, const float *w, int64_t g, int64_t i,
                      int64_t j)
{
    bool stacked = c->groups > 1 && !c->transpose_a;
    double sum = 0.0;
    for (int64_t k = 0; k < c->k; k++) {
        double a = c->transpose_a ? x[k * c->groups * c->m + g * c->m + i]
                                  : x[i * c->groups * c->k + g * c->k + k];
        int64_t width = c->transpose_b ? c->k : stacked ? c->n : c->groups * c->n;
        int64_t first = stacked ? g * c->n * c->k : c->transpose_b ? 0 : g * c->n;
        sum += a * (double)w[first + (c->transpose_b ? j * width + k : k * width + j)];
    }
    return sum;
}

static void check_matmul(const matmul_case *c)
{
    int64_t g = c->groups;
    mm_shape b = c->groups > 1 && !c->transpose_a
                     ? (c->transpose_b ? MM_SHAPE(g, c->n, c->k) : MM_SHAPE(g, c->k, c->n))
                     : (c->transpose_b ? MM_SHAPE(c->n, c->k) : MM_SHAPE(c->k, g * c->n));
    bool stacked = g > 1 && c->transpose_a;
    tensor x = random_tensor(c->transpose_a ? MM_SHAPE(c->k, g * c->m) : MM_SHAPE(c->m, g * c->k));
    tensor w = random_tensor(b);
    tensor bias = {0}, addend = {0};
    if (c->bias)
        bias = random_tensor(MM_SHAPE(g * c->n));
    if (c->addend)
        addend = random_tensor(stacked ? MM_SHAPE(g, c->m, c->n) : MM_SHAPE(c->m, g * c->n));
    mm_attributes attributes = {.matmul = {c->transpose_a, c->transpose_b, (int32_t)g, c->alpha}};
    mm_node *y = mm_matmul(graph, x.node, w.node, bias.node, addend.node, &attributes);
    float *expected = malloc((size_t)(g * c->m * c->n) * sizeof(float));
    for (int64_t o = 0; o < g; o++)
        for (int64_t i = 0; i < c->m; i++)
            for (int64_t j = 0; j < c->n; j++) {
                int64_t at = stacked ? (o * c->m + i) * c->n + j : i * g * c->n + o * c->n + j;
                expected[at] = (float)((double)c->alpha * element(c, x.value, w.value, o, i, j) +
                                       (c->bias ? (double)bias.value[o * c->n + j] : 0.0) +
                                       (c->addend ? (double)addend.value[at] : 0.0));
            }
    compare(y, (const float *[]){x.value, w.value, bias.value, addend.value}, expected);
    free(expected);
    free(x.value);
    free(w.value);
    free(bias.value);
    free(addend.value);
}

static void matmul_forms(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1},   {1, 1, 3},    {5, 1, 4},
                                       {1, 7, 3},   {37, 19, 23}, {6, 33, 1},
                                       {3, 5, 130}, {70, 65, 64}, {401, 90, 150}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int form = 0; form < 16; form++) {
            matmul_case c = {sizes[i][0],
                             sizes[i][1],
                             sizes[i][2],
                             1,
                             (form & 1) > 0,
                             (form & 2) > 0,
                             (form & 4) > 0,
                             (form & 8) > 0,
                             form % 3 == 0 ? 0.5f : 1.0f};
            check_matmul(&c);
        }
}

static void matmul_groups(void **state)
{
    (void)state;
    static const matmul_case cases[] = {
        {5, 3, 4, 3, false, true, false, false, 1.0f},
        {5, 3, 4, 3, false, true, true, true, 1.0f},
        {5, 3, 4, 2, false, false, false, true, 0.5f},
        {9, 20, 1, 3, false, true, false, true, 2.0f},
        {4, 7, 31, 3, true, false, false, false, 1.0f},
        {1, 1, 1, 2, true, false, false, true, 1.0f},
        {33, 17, 40, 2, false, true, false, true, 1.0f},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_matmul(&cases[i]);
}

typedef struct conv_case {
    int64_t images, height, width, in, out, kernel;
    int32_t stride, pad[4];
    bool bias, addend;
} conv_case;

static float *plain_conv(const conv_case *c, const mm_shape *y, const float *x, const float *w,
                         const float *bias, const float *addend)
{
    const int64_t *d = y->dim;
    float *out = malloc((size_t)mm_shape_elements(y) * sizeof(float));
    for (int64_t at = 0; at < mm_shape_elements(y); at++) {
        int64_t o = at % d[3], column = at / d[3] % d[2], row = at / d[3] / d[2] % d[1],
                image = at / d[3] / d[2] / d[1];
        double sum = (bias ? (double)bias[o] : 0.0) + (addend ? (double)addend[at] : 0.0);
        for (int64_t i = 0; i < c->kernel * c->kernel * c->in; i++) {
            int64_t channel = i % c->in, v = i / c->in % c->kernel, u = i / c->in / c->kernel;
            int64_t h = row * c->stride + u - c->pad[0], l = column * c->stride + v - c->pad[1];
            if (h >= 0 && h < c->height && l >= 0 && l < c->width)
                sum += (double)x[((image * c->height + h) * c->width + l) * c->in + channel] *
                       (double)w[((o * c->in + channel) * c->kernel + u) * c->kernel + v];
        }
        out[at] = (float)sum;
    }
    return out;
}

/* dx of sum(dy * conv(x)): every product of the forward loop the other way round. */
static float *plain_conv_grad(const conv_case *c, const mm_shape *y, const float *dy,
                              const float *w)
{
    const int64_t *d = y->dim;
    int64_t count = c->images * c->height * c->width * c->in;
    double *sum = calloc((size_t)count, sizeof(double));
    float *out = malloc((size_t)count * sizeof(float));
    for (int64_t at = 0; at < mm_shape_elements(y); at++) {
        int64_t o = at % d[3], column = at / d[3] % d[2], row = at / d[3] / d[2] % d[1],
                image = at / d[3] / d[2] / d[1];
        for (int64_t i = 0; i < c->kernel * c->kernel * c->in; i++) {
            int64_t channel = i % c->in, v = i / c->in % c->kernel, u = i / c->in / c->kernel;
            int64_t h = row * c->stride + u - c->pad[0], l = column * c->stride + v - c->pad[1];
            if (h >= 0 && h < c->height && l >= 0 && l < c->width)
                sum[((image * c->height + h) * c->width + l) * c->in + channel] +=
                    (double)dy[at] *
                    (double)w[((o * c->in + channel) * c->kernel + u) * c->kernel + v];
        }
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)sum[i];
    free(sum);
    return out;
}

static mm_weight make_weight(mm_shape shape, const float *values)
{
    mm_error error = {0};
    mm_weight weight = {.name = "kernel", .shape = shape, .dtype = MM_F32};
    weight.bytes = (size_t)mm_shape_elements(&shape) * sizeof(float);
    check(backend->table->allocate(backend, weight.bytes, &weight.data, &error), &error);
    check(backend->table->upload(backend, weight.data, values, weight.bytes, &error), &error);
    return weight;
}

static void check_conv_with(const conv_case *c, mm_node *w, const mm_weight *held,
                            const float *w_value)
{
    tensor x = random_tensor(MM_SHAPE(c->images, c->height, c->width, c->in));
    tensor bias = {0}, addend = {0};
    if (c->bias)
        bias = random_tensor(MM_SHAPE(c->out));
    mm_node *y = mm_conv2d(graph, x.node, w, bias.node, NULL, c->stride, c->pad);
    assert_non_null(y);
    tensor dy = random_tensor(y->shape);
    if (c->addend) {
        addend = random_tensor(y->shape);
        y = mm_conv2d(graph, x.node, w, bias.node, addend.node, c->stride, c->pad);
    }
    float *expected = plain_conv(c, &y->shape, x.value, w_value, bias.value, addend.value);
    float *slope = plain_conv_grad(c, &y->shape, dy.value, w_value);
    mm_node *dx = mm_graph_add(graph, MM_OP_conv2d_grad, 2, (mm_node *[]){dy.node, w}, &y->attr);
    compare(y, (const float *[]){x.value, held ? held->data : w_value, bias.value, addend.value},
            expected);
    compare(dx, (const float *[]){dy.value, held ? held->data : w_value}, slope);
    free(slope);
    free(expected);
    free(x.value);
    free(dy.value);
    free(bias.value);
    free(addend.value);
}

static const conv_case conv_cases[] = {
    {2, 5, 7, 20, 12, 3, 1, {1, 1, 1, 1}, true, true},
    {1, 9, 8, 3, 16, 3, 1, {1, 1, 1, 1}, true, false},
    {1, 8, 9, 16, 8, 3, 1, {1, 1, 1, 1}, false, true},
    {2, 8, 6, 6, 6, 3, 2, {0, 0, 1, 1}, true, false},
    {1, 7, 9, 32, 48, 3, 2, {1, 1, 1, 1}, true, true},
    {2, 5, 3, 20, 12, 1, 1, {0, 0, 0, 0}, true, true},
    {1, 5, 4, 5, 7, 1, 2, {0, 0, 0, 0}, true, false},
    {1, 1, 1, 4, 4, 3, 1, {1, 1, 1, 1}, true, false},
    {1, 16, 16, 3, 24, 8, 8, {0, 0, 0, 0}, true, false},
    {2, 21, 20, 20, 132, 3, 1, {1, 1, 1, 1}, true, true},
    {1, 57, 60, 38, 28, 3, 2, {1, 1, 1, 1}, true, false},
};

static void conv2d_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(conv_cases) / sizeof(conv_cases[0]); i++) {
        const conv_case *c = &conv_cases[i];
        mm_shape shape = MM_SHAPE(c->out, c->in, c->kernel, c->kernel);
        float *values = random_values(mm_shape_elements(&shape));
        check_conv_with(c, mm_input(graph, "w", MM_F32, &shape), NULL, values);
        mm_weight weight = make_weight(shape, values);
        check_conv_with(c, mm_weight_node(graph, &weight), &weight, values);
        backend->table->weight_release(backend, &weight);
        assert_null(weight.data);
        assert_null(weight.packed);
        free(values);
    }
}

/* One weight used at several sizes keeps the layout of its first use. */
static void packed_weight_is_shared(void **state)
{
    (void)state;
    static const conv_case sizes[] = {
        {1, 3, 3, 40, 24, 3, 1, {1, 1, 1, 1}, true, false},
        {2, 24, 40, 40, 24, 3, 1, {1, 1, 1, 1}, true, true},
        {1, 12, 80, 40, 24, 3, 2, {1, 1, 1, 1}, false, false},
    };
    mm_shape shape = MM_SHAPE(24, 40, 3, 3);
    float *values = random_values(mm_shape_elements(&shape));
    mm_weight weight = make_weight(shape, values);
    mm_node *node = mm_weight_node(graph, &weight);
    size_t predicted = backend->table->weight_bytes(backend, &weight);
    assert_true(predicted >= weight.bytes);
    check_conv_with(&sizes[0], node, &weight, values);
    assert_null(weight.data);
    void *packed = weight.packed;
    assert_non_null(packed);
    for (int i = 1; i < 3; i++)
        check_conv_with(&sizes[i], node, &weight, values);
    assert_ptr_equal(weight.packed, packed);
    assert_int_equal(backend->table->weight_bytes(backend, &weight), predicted);
    backend->table->weight_release(backend, &weight);
    free(values);
}

static void add_tap(const float *x, const float *w, int64_t rows, int64_t in, int64_t out,
                    bool gradient, float *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++)
                y[r * out + o] += x[r * in + i] * (gradient ? w[i * out + o] : w[o * in + i]);
}

static float *plain_temporal(const float *x, const float *w, int64_t clips, int64_t frames,
                             int64_t rows, int64_t in, int64_t out, bool gradient,
                             const float *start)
{
    float *y = malloc((size_t)(clips * frames * rows * out) * sizeof(float));
    memcpy(y, start, (size_t)(clips * frames * rows * out) * sizeof(float));
    for (int64_t f = 0; f < clips * frames; f++)
        for (int64_t tap = 0; tap < 3; tap++) {
            int64_t from = f % frames + (gradient ? 1 - tap : tap - 1);
            if (from >= 0 && from < frames)
                add_tap(x + (f / frames * frames + from) * rows * in, w + tap * in * out, rows, in,
                        out, gradient, y + f * rows * out);
        }
    return y;
}

static void check_temporal(int64_t clips, int64_t frames, int64_t height, int64_t width, int64_t in,
                           int64_t out)
{
    int64_t rows = height * width, count = clips * frames * rows;
    tensor x = random_tensor(MM_SHAPE(clips * frames, height, width, in));
    tensor dy = random_tensor(MM_SHAPE(clips * frames, height, width, out));
    tensor w = random_tensor(MM_SHAPE(3, out, in)), bias = random_tensor(MM_SHAPE(out));
    tensor addend = random_tensor(MM_SHAPE(clips * frames, height, width, out));
    mm_node *y = mm_temporal_conv(graph, x.node, w.node, bias.node, addend.node, frames);
    assert_non_null(y);
    mm_node *dx =
        mm_graph_add(graph, MM_OP_temporal_conv_grad, 2, (mm_node *[]){dy.node, w.node}, &y->attr);
    float *start = malloc((size_t)(count * out) * sizeof(float));
    for (int64_t i = 0; i < count * out; i++)
        start[i] = addend.value[i] + bias.value[i % out];
    float *zero = calloc((size_t)(count * in), sizeof(float));
    float *expected = plain_temporal(x.value, w.value, clips, frames, rows, in, out, false, start);
    float *slope = plain_temporal(dy.value, w.value, clips, frames, rows, out, in, true, zero);
    compare(y, (const float *[]){x.value, w.value, bias.value, addend.value}, expected);
    compare(dx, (const float *[]){dy.value, w.value}, slope);
    float *block[] = {x.value, dy.value, w.value,  bias.value, addend.value,
                      start,   zero,     expected, slope};
    for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++)
        free(block[i]);
}

static void temporal_conv_forms(void **state)
{
    (void)state;
    check_temporal(1, 1, 2, 3, 5, 4);
    check_temporal(3, 1, 2, 2, 4, 4);
    check_temporal(1, 2, 3, 3, 8, 6);
    check_temporal(2, 5, 1, 1, 3, 2);
    check_temporal(2, 4, 5, 7, 33, 20);
    check_temporal(2, 4, 20, 12, 33, 36);
}

/* Whatever allocation fails while a convolution is prepared and its weight packed: a status, no
   leak, and the plain weight still there. */
static void survives_failed_allocations(void **state)
{
    (void)state;
    static const int32_t padding[] = {1, 1, 1, 1};
    mm_shape shape = MM_SHAPE(8, 6, 3, 3), x_shape = MM_SHAPE(1, 4, 4, 6);
    float values[8 * 6 * 9] = {1.0f}, x[4 * 4 * 6] = {2.0f}, y[4 * 4 * 8];
    mm_weight weight = make_weight(shape, values);
    mm_node *node = mm_conv2d(graph, mm_input(graph, "x", MM_F32, &x_shape),
                              mm_weight_node(graph, &weight), NULL, NULL, 1, padding);
    _Alignas(64) static char workspace[1 << 20];
    mm_status status = MM_ERR_MEMORY;
    uint64_t failing = 0;
    while (status == MM_ERR_MEMORY && ++failing < 100) {
        mm_error error = {0};
        mm_kernel kernel;
        mm_memory_fail_after(failing, true);
        status = backend->table->prepare(backend, node, &kernel, &error);
        if (status == MM_OK) {
            assert_true(kernel.workspace_bytes <= sizeof(workspace));
            mm_kernel_call call = {
                .node = node, .destination = y, .source = {x, weight.data}, .workspace = workspace};
            status = backend->table->run(backend, &kernel, &call, &error);
            backend->table->discard(backend, &kernel);
        }
        mm_memory_fail_after(0, false);
        assert_true((weight.data == NULL) == (status == MM_OK));
    }
    assert_int_equal(status, MM_OK);
    assert_true(failing > 2);
    backend->table->weight_release(backend, &weight);
}

#ifdef _OPENMP
static void host_threads_are_untouched(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    conv2d_forms(NULL);
    assert_int_equal(omp_get_max_threads(), 3);
}
#endif

static void refuses_unknown_masks(void **state)
{
    (void)state;
    mm_backend *none;
    mm_error error;
    assert_int_equal(mm_cpu_backend_create(&none, 1, "avx9", &error), MM_ERR_USAGE);
    assert_null(none);
    assert_non_null(strstr(error.text, "avx9"));
    assert_int_equal(mm_cpu_backend_create(&none, -1, NULL, &error), MM_ERR_USAGE);
}

static int set_up(void **state)
{
    (void)state;
    mm_error error;
    random_state = 1;
    return mm_cpu_backend_create(&backend, 2, getenv("MM_CPU_MASK"), &error) ||
           mm_graph_create(&graph, MM_F32, &error);
}

static int set_up_precise(void **state)
{
    int failed = set_up(state);
    if (!failed)
        mm_graph_set_precise(graph, true);
    return failed;
}

static int tear_down(void **state)
{
    (void)state;
    mm_graph_free(&graph);
    backend->table->free(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matmul_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(matmul_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(conv2d_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(matmul_forms, set_up_precise, tear_down),
        cmocka_unit_test_setup_teardown(matmul_groups, set_up_precise, tear_down),
        cmocka_unit_test_setup_teardown(conv2d_forms, set_up_precise, tear_down),
        cmocka_unit_test_setup_teardown(temporal_conv_forms, set_up_precise, tear_down),
        cmocka_unit_test_setup_teardown(packed_weight_is_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(temporal_conv_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_failed_allocations, set_up, tear_down),
#ifdef _OPENMP
        cmocka_unit_test_setup_teardown(host_threads_are_untouched, set_up, tear_down),
#endif
        cmocka_unit_test(refuses_unknown_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
