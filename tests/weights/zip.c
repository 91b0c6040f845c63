/* SPDX-License-Identifier: BSD-2-Clause */
/* ZIP containers: a good archive as a list of fields, then one field after another made wrong. */
#include "hostile.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define TEXT_1(text) "X\1\0\0\0" text
#define PICKLE                                                                                  \
    "\x80\2}" TEXT_1("a") "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"       \
                          "FloatStorage\n" TEXT_1("0") "X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85\x89" \
                                                       "ccollections\n"                         \
                                                       "OrderedDict\n)RtRs."
#define MOST 8

/* Everything an entry is written with; `local_` in its own header, else in the directory. */
typedef struct entry {
    const char *name, *local_name;
    const char *data;
    size_t bytes;
    uint32_t flags, local_flags, method, local_method, crc, local_crc, descriptor_crc;
    uint64_t stored, plain, local_stored, local_plain, descriptor_stored, header_shift;
    size_t descriptor; /* 0, 16 or 24 bytes */
    const char *local_extra, *extra, *comment;
    size_t local_extra_bytes, extra_bytes;
    uint32_t disk;
    size_t gap; /* bytes that belong to nobody, after it */
} entry;

typedef struct archive {
    entry entries[MOST];
    size_t count;
    const char *prefix, *suffix, *comment, *locator_magic;
    size_t comment_bytes;
    uint64_t count_shift, disk, offset_shift, size_shift, end64_shift, count64_shift, disks;
    bool zip64, zip64_missing, counts_full;
} archive;

static void add(archive *a, const char *name, const char *data, size_t count)
{
    entry *e = &a->entries[a->count++];
    *e = (entry){.name = name, .local_name = name, .data = data, .bytes = count};
    e->crc = (uint32_t)crc32(crc32(0, NULL, 0), (const Bytef *)data, (uInt)count);
    e->local_crc = e->descriptor_crc = e->crc;
    e->stored = e->plain = e->local_stored = e->local_plain = e->descriptor_stored = count;
}

static archive good_archive(void)
{
    archive a = {.locator_magic = "PK\6\7"};
    add(&a, "a/data.pkl", PICKLE, sizeof(PICKLE) - 1);
    add(&a, "a/data/0", "\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f", 16);
    add(&a, "a/version", "3\n", 2);
    return a;
}

/* As PyTorch streams: sizes only in the descriptor and the directory. */
static void make_streamed(archive *a, size_t descriptor)
{
    for (size_t i = 0; i < a->count; i++) {
        entry *e = &a->entries[i];
        e->flags = e->local_flags = 0x808;
        e->local_crc = 0;
        e->local_stored = e->local_plain = 0;
        e->descriptor = descriptor;
    }
}

static void put_entry(bytes *b, const entry *e)
{
    put_text(b, "PK\3\4");
    put_number(b, 0, 2);
    put_number(b, e->local_flags, 2);
    put_number(b, e->local_method, 2);
    put_number(b, 0, 4);
    put_number(b, e->local_crc, 4);
    put_number(b, e->local_stored, 4);
    put_number(b, e->local_plain, 4);
    put_number(b, strlen(e->local_name), 2);
    put_number(b, e->local_extra_bytes, 2);
    put_text(b, e->local_name);
    put(b, e->local_extra, e->local_extra_bytes);
    put(b, e->data, e->bytes);
    if (e->descriptor > 0) {
        put(b, "PK\7\10", 4);
        put_number(b, e->descriptor_crc, 4);
        put_number(b, e->descriptor_stored, (e->descriptor - 8) / 2);
        put_number(b, e->plain, (e->descriptor - 8) / 2);
    }
    put_filler(b, 'x', e->gap);
}

static void put_central(bytes *b, const entry *e, uint64_t header)
{
    const char *comment = e->comment ? e->comment : "";
    put_text(b, "PK\1\2");
    put_number(b, 0, 4);
    put_number(b, e->flags, 2);
    put_number(b, e->method, 2);
    put_number(b, 0, 4);
    put_number(b, e->crc, 4);
    put_number(b, e->stored, 4);
    put_number(b, e->plain, 4);
    put_number(b, strlen(e->name), 2);
    put_number(b, e->extra_bytes, 2);
    put_number(b, strlen(comment), 2);
    put_number(b, e->disk, 2);
    put_number(b, 0, 6);
    put_number(b, header + e->header_shift, 4);
    put_text(b, e->name);
    put(b, e->extra, e->extra_bytes);
    put_text(b, comment);
}

static void put_zip64(bytes *b, const archive *a, uint64_t at, uint64_t size)
{
    const uint64_t record = b->count;
    put_text(b, "PK\6\6");
    put_number(b, 44, 8);
    put_number(b, 0, 4);
    put_number(b, 0, 8);
    put_number(b, a->count + a->count64_shift, 8);
    put_number(b, a->count + a->count64_shift, 8);
    put_number(b, size, 8);
    put_number(b, at, 8);
    put_text(b, a->locator_magic);
    put_number(b, 0, 4);
    put_number(b, record + a->end64_shift, 8);
    put_number(b, 1 + a->disks, 4);
}

static void build(bytes *b, const archive *a)
{
    uint64_t headers[MOST];
    put_text(b, a->prefix ? a->prefix : "");
    for (size_t i = 0; i < a->count; i++) {
        headers[i] = b->count;
        put_entry(b, &a->entries[i]);
    }
    const uint64_t at = b->count;
    for (size_t i = 0; i < a->count; i++)
        put_central(b, &a->entries[i], headers[i]);
    const uint64_t size = b->count - at;
    if (a->zip64 && !a->zip64_missing)
        put_zip64(b, a, at, size);
    put_text(b, "PK\5\6");
    put_number(b, a->disk, 4);
    put_number(b, a->counts_full ? 0xffff : a->count + a->count_shift, 2);
    put_number(b, a->counts_full ? 0xffff : a->count + a->count_shift, 2);
    put_number(b, a->zip64 ? 0xffffffff : size + a->size_shift, 4);
    put_number(b, a->zip64 ? 0xffffffff : at + a->offset_shift, 4);
    put_number(b, a->comment_bytes, 2);
    put(b, a->comment, a->comment_bytes);
    put_text(b, a->suffix ? a->suffix : "");
}

static void expect_archive(const char *label, const archive *a, mm_status expected)
{
    bytes file = {0};
    build(&file, a);
    expect_status(label, &file, expected);
    free_bytes(&file);
}

/* `change` works on a good archive `a` with its first entries `pickle` and `data`. */
#define ATTACK(label, expected, change)                       \
    do {                                                      \
        archive a = good_archive();                           \
        entry *pickle = &a.entries[0], *data = &a.entries[1]; \
        (void)pickle, (void)data;                             \
        change;                                               \
        expect_archive(label, &a, expected);                  \
    } while (0)
#define BAD(label, change) ATTACK(label, MM_ERR_INPUT, change)
#define GOOD(label, change) ATTACK(label, MM_OK, change)

static const char padding[] = "FB\2\0ZZ";
static const char zip64_field[] = "\1\0\20\0\20\0\0\0\0\0\0\0\20\0\0\0\0\0\0";

static void test_good(void **state)
{
    (void)state;
    GOOD("plain", (void)0);
    GOOD("streamed", make_streamed(&a, 16));
    GOOD("streamed, ZIP64 descriptors", make_streamed(&a, 24));
    GOOD("padded", (pickle->local_extra = padding, pickle->local_extra_bytes = 6));
    GOOD("ZIP64 end", a.zip64 = true);
    GOOD("ZIP64 end, counts too", a.zip64 = a.counts_full = true);
    GOOD("ZIP64 sizes", (data->extra = zip64_field, data->extra_bytes = 20,
                         data->stored = data->plain = 0xffffffff));
    GOOD("no version", a.count = 2);
    GOOD("little-endian", add(&a, "a/byteorder", "little", 6));
    GOOD("hidden entries", add(&a, "a/.data/serialization_id", "123", 3));
    GOOD("unused storage", add(&a, "a/data/1", "1234", 4));
}

static void test_end(void **state)
{
    (void)state;
    static const char nested_end[] = "PK\5\6\0\0\0\0\3\0\3\0\0\0\0\0\0\0\0\0\0\0";
    BAD("prefix", a.prefix = "PK\3\4 self-extracting");
    BAD("suffix", a.suffix = "x");
    BAD("comment", (a.comment = "hello", a.comment_bytes = 5));
    BAD("two ends", (a.comment = nested_end, a.comment_bytes = 22));
    BAD("count too large", a.count_shift = 1);
    BAD("count too small", a.count_shift = (uint64_t)-1);
    BAD("count 0", a.count_shift = (uint64_t)-3);
    BAD("count 65535 without ZIP64", a.counts_full = true);
    BAD("ZIP64 missing", a.zip64 = a.zip64_missing = true);
    BAD("ZIP64 record elsewhere", (a.zip64 = true, a.end64_shift = 1));
    BAD("ZIP64 record past the end", (a.zip64 = true, a.end64_shift = 1ull << 62));
    BAD("ZIP64 record at the locator", (a.zip64 = true, a.end64_shift = 56));
    BAD("ZIP64 count", (a.zip64 = a.counts_full = true, a.count64_shift = 1ull << 60));
    BAD("ZIP64 counts differ", (a.zip64 = true, a.count64_shift = 1));
    BAD("ZIP64 disks", (a.zip64 = true, a.disks = 1));
    BAD("ZIP64 locator's mark", (a.zip64 = true, a.locator_magic = "PK\6\10"));
    BAD("disk", a.disk = 1);
    BAD("directory's disk", a.disk = 1 << 16);
    BAD("directory's offset", a.offset_shift = 1);
    BAD("directory's offset wraps", a.offset_shift = 0xfffffff0);
    BAD("directory's size", a.size_shift = 1);
    BAD("directory's size below", a.size_shift = (uint64_t)-1);
    BAD("no entries", a.count = 0);
}

static void test_headers(void **state)
{
    (void)state;
    static const uint32_t flags[] = {1, 2, 4, 0x20, 0x40, 0x2000, 0x8000};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        BAD("flags", data->flags = data->local_flags = flags[i]);
        BAD("flags of the pickle", pickle->flags = pickle->local_flags = flags[i]);
        BAD("flags in one place", data->local_flags = flags[i]);
    }
    ATTACK("deflated", MM_ERR_UNSUPPORTED, data->method = data->local_method = 8);
    ATTACK("deflated pickle", MM_ERR_UNSUPPORTED, pickle->method = pickle->local_method = 8);
    BAD("deflated in one place", data->local_method = 8);
    BAD("two names", pickle->local_name = "a/data.pkk");
    BAD("two names, other lengths", pickle->local_name = "a/data.pk");
    BAD("header past the end", data->header_shift = 1 << 20);
    BAD("header shifted", data->header_shift = 1);
    BAD("header of another", data->header_shift = (uint64_t) - (30 + 10 + sizeof(PICKLE) - 1));
    BAD("sizes differ", data->stored = 15);
    BAD("size too small", data->stored = data->plain = 15);
    BAD("size too large", data->stored = data->plain = 17);
    BAD("size past the end", data->stored = data->plain = 1 << 30);
    BAD("local size", data->local_plain = 15);
    BAD("local checksum", data->local_crc++);
    BAD("checksum of the directory", data->crc++);
    BAD("checksum of the pickle", (pickle->crc++, pickle->local_crc++));
    BAD("gap", data->gap = 1);
    BAD("gap at the end", a.entries[2].gap = 5);
    BAD("comment of an entry", data->comment = "c");
    BAD("disk of an entry", data->disk = 1);
    BAD("ZIP64 size 2^64 - 1",
        (data->extra = "\1\0\20\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         data->extra_bytes = 20, data->stored = data->plain = 0xffffffff));
    BAD("ZIP64 field missing", data->stored = data->plain = 0xffffffff);
    BAD("ZIP64 field short", (data->extra = "\1\0\10\0\20\0\0\0\0\0\0\0", data->extra_bytes = 12,
                              data->stored = data->plain = 0xffffffff));
    BAD("extra field cut", (data->extra = "\1\0\20\0\1", data->extra_bytes = 5));
    BAD("local extra past the end",
        (data->local_extra = "", data->local_extra_bytes = 0, data->bytes = 0));
    BAD("flag without descriptor", (make_streamed(&a, 16), data->descriptor = 0));
    BAD("descriptor without flag", data->descriptor = 16);
    BAD("descriptor's checksum", (make_streamed(&a, 16), data->descriptor_crc++));
    BAD("descriptor's size", (make_streamed(&a, 24), data->descriptor_stored++));
    BAD("descriptor of 20 bytes", (make_streamed(&a, 16), data->descriptor = 20));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "/a/data/9",    "a/../data/9", "../data/9", "a\\data\\9", "a//data",        "a/",
        "b/data/9",     "data",        "a/data\n9", "a/\xff",     "a/./data/9",     "",
        "ab/data/9",    "a/data.pkl",  "a/data/0",  "a/evil",     "a/data.pkl.bak", "a/data.pkl/y",
        "a/x/data.pkl", "a",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        BAD(bad[i], add(&a, bad[i], "1234", 4));
    char name[65536];
    memset(name, 'n', sizeof(name));
    memcpy(name, "a/", 2);
    name[65535] = '\0';
    BAD("long name", add(&a, name, "", 0));
    BAD("no pickle", pickle->name = pickle->local_name = "a/data/p");
    BAD("pickle in no folder", pickle->name = pickle->local_name = "data.pkl");
    ATTACK("TorchScript", MM_ERR_UNSUPPORTED,
           (add(&a, "a/constants.pkl", "x", 1), add(&a, "a/code/x.py", "x", 1)));
}

static void test_small_entries(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        mm_status expected;
    } cases[] = {
        {"a/version", "2", MM_OK},
        {"a/version", "10\n", MM_OK},
        {"a/version", "0\n", MM_ERR_INPUT},
        {"a/version", "-1\n", MM_ERR_INPUT},
        {"a/version", "abc", MM_ERR_INPUT},
        {"a/version", "", MM_ERR_INPUT},
        {"a/version", "33333333333333333333", MM_ERR_INPUT},
        {"a/version", "99\n", MM_ERR_UNSUPPORTED},
        {"a/byteorder", "little", MM_OK},
        {"a/byteorder", "big", MM_ERR_UNSUPPORTED},
        {"a/byteorder", "middle", MM_ERR_INPUT},
        {"a/byteorder", "", MM_ERR_INPUT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        archive a = good_archive();
        a.count = 2;
        add(&a, cases[i].name, cases[i].text, strlen(cases[i].text));
        expect_archive(cases[i].text, &a, cases[i].expected);
    }
}

/* Checksums of data are verified when a tensor is read whole. */
static void test_damaged_data(void **state)
{
    (void)state;
    float out[4];
    mm_error error = {0};
    mm_tensor_file *opened;
    bytes file = {0};
    archive a = good_archive();
    build(&file, &a);
    write_scratch(scratch_path("good"), &file);
    assert_int_equal(mm_tensor_file_open(&opened, scratch_path("good"), &error), MM_OK);
    assert_int_equal(mm_tensor_file_read_f32(opened, 0, 0, 4, out, &error), MM_OK);
    assert_true(out[0] == 1 && out[3] == 1);
    mm_tensor_file_close(&opened);
    file.data[30 + 10 + sizeof(PICKLE) - 1 + 30 + 8 + 5] ^= 1;
    write_scratch(scratch_path("damaged"), &file);
    assert_int_equal(mm_tensor_file_open(&opened, scratch_path("damaged"), &error), MM_OK);
    assert_int_equal(mm_tensor_file_read_f32(opened, 0, 0, 4, out, &error), MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "\"a\""));
    mm_tensor_file_close(&opened);
    free_bytes(&file);
}

/* Cut anywhere, an archive is an error; any one byte changed, it opens or is an error. */
static void test_truncated_and_flipped(void **state)
{
    (void)state;
    bytes file = {0};
    archive a = good_archive();
    a.zip64 = true;
    make_streamed(&a, 24);
    build(&file, &a);
    const size_t whole = file.count;
    expect_status("whole", &file, MM_OK);
    for (file.count = 0; file.count < whole; file.count++)
        expect_status("cut", &file, ANY_ERROR);
    for (size_t i = 0; i < 2 * whole; i++) {
        mm_tensor_file *opened = NULL;
        mm_error error = {0};
        file.data[i / 2] ^= i % 2 ? 0xff : 1;
        const char *path = in_memory(&file);
        file.data[i / 2] ^= i % 2 ? 0xff : 1;
        if (mm_tensor_file_open(&opened, path, &error) != MM_OK)
            assert_true(error.text[0] && !opened);
        mm_tensor_file_close(&opened);
    }
    free_bytes(&file);
}

static void test_many_entries(void **state)
{
    (void)state;
    bytes file = {0};
    put_text(&file, "PK\3\4");
    const size_t at = file.count;
    while (file.count < 1000000)
        put(&file,
            "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0"
            "\0\0\0\0a",
            47);
    const size_t size = file.count - at;
    put(&file, "PK\5\6\0\0\0\0", 8);
    put_number(&file, size / 47, 2);
    put_number(&file, size / 47, 2);
    put_number(&file, size, 4);
    put_number(&file, at, 4);
    put_number(&file, 0, 2);
    expect_status("many entries", &file, MM_ERR_INPUT);
    free_bytes(&file);
    expect_peak_below((size_t)64 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_small_entries),
        cmocka_unit_test(test_damaged_data),
        cmocka_unit_test(test_truncated_and_flipped),
        cmocka_unit_test(test_many_entries),
    };
    return cmocka_run_group_tests(tests, setup_scratch, remove_scratch);
}
