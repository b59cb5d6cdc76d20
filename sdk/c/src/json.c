/* JSON: a reader (RFC 8259) into a tree, and a writer. */
#include "witgate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deeper is no honest JSON, and the stack is not endless. */
#define DEEPEST 128

typedef struct reader {
    const char *at;
    const char *end;
} reader;

static void skip_space(reader *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

static bool literal(reader *in, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(in->end - in->at) < length || memcmp(in->at, word, length) != 0) return false;
    in->at += length;
    return true;
}

static size_t digits(reader *in) {
    const char *start = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
    return (size_t)(in->at - start);
}

static bool number(reader *in, wg_json *out) {
    const char *start = in->at;
    if (in->at < in->end && *in->at == '-') in->at++;
    bool zero = in->at < in->end && *in->at == '0';
    size_t count = digits(in);
    if (count == 0 || (zero && count > 1)) return false;
    if (in->at < in->end && *in->at == '.') {
        in->at++;
        if (digits(in) == 0) return false;
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
        if (digits(in) == 0) return false;
    }
    /* `strtod` wants a NUL behind it. */
    out->number = strtod(wg_cstr((wg_str){(char *)start, (size_t)(in->at - start)}), NULL);
    out->type = WG_NUMBER;
    return true;
}

static bool hex4(const char *at, const char *end, unsigned *out) {
    if (end - at < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) return false;
        *out = *out * 16 + digit;
    }
    return true;
}

static char *put_utf8(char *to, unsigned code) {
    if (code < 0x80) *to++ = (char)code;
    else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* One `\uXXXX`, or two that are one character; a half alone becomes U+FFFD. */
static bool unicode(reader *in, char **to) {
    unsigned code, low;
    if (!hex4(in->at, in->end, &code)) return false;
    in->at += 4;
    if (code >= 0xD800 && code <= 0xDBFF && in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u' &&
        hex4(in->at + 2, in->end, &low) && low >= 0xDC00 && low <= 0xDFFF) {
        in->at += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code <= 0xDFFF) {
        code = 0xFFFD;
    }
    *to = put_utf8(*to, code);
    return true;
}

/* The text of a string; `in` stands behind its first quote. Without escapes it is not copied. */
static bool string(reader *in, wg_str *out) {
    const char *start = in->at;
    while (in->at < in->end && *in->at != '"' && *in->at != '\\' && (unsigned char)*in->at >= 0x20) in->at++;
    if (in->at == in->end) return false;
    if (*in->at == '"') {
        *out = (wg_str){(char *)start, (size_t)(in->at++ - start)};
        return true;
    }
    /* No escape is shorter than what it stands for, so the rest of the string has room enough. */
    const char *close = in->at;
    while (close < in->end && *close != '"') close += *close == '\\' ? 2 : 1;
    if (close >= in->end) return false;
    char *text = wg_alloc((size_t)(close - start) + 1), *to = text;
    memcpy(to, start, (size_t)(in->at - start));
    to += in->at - start;
    while (in->at < close) {
        char c = *in->at++;
        if ((unsigned char)c < 0x20) return false;
        if (c != '\\') {
            *to++ = c;
            continue;
        }
        static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
        char escape = *in->at++;
        const char *known = escape ? strchr(from, escape) : NULL;
        if (known) *to++ = into[known - from];
        else if (escape != 'u' || !unicode(in, &to)) return false;
    }
    if (in->at != close) return false;
    in->at = close + 1;
    *out = (wg_str){text, (size_t)(to - text)};
    return true;
}

static bool value(reader *in, wg_json *out, int depth);

static bool items(reader *in, wg_json *out, char close, int depth) {
    out->type = close == '}' ? WG_OBJECT : WG_ARRAY;
    if (depth == DEEPEST) return false;
    wg_json **next = &out->first;
    skip_space(in);
    if (in->at < in->end && *in->at == close) {
        in->at++;
        return true;
    }
    for (;;) {
        wg_json *item = wg_alloc(sizeof *item);
        if (close == '}') {
            skip_space(in);
            if (in->at == in->end || *in->at++ != '"' || !string(in, &item->name)) return false;
            skip_space(in);
            if (in->at == in->end || *in->at++ != ':') return false;
        }
        if (!value(in, item, depth + 1)) return false;
        *next = item;
        next = &item->next;
        out->count++;
        skip_space(in);
        if (in->at == in->end) return false;
        char mark = *in->at++;
        if (mark == close) return true;
        if (mark != ',') return false;
    }
}

static bool value(reader *in, wg_json *out, int depth) {
    skip_space(in);
    if (in->at == in->end) return false;
    const char *start = in->at;
    bool good;
    switch (*in->at) {
    case '{':
    case '[':
        in->at++;
        good = items(in, out, *start == '{' ? '}' : ']', depth);
        break;
    case '"':
        in->at++;
        out->type = WG_STRING;
        good = string(in, &out->text);
        break;
    case 't':
        out->type = WG_BOOL;
        out->boolean = true;
        good = literal(in, "true");
        break;
    case 'f':
        out->type = WG_BOOL;
        good = literal(in, "false");
        break;
    case 'n':
        good = literal(in, "null");
        break;
    default:
        good = number(in, out);
    }
    out->raw = (wg_str){(char *)start, (size_t)(in->at - start)};
    return good;
}

const wg_json *wg_json_parse(wg_str text) {
    reader in = {text.ptr, text.ptr + text.len};
    wg_json *root = wg_alloc(sizeof *root);
    if (!value(&in, root, 0)) return NULL;
    skip_space(&in);
    return in.at == in.end ? root : NULL;
}

static const wg_json *member(const wg_json *object, wg_str name) {
    if (!object || object->type != WG_OBJECT) return NULL;
    const wg_json *found = NULL;
    /* Of members with one name the last counts, as elsewhere. */
    for WG_EACH(item, object)
        if (wg_equal(item->name, name)) found = item;
    return found;
}

const wg_json *wg_json_get(const wg_json *object, const char *name) { return member(object, wg_str_of(name)); }

const wg_json *wg_json_at(const wg_json *at, const char *pointer) {
    while (at && *pointer == '/') {
        const char *end = strchr(++pointer, '/');
        size_t length = end ? (size_t)(end - pointer) : strlen(pointer);
        wg_buf name = {0};
        for (size_t i = 0; i < length; i++) {
            bool escape = pointer[i] == '~' && i + 1 < length && (pointer[i + 1] == '0' || pointer[i + 1] == '1');
            wg_add(&name, escape ? (pointer[i + 1] == '0' ? WG_STR("~") : WG_STR("/"))
                                 : (wg_str){(char *)pointer + i, 1});
            i += escape;
        }
        if (at->type == WG_ARRAY) {
            char *rest;
            unsigned long index = strtoul(wg_cstr(wg_text(&name)), &rest, 10);
            const wg_json *item = name.len && *rest == '\0' ? at->first : NULL;
            while (item && index--) item = item->next;
            at = item;
        } else {
            at = member(at, wg_text(&name));
        }
        pointer += length;
    }
    return *pointer ? NULL : at;
}

wg_str wg_json_text(const wg_json *value) { return value && value->type == WG_STRING ? value->text : (wg_str){0}; }

double wg_json_number(const wg_json *value, double otherwise) {
    return value && value->type == WG_NUMBER ? value->number : otherwise;
}

bool wg_json_bool(const wg_json *value, bool otherwise) {
    return value && value->type == WG_BOOL ? value->boolean : otherwise;
}

/* --- Writing -------------------------------------------------------------------------------------------------------- */

/* Whether a comma has to go before the next value: not at the beginning, and not behind what opens or names one. */
static void comma(wg_buf *out) {
    char before = out->len ? out->ptr[out->len - 1] : '{';
    if (before != '{' && before != '[' && before != ':') wg_adds(out, ",");
}

void wg_json_begin(wg_buf *out, char bracket) {
    comma(out);
    wg_adds(out, bracket == '{' ? "{" : "[");
}

void wg_json_end(wg_buf *out, char bracket) { wg_adds(out, bracket == '}' ? "}" : "]"); }

void wg_json_key(wg_buf *out, const char *name) {
    wg_json_put(out, wg_str_of(name));
    wg_adds(out, ":");
}

void wg_json_put(wg_buf *out, wg_str text) {
    comma(out);
    wg_adds(out, "\"");
    text = wg_utf8(text);
    size_t written = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        wg_add(out, wg_slice(text, written, i));
        written = i + 1;
        if (c == '"') wg_adds(out, "\\\"");
        else if (c == '\\') wg_adds(out, "\\\\");
        else if (c == '\n') wg_adds(out, "\\n");
        else wg_addf(out, "\\u%04x", c);
    }
    wg_add(out, wg_slice(text, written, text.len));
    wg_adds(out, "\"");
}

void wg_json_put_raw(wg_buf *out, wg_str json) {
    comma(out);
    wg_add(out, json);
}

void wg_json_put_int(wg_buf *out, int64_t number) {
    comma(out);
    wg_addf(out, "%lld", (long long)number);
}

void wg_json_put_number(wg_buf *out, double number) {
    comma(out);
    if (!isfinite(number)) return wg_adds(out, "null");
    char text[32];
    /* The shortest that reads back the same. */
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, number);
        if (strtod(text, NULL) == number) break;
    }
    wg_adds(out, text);
}

void wg_json_put_bool(wg_buf *out, bool boolean) {
    comma(out);
    wg_adds(out, boolean ? "true" : "false");
}
