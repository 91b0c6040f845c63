/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "base/memory.h"

enum { capital_i_with_dot = 0x130, combining_dot_above = 0x307, zwnj = 0x200C, zwj = 0x200D };

typedef struct point_range {
    uint32_t first, last;
} point_range;

/* Letters and numbers of Unicode 15 and 16, which the reference tokenizer knows and the
   libunistring of some systems does not yet: a prompt's ids must not depend on the system. */
static const point_range newer_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x1123F, 0x11240},
    {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5},
    {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x11F02, 0x11F02}, {0x11F04, 0x11F10}, {0x11F12, 0x11F33}, {0x1342F, 0x1342F},
    {0x13441, 0x13446}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C},
    {0x18CFF, 0x18CFF}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155}, {0x1DF25, 0x1DF2A},
    {0x1E030, 0x1E06D}, {0x1E4D0, 0x1E4EB}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0},
    {0x2B739, 0x2B739}, {0x2EBF0, 0x2EE5D}, {0x31350, 0x323AF},
};
static const point_range newer_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x11F50, 0x11F59},
    {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1D2C0, 0x1D2D3},
    {0x1E4F0, 0x1E4F9}, {0x1E5F1, 0x1E5FA},
};

static bool in_ranges(const point_range *ranges, size_t count, uint32_t point)
{
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i].first && point <= ranges[i].last)
            return true;
    return false;
}

static mm_letter_class classify_unassigned(uint32_t point)
{
    if (in_ranges(newer_letters, sizeof(newer_letters) / sizeof(*newer_letters), point))
        return MM_LETTER_LETTER;
    if (in_ranges(newer_numbers, sizeof(newer_numbers) / sizeof(*newer_numbers), point))
        return MM_LETTER_NUMBER;
    return MM_LETTER_OTHER;
}

mm_letter_class mm_letter_classify(uint32_t point)
{
    if (uc_is_property_white_space(point))
        return MM_LETTER_SPACE;
    if (uc_is_general_category_withtable(point, UC_CATEGORY_MASK_L))
        return MM_LETTER_LETTER;
    if (uc_is_general_category_withtable(point, UC_CATEGORY_MASK_N))
        return MM_LETTER_NUMBER;
    if (uc_is_general_category_withtable(point, UC_CATEGORY_MASK_Cn))
        return classify_unassigned(point);
    return MM_LETTER_OTHER;
}

bool mm_letter_in_word(uint32_t point)
{
    return uc_is_property_alphabetic(point) || point == zwnj || point == zwj ||
           uc_is_general_category_withtable(point, UC_CATEGORY_MASK_M | UC_CATEGORY_MASK_Nd |
                                                       UC_CATEGORY_MASK_Pc);
}

static mm_status allocate(mm_code_points *out, size_t count, mm_error *error)
{
    size_t bytes;
    *out = (mm_code_points){0};
    if (!mm_mul_size(count ? count : 1, sizeof(uint32_t), &bytes) ||
        !(out->points = mm_malloc(bytes)))
        return mm_fail_memory(error, "the text's characters", (unsigned long long)count * 4);
    return MM_OK;
}

mm_status mm_code_points_from_utf8(mm_code_points *out, const char *text, size_t bytes,
                                   mm_error *error)
{
    MM_TRY(allocate(out, bytes, error));
    for (size_t i = 0; i < bytes;) {
        ucs4_t point;
        i += (size_t)u8_mbtouc(&point, (const uint8_t *)text + i, bytes - i);
        out->points[out->count++] = point;
    }
    return MM_OK;
}

static bool all_below(const uint32_t *points, size_t count, uint32_t limit)
{
    for (size_t i = 0; i < count; i++)
        if (points[i] >= limit)
            return false;
    return true;
}

/* Canonical composition into `out`. libunistring takes memory of its own for this. */
static mm_status compose(mm_code_points *out, const uint32_t *points, size_t count, mm_error *error)
{
    if (all_below(points, count, 0x300)) { /* nothing below can combine */
        MM_TRY(allocate(out, count, error));
        memcpy(out->points, points, count * sizeof(uint32_t));
        out->count = count;
        return MM_OK;
    }
    size_t composed = 0;
    uint32_t *result = u32_normalize(UNINORM_NFC, points, count, NULL, &composed);
    if (!result)
        return mm_fail_memory(error, "normalising the text", (unsigned long long)count * 4);
    mm_status status = allocate(out, composed, error);
    if (status == MM_OK) {
        memcpy(out->points, result, composed * sizeof(uint32_t));
        out->count = composed;
    }
    free(result);
    return status;
}

/* Capitals of Unicode 15 and later, for the same reason. */
static const struct {
    uint32_t first, last, lower; /* of `first` */
} newer_capitals[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},  {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x19B},  {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

static uint32_t lower_case(uint32_t point)
{
    uint32_t lower = uc_tolower(point);
    if (lower != point || point < newer_capitals[0].first)
        return lower;
    for (size_t i = 0; i < sizeof(newer_capitals) / sizeof(*newer_capitals); i++)
        if (point >= newer_capitals[i].first && point <= newer_capitals[i].last)
            return newer_capitals[i].lower + (point - newer_capitals[i].first);
    return point;
}

/* Each character by itself: a final sigma stays a plain one, as the reference tokenizer has it. */
static size_t put_lower_case(uint32_t *out, uint32_t point)
{
    if (point != capital_i_with_dot) {
        out[0] = lower_case(point);
        return 1;
    }
    out[0] = 'i';
    out[1] = combining_dot_above;
    return 2;
}

mm_status mm_code_points_normalize(mm_code_points *out, const uint32_t *points, size_t count,
                                   mm_error *error)
{
    mm_code_points composed = {0};
    *out = (mm_code_points){0};
    MM_TRY(compose(&composed, points, count, error));
    mm_status status = allocate(out, 2 * composed.count, error);
    for (size_t i = 0; status == MM_OK && i < composed.count; i++) {
        if (!uc_is_property_white_space(composed.points[i]))
            out->count += put_lower_case(out->points + out->count, composed.points[i]);
        else if (out->count == 0 || i == 0 || !uc_is_property_white_space(composed.points[i - 1]))
            out->points[out->count++] = ' ';
    }
    mm_free(composed.points);
    return status;
}

/* Canonical decomposition into `out`. */
static mm_status decompose(mm_code_points *out, const mm_code_points *text, mm_error *error)
{
    size_t length = 0;
    uint32_t *result = u32_normalize(UNINORM_NFD, text->points, text->count, NULL, &length);
    if (!result)
        return mm_fail_memory(error, "normalising the text", (unsigned long long)text->count * 4);
    mm_status status = allocate(out, length, error);
    if (status == MM_OK) {
        memcpy(out->points, result, length * sizeof(uint32_t));
        out->count = length;
    }
    free(result);
    return status;
}

mm_status mm_code_points_lower_decomposed(mm_code_points *out, const uint32_t *points, size_t count,
                                          mm_error *error)
{
    mm_code_points lower = {0};
    *out = (mm_code_points){0};
    MM_TRY(allocate(&lower, 2 * count, error));
    for (size_t i = 0; i < count; i++)
        lower.count += put_lower_case(lower.points + lower.count, points[i]);
    mm_status status = lower.count ? decompose(out, &lower, error) : MM_OK;
    mm_free(lower.points);
    return status;
}
