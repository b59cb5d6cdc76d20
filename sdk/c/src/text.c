/* Text with a length. */
#include "witgate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

wg_str wg_str_of(const char *text) { return (wg_str){(char *)text, text ? strlen(text) : 0}; }

char *wg_cstr(wg_str text) {
    char *copy = wg_alloc(text.len + 1);
    if (text.len) memcpy(copy, text.ptr, text.len);
    return copy;
}

wg_str wg_vformat(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length <= 0) return (wg_str){0};
    char *text = wg_alloc((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    /* The host takes nothing that is not UTF-8, and `%.*s` may be given anything. */
    return wg_utf8((wg_str){text, (size_t)length});
}

wg_str wg_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wg_str text = wg_vformat(format, arguments);
    va_end(arguments);
    return text;
}

wg_str wg_keep(wg_str text) {
    char *copy = malloc(text.len + 1);
    if (!copy) wg_panic("out of memory");
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return (wg_str){copy, text.len};
}

static unsigned char lower(char letter) {
    unsigned char byte = (unsigned char)letter;
    return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

bool wg_equal(wg_str a, wg_str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }

bool wg_is(wg_str text, const char *other) { return wg_equal(text, wg_str_of(other)); }

bool wg_equal_ignoring_case(wg_str a, wg_str b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
    return true;
}

bool wg_same_secret(wg_str a, wg_str b) {
    volatile unsigned char differs = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) differs |= (unsigned char)(a.ptr[i] ^ (b.len ? b.ptr[i % b.len] : 1));
    return differs == 0;
}

bool wg_starts_with(wg_str text, wg_str start) {
    return text.len >= start.len && wg_equal(wg_slice(text, 0, start.len), start);
}

bool wg_ends_with(wg_str text, wg_str end) {
    return text.len >= end.len && wg_equal(wg_slice(text, text.len - end.len, text.len), end);
}

size_t wg_find(wg_str text, wg_str what, size_t from) {
    if (what.len == 0) return WG_NONE;
    while (from < text.len && what.len <= text.len - from) {
        const char *at = memchr(text.ptr + from, what.ptr[0], text.len - from - what.len + 1);
        if (!at) return WG_NONE;
        from = (size_t)(at - text.ptr);
        if (memcmp(at, what.ptr, what.len) == 0) return from;
        from++;
    }
    return WG_NONE;
}

size_t wg_find_ignoring_case(wg_str text, wg_str what, size_t from) {
    if (what.len == 0) return WG_NONE;
    unsigned char first = lower(what.ptr[0]);
    for (; from < text.len && what.len <= text.len - from; from++) {
        if (lower(text.ptr[from]) != first) continue;
        size_t i = 1;
        while (i < what.len && lower(text.ptr[from + i]) == lower(what.ptr[i])) i++;
        if (i == what.len) return from;
    }
    return WG_NONE;
}

wg_str wg_slice(wg_str text, size_t from, size_t to) {
    if (to > text.len) to = text.len;
    if (from > to) from = to;
    return (wg_str){text.ptr + from, to - from};
}

static bool is_space(char letter) { return letter == ' ' || (letter >= '\t' && letter <= '\r'); }

wg_str wg_trim(wg_str text) {
    while (text.len && is_space(text.ptr[0])) text = wg_slice(text, 1, text.len);
    while (text.len && is_space(text.ptr[text.len - 1])) text.len--;
    return text;
}

wg_str wg_percent(wg_str text) {
    static const char digits[] = "0123456789ABCDEF";
    wg_buf out = {0};
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        char coded[] = {'%', digits[c >> 4], digits[c & 15]};
        wg_add(&out, plain ? (wg_str){(char *)&c, 1} : (wg_str){coded, 3});
    }
    return wg_text(&out);
}

wg_str wg_lower(wg_str text) {
    char *copy = wg_cstr(text);
    for (size_t i = 0; i < text.len; i++) copy[i] = (char)lower(copy[i]);
    return (wg_str){copy, text.len};
}

wg_str wg_cut(wg_str text, size_t max) {
    if (max > text.len) max = text.len;
    /* A character that the cut would split goes whole. */
    size_t start = max;
    while (start > 0 && max - start < 3 && ((unsigned char)text.ptr[start - 1] & 0xC0) == 0x80) start--;
    if (start > 0) {
        unsigned char first = (unsigned char)text.ptr[start - 1];
        size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
        if (length > max - start + 1) max = start - 1;
    }
    return wg_slice(text, 0, max);
}

/* Length of the character at the start, 0 when it is none. */
static size_t character(const unsigned char *at, size_t len) {
    unsigned char a = at[0];
    if (a < 0x80) return 1;
    size_t more = a >= 0xC2 && a <= 0xDF ? 1 : (a & 0xF0) == 0xE0 ? 2 : a >= 0xF0 && a <= 0xF4 ? 3 : 0;
    if (more == 0 || len <= more) return 0;
    for (size_t i = 1; i <= more; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    bool wrong = (a == 0xE0 && at[1] < 0xA0) || (a == 0xED && at[1] > 0x9F) || (a == 0xF0 && at[1] < 0x90) ||
                 (a == 0xF4 && at[1] > 0x8F);
    return wrong ? 0 : more + 1;
}

wg_str wg_utf8(wg_str bytes) {
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    size_t i = 0;
    for (size_t step; i < bytes.len && (step = character(at + i, bytes.len - i)); i += step) {
    }
    if (i == bytes.len) return bytes;
    wg_buf out = {0};
    wg_add(&out, wg_slice(bytes, 0, i));
    while (i < bytes.len) {
        size_t step = character(at + i, bytes.len - i);
        if (step) wg_add(&out, wg_slice(bytes, i, i + step));
        else wg_adds(&out, "\xEF\xBF\xBD");
        i += step ? step : 1;
    }
    return wg_text(&out);
}

void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size);

void wg_add(wg_buf *buf, wg_str text) {
    if (text.len > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) wg_panic("out of memory");
    if (buf->len + text.len > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        while (cap < buf->len + text.len) cap *= 2;
        buf->ptr = cabi_realloc(buf->ptr, buf->cap, 1, cap);
        buf->cap = cap;
    }
    if (text.len) memcpy(buf->ptr + buf->len, text.ptr, text.len);
    buf->len += text.len;
}

void wg_adds(wg_buf *buf, const char *text) { wg_add(buf, wg_str_of(text)); }

void wg_addf(wg_buf *buf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wg_add(buf, wg_vformat(format, arguments));
    va_end(arguments);
}

wg_str wg_text(const wg_buf *buf) { return (wg_str){buf->ptr, buf->len}; }
