/* SPDX-License-Identifier: BSD-2-Clause */
#include "motion/inversion.h"

#include <math.h>

#include "base/clock.h"
#include "base/memory.h"

static mm_status invert_steps(const mm_chain *chain, const int64_t *timesteps, float *latents,
                              float *output, mm_error *error)
{
    for (int64_t i = 0; i < chain->steps; i++) {
        double start = mm_clock_seconds();
        int64_t t = timesteps[chain->steps - 1 - i];
        mm_denoiser *denoiser;
        MM_TRY(mm_chain_denoiser(chain, t, &denoiser, error));
        MM_TRY(mm_denoiser_run(denoiser, latents, t, &chain->prompt, output, chain->cancel, error));
        mm_scheduler_invert_step(chain->scheduler,
                                 mm_scheduler_previous(chain->scheduler, t, chain->steps), t,
                                 latents, output, chain->elements);
        MM_TRY(mm_check_finite(latents, chain->elements, "the inverted sample", i + 1, error));
        mm_chain_step step = {i + 1, chain->steps, t, mm_clock_seconds() - start};
        if (chain->on_step && chain->on_step(chain->user, &step) != MM_OK)
            return mm_fail(error, MM_ERR_CANCELLED, "cancelled after inversion step %lld",
                           (long long)(i + 1));
    }
    return MM_OK;
}

mm_status mm_ddim_invert(const mm_chain *chain, float *latents, mm_error *error)
{
    size_t bytes = chain->elements * sizeof(float), list = (size_t)chain->steps * sizeof(int64_t);
    float *output = mm_malloc(bytes);
    int64_t *timesteps = mm_malloc(list);
    mm_status status = output && timesteps ? mm_scheduler_timesteps(chain->scheduler, chain->steps,
                                                                    timesteps, error)
                                           : mm_fail_memory(error, "the inversion", bytes + list);
    if (status == MM_OK)
        status = invert_steps(chain, timesteps, latents, output, error);
    mm_free(output);
    mm_free(timesteps);
    return status;
}

void mm_noise_prior(double b, const float *inverted, float *noise, size_t count)
{
    float kept = (float)sqrt(b), fresh = (float)sqrt(1.0 - b);
    for (size_t i = 0; i < count; i++)
        noise[i] = kept * inverted[i] + fresh * noise[i];
}
