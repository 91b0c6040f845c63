/* SPDX-License-Identifier: BSD-2-Clause */
#include "sampling/scheduler.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define MOST_STEPS 100000

/* Even steps in single precision, counted from the nearer end and rounded once, as torch.linspace
   does. */
static void linspace(float start, float end, int64_t count, float *out)
{
    float step = count > 1 ? (end - start) / (float)(count - 1) : 0.0f;
    for (int64_t i = 0; i < count; i++)
        out[i] = i < count / 2 || count == 1 ? fmaf(step, (float)i, start)
                                             : fmaf(-step, (float)(count - 1 - i), end);
}

/* Products in double precision, each rounded once. */
static void cumulate(const float *betas, int64_t count, float *alpha_bar)
{
    double product = 1.0;
    for (int64_t i = 0; i < count; i++) {
        product *= 1.0f - betas[i];
        alpha_bar[i] = (float)product;
    }
}

/* Lin et al., "Common diffusion noise schedules and sample steps are flawed", algorithm 1: shifts
   and scales sqrt(alpha_bar) so that the last one is zero. `roots` is room for one number a step.
 */
static void rescale_to_zero_snr(float *betas, int64_t count, float *roots)
{
    cumulate(betas, count, roots);
    for (int64_t i = 0; i < count; i++)
        roots[i] = sqrtf(roots[i]);
    float first = roots[0], last = roots[count - 1];
    float factor = first / (first - last);
    for (int64_t i = 0; i < count; i++) {
        roots[i] -= last;
        roots[i] *= factor;
    }
    for (int64_t i = count - 1; i > 0; i--)
        betas[i] = 1.0f - roots[i] * roots[i] / (roots[i - 1] * roots[i - 1]);
    betas[0] = 1.0f - roots[0] * roots[0];
}

typedef struct beta_schedule {
    double start, end;
    bool scaled, zero_snr;
} beta_schedule;

static mm_status fill_alpha_bar(mm_scheduler *s, const beta_schedule *schedule, mm_error *error)
{
    size_t bytes = (size_t)s->train_steps * sizeof(float);
    s->alpha_bar = mm_malloc(bytes);
    float *betas = mm_malloc(bytes);
    if (!s->alpha_bar || !betas) {
        mm_free(betas);
        return mm_fail_memory(error, "the noise schedule", bytes);
    }
    if (schedule->scaled) {
        linspace((float)sqrt(schedule->start), (float)sqrt(schedule->end), s->train_steps, betas);
        for (int64_t i = 0; i < s->train_steps; i++)
            betas[i] *= betas[i];
    } else {
        linspace((float)schedule->start, (float)schedule->end, s->train_steps, betas);
    }
    if (schedule->zero_snr)
        rescale_to_zero_snr(betas, s->train_steps, s->alpha_bar);
    cumulate(betas, s->train_steps, s->alpha_bar);
    mm_free(betas);
    return MM_OK;
}

/* One of several known words; the index goes to *out. Others are MM_ERR_UNSUPPORTED. */
static mm_status read_choice(const mm_json_document *d, const char *key, const char *const *choices,
                             int32_t count, int32_t *out, mm_error *error)
{
    const char *name;
    MM_TRY(mm_json_get_string(d, d->root, key, choices[0], &name, error));
    for (*out = 0; *out < count; (*out)++) {
        if (strcmp(name, choices[*out]) == 0)
            return MM_OK;
    }
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: '%s' is not supported as %s", d->path, name,
                   key);
}

static mm_status refuse(const mm_json_document *d, mm_error *error)
{
    static const char *const classes[] = {"DDIMScheduler"};
    int32_t index;
    bool thresholding;
    MM_TRY(read_choice(d, "_class_name", classes, 1, &index, error));
    MM_TRY(mm_json_get_bool(d, d->root, "thresholding", false, &thresholding, error));
    if (thresholding || mm_json_member(d->root, "trained_betas"))
        return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: '%s' is not supported", d->path,
                       thresholding ? "thresholding" : "trained_betas");
    return MM_OK;
}

static mm_status read_betas(mm_scheduler *s, const mm_json_document *d, beta_schedule *out,
                            mm_error *error)
{
    static const char *const schedules[] = {"linear", "scaled_linear"};
    const double most = 0.999999;
    int32_t schedule;
    MM_TRY(mm_json_get_int(d, d->root, "num_train_timesteps", 1000, 1, MOST_STEPS, &s->train_steps,
                           error));
    MM_TRY(mm_json_get_double(d, d->root, "beta_start", 0.0001, 0.0, most, &out->start, error));
    MM_TRY(mm_json_get_double(d, d->root, "beta_end", 0.02, 0.0, most, &out->end, error));
    MM_TRY(read_choice(d, "beta_schedule", schedules, 2, &schedule, error));
    out->scaled = schedule == 1;
    return mm_json_get_bool(d, d->root, "rescale_betas_zero_snr", false, &out->zero_snr, error);
}

static mm_status read_sampling(mm_scheduler *s, const mm_json_document *d, mm_error *error)
{
    static const char *const predictions[] = {"epsilon", "v_prediction"};
    static const char *const spacings[] = {"leading", "trailing", "linspace"};
    int32_t prediction, spacing;
    MM_TRY(read_choice(d, "prediction_type", predictions, 2, &prediction, error));
    MM_TRY(read_choice(d, "timestep_spacing", spacings, 3, &spacing, error));
    s->prediction = (mm_prediction)prediction;
    s->spacing = (mm_spacing)spacing;
    MM_TRY(mm_json_get_int(d, d->root, "steps_offset", 0, 0, MOST_STEPS, &s->steps_offset, error));
    MM_TRY(mm_json_get_bool(d, d->root, "clip_sample", true, &s->clip_sample, error));
    return mm_json_get_double(d, d->root, "clip_sample_range", 1.0, 0.0, 1e6, &s->clip_sample_range,
                              error);
}

static mm_status read(mm_scheduler *s, const mm_json_document *d, mm_error *error)
{
    beta_schedule schedule;
    bool one;
    if (!mm_json_is_object(d->root))
        return mm_fail(error, MM_ERR_INPUT, "%s: not an object of keys and values", d->path);
    MM_TRY(refuse(d, error));
    MM_TRY(read_betas(s, d, &schedule, error));
    MM_TRY(read_sampling(s, d, error));
    MM_TRY(mm_json_get_bool(d, d->root, "set_alpha_to_one", true, &one, error));
    MM_TRY(fill_alpha_bar(s, &schedule, error));
    s->final_alpha_bar = one ? 1.0f : s->alpha_bar[0];
    return MM_OK;
}

mm_status mm_scheduler_load(mm_scheduler *out, const char *path, mm_error *error)
{
    mm_json_document document;
    *out = (mm_scheduler){0};
    MM_TRY(mm_json_load(&document, path, error));
    mm_status status = read(out, &document, error);
    mm_json_free(&document);
    if (status != MM_OK)
        mm_scheduler_free(out);
    return status;
}

void mm_scheduler_free(mm_scheduler *scheduler)
{
    mm_free(scheduler->alpha_bar);
    *scheduler = (mm_scheduler){0};
}

double mm_scheduler_alpha_bar(const mm_scheduler *s, int64_t timestep)
{
    return timestep < 0 ? s->final_alpha_bar : s->alpha_bar[timestep];
}

/* numpy.arange(train_steps, 0, -train_steps / steps), in which the step is the difference of the
   first two numbers as they are rounded. */
static double trailing(const mm_scheduler *s, int64_t steps, int64_t i)
{
    double start = (double)s->train_steps;
    double second = start - start / (double)steps;
    return start + (double)i * (second - start);
}

static int64_t sampling_timestep(const mm_scheduler *s, int64_t steps, int64_t i)
{
    double last = (double)(s->train_steps - 1);
    switch (s->spacing) {
    case MM_SPACING_TRAILING:
        return (int64_t)rint(trailing(s, steps, i)) - 1;
    case MM_SPACING_LINSPACE:
        return steps > 1 ? (int64_t)rint((double)(steps - 1 - i) * (last / (double)(steps - 1)))
                         : 0;
    default:
        return (steps - 1 - i) * (s->train_steps / steps) + s->steps_offset;
    }
}

void mm_scheduler_add_noise(const mm_scheduler *s, int64_t timestep, const float *clean,
                            const float *noise, float *out, size_t count)
{
    double alpha_bar = mm_scheduler_alpha_bar(s, timestep);
    double kept = sqrt(alpha_bar), added = sqrt(1.0 - alpha_bar);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(kept * (double)clean[i] + added * (double)noise[i]);
}

mm_status mm_scheduler_check_steps(const mm_scheduler *s, int64_t steps, mm_error *error)
{
    if (steps < 1 || steps > s->train_steps)
        return mm_fail(error, MM_ERR_USAGE,
                       "%lld sampling steps: the model was trained on 1 to %lld", (long long)steps,
                       (long long)s->train_steps);
    for (int64_t i = 0; i < steps; i++) {
        int64_t timestep = sampling_timestep(s, steps, i);
        if (timestep < 0 || timestep >= s->train_steps)
            return mm_fail(error, MM_ERR_USAGE,
                           "%lld sampling steps from offset %lld (steps_offset) reach timestep "
                           "%lld of %lld: take fewer steps",
                           (long long)steps, (long long)s->steps_offset, (long long)timestep,
                           (long long)s->train_steps);
    }
    return MM_OK;
}

mm_status mm_scheduler_timesteps(const mm_scheduler *s, int64_t steps, int64_t *out,
                                 mm_error *error)
{
    MM_TRY(mm_scheduler_check_steps(s, steps, error));
    for (int64_t i = 0; i < steps; i++)
        out[i] = sampling_timestep(s, steps, i);
    return MM_OK;
}

int64_t mm_scheduler_previous(const mm_scheduler *s, int64_t timestep, int64_t steps)
{
    return timestep - s->train_steps / steps;
}

mm_prediction_terms mm_scheduler_terms(const mm_scheduler *s, int64_t timestep)
{
    double signal = sqrt(mm_scheduler_alpha_bar(s, timestep));
    double noise = sqrt(1.0 - mm_scheduler_alpha_bar(s, timestep));
    if (s->prediction == MM_PREDICTION_V)
        return (mm_prediction_terms){
            .x0_x = signal, .x0_m = -noise, .eps_x = noise, .eps_m = signal};
    return (mm_prediction_terms){.x0_x = 1.0 / signal, .x0_m = -noise / signal, .eps_m = 1.0};
}

/* From the noise level of `from` to that of `to`, both ways. */
static void move(const mm_scheduler *s, int64_t from, int64_t to, double limit, float *sample,
                 const float *model_output, size_t count)
{
    mm_prediction_terms t = mm_scheduler_terms(s, from);
    double signal = sqrt(mm_scheduler_alpha_bar(s, to));
    double noise = sqrt(1.0 - mm_scheduler_alpha_bar(s, to));
    for (size_t i = 0; i < count; i++) {
        double x = sample[i], m = model_output[i];
        double x0 = t.x0_x * x + t.x0_m * m;
        x0 = x0 > limit ? limit : x0 < -limit ? -limit : x0;
        sample[i] = (float)(signal * x0 + noise * (t.eps_x * x + t.eps_m * m));
    }
}

void mm_scheduler_step(const mm_scheduler *s, int64_t from, int64_t to, float *sample,
                       const float *model_output, size_t count)
{
    move(s, from, to, s->clip_sample ? s->clip_sample_range : INFINITY, sample, model_output,
         count);
}

void mm_scheduler_invert_step(const mm_scheduler *s, int64_t from, int64_t to, float *sample,
                              const float *model_output, size_t count)
{
    move(s, from, to, INFINITY, sample, model_output, count);
}
