/* SPDX-License-Identifier: BSD-2-Clause */
#include "sampling/chain.h"

#include <math.h>

#include "base/clock.h"
#include "base/memory.h"

mm_status mm_chain_denoiser(const mm_chain *chain, int64_t timestep, mm_denoiser **out,
                            mm_error *error)
{
    bool adapted = chain->adapted && (timestep >= chain->min_timestep || !chain->base);
    *out = adapted ? chain->adapted : chain->base;
    return chain->adapt ? chain->adapt(chain->adapt_user, adapted, error) : MM_OK;
}

mm_status mm_check_finite(const float *values, size_t count, const char *what, int64_t step,
                          mm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return mm_fail(error, MM_ERR_NONFINITE, "step %lld: %s is not finite", (long long)step,
                           what);
    }
    return MM_OK;
}

/* The predictions for the prompt and, with guidance, for the negative prompt behind it. */
static mm_status predict(const mm_chain *chain, int64_t timestep, const float *latents,
                         float *output, mm_error *error)
{
    const float *const prompts[] = {chain->prompt, chain->negative};
    int64_t count = chain->guidance_scale > 1.0 ? 2 : 1;
    mm_denoiser *denoiser;
    MM_TRY(mm_chain_denoiser(chain, timestep, &denoiser, error));
    for (int64_t i = 0; i < count; i += mm_denoiser_prompts(denoiser))
        MM_TRY(mm_denoiser_run(denoiser, latents, timestep, prompts + i,
                               output + (size_t)i * chain->elements, chain->cancel, error));
    return MM_OK;
}

/* eps = eps_negative + guidance (eps_prompt - eps_negative), Ho and Salimans, eq. 6. `output` has
   room for both. */
static mm_status guided(const mm_chain *chain, int64_t timestep, const float *latents,
                        float *output, mm_error *error)
{
    MM_TRY(predict(chain, timestep, latents, output, error));
    if (!(chain->guidance_scale > 1.0))
        return MM_OK;
    const float *negative = output + chain->elements;
    float scale = (float)chain->guidance_scale;
    for (size_t i = 0; i < chain->elements; i++)
        output[i] = negative[i] + scale * (output[i] - negative[i]);
    return MM_OK;
}

static mm_status run_steps(const mm_chain *chain, const int64_t *timesteps, float *latents,
                           float *output, mm_error *error)
{
    for (int64_t i = 0; i < chain->steps; i++) {
        double start = mm_clock_seconds();
        int64_t t = timesteps[i];
        MM_TRY(guided(chain, t, latents, output, error));
        mm_scheduler_step(chain->scheduler, t,
                          mm_scheduler_previous(chain->scheduler, t, chain->steps), latents, output,
                          chain->elements);
        MM_TRY(mm_check_finite(latents, chain->elements, "the sample", i + 1, error));
        mm_chain_step step = {i + 1, chain->steps, t, mm_clock_seconds() - start};
        if (chain->on_step && chain->on_step(chain->user, &step) != MM_OK)
            return mm_fail(error, MM_ERR_CANCELLED, "cancelled after sampling step %lld",
                           (long long)(i + 1));
    }
    return MM_OK;
}

mm_status mm_chain_sample(const mm_chain *chain, float *latents, mm_error *error)
{
    size_t bytes = chain->elements * 2 * sizeof(float);
    size_t list = (size_t)chain->steps * sizeof(int64_t);
    float *output = mm_malloc(bytes);
    int64_t *timesteps = mm_malloc(list);
    mm_status status =
        output && timesteps
            ? mm_scheduler_timesteps(chain->scheduler, chain->steps, timesteps, error)
            : mm_fail_memory(error, "the sampling chain", bytes + list);
    if (status == MM_OK)
        status = run_steps(chain, timesteps, latents, output, error);
    mm_free(output);
    mm_free(timesteps);
    return status;
}
