/* Memory, errors, settings, log: what every kind of plugin has. */
#include "witgate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Memory of a call ---------------------------------------------------------------------------------------------- */

/* Blocks that grow to this size; larger requests get blocks of their own. */
#define FIRST_BLOCK (16u << 10)
#define LARGEST_BLOCK (256u << 10)

typedef struct block {
    struct block *before;
    size_t size;
    size_t used;
    _Alignas(16) char bytes[];
} block;

static block *newest;
/* The last allocation, which can grow in place. */
static char *last;
/* The call is over: what comes next belongs to another. */
static bool over;
/* The host's handles that were taken, given back with the memory. The function comes with each, so that a plugin without
 * secrets does not import them. */
typedef struct handle {
    struct handle *before;
    int32_t handle;
    void (*drop)(int32_t);
} handle;
static handle *handles;

static void *take(size_t size, size_t align) {
    if (newest) {
        size_t start = (newest->used + align - 1) & ~(align - 1);
        if (start <= newest->size && size <= newest->size - start) {
            newest->used = start + size;
            return last = newest->bytes + start;
        }
    }
    size_t room = newest ? newest->size * 2 : FIRST_BLOCK;
    if (room > LARGEST_BLOCK) room = LARGEST_BLOCK;
    if (room < size) room = size;
    block *fresh = room > SIZE_MAX / 2 ? NULL : malloc(sizeof(block) + room);
    if (!fresh) wg_panic("out of memory");
    *fresh = (block){.before = newest, .size = room, .used = size};
    newest = fresh;
    return last = fresh->bytes;
}

/* Keeps the first block: most calls need no more. */
static void forget(void) {
    for (; handles; handles = handles->before) handles->drop(handles->handle);
    while (newest && newest->before) {
        block *before = newest->before;
        free(newest);
        newest = before;
    }
    if (newest && newest->size > LARGEST_BLOCK) {
        free(newest);
        newest = NULL;
    }
    if (newest) newest->used = 0;
    last = NULL;
    over = false;
}

void wg__drop_later(int32_t number, void (*drop)(int32_t)) {
    handle *entry = wg_alloc(sizeof *entry);
    *entry = (handle){.before = handles, .handle = number, .drop = drop};
    handles = entry;
}

/* Where the host puts what it passes in, and the bindings what they hand out. Exported by the bindings' name. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    if (over) forget();
    if (size == 0) return (void *)align;
    if (old_size && old == last && newest && (char *)old >= newest->bytes) {
        size_t start = (size_t)((char *)old - newest->bytes);
        if (size <= newest->size - start) {
            newest->used = start + size;
            return old;
        }
    }
    void *fresh = take(size, align);
    if (old_size) memcpy(fresh, old, old_size < size ? old_size : size);
    return fresh;
}

void *wg_alloc(size_t size) {
    if (over) forget();
    return memset(take(size ? size : 1, 16), 0, size);
}

void *wg_alloc_array(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) wg_panic("out of memory");
    return wg_alloc(count * size);
}

void *wg__one_more(void *items, size_t count, size_t size) {
    if (count & (count - 1)) return items;
    void *more = wg_alloc_array(count ? count * 2 : 1, size);
    if (count) memcpy(more, items, count * size);
    return more;
}

void wg__enter(wg_error *error) {
    if (over) forget();
    if (error) error->tag = WG__UNSET;
}

bool wg__leave(bool done, const wg_error *error, bool answered, const char *function) {
    wg_error *out = (wg_error *)error;
    if (done && !answered) done = wg_failed(out, "%s returned true and gave no answer", function);
    if (!done && out->tag == WG__UNSET) wg_failed(out, "%s returned false and gave no error", function);
    over = true;
    return done;
}

/* May be left out. */
__attribute__((weak)) bool plugin_init(wg_error *error) {
    (void)error;
    return true;
}

bool exports_plugin_init(wg_error *error) {
    wg__enter(error);
    return wg__leave(plugin_init(error), error, true, "plugin_init");
}

/* The bindings ask for an object file with the types; the builder adds them to the module instead. */
void __component_type_object_force_link_wit(void) {}

/* --- The end of an instance ---------------------------------------------------------------------------------------- */

_Noreturn void wg_panic(const char *format, ...) {
    /* No allocation: there may be no memory. */
    static char words[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (length < 0) length = 0;
    wit_string_t text = {words, (size_t)length < sizeof words ? (size_t)length : sizeof words - 1};
    text = wg_cut(text, text.len);
    wit_log_panic(&text);
    __builtin_trap();
}

/* In place of the C library's, whose words would go nowhere; the builder gives them these names. */
_Noreturn void wg__abort(void) { wg_panic("abort() was called"); }

_Noreturn void wg__exit(int status) { wg_panic("exit(%d) was called", status); }

_Noreturn void wg__assert_fail(const char *expression, const char *file, int line, const char *function) {
    wg_panic("%s:%d: %s: assertion failed: %s", file, line, function, expression);
}

/* --- Errors -------------------------------------------------------------------------------------------------------- */

#define ERROR(name, case, member)                                                                                     \
    bool name(wg_error *error, const char *format, ...) {                                                             \
        va_list arguments;                                                                                            \
        va_start(arguments, format);                                                                                  \
        error->tag = case;                                                                                            \
        error->val.member = wg_vformat(format, arguments);                                                            \
        va_end(arguments);                                                                                            \
        return false;                                                                                                 \
    }
ERROR(wg_invalid_settings, WIT_TYPES_PLUGIN_ERROR_INVALID_SETTINGS, invalid_settings)
ERROR(wg_denied, WIT_TYPES_PLUGIN_ERROR_DENIED, denied)
ERROR(wg_unavailable, WIT_TYPES_PLUGIN_ERROR_UNAVAILABLE, unavailable)
ERROR(wg_failed, WIT_TYPES_PLUGIN_ERROR_FAILED, failed)

/* Every case holds a text, in the same place. */
wg_str wg_error_text(const wg_error *error) { return error->val.failed; }

wit_option_string_t wg_some(wg_str text) { return (wit_option_string_t){true, text}; }

/* --- Settings ------------------------------------------------------------------------------------------------------ */

bool wg_setting(const char *name, wg_str *value) {
    wg_str key = wg_str_of(name);
    if (wit_settings_get(&key, value)) return true;
    *value = (wg_str){0};
    return false;
}

wg_str wg_setting_text(const char *name) {
    wg_str value;
    wg_setting(name, &value);
    return value;
}

const wg_json *wg_setting_json(const char *name) {
    wg_str value;
    return wg_setting(name, &value) ? wg_json_parse(value) : NULL;
}

bool wg_setting_bool(const char *name, bool otherwise) { return wg_json_bool(wg_setting_json(name), otherwise); }

double wg_setting_number(const char *name, double otherwise) {
    return wg_json_number(wg_setting_json(name), otherwise);
}

const wg_json *wg_settings(void) {
    wg_str all;
    wit_settings_all(&all);
    return wg_json_parse(all);
}

bool wg_env(const char *name, wg_str *value, wg_error *error) {
    wg_str key = wg_str_of(name), why;
    wit_option_string_t found;
    if (!wit_settings_env(&key, &found, &why)) return wg_denied(error, "%.*s", WG_ARG(why));
    *value = found.is_some ? found.val : (wg_str){0};
    return true;
}

/* --- Log and metrics ----------------------------------------------------------------------------------------------- */

static void write_line(wg_level level, const wg_pair *fields, size_t count, const char *format, va_list arguments) {
    wg_str message = wg_vformat(format, arguments);
    wit_list_tuple2_string_string_t list = {wg_alloc_array(count, sizeof(wg_pair)), count};
    for (size_t i = 0; i < count; i++) list.ptr[i] = (wg_pair){wg_utf8(fields[i].f0), wg_utf8(fields[i].f1)};
    wit_log_write((wit_log_level_t)level, &message, &list);
}

void wg_log(wg_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(level, NULL, 0, format, arguments);
    va_end(arguments);
}

void wg_log_with(wg_level level, const wg_pair *fields, size_t count, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(level, fields, count, format, arguments);
    va_end(arguments);
}

void wg_count(const char *name, uint64_t amount, const wg_pair *labels, size_t count) {
    wg_str text = wg_str_of(name);
    wit_list_tuple2_string_string_t list = {(wg_pair *)labels, count};
    wit_metrics_add(&text, &list, amount);
}

void wg_observe(const char *name, double value, const wg_pair *labels, size_t count) {
    wg_str text = wg_str_of(name);
    wit_list_tuple2_string_string_t list = {(wg_pair *)labels, count};
    wit_metrics_observe(&text, &list, value);
}

/* --- The smaller services ------------------------------------------------------------------------------------------- */

uint64_t wg_now_ms(void) { return wit_clock_now_ms(); }

uint64_t wg_monotonic_ns(void) { return wit_clock_monotonic_ns(); }

void wg_random(void *bytes, size_t count) {
    wit_list_u8_t got;
    wit_random_bytes((uint32_t)count, &got);
    if (got.len < count) wg_panic("asked for %zu random bytes, more than the host gives", count);
    memcpy(bytes, got.ptr, count);
}

wg_str wg_uuid(void) {
    wg_str text;
    wit_random_uuid(&text);
    return text;
}

#ifdef WIT_HAS_KV
bool wg_kv_get(wg_scope scope, wg_str key, wg_str *value) {
    wit_list_u8_t bytes;
    bool found = wit_kv_get((wit_kv_scope_t)scope, &key, &bytes);
    *value = found ? (wg_str){(char *)bytes.ptr, bytes.len} : (wg_str){0};
    return found;
}

bool wg_kv_set(wg_scope scope, wg_str key, wg_str value, uint64_t ttl_ms, wg_error *error) {
    wit_list_u8_t bytes = {(uint8_t *)value.ptr, value.len};
    wg_str why;
    if (wit_kv_set((wit_kv_scope_t)scope, &key, &bytes, ttl_ms ? &ttl_ms : NULL, &why)) return true;
    return wg_failed(error, "%.*s", WG_ARG(why));
}

bool wg_kv_delete(wg_scope scope, wg_str key) { return wit_kv_delete((wit_kv_scope_t)scope, &key); }
#endif

#ifdef WIT_HAS_REQUEST
wit_list_tuple2_string_string_t wg_client_headers(void) {
    wit_list_tuple2_string_string_t headers;
    wit_request_headers(&headers);
    return headers;
}

wg_str wg_client_facts(void) {
    wg_str facts;
    wit_request_caller(&facts);
    return facts;
}
#endif

#ifdef WIT_HAS_FILES
bool wg_append(const char *name, wg_str bytes, wg_error *error) {
    wg_str file = wg_str_of(name), why;
    wit_list_u8_t data = {(uint8_t *)bytes.ptr, bytes.len};
    if (wit_files_append(&file, &data, &why)) return true;
    return wg_denied(error, "%.*s", WG_ARG(why));
}
#endif
