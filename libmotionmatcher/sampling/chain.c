/* SPDX-License-Identifier: BSD-2-Clause */
#include "sampling/chain.h"

#include <math.h>

#include "base/clock.h"
#include "base/memory.h"

mm_denoiser *mm_chain_denoiser(const mm_chain *chain, int64_t timestep)
{
    if (!chain->adapted)
        return chain->base;
    return timestep >= chain->min_timestep || !chain->base ? chain->adapted : chain->base;
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

/* eps = eps_negative + guidance (eps_prompt - eps_negative), Ho and Salimans, eq. 6. */
static mm_status guided(const mm_chain *chain, int64_t timestep, const float *latents, float *out,
                        float *scratch, mm_error *error)
{
    mm_denoiser *denoiser = mm_chain_denoiser(chain, timestep);
    MM_TRY(mm_denoiser_run(denoiser, latents, timestep, chain->prompt, out, chain->cancel, error));
    if (!(chain->guidance_scale > 1.0))
        return MM_OK;
    MM_TRY(mm_denoiser_run(denoiser, latents, timestep, chain->negative, scratch, chain->cancel,
                           error));
    float scale = (float)chain->guidance_scale;
    for (size_t i = 0; i < chain->elements; i++)
        out[i] = scratch[i] + scale * (out[i] - scratch[i]);
    return MM_OK;
}

static mm_status run_steps(const mm_chain *chain, const int64_t *timesteps, float *latents,
                           float *output, float *scratch, mm_error *error)
{
    for (int64_t i = 0; i < chain->steps; i++) {
        double start = mm_clock_seconds();
        int64_t t = timesteps[i];
        MM_TRY(guided(chain, t, latents, output, scratch, error));
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
    float *scratch = mm_malloc(bytes);
    int64_t *timesteps = mm_malloc(list);
    mm_status status =
        scratch && timesteps
            ? mm_scheduler_timesteps(chain->scheduler, chain->steps, timesteps, error)
            : mm_fail_memory(error, "the sampling chain", bytes + list);
    if (status == MM_OK)
        status = run_steps(chain, timesteps, latents, scratch, scratch + chain->elements, error);
    mm_free(scratch);
    mm_free(timesteps);
    return status;
}
