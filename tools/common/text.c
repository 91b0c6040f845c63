/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and prompts come from anywhere. Whatever they hold, they stay text in what is written. */
#include <math.h>
#include <string.h>

#include "cli.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the character; 0 when the bytes are none. */
static size_t character_length(const unsigned char *p)
{
    size_t length = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t code = length == 1 ? p[0] : p[0] & (0xffu >> (length + 1));
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < least[length] || surrogate || code > 0x10ffff ? 0 : length;
}

/* The escape of an ASCII character; NULL: it stands for itself. */
typedef const char *(*escape)(unsigned char c);

static void print_escaped(FILE *file, const char *text, escape of)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        size_t length = character_length(p);
        const char *escaped = length == 1 ? of(*p) : NULL;
        if (length == 0)
            fputs(REPLACEMENT, file);
        else if (escaped)
            fputs(escaped, file);
        else
            fwrite(p, 1, length, file);
        p += length ? length : 1;
    }
}

static const char *escape_html(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
        return NULL;
    default:
        return c < 0x20 || c == 0x7f ? REPLACEMENT : NULL;
    }
}

static const char *escape_json(unsigned char c)
{
    static char code[8];
    if (c == '"')
        return "\\\"";
    if (c == '\\')
        return "\\\\";
    if (c >= 0x20)
        return NULL;
    snprintf(code, sizeof(code), "\\u%04x", c);
    return code;
}

static const char *escape_csv(unsigned char c)
{
    return c == '"' ? "\"\"" : NULL;
}

void cli_write_html(FILE *file, const char *text)
{
    print_escaped(file, text, escape_html);
}

void cli_write_json(FILE *file, const char *text)
{
    fputc('"', file);
    print_escaped(file, text, escape_json);
    fputc('"', file);
}

void cli_write_json_number(FILE *file, double value)
{
    fprintf(file, isfinite(value) ? "%.10g" : "null", value);
}

void cli_write_csv(FILE *file, const char *text)
{
    bool plain = !strpbrk(text, "\",\r\n") && *text != ' ';
    if (!plain)
        fputc('"', file);
    print_escaped(file, text, escape_csv);
    if (!plain)
        fputc('"', file);
}
