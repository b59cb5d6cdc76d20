/*
 * Witgate's plugin API for C.
 *
 * A plugin includes the header of its kind (`witgate/guardrail.h`, …), which includes this one, and defines the
 * functions that it declares: those that begin with `plugin_`. What begins with `wg_` is here to be called.
 *
 * Memory. Everything that these functions return, and everything that a `plugin_` function gets, lives until that
 * function returns; then all of it is freed at once. So nothing has to be freed, and literals may be returned. Use
 * `malloc` (or `wg_keep`) for what must live longer: it stays until you free it or the instance goes.
 *
 * Text is UTF-8 with a length, and not closed by a NUL. Names that are known when the plugin is written are `const char *`.
 *
 * Errors. A function that can fail takes a `wg_error *` and returns false after filling it in:
 *
 *     if (!wg_http_send(&request, &response, error)) return false;
 *     if (!wg_response_ok(&response)) return wg_unavailable(error, "the judge says %d", response.status);
 */
#ifndef WITGATE_H
#define WITGATE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Generated from the WIT of the plugin's kind: every type and function of the host, as it is. */
#include "wit.h"

/* --- Text --------------------------------------------------------------------------------------------------------- */

/* `char *ptr; size_t len;` */
typedef wit_string_t wg_str;

/* A literal as text. */
#define WG_STR(literal) ((wg_str){(char *)("" literal), sizeof(literal) - 1})
/* For `%.*s`. */
#define WG_ARG(text) (int)(text).len, (text).ptr
/* What `wg_find` returns when there is nothing. */
#define WG_NONE SIZE_MAX

/* A C string as text; not copied. NULL is empty text. */
wg_str wg_str_of(const char *text);
/* A copy, closed by a NUL. */
char *wg_cstr(wg_str text);
/* `printf` into new text. */
wg_str wg_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
wg_str wg_vformat(const char *format, va_list arguments);
/* A text that is there, for what may be absent. */
wit_option_string_t wg_some(wg_str text);
/* A copy that stays for the life of the instance: for what `plugin_init` reads from the settings. */
wg_str wg_keep(wg_str text);

bool wg_equal(wg_str a, wg_str b);
/* Whether it is this C string. */
bool wg_is(wg_str text, const char *other);
/* The same, whatever the case of ASCII letters. */
bool wg_equal_ignoring_case(wg_str a, wg_str b);
/* Compares without telling by its time how much was right: for tokens and signatures. */
bool wg_same_secret(wg_str a, wg_str b);
bool wg_starts_with(wg_str text, wg_str start);
bool wg_ends_with(wg_str text, wg_str end);
/* Where `what` begins, at `from` or later; WG_NONE when nowhere. Empty text is found nowhere. */
size_t wg_find(wg_str text, wg_str what, size_t from);
/* The same, whatever the case of ASCII letters. */
size_t wg_find_ignoring_case(wg_str text, wg_str what, size_t from);
/* From `from` up to, not including, `to`; both are cut to what there is. Not copied. */
wg_str wg_slice(wg_str text, size_t from, size_t to);
/* Without white space at both ends. Not copied. */
wg_str wg_trim(wg_str text);
/* ASCII letters in lower case. */
wg_str wg_lower(wg_str text);
/* Percent-encoded, as one segment of a path or a value of a query. */
wg_str wg_percent(wg_str text);
/* At most `max` bytes, cut between characters. Not copied. */
wg_str wg_cut(wg_str text, size_t max);
/* The text, with what is not UTF-8 replaced by U+FFFD: for bytes that came from elsewhere. */
wg_str wg_utf8(wg_str bytes);

/* Text that grows; begin with `wg_buf text = {0};`. */
typedef struct wg_buf {
    char *ptr;
    size_t len;
    size_t cap;
} wg_buf;

void wg_add(wg_buf *buf, wg_str text);
void wg_adds(wg_buf *buf, const char *text);
void wg_addf(wg_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is in it. */
wg_str wg_text(const wg_buf *buf);

/* --- Memory ------------------------------------------------------------------------------------------------------- */

/* Zeroed memory that lives as long as the call. Never NULL: an instance without memory ends. */
void *wg_alloc(size_t size);
/* An array of the same; too large a product ends the instance. */
void *wg_alloc_array(size_t count, size_t size);

/* Ends the instance, with these words in the operator's log. No way to report an error: it costs the instance and counts
 * against the plugin. `abort`, `exit` and a failing `assert` end here too. */
_Noreturn void wg_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- Errors ------------------------------------------------------------------------------------------------------- */

/* Why the plugin could not do its work. */
typedef wit_types_plugin_error_t wg_error;

/* A setting is missing or wrong. Name it and say what would be right. These four return false. */
bool wg_invalid_settings(wg_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The host refused something; pass its text on, it has the line of configuration that would allow it. */
bool wg_denied(wg_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The other side is in trouble; a later try may work. */
bool wg_unavailable(wg_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Anything else; a later try with the same input would fail the same way. */
bool wg_failed(wg_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text of an error. */
wg_str wg_error_text(const wg_error *error);

/* --- JSON --------------------------------------------------------------------------------------------------------- */

typedef enum wg_json_type { WG_NULL, WG_BOOL, WG_NUMBER, WG_STRING, WG_ARRAY, WG_OBJECT } wg_json_type;

/* A value. All functions take NULL for a value that is not there, so look-ups can be nested without checks. */
typedef struct wg_json {
    wg_json_type type;
    /* Of a boolean. */
    bool boolean;
    /* Of a number; integers above 2^53 lose digits, which `raw` has. */
    double number;
    /* Of a string, without its escapes. */
    wg_str text;
    /* The value as it was written. */
    wg_str raw;
    /* Of a member of an object. */
    wg_str name;
    /* How many items or members it has, the first of them, and the one after this. */
    size_t count;
    struct wg_json *first;
    struct wg_json *next;
} wg_json;

/* for (each item or member) */
#define WG_EACH(item, value) (const wg_json *item = (value) ? (value)->first : NULL; item; item = item->next)

/* The value in the text; NULL when it is not exactly one JSON value, or nests deeper than 128. */
const wg_json *wg_json_parse(wg_str text);
/* A member of an object; NULL when there is none. */
const wg_json *wg_json_get(const wg_json *value, const char *name);
/* The value at a JSON pointer (`/choices/0/message`); NULL when there is none. */
const wg_json *wg_json_at(const wg_json *value, const char *pointer);
/* The text of a string, of anything else empty text. */
wg_str wg_json_text(const wg_json *value);
/* The number, the boolean, or `otherwise` when it is none. */
double wg_json_number(const wg_json *value, double otherwise);
bool wg_json_bool(const wg_json *value, bool otherwise);

/* Writing: commas come by themselves.
 *
 *     wg_json_begin(&out, '{'); wg_json_key(&out, "id"); wg_json_put(&out, id); wg_json_end(&out, '}');
 */
void wg_json_begin(wg_buf *out, char bracket);
void wg_json_end(wg_buf *out, char bracket);
void wg_json_key(wg_buf *out, const char *name);
/* A string. */
void wg_json_put(wg_buf *out, wg_str text);
/* JSON as it is. */
void wg_json_put_raw(wg_buf *out, wg_str json);
void wg_json_put_int(wg_buf *out, int64_t number);
/* What is no number becomes null. */
void wg_json_put_number(wg_buf *out, double number);
void wg_json_put_bool(wg_buf *out, bool boolean);

/* --- Settings ----------------------------------------------------------------------------------------------------- */

/* A setting as text: a string as it is, anything else as JSON. False when it has neither a value nor a default. */
bool wg_setting(const char *name, wg_str *value);
/* A setting that has a default: its text, or empty text. */
wg_str wg_setting_text(const char *name);
bool wg_setting_bool(const char *name, bool otherwise);
double wg_setting_number(const char *name, double otherwise);
/* A list or an object; NULL when there is none. */
const wg_json *wg_setting_json(const char *name);
/* All that are not secret, an object. */
const wg_json *wg_settings(void);
/* A variable of the gateway's environment that the manifest names; empty text when it has no value. */
bool wg_env(const char *name, wg_str *value, wg_error *error);

/* --- Log and metrics ---------------------------------------------------------------------------------------------- */

/* Name and value. */
typedef wit_tuple2_string_string_t wg_pair;
#define WG_PAIR(name, value) ((wg_pair){WG_STR(name), (value)})

typedef enum wg_level { WG_TRACE, WG_DEBUG, WG_INFO, WG_WARN, WG_ERROR } wg_level;

/* A line of the plugin's log; what is not UTF-8 is replaced. */
void wg_log(wg_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with fields. */
void wg_log_with(wg_level level, const wg_pair *fields, size_t count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds to the counter `witgate_plugin_custom_<name>`. */
void wg_count(const char *name, uint64_t amount, const wg_pair *labels, size_t count);
/* Records a value in the histogram of this name. */
void wg_observe(const char *name, double value, const wg_pair *labels, size_t count);

/* --- Time and randomness ------------------------------------------------------------------------------------------ */

/* Milliseconds since 1970. */
uint64_t wg_now_ms(void);
/* Nanoseconds of a clock that never goes back. */
uint64_t wg_monotonic_ns(void);
/* Random bytes, at most 64 KiB. */
void wg_random(void *bytes, size_t count);
/* A random UUID. */
wg_str wg_uuid(void);

#ifdef WIT_HAS_KV
/* --- Values that outlive an instance ------------------------------------------------------------------------------ */

/* Those of the request under way, or those of the plugin, whoever it is called for. */
typedef enum wg_scope { WG_OF_REQUEST, WG_OF_PLUGIN } wg_scope;

/* False when there is no value. */
bool wg_kv_get(wg_scope scope, wg_str key, wg_str *value);
/* Keeps a value for so long, at most a day; 0 for a day. */
bool wg_kv_set(wg_scope scope, wg_str key, wg_str value, uint64_t ttl_ms, wg_error *error);
/* False when there was none. */
bool wg_kv_delete(wg_scope scope, wg_str key);
#endif

#ifdef WIT_HAS_REQUEST
/* The client's headers, without credentials, and what is known of the caller, a JSON object. */
wit_list_tuple2_string_string_t wg_client_headers(void);
wg_str wg_client_facts(void);
#endif

#ifdef WIT_HAS_FILES
/* Appends to a granted file, or to `stdout` when granted. */
bool wg_append(const char *name, wg_str bytes, wg_error *error);
#endif

#ifdef WIT_HAS_HTTP
#include "witgate/http.h"
#endif

#ifdef WIT_HAS_BODY
#include "witgate/body.h"
#endif

#ifdef WIT_HAS_LLM
#include "witgate/llm.h"
#endif

#ifdef WIT_HAS_MAIL
#include "witgate/mail.h"
#endif

/* --- Yours to define, in every kind ------------------------------------------------------------------------------------ */

/* Checks and keeps the settings, once per instance. May be left out. */
bool plugin_init(wg_error *error);

/* --- For the headers of the kinds --------------------------------------------------------------------------------- */

/* Around each export: what the call allocated is freed when the next one begins. */
void wg__enter(wg_error *error);
bool wg__leave(bool done, const wg_error *error, bool answered, const char *function);
/* A list of so many items with room for one more: it grows at every power of two. */
void *wg__one_more(void *items, size_t count, size_t size);
/* A tag that no variant has: nothing was filled in. */
#define WG__UNSET 0xFF
/* The export `name`: the author's function of that name fills in `answer`, which has a tag, or an error. */
#define WG__EXPORT(name, parameters, answer, call)                                                                    \
    bool exports_plugin_##name parameters {                                                                           \
        wg__enter(error);                                                                                             \
        (answer)->tag = WG__UNSET;                                                                                    \
        bool wg__done = plugin_##name call;                                                                           \
        return wg__leave(wg__done, error, (answer)->tag != WG__UNSET, "plugin_" #name);                               \
    }
/* The author's function `name`, when it is not written: an error that says so. */
#define WG__ABSENT(name, parameters, format, ...)                                                                     \
    __attribute__((weak)) bool plugin_##name parameters { return wg_failed(error, format, ##__VA_ARGS__); }

#endif
