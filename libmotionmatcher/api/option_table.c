/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/option_table.h"

#include <stddef.h>
#include <string.h>

#include "api/options_internal.h"

#define MM_OPTION(type, name, fallback, low, high, unit, help) \
    {MM_OPTION_##type, #name, fallback, unit, help, low, high, offsetof(MM_CONFIG, name)},

#define MM_CONFIG mm_context_config
static const mm_option_row context_rows[] = {
#include "api/context_options.def"
};
#undef MM_CONFIG

#define MM_CONFIG mm_train_config
static const mm_option_row train_rows[] = {
#include "training/options.def"
};
#undef MM_CONFIG

#define MM_CONFIG mm_sample_config
static const mm_option_row sample_rows[] = {
#include "sampling/options.def"
};
#undef MM_CONFIG

#define MM_CONFIG mm_feature_config
static const mm_option_row feature_rows[] = {
#include "motion/options.def"
};
#undef MM_CONFIG

#define MM_CONFIG mm_evaluate_config
static const mm_option_row evaluate_rows[] = {
#include "metrics/options.def"
};
#undef MM_CONFIG

#define MM_CONFIG mm_retrieve_config
static const mm_option_row retrieve_rows[] = {
#include "metrics/retrieve_options.def"
};
#undef MM_CONFIG
#undef MM_OPTION

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

const mm_option_table mm_context_table = {"context", context_rows, COUNT(context_rows),
                                          sizeof(mm_context_config)};
const mm_option_table mm_train_table = {"train", train_rows, COUNT(train_rows),
                                        sizeof(mm_train_config)};
const mm_option_table mm_sample_table = {"sample", sample_rows, COUNT(sample_rows),
                                         sizeof(mm_sample_config)};
const mm_option_table mm_feature_table = {"features", feature_rows, COUNT(feature_rows),
                                          sizeof(mm_feature_config)};
const mm_option_table mm_evaluate_table = {"evaluate", evaluate_rows, COUNT(evaluate_rows),
                                           sizeof(mm_evaluate_config)};
const mm_option_table mm_retrieve_table = {"retrieve", retrieve_rows, COUNT(retrieve_rows),
                                           sizeof(mm_retrieve_config)};

const mm_option_table *mm_option_table_find(const char *name)
{
    static const mm_option_table *const all[] = {&mm_context_table,  &mm_train_table,
                                                 &mm_sample_table,   &mm_feature_table,
                                                 &mm_evaluate_table, &mm_retrieve_table};
    for (size_t i = 0; i < COUNT(all); i++) {
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    }
    return NULL;
}

static char plain(char c)
{
    return c == '-' ? '_' : c;
}

bool mm_option_names_equal(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b)) {
        a++;
        b++;
    }
    return plain(*a) == plain(*b);
}

const mm_option_row *mm_option_table_row(const mm_option_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (mm_option_names_equal(table->rows[i].name, name))
            return &table->rows[i];
    }
    return NULL;
}
