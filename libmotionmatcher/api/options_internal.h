/* SPDX-License-Identifier: BSD-2-Clause */
/* Options as the library reads them: a plain struct for each table. */
#ifndef MM_API_OPTIONS_INTERNAL_H
#define MM_API_OPTIONS_INTERNAL_H

#include "base/error.h"
#include "metrics/config.h"
#include "metrics/retrieve_config.h"
#include "motion/config.h"
#include "motionmatcher/options.h"
#include "sampling/config.h"
#include "training/config.h"

/* One field for each row of context_options.def. */
typedef struct mm_context_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "api/context_options.def"
#undef MM_OPTION
} mm_context_config;

/* The words of `precision`, in the table's order. */
typedef enum mm_precision_choice {
    MM_PRECISION_AUTO,
    MM_PRECISION_F32,
    MM_PRECISION_BF16,
    MM_PRECISION_F16
} mm_precision_choice;

/* The values, NULL when the options are of another table. Texts are NULL where nothing is given.
   Valid until the options are changed or freed. */
const mm_context_config *mm_options_context(const mm_options *options);
const mm_train_config *mm_options_train(const mm_options *options);
const mm_sample_config *mm_options_sample(const mm_options *options);
const mm_evaluate_config *mm_options_evaluate(const mm_options *options);
const mm_feature_config *mm_options_features(const mm_options *options);
const mm_retrieve_config *mm_options_retrieve(const mm_options *options);

/* A deep copy, sources included. */
mm_status mm_options_copy(mm_options **out, const mm_options *options, mm_error *error);

/* The public functions of the same name, without publishing the error. */
mm_status mm_options_make(mm_options **out, const char *table, mm_error *error);
mm_status mm_options_assign(mm_options *options, const char *key, const char *value, int32_t source,
                            mm_error *error);
mm_status mm_options_load_file(mm_options *options, mm_options *other, const char *path,
                               mm_error *error);

/* Writes the options as a config file, with the precision that was in use. */
mm_status mm_options_write(mm_options *options, const char *precision, const char *path,
                           mm_error *error);
/* Takes a value back: the option is as if nothing was given. */
void mm_options_clear(mm_options *options, const char *key);
/* Files stay the same ones from another working directory. A path that leads nowhere stays. */
mm_status mm_options_make_absolute(mm_options *options, const char *key, mm_error *error);

/* Takes every value that `from` was given (a source above the default) and `options` was not, as
   `source`. Both of one table. */
mm_status mm_options_inherit(mm_options *options, const mm_options *from, int32_t source,
                             mm_error *error);

/* Compares what `given` was given (a source above the default) with `stored`, both of one table.
   MM_ERR_USAGE names the first option that differs and both values. `except` is a NULL-terminated
   list of names that may differ; NULL for none. */
mm_status mm_options_check_agree(mm_options *given, mm_options *stored, const char *const *except,
                                 mm_error *error);

#endif
