/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/pickle.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define MOST_VALUES ((size_t)1 << 19)
#define MOST_KEY 32
#define MOST_GLOBAL 128

typedef struct machine {
    const char *name;
    const unsigned char *bytes;
    size_t at, count;
    mm_arena *arena;
    size_t values;
    mm_pickle **stack, **memo;
    size_t depth, stack_capacity, memo_count;
    mm_error *error;
} machine;

enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, FIRST_STORAGE };

static const struct {
    const char *name; /* "module name" */
    mm_dtype dtype;   /* of storages */
} globals[] = {
    [ORDERED_DICT] = {"collections OrderedDict", MM_F32},
    [REBUILD_TENSOR] = {"torch._utils _rebuild_tensor_v2", MM_F32},
    [REBUILD_PARAMETER] = {"torch._utils _rebuild_parameter", MM_F32},
    [FIRST_STORAGE] = {"torch FloatStorage", MM_F32},
    {"torch HalfStorage", MM_F16},
    {"torch BFloat16Storage", MM_BF16},
    {"torch DoubleStorage", MM_F64},
    {"torch LongStorage", MM_I64},
    {"torch IntStorage", MM_I32},
};

static mm_pickle none = {.kind = MM_PICKLE_NONE};
static mm_pickle false_value = {.kind = MM_PICKLE_BOOL, .whole = 0};
static mm_pickle true_value = {.kind = MM_PICKLE_BOOL, .whole = 1};
static mm_pickle mark = {.kind = MM_PICKLE_MARK};

static mm_status bad(const machine *m, const char *what)
{
    return mm_fail(m->error, MM_ERR_INPUT, "%s: damaged or unsafe pickle, byte %zu: %s", m->name,
                   m->at, what);
}

static mm_status no_memory(const machine *m)
{
    return mm_fail_memory(m->error, m->name, m->count);
}

static mm_status take(machine *m, size_t bytes, const unsigned char **out)
{
    if (m->count - m->at < bytes)
        return bad(m, "cut short");
    *out = m->bytes + m->at;
    m->at += bytes;
    return MM_OK;
}

static uint32_t u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static mm_status push(machine *m, mm_pickle *value)
{
    if (m->depth == m->stack_capacity) {
        size_t capacity = m->stack_capacity ? m->stack_capacity * 2 : 256;
        mm_pickle **grown = mm_realloc(m->stack, capacity * sizeof(*grown));
        if (!grown)
            return no_memory(m);
        m->stack = grown;
        m->stack_capacity = capacity;
    }
    m->stack[m->depth++] = value;
    return MM_OK;
}

static mm_status push_new(machine *m, mm_pickle_kind kind, mm_pickle **out)
{
    if (++m->values > MOST_VALUES)
        return bad(m, "more values than any file of weights has");
    *out = mm_arena_alloc(m->arena, sizeof(**out));
    if (!*out)
        return no_memory(m);
    (*out)->kind = kind;
    return push(m, *out);
}

static mm_status push_whole(machine *m, int64_t whole)
{
    mm_pickle *value = NULL;
    MM_TRY(push_new(m, MM_PICKLE_INT, &value));
    value->whole = whole;
    return MM_OK;
}

/* A mark is no value: nothing may take it for one. */
static mm_status pop(machine *m, mm_pickle **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == &mark)
        return bad(m, "a value is missing");
    *out = m->stack[--m->depth];
    return MM_OK;
}

static mm_status top(machine *m, mm_pickle_kind kind, mm_pickle **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind != kind)
        return bad(m, kind == MM_PICKLE_LIST ? "append to what is no list"
                                             : "set an item of what is no dict");
    *out = m->stack[m->depth - 1];
    return MM_OK;
}

/* The values above the last mark, which is removed with them; they stay readable until the next
   push. */
static mm_status pop_to_mark(machine *m, mm_pickle ***items, size_t *count)
{
    size_t at = m->depth;
    while (at > 0 && m->stack[at - 1] != &mark)
        at--;
    if (at == 0)
        return bad(m, "a mark is missing");
    *items = m->stack + at;
    *count = m->depth - at;
    m->depth = at - 1;
    return MM_OK;
}

static mm_status add_items(machine *m, mm_pickle *to, mm_pickle *const *items, size_t count)
{
    size_t needed = to->count + count;
    if (needed > to->capacity) {
        size_t capacity = needed > 2 * (size_t)to->capacity ? needed : 2 * (size_t)to->capacity;
        mm_pickle **grown =
            capacity <= UINT32_MAX ? mm_arena_alloc(m->arena, capacity * sizeof(*grown)) : NULL;
        if (!grown)
            return no_memory(m);
        if (to->count > 0)
            memcpy(grown, to->items, to->count * sizeof(*grown));
        to->items = grown;
        to->capacity = (uint32_t)capacity;
    }
    if (count > 0)
        memcpy(to->items + to->count, items, count * sizeof(*items));
    to->count = (uint32_t)needed;
    return MM_OK;
}

static mm_status set_items(machine *m, mm_pickle *dict, mm_pickle *const *items, size_t count)
{
    if (count % 2 != 0)
        return bad(m, "a key without a value");
    for (size_t i = 0; i < count; i += 2) {
        if (items[i]->kind != MM_PICKLE_TEXT)
            return bad(m, "a key that is no text");
    }
    return add_items(m, dict, items, count);
}

static mm_status push_tuple(machine *m, mm_pickle *const *items, size_t count)
{
    mm_pickle *tuple;
    if (++m->values > MOST_VALUES)
        return bad(m, "more values than any file of weights has");
    tuple = mm_arena_alloc(m->arena, sizeof(*tuple));
    if (!tuple)
        return no_memory(m);
    tuple->kind = MM_PICKLE_TUPLE;
    MM_TRY(add_items(m, tuple, items, count));
    return push(m, tuple);
}

static mm_status short_tuple(machine *m, size_t count)
{
    for (size_t i = 1; i <= count; i++) {
        if (m->depth < i || m->stack[m->depth - i] == &mark)
            return bad(m, "a value is missing");
    }
    m->depth -= count;
    return push_tuple(m, m->stack + m->depth, count);
}

static mm_status marked_tuple(machine *m)
{
    mm_pickle **items = NULL;
    size_t count = 0;
    MM_TRY(pop_to_mark(m, &items, &count));
    return push_tuple(m, items, count);
}

static mm_status append_marked(machine *m)
{
    mm_pickle **items = NULL, *list = NULL;
    size_t count = 0;
    MM_TRY(pop_to_mark(m, &items, &count));
    MM_TRY(top(m, MM_PICKLE_LIST, &list));
    return add_items(m, list, items, count);
}

static mm_status append_one(machine *m)
{
    mm_pickle *item = NULL, *list = NULL;
    MM_TRY(pop(m, &item));
    MM_TRY(top(m, MM_PICKLE_LIST, &list));
    return add_items(m, list, &item, 1);
}

static mm_status set_marked(machine *m)
{
    mm_pickle **items = NULL, *dict = NULL;
    size_t count = 0;
    MM_TRY(pop_to_mark(m, &items, &count));
    MM_TRY(top(m, MM_PICKLE_DICT, &dict));
    return set_items(m, dict, items, count);
}

static mm_status set_one(machine *m)
{
    mm_pickle *pair[2] = {NULL, NULL}, *dict = NULL;
    MM_TRY(pop(m, &pair[1]));
    MM_TRY(pop(m, &pair[0]));
    MM_TRY(top(m, MM_PICKLE_DICT, &dict));
    return set_items(m, dict, pair, 2);
}

static mm_status push_text(machine *m)
{
    const unsigned char *length = NULL, *text = NULL;
    mm_pickle *value = NULL;
    MM_TRY(take(m, 4, &length));
    MM_TRY(take(m, u32(length), &text));
    if (!mm_utf8_valid((const char *)text, u32(length)))
        return bad(m, "a text that is not UTF-8, or has a NUL in it");
    MM_TRY(push_new(m, MM_PICKLE_TEXT, &value));
    value->text = mm_arena_strndup(m->arena, (const char *)text, u32(length));
    return value->text ? MM_OK : no_memory(m);
}

/* LONG1: little-endian two's complement of any length; what fits 64 bits is read. */
static mm_status push_long(machine *m)
{
    const unsigned char *length = NULL, *p = NULL;
    MM_TRY(take(m, 1, &length));
    MM_TRY(take(m, *length, &p));
    if (*length > 8)
        return bad(m, "a whole number of more than 64 bits");
    uint64_t value = *length > 0 && p[*length - 1] & 0x80 ? UINT64_MAX : 0;
    for (int i = *length - 1; i >= 0; i--)
        value = value << 8 | p[i];
    return push_whole(m, (int64_t)value);
}

static mm_status take_line(machine *m, const char **line, size_t *length)
{
    const unsigned char *start = m->bytes + m->at;
    size_t left = m->count - m->at;
    const unsigned char *end = memchr(start, '\n', left < MOST_GLOBAL ? left : MOST_GLOBAL);
    if (!end)
        return bad(m, "a name without end");
    *line = (const char *)start;
    *length = (size_t)(end - start);
    m->at += *length + 1;
    return MM_OK;
}

static mm_status push_global(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    MM_TRY(take_line(m, &module, &module_length));
    MM_TRY(take_line(m, &name, &name_length));
    for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++) {
        const char *known = globals[i].name;
        if (strlen(known) == module_length + 1 + name_length &&
            memcmp(known, module, module_length) == 0 && known[module_length] == ' ' &&
            memcmp(known + module_length + 1, name, name_length) == 0) {
            mm_pickle *value = NULL;
            MM_TRY(push_new(m, MM_PICKLE_GLOBAL, &value));
            value->whole = (int64_t)i;
            return MM_OK;
        }
    }
    return mm_fail(m->error, MM_ERR_INPUT,
                   "%s: the pickle asks for '%.*s.%.*s', which a file of weights has no need of",
                   m->name, (int)module_length, module, (int)name_length, name);
}

static bool is_plain_key(const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < length; i++) {
        char c = key[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return length > 0 && length <= MOST_KEY;
}

/* ('storage', <type>, key, location, number of elements) */
static mm_status push_storage(machine *m)
{
    mm_pickle *id = NULL, *value = NULL;
    MM_TRY(pop(m, &id));
    mm_pickle **part = id->items;
    if (id->kind != MM_PICKLE_TUPLE || id->count != 5 || part[0]->kind != MM_PICKLE_TEXT ||
        strcmp(part[0]->text, "storage") != 0 || part[1]->kind != MM_PICKLE_GLOBAL ||
        part[1]->whole < FIRST_STORAGE || part[2]->kind != MM_PICKLE_TEXT ||
        part[3]->kind != MM_PICKLE_TEXT || part[4]->kind != MM_PICKLE_INT)
        return bad(m, "a persistent id that is no storage");
    if (!is_plain_key(part[2]->text) || part[4]->whole < 0)
        return bad(m, "a storage with an impossible key or size");
    mm_pickle_storage *storage = mm_arena_alloc(m->arena, sizeof(*storage));
    if (!storage)
        return no_memory(m);
    storage->dtype = globals[part[1]->whole].dtype;
    storage->key = part[2]->text;
    storage->elements = part[4]->whole;
    MM_TRY(push_new(m, MM_PICKLE_STORAGE, &value));
    value->storage = storage;
    return MM_OK;
}

/* No negative numbers, as many as the other tuple has. */
static bool read_numbers(const mm_pickle *tuple, int64_t *out)
{
    for (uint32_t i = 0; i < tuple->count; i++) {
        if (tuple->items[i]->kind != MM_PICKLE_INT || tuple->items[i]->whole < 0)
            return false;
        out[i] = tuple->items[i]->whole;
    }
    return true;
}

/* Every element lies inside the storage, and no more elements are claimed than it has. */
static bool lies_inside(const mm_pickle_tensor *tensor)
{
    int64_t elements, last = tensor->offset, step;
    if (!mm_shape_elements_checked(&tensor->shape, &elements) ||
        elements > tensor->storage->elements)
        return false;
    if (elements == 0)
        return tensor->offset <= tensor->storage->elements;
    for (int32_t i = 0; i < tensor->shape.rank; i++) {
        if (!mm_mul_i64(tensor->shape.dim[i] - 1, tensor->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return false;
    }
    return last < tensor->storage->elements;
}

static bool is_empty_dict(const mm_pickle *value)
{
    return value->kind == MM_PICKLE_DICT && value->count == 0;
}

/* (storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static mm_status rebuild_tensor(machine *m, const mm_pickle *arguments)
{
    mm_pickle **a = arguments->items, *value = NULL;
    if (arguments->count < 6 || arguments->count > 7 || a[0]->kind != MM_PICKLE_STORAGE ||
        a[1]->kind != MM_PICKLE_INT || a[2]->kind != MM_PICKLE_TUPLE ||
        a[3]->kind != MM_PICKLE_TUPLE || a[4]->kind != MM_PICKLE_BOOL || !is_empty_dict(a[5]) ||
        (arguments->count == 7 && a[6] != &none && !is_empty_dict(a[6])))
        return bad(m, "a tensor with wrong arguments");
    if (a[2]->count != a[3]->count || a[2]->count > MM_MAX_RANK)
        return bad(m, "a tensor with an impossible number of dimensions");
    mm_pickle_tensor *tensor = mm_arena_alloc(m->arena, sizeof(*tensor));
    if (!tensor)
        return no_memory(m);
    tensor->storage = a[0]->storage;
    tensor->offset = a[1]->whole;
    tensor->shape.rank = (int32_t)a[2]->count;
    if (tensor->offset < 0 || !read_numbers(a[2], tensor->shape.dim) ||
        !read_numbers(a[3], tensor->stride) || !lies_inside(tensor))
        return bad(m, "a tensor that does not fit its storage");
    MM_TRY(push_new(m, MM_PICKLE_TENSOR, &value));
    value->tensor = tensor;
    return MM_OK;
}

/* (tensor, requires_grad, hooks) */
static mm_status rebuild_parameter(machine *m, const mm_pickle *arguments)
{
    mm_pickle **a = arguments->items;
    if (arguments->count != 3 || a[0]->kind != MM_PICKLE_TENSOR || a[1]->kind != MM_PICKLE_BOOL ||
        !is_empty_dict(a[2]))
        return bad(m, "a parameter with wrong arguments");
    return push(m, a[0]);
}

static mm_status reduce(machine *m)
{
    mm_pickle *arguments = NULL, *callable = NULL, *value = NULL;
    MM_TRY(pop(m, &arguments));
    MM_TRY(pop(m, &callable));
    if (arguments->kind != MM_PICKLE_TUPLE || callable->kind != MM_PICKLE_GLOBAL)
        return bad(m, "a call of what cannot be called");
    switch (callable->whole) {
    case REBUILD_TENSOR:
        return rebuild_tensor(m, arguments);
    case REBUILD_PARAMETER:
        return rebuild_parameter(m, arguments);
    case ORDERED_DICT:
        if (arguments->count != 0)
            return bad(m, "an OrderedDict with arguments");
        MM_TRY(push_new(m, MM_PICKLE_DICT, &value));
        value->ordered = true;
        return MM_OK;
    default:
        return bad(m, "a call of a storage type");
    }
}

/* Only what Module.state_dict() leaves on its OrderedDict: {"_metadata": ...}, of no interest. */
static mm_status build(machine *m)
{
    mm_pickle *state = NULL;
    MM_TRY(pop(m, &state));
    if (m->depth == 0 || m->stack[m->depth - 1]->kind != MM_PICKLE_DICT ||
        !m->stack[m->depth - 1]->ordered || state->kind != MM_PICKLE_DICT || state->count != 2 ||
        strcmp(state->items[0]->text, "_metadata") != 0)
        return bad(m, "a state that no file of weights has");
    return MM_OK;
}

/* Indices are dense in practice; one beyond the pickle's length cannot be. */
static mm_status memo_put(machine *m, size_t index)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == &mark)
        return bad(m, "a value is missing");
    if (index >= m->count)
        return bad(m, "an impossible memo index");
    if (index >= m->memo_count) {
        size_t count = index + 1 > 2 * m->memo_count ? index + 1 : 2 * m->memo_count;
        mm_pickle **grown = mm_realloc(m->memo, count * sizeof(*grown));
        if (!grown)
            return no_memory(m);
        memset(grown + m->memo_count, 0, (count - m->memo_count) * sizeof(*grown));
        m->memo = grown;
        m->memo_count = count;
    }
    m->memo[index] = m->stack[m->depth - 1];
    return MM_OK;
}

static mm_status memo_get(machine *m, size_t index)
{
    if (index >= m->memo_count || !m->memo[index])
        return bad(m, "a memo index that was never set");
    return push(m, m->memo[index]);
}

static mm_status with_operand(machine *m, unsigned char opcode)
{
    const size_t bytes = strchr("KqhG", opcode) ? (opcode == 'G' ? 8 : 1) : opcode == 'M' ? 2 : 4;
    const unsigned char *p = NULL;
    mm_pickle *value = NULL;
    MM_TRY(take(m, bytes, &p));
    switch (opcode) {
    case 'K':
        return push_whole(m, *p);
    case 'M':
        return push_whole(m, p[0] | p[1] << 8);
    case 'J':
        return push_whole(m, (int32_t)u32(p));
    case 'G':
        return push_new(m, MM_PICKLE_FLOAT, &value);
    case 'q':
        return memo_put(m, *p);
    case 'r':
        return memo_put(m, u32(p));
    case 'h':
        return memo_get(m, *p);
    default: /* 'j' */
        return memo_get(m, u32(p));
    }
}

static mm_status execute(machine *m, unsigned char opcode)
{
    mm_pickle *value = NULL;
    switch (opcode) {
    case '(':
        return push(m, &mark);
    case 'N':
        return push(m, &none);
    case 0x88:
        return push(m, &true_value);
    case 0x89:
        return push(m, &false_value);
    case ')':
        return push_tuple(m, NULL, 0);
    case 0x85:
    case 0x86:
    case 0x87:
        return short_tuple(m, opcode - 0x84u);
    case 't':
        return marked_tuple(m);
    case ']':
        return push_new(m, MM_PICKLE_LIST, &value);
    case '}':
        return push_new(m, MM_PICKLE_DICT, &value);
    case 'a':
        return append_one(m);
    case 'e':
        return append_marked(m);
    case 's':
        return set_one(m);
    case 'u':
        return set_marked(m);
    case 'X':
        return push_text(m);
    case 0x8a:
        return push_long(m);
    case 'c':
        return push_global(m);
    case 'Q':
        return push_storage(m);
    case 'R':
        return reduce(m);
    case 'b':
        return build(m);
    case 'K':
    case 'M':
    case 'J':
    case 'G':
    case 'q':
    case 'r':
    case 'h':
    case 'j':
        return with_operand(m, opcode);
    default:
        return mm_fail(m->error, MM_ERR_INPUT,
                       "%s: damaged or unsafe pickle, byte %zu: instruction 0x%02x", m->name,
                       m->at - 1, opcode);
    }
}

static mm_status run(machine *m)
{
    const unsigned char *p = NULL;
    MM_TRY(take(m, 2, &p));
    if (p[0] != 0x80 || p[1] != 2)
        return bad(m, "not of protocol 2, which torch.save writes");
    for (;;) {
        MM_TRY(take(m, 1, &p));
        if (*p == '.')
            break;
        MM_TRY(execute(m, *p));
    }
    if (m->at != m->count)
        return bad(m, "bytes after its end");
    return m->depth == 1 && m->stack[0] != &mark ? MM_OK
                                                 : bad(m, "values are left over or missing");
}

mm_status mm_pickle_read(mm_pickle **root, const char *name, const char *bytes, size_t count,
                         mm_arena *arena, mm_error *error)
{
    machine m = {.name = name,
                 .bytes = (const unsigned char *)bytes,
                 .count = count,
                 .arena = arena,
                 .error = error};
    mm_status status = run(&m);
    if (status == MM_OK)
        *root = m.stack[0];
    mm_free(m.stack);
    mm_free(m.memo);
    return status;
}
