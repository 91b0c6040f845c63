/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/orientation.h"

#include <stddef.h>
#include <stdlib.h>

/* The matrix sends a pixel (p, q) to (a p + c q, b p + d q), up to a shift. */
mm_orientation mm_orientation_from_matrix(const int32_t *matrix, bool *exact)
{
    if (exact)
        *exact = true;
    if (!matrix)
        return (mm_orientation){0};
    int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    bool transpose = llabs(b) + llabs(c) > llabs(a) + llabs(d);
    int64_t main = transpose ? llabs(b) + llabs(c) : llabs(a) + llabs(d);
    int64_t rest = transpose ? llabs(a) + llabs(d) : llabs(b) + llabs(c);
    if (exact)
        *exact = rest * 50 <= main; /* about one degree */
    if (transpose)
        return (mm_orientation){true, c < 0, b < 0};
    return (mm_orientation){false, a < 0, d < 0};
}

const char *mm_orientation_filters(mm_orientation orientation)
{
    static const char *const filters[2][2][2] = {
        /* transpose's "dir": 0 plain, 1 clockwise (flipped in x), 2 counter-clockwise (in y), 3 */
        {{"", "vflip,"}, {"hflip,", "hflip,vflip,"}},
        {{"transpose=0,", "transpose=2,"}, {"transpose=1,", "transpose=3,"}},
    };
    return filters[orientation.transpose][orientation.flip_x][orientation.flip_y];
}
