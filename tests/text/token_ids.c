/* SPDX-License-Identifier: BSD-2-Clause */
/* Token ids of prompts from all over Unicode against those of transformers (tests/parity). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"

#define LENGTH 77
#define PROMPTS FIXTURES "/parity/odd-prompts.txt"

static FILE *open_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    return file;
}

/* The ids on one line; returns their number. */
static size_t parse_ids(const char *line, int64_t *ids)
{
    size_t count = 0;
    char *end;
    for (long id = strtol(line, &end, 10); end != line; id = strtol(line, &end, 10)) {
        assert_true(count < LENGTH);
        ids[count++] = id;
        line = end;
    }
    return count;
}

static bool differs(const mm_tokenizer *tokenizer, int64_t pad, const char *prompt,
                    const char *expected)
{
    int64_t ids[LENGTH], wanted[LENGTH];
    mm_error error = {0};
    assert_int_equal(mm_tokenizer_encode(tokenizer, prompt, LENGTH, ids, NULL, &error), MM_OK);
    for (size_t i = parse_ids(expected, wanted); i < LENGTH; i++)
        wanted[i] = pad;
    return memcmp(ids, wanted, sizeof(ids)) != 0;
}

static void compare_with(const char *model, int64_t pad, const char *ids_path)
{
    mm_error error = {0};
    mm_tokenizer *tokenizer = NULL;
    assert_int_equal(mm_tokenizer_open(&tokenizer, model, &error), MM_OK);
    FILE *prompts = open_lines(PROMPTS), *ids = open_lines(ids_path);
    char *prompt = NULL, *expected = NULL;
    size_t prompt_room = 0, expected_room = 0, lines = 0, wrong = 0;
    for (ssize_t length; (length = getline(&prompt, &prompt_room, prompts)) > 0; lines++) {
        prompt[length - 1] = '\0';
        assert_true(getline(&expected, &expected_room, ids) > 0);
        if (differs(tokenizer, pad, prompt, expected)) {
            print_error("line %zu: %s\n", lines + 1, prompt);
            wrong++;
        }
    }
    free(prompt);
    free(expected);
    fclose(prompts);
    fclose(ids);
    mm_tokenizer_close(&tokenizer);
    assert_int_equal(lines, 300);
    assert_int_equal(wrong, 0);
}

static void pad_is_exclamation_mark(void **state)
{
    (void)state;
    compare_with(FIXTURES "/quickstart-model/tokenizer", 0,
                 FIXTURES "/parity/quickstart-model-odd-prompts-ids.txt");
}

static void pad_is_end_of_text(void **state)
{
    (void)state;
    compare_with(FIXTURES "/tiny-v-model/tokenizer", 576,
                 FIXTURES "/parity/tiny-v-model-odd-prompts-ids.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pad_is_exclamation_mark),
        cmocka_unit_test(pad_is_end_of_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
