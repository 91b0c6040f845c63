/* SPDX-License-Identifier: BSD-2-Clause */
/* Pickles inside an archive whose storage data/0 has 16 bytes: good ones, and everything else. */
#include "hostile.h"

#include <string.h>

#define TEXT_1(text) "X\1\0\0\0" text
#define TEXT_3(text) "X\3\0\0\0" text
#define TEXT_7(text) "X\7\0\0\0" text
#define STORAGE_AS(type, key, elements) \
    "(" TEXT_7("storage") "ctorch\n" type "\n" TEXT_1(key) TEXT_3("cpu") elements "tQ"
#define STORAGE STORAGE_AS("FloatStorage", "0", "K\4")
#define NO_HOOKS "ccollections\nOrderedDict\n)R"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define TENSOR_OF(storage, offset, size, stride) \
    REBUILD "(" storage offset size stride "\x89" NO_HOOKS "tR"
#define TENSOR TENSOR_OF(STORAGE, "K\0", "K\4\x85", "K\1\x85")
#define PARAMETER(tensor) "ctorch._utils\n_rebuild_parameter\n" tensor "\x88" NO_HOOKS "\x87R"
#define DICT_OF(value) "\x80\2}" TEXT_1("a") value "s."
#define CASE(label, pickle, expected)               \
    {                                               \
        label, pickle, sizeof(pickle) - 1, expected \
    }
#define GOOD(label, pickle) CASE(label, pickle, MM_OK)
#define BAD(label, pickle) CASE(label, pickle, MM_ERR_INPUT)
#define TENSOR_LIKE(offset, size, stride) DICT_OF(TENSOR_OF(STORAGE, offset, size, stride))
#define BIG_WHOLE "\x8a\x08\0\0\0\0\0\0\0\x40" /* 2^62 */
#define MINUS_1 "J\xff\xff\xff\xff"

typedef struct pickle_case {
    const char *label, *pickle;
    size_t bytes;
    mm_status expected;
} pickle_case;

static const pickle_case cases[] = {
    GOOD("dict", DICT_OF(TENSOR)),
    GOOD("list", "\x80\2](" TENSOR TENSOR "e."),
    GOOD("append", "\x80\2]" TENSOR "a."),
    GOOD("items", "\x80\2}(" TEXT_1("a") TENSOR TEXT_1("b") TENSOR "u."),
    GOOD("ordered dict", "\x80\2" NO_HOOKS "(" TEXT_1("a") TENSOR "u."),
    GOOD("metadata", "\x80\2" NO_HOOKS TEXT_1("a") TENSOR "s}X\11\0\0\0_metadata" NO_HOOKS "sb."),
    GOOD("memo", "\x80\2}q\0" TEXT_1("a") "q\1" TENSOR "q\2s" TEXT_1("b") "h\2s."),
    GOOD("long memo", "\x80\2}r\3\0\0\0" TEXT_1("a") TENSOR "r\7\0\0\0s" TEXT_1("b") "j\7\0\0\0s."),
    GOOD("parameter", DICT_OF(PARAMETER(TENSOR))),
    GOOD("other values",
         "\x80\2}(" TEXT_1("a") TENSOR TEXT_1("b") "NX\1\0\0\0c\x88" TEXT_1(
             "d") "G\0\0\0\0\0\0\0\0" TEXT_1("e") "M\0\1" TEXT_1("f") "]" TEXT_1("g") "K\1K\2\x86"
                                                                                      "u."),
    GOOD("state_dict", "\x80\2}X\12\0\0\0state_dict}" TEXT_1("a") TENSOR "ss."),
    GOOD("seven arguments", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85\x89" NO_HOOKS "NtR")),
    GOOD("scalar", TENSOR_LIKE("K\3", ")", ")")),
    GOOD("matrix", TENSOR_LIKE("K\0", "K\2K\2\x86", "K\1K\2\x86")),
    GOOD("part", TENSOR_LIKE("K\2", "K\2\x85", "K\1\x85")),
    GOOD("empty", TENSOR_LIKE("K\4", "K\0\x85", "K\1\x85")),
    GOOD("long whole", TENSOR_LIKE("\x8a\0", "\x8a\1\4\x85", "\x8a\2\1\0\x85")),

    BAD("empty file", ""),
    BAD("no STOP", "\x80\2}"),
    BAD("nothing", "\x80\2."),
    BAD("bytes after STOP", DICT_OF(TENSOR) "."),
    BAD("two values", "\x80\2}}."),
    BAD("mark left", "\x80\2}(."),
    BAD("mark alone", "\x80\2(."),
    BAD("no tensors", "\x80\2}."),
    BAD("empty list", "\x80\2]."),
    BAD("None", "\x80\2N."),
    BAD("tensor alone", "\x80\2" TENSOR "."),
    BAD("list with a text", "\x80\2](" TENSOR TEXT_1("a") "e."),
    BAD("list in itself", "\x80\2]q\0" TENSOR "ah\0a."),
    BAD("no PROTO", "}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 0", "\x80\0}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 1", "\x80\1}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 3", "\x80\3}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 4", "\x80\4}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 5", "\x80\5}" TEXT_1("a") TENSOR "s."),
    BAD("protocol 255", "\x80\xff}" TEXT_1("a") TENSOR "s."),
    BAD("PROTO again", "\x80\2\x80\2}" TEXT_1("a") TENSOR "s."),

    BAD("os.system", "\x80\2cos\nsystem\nX\2\0\0\0ls\x85R."),
    BAD("builtins.eval", "\x80\2"
                         "cbuiltins\neval\nX\1\0\0\0"
                         "1\x85R."),
    BAD("torch.load", "\x80\2"
                      "ctorch\nload\n."),
    BAD("_rebuild_qtensor", "\x80\2"
                            "ctorch._utils\n_rebuild_qtensor\n."),
    BAD("_rebuild_from_type_v2", "\x80\2"
                                 "ctorch._tensor\n_rebuild_from_type_v2\n."),
    BAD("attribute", "\x80\2"
                     "ccollections\nOrderedDict.fromkeys\n)R."),
    BAD("longer module", "\x80\2"
                         "ccollections \nOrderedDict\n)R."),
    BAD("split elsewhere", "\x80\2"
                           "ccollections OrderedDict\n\n)R."),
    BAD("name without end", "\x80\2"
                            "ccollections\nOrderedDict"),
    BAD("module without end", "\x80\2"
                              "ccollections"),
    BAD("payload, then a broken byte", "\x80\2"
                                       "cos\nsystem\n\xff"),
    BAD("STACK_GLOBAL", "\x80\2X\2\0\0\0osX\6\0\0\0system\x93)R."),
    BAD("INST", "\x80\2(ios\nsystem\n."),
    BAD("EXT1", "\x80\2\x82\1)R."),

    BAD("call of a text", "\x80\2" TEXT_1("a") ")R."),
    BAD("call of a dict", "\x80\2})R."),
    BAD("call of a tensor", "\x80\2" TENSOR ")R."),
    BAD("call of a storage type", "\x80\2"
                                  "ctorch\nFloatStorage\n)R."),
    BAD("call with a list", "\x80\2"
                            "ccollections\nOrderedDict\n]R."),
    BAD("call of a call", "\x80\2" NO_HOOKS ")R."),
    BAD("OrderedDict of a list", "\x80\2"
                                 "ccollections\nOrderedDict\n]\x85R."),
    BAD("tensor of nothing", DICT_OF(REBUILD ")R")),
    BAD("tensor of 1", DICT_OF(REBUILD STORAGE "\x85R")),
    BAD("tensor of 5", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85\x89tR")),
    BAD("tensor of 8", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85\x89" NO_HOOKS "NNtR")),
    BAD("parameter of 2", DICT_OF("ctorch._utils\n_rebuild_parameter\n" TENSOR "\x88\x86R")),
    BAD("parameter of a storage", DICT_OF(PARAMETER(STORAGE))),
    BAD("parameter with hooks",
        DICT_OF("ctorch._utils\n_rebuild_parameter\n" TENSOR "\x88}" TEXT_1("a") "Ns\x87R")),
    BAD("whole as flag", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85K\0" NO_HOOKS "tR")),
    BAD("hooks", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85\x89" NO_HOOKS TEXT_1("a") "NstR")),
    BAD("no hooks", DICT_OF(REBUILD "(" STORAGE "K\0K\4\x85K\1\x85\x89NtR")),

    BAD("state of a tensor", DICT_OF(TENSOR "}" TEXT_1("a") "Nsb")),
    BAD("state of a tuple", DICT_OF(TENSOR ")}" TEXT_1("a") "Nsb")),
    BAD("state of a plain dict", "\x80\2}" TEXT_1("a") TENSOR "s}X\11\0\0\0_metadataNsb."),
    BAD("state of another name", "\x80\2" NO_HOOKS TEXT_1("a") TENSOR "s}X\5\0\0\0_dataNsb."),
    BAD("state of two",
        "\x80\2" NO_HOOKS TEXT_1("a") TENSOR "s}(X\11\0\0\0_metadataN" TEXT_1("b") "Nub."),
    BAD("state that is a list", "\x80\2" NO_HOOKS TEXT_1("a") TENSOR "s]b."),
    BAD("state of nothing", "\x80\2Nb."),

    BAD("item of a list", "\x80\2]" TEXT_1("a") TENSOR "s."),
    BAD("item of a tensor", DICT_OF(TENSOR TEXT_1("a") "Ns")),
    BAD("items of a tensor", DICT_OF(TENSOR "(" TEXT_1("a") "Nu")),
    BAD("item of None", "\x80\2N" TEXT_1("a") TENSOR "s."),
    BAD("odd items", "\x80\2}(" TEXT_1("a") TENSOR TEXT_1("b") "u."),
    BAD("whole as key", "\x80\2}K\1" TENSOR "s."),
    BAD("tuple as key", "\x80\2})" TENSOR "s."),
    BAD("tensor as key", "\x80\2}" TENSOR TENSOR "s."),
    BAD("key twice", "\x80\2}(" TEXT_1("a") TENSOR TEXT_1("a") TENSOR "u."),
    BAD("append to a dict", "\x80\2}" TENSOR "a."),
    BAD("append to a tuple", "\x80\2)(" TENSOR "e."),

    BAD("pop of nothing", "\x80\2s."),
    BAD("pop of a mark", "\x80\2](a."),
    BAD("call with a mark", "\x80\2(R."),
    BAD("tuple without mark", "\x80\2Nt."),
    BAD("tuple over a mark", "\x80\2N(N\x86."),
    BAD("short tuple of nothing", "\x80\2\x85."),
    BAD("append without mark", "\x80\2]Ne."),
    BAD("memo of nothing", "\x80\2q\0."),
    BAD("memo of a mark", "\x80\2(q\0."),
    BAD("memo never set", "\x80\2h\0."),
    BAD("memo never set, between", "\x80\2}q\3h\2s."),
    BAD("memo 2^32 - 1", "\x80\2}r\xff\xff\xff\xff."),
    BAD("memo 2^32 - 1 read", "\x80\2}j\xff\xff\xff\xff."),
    BAD("memo cut", "\x80\2}r\1\0\0"),

    BAD("endless text", "\x80\2}X\xff\xff\xff\xff"
                        "abc"),
    BAD("text cut", "\x80\2}X\4\0\0\0"
                    "abc"),
    BAD("text length cut", "\x80\2}X\4\0\0"),
    BAD("text not UTF-8", "\x80\2}X\1\0\0\0\xff" TENSOR "s."),
    BAD("text with NUL", "\x80\2}X\1\0\0\0\0" TENSOR "s."),
    BAD("whole of 9 bytes", TENSOR_LIKE("\x8a\11\0\0\0\0\0\0\0\0\0", "K\4\x85", "K\1\x85")),
    BAD("whole of 255 bytes", "\x80\2}\x8a\xff\0\0\0"),
    BAD("whole cut", "\x80\2}J\0\0\0"),
    BAD("float cut", "\x80\2}G\0\0\0\0"),

    BAD("id is a text", DICT_OF(TENSOR_OF(TEXT_7("storage") "Q", "K\0", "K\4\x85", "K\1\x85"))),
    BAD("id of 4", DICT_OF(TENSOR_OF("(" TEXT_7("storage") "ctorch\nFloatStorage\n" TEXT_1("0")
                                         TEXT_3("cpu") "tQ",
                                     "K\0", "K\4\x85", "K\1\x85"))),
    BAD("id of 6", DICT_OF(TENSOR_OF("(" TEXT_7("storage") "ctorch\nFloatStorage\n" TEXT_1("0")
                                         TEXT_3("cpu") "K\4NtQ",
                                     "K\0", "K\4\x85", "K\1\x85"))),
    BAD("id of another kind",
        DICT_OF(TENSOR_OF("(" TEXT_7("package") "ctorch\nFloatStorage\n" TEXT_1("0")
                              TEXT_3("cpu") "K\4tQ",
                          "K\0", "K\4\x85", "K\1\x85"))),
    BAD("type is a text",
        DICT_OF(TENSOR_OF("(" TEXT_7("storage") TEXT_1("x") TEXT_1("0") TEXT_3("cpu") "K\4tQ",
                          "K\0", "K\4\x85", "K\1\x85"))),
    BAD("type is a function",
        DICT_OF(TENSOR_OF("(" TEXT_7("storage") REBUILD TEXT_1("0") TEXT_3("cpu") "K\4tQ", "K\0",
                          "K\4\x85", "K\1\x85"))),
    BAD("key with a slash",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "/", "K\4"), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("key with a dot",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", ".", "K\4"), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("missing storage",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "1", "K\4"), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("whole as key of a storage",
        DICT_OF(TENSOR_OF("(" TEXT_7("storage") "ctorch\nFloatStorage\nK\0" TEXT_3("cpu") "K\4tQ",
                          "K\0", "K\4\x85", "K\1\x85"))),
    BAD("negative size",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", MINUS_1), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("size 2^62", DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", BIG_WHOLE), "K\0", "K\4\x85",
                                       "K\1\x85"))),
    BAD("size wraps",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", "\x8a\x08\4\0\0\0\0\0\0\x40"), "K\0",
                          "K\4\x85", "K\1\x85"))),
    BAD("size 4.0", DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", "G\x40\x10\0\0\0\0\0\0"),
                                      "K\0", "K\4\x85", "K\1\x85"))),
    BAD("size too large",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", "K\5"), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("size too small",
        DICT_OF(TENSOR_OF(STORAGE_AS("FloatStorage", "0", "K\3"), "K\0", "K\3\x85", "K\1\x85"))),
    BAD("other type",
        DICT_OF(TENSOR_OF(STORAGE_AS("HalfStorage", "0", "K\4"), "K\0", "K\4\x85", "K\1\x85"))),
    BAD("two types", "\x80\2](" TENSOR TENSOR_OF(STORAGE_AS("HalfStorage", "0", "K\x8"), "K\0",
                                                 "K\4\x85", "K\1\x85") "e."),
    BAD("unknown type",
        DICT_OF(TENSOR_OF(STORAGE_AS("ByteStorage", "0", "K\x10"), "K\0", "K\4\x85", "K\1\x85"))),

    BAD("negative offset", TENSOR_LIKE(MINUS_1, "K\4\x85", "K\1\x85")),
    BAD("offset past the end", TENSOR_LIKE("K\1", "K\4\x85", "K\1\x85")),
    BAD("offset wraps",
        TENSOR_LIKE("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\4\x85", "K\1\x85")),
    BAD("offset of an empty tensor", TENSOR_LIKE("K\5", "K\0\x85", "K\1\x85")),
    BAD("offset of a scalar", TENSOR_LIKE("K\4", ")", ")")),
    BAD("offset is a flag", TENSOR_LIKE("\x89", "K\4\x85", "K\1\x85")),
    BAD("size is a list", TENSOR_LIKE("K\0", "]K\4a", "K\1\x85")),
    BAD("stride is a whole", TENSOR_LIKE("K\0", "K\4\x85", "K\1")),
    BAD("ranks differ", TENSOR_LIKE("K\0", "K\2K\2\x86", "K\1\x85")),
    BAD("negative stride", TENSOR_LIKE("K\3", "K\4\x85", MINUS_1 "\x85")),
    BAD("negative dimension", TENSOR_LIKE("K\0", MINUS_1 "\x85", "K\1\x85")),
    BAD("dimension is a text", TENSOR_LIKE("K\0", TEXT_1("4") "\x85", "K\1\x85")),
    BAD("stride 2^62", TENSOR_LIKE("K\0", "K\2\x85", BIG_WHOLE "\x85")),
    BAD("strides wrap", TENSOR_LIKE("K\0", "K\2K\2K\2\x87", BIG_WHOLE BIG_WHOLE BIG_WHOLE "\x87")),
    BAD("dimensions wrap", TENSOR_LIKE("K\0", BIG_WHOLE "K\4\x86", "K\0K\1\x86")),
    BAD("expanded", TENSOR_LIKE("K\0", "\x8a\6\0\0\0\0\0\1\x85", "K\0\x85")),
    BAD("past the end by stride", TENSOR_LIKE("K\0", "K\2K\2\x86", "K\3K\1\x86")),
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bytes file = {0};
        put_archive(&file, cases[i].pickle, cases[i].bytes, 16);
        expect_status(cases[i].label, &file, cases[i].expected);
        free_bytes(&file);
    }
}

/* Instructions that the pickles of torch.save have no use for, with operands of many lengths. */
static void test_unknown_instructions(void **state)
{
    (void)state;
    static const char known[] = "(N)tq]}aesuXcQRbKMJGrhj.\x80\x85\x86\x87\x88\x89\x8a";
    for (int opcode = 0; opcode < 256; opcode++) {
        if (opcode != 0 && strchr(known, opcode))
            continue;
        bytes pickle = {0}, file = {0};
        put(&pickle, "\x80\2}", 3);
        put_number(&pickle, (uint64_t)opcode, 1);
        put(&pickle, "\1\0\0\0\0\0\0\0" TEXT_1("a") TENSOR "s.", sizeof(TEXT_1("a") TENSOR) + 9);
        put_archive(&file, pickle.data, pickle.count, 16);
        expect_status("unknown instruction", &file, MM_ERR_INPUT);
        free_bytes(&pickle);
        free_bytes(&file);
    }
}

static void test_truncation(void **state)
{
    (void)state;
    static const char pickle[] =
        "\x80\2}q\0(" TEXT_1("a") TENSOR TEXT_1("b") PARAMETER(TENSOR) "u.";
    for (size_t count = 0; count < sizeof(pickle) - 1; count++) {
        bytes file = {0};
        put_archive(&file, pickle, count, 16);
        expect_status("cut pickle", &file, MM_ERR_INPUT);
        free_bytes(&file);
    }
}

/* Every byte replaced: never a crash, and what is accepted can be read. */
static void test_flipped_bytes(void **state)
{
    (void)state;
    static const char good[] =
        "\x80\2}q\0(" TEXT_1("a") TENSOR "q\1" TEXT_1("b") PARAMETER("h\1") "u.";
    static const unsigned char others[] = {0, '(', 't', 'h', 'q', 'R', 0x85, '.', 0xff};
    char pickle[sizeof(good)];
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        for (size_t k = 0; k < sizeof(others); k++) {
            bytes file = {0};
            mm_tensor_file *opened = NULL;
            mm_error error = {0};
            memcpy(pickle, good, sizeof(good));
            pickle[i] = (char)others[k];
            put_archive(&file, pickle, sizeof(good) - 1, 16);
            if (mm_tensor_file_open(&opened, in_memory(&file), &error) != MM_OK)
                assert_true(error.text[0] && !opened);
            for (size_t t = 0; opened && t < mm_tensor_file_count(opened); t++) {
                float out[16];
                int64_t elements = mm_shape_elements(&mm_tensor_file_info(opened, t)->shape);
                assert_true(elements <= 4);
                assert_int_equal(mm_tensor_file_read_f32(opened, t, 0, elements, out, &error),
                                 MM_OK);
            }
            mm_tensor_file_close(&opened);
            free_bytes(&file);
        }
    }
}

/* A megabyte of one thing: time and memory stay in proportion, and nothing recurses. */
static void test_large_pickles(void **state)
{
    (void)state;
    static const struct {
        const char *label, *start, *repeated, *end;
        size_t start_bytes, repeated_bytes;
    } large[] = {
        {"marks", "", "(", ".", 0, 1},
        {"nested tuples", ")", "\x85", ".", 1, 1},
        {"nested lists", "]q\1", "]h\1a", ".", 3, 4},
        {"lists", "", "]", ".", 0, 1},
        {"repeated references", "]q\0", "h\0h\0\x86q\0", "", 3, 7},
        {"wholes", "](", "K\1", "e.", 2, 2},
        {"keys", "}(", "X\1\0\0\0aN", "u.", 2, 7},
        {"storages",
         "((" TEXT_7("storage") "ctorch\nFloatStorage\n" TEXT_1("0") TEXT_3("cpu") "K\4tq\1",
         "h\1Q", ".",
         sizeof("((" TEXT_7("storage") "ctorch\nFloatStorage\n" TEXT_1("0")
                    TEXT_3("cpu") "K\4tq\1") -
             1,
         3},
        {"long name", "c", "n", "\n\n.", 1, 1},
        {"memo", "]", "r\0\0\x0f\0", ".", 1, 5},
    };
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        bytes pickle = {0}, file = {0};
        put(&pickle, "\x80\2", 2);
        put(&pickle, large[i].start, large[i].start_bytes);
        while (pickle.count < 1000000)
            put(&pickle, large[i].repeated, large[i].repeated_bytes);
        put_text(&pickle, large[i].end);
        put_archive(&file, pickle.data, pickle.count, 16);
        expect_status(large[i].label, &file, MM_ERR_INPUT);
        free_bytes(&pickle);
        free_bytes(&file);
    }
    expect_peak_below((size_t)80 << 20); /* the test's own copies of the file included */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),         cmocka_unit_test(test_unknown_instructions),
        cmocka_unit_test(test_truncation),    cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_large_pickles),
    };
    return cmocka_run_group_tests(tests, setup_scratch, remove_scratch);
}
