/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The motion-matching objective (MotionMatcher, section 4.1): instead of pixels or noise, compare
 * the motion features of one denoising step, L = w_CA  mean((CA(v_theta)  - CA(v))^2)  +  w_TSA
 * mean((TSA(v_theta) - TSA(v))^2), where v_theta and v are one DDIM step from z_t, with the UNet's
 * prediction and with the truth.
 */
#ifndef MM_MOTION_OBJECTIVE_H
#define MM_MOTION_OBJECTIVE_H

#include "training/objective.h"

extern const mm_objective mm_motion_objective;

#endif
