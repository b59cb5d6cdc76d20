/* The exports of a guardrail, and what its author calls. */
#include "witgate/guardrail.h"

#include <stdlib.h>
#include <string.h>

/* --- What may be left out ------------------------------------------------------------------------------------------- */

__attribute__((weak)) bool plugin_open_stream(const wg_call *call, void **stream, wg_error *error) {
    (void)call, (void)stream, (void)error;
    return true;
}

__attribute__((weak)) bool plugin_push(void *stream, uint32_t channel, wg_str text, wg_stream_verdict *verdict,
                                       wg_error *error) {
    (void)stream, (void)channel, (void)text, (void)verdict;
    return wg_failed(error, "plugin_open_stream gives a stream, and there is no plugin_push");
}

__attribute__((weak)) bool plugin_finish(void *stream, uint32_t channel, wg_stream_verdict *verdict, wg_error *error) {
    (void)stream, (void)channel, (void)verdict;
    return wg_failed(error, "plugin_open_stream gives a stream, and there is no plugin_finish");
}

__attribute__((weak)) wg_findings plugin_stream_findings(void *stream) {
    (void)stream;
    return (wg_findings){0};
}

__attribute__((weak)) void plugin_close_stream(void *stream) { free(stream); }

/* --- Exports -------------------------------------------------------------------------------------------------------- */

/* The bindings leave it to us what a stream guard is: the author's state. */
struct exports_plugin_stream_guard_t {
    void *state;
};

bool exports_plugin_check(wg_call *call, wg_body body, wg_verdict *verdict, wg_error *error) {
    wg__enter(error);
    verdict->tag = WG__UNSET;
    bool done = plugin_check(call, body, verdict, error);
    wit_body_view_drop_borrow(body);
    return wg__leave(done, error, verdict->tag != WG__UNSET, "plugin_check");
}

bool exports_plugin_open_stream(wg_call *call, exports_plugin_option_own_stream_guard_t *out, wg_error *error) {
    wg__enter(error);
    void *state = NULL;
    bool done = plugin_open_stream(call, &state, error);
    *out = (exports_plugin_option_own_stream_guard_t){0};
    if (done && state) {
        exports_plugin_stream_guard_t *guard = malloc(sizeof *guard);
        if (!guard) wg_panic("out of memory");
        guard->state = state;
        *out = (exports_plugin_option_own_stream_guard_t){true, exports_plugin_stream_guard_new(guard)};
    }
    return wg__leave(done, error, true, "plugin_open_stream");
}

bool exports_plugin_method_stream_guard_push(exports_plugin_stream_guard_t *guard, uint32_t channel, wg_str *text,
                                             wg_stream_verdict *verdict, wg_error *error) {
    wg__enter(error);
    verdict->tag = WG__UNSET;
    bool done = plugin_push(guard->state, channel, *text, verdict, error);
    return wg__leave(done, error, verdict->tag != WG__UNSET, "plugin_push");
}

bool exports_plugin_method_stream_guard_finish(exports_plugin_stream_guard_t *guard, uint32_t channel,
                                               wg_stream_verdict *verdict, wg_error *error) {
    wg__enter(error);
    verdict->tag = WG__UNSET;
    bool done = plugin_finish(guard->state, channel, verdict, error);
    return wg__leave(done, error, verdict->tag != WG__UNSET, "plugin_finish");
}

void exports_plugin_method_stream_guard_findings(exports_plugin_stream_guard_t *guard, wg_findings *out) {
    wg_error unused;
    wg__enter(&unused);
    *out = plugin_stream_findings(guard->state);
    wg__leave(true, &unused, true, "plugin_stream_findings");
}

void exports_plugin_stream_guard_destructor(exports_plugin_stream_guard_t *guard) {
    plugin_close_stream(guard->state);
    free(guard);
}

/* --- Verdicts ------------------------------------------------------------------------------------------------------- */

typedef exports_plugin_block_t block;

static block refusal(const char *format, va_list arguments) {
    return (block){.message = wg_vformat(format, arguments), .status = 400};
}

static void add_finding(wg_findings *findings, const char *kind, uint32_t count) {
    findings->ptr = wg__one_more(findings->ptr, findings->len, sizeof(wg_finding));
    findings->ptr[findings->len++] = (wg_finding){wg_str_of(kind), count};
}

bool wg_allow(wg_verdict *verdict) {
    verdict->tag = EXPORTS_PLUGIN_VERDICT_ALLOW;
    return true;
}

bool wg_block(wg_verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verdict->tag = EXPORTS_PLUGIN_VERDICT_BLOCK;
    verdict->val.block = refusal(format, arguments);
    va_end(arguments);
    return true;
}

bool wg_block_with(wg_verdict *verdict, uint16_t status, wg_str detail) {
    if (verdict->tag != EXPORTS_PLUGIN_VERDICT_BLOCK) wg_panic("wg_block_with wants a verdict that blocks");
    verdict->val.block.status = status;
    verdict->val.block.detail = (exports_plugin_option_json_t){detail.len > 0, detail};
    return true;
}

bool wg_could_not_judge(wg_verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verdict->tag = EXPORTS_PLUGIN_VERDICT_COULD_NOT_JUDGE;
    verdict->val.could_not_judge = wg_vformat(format, arguments);
    va_end(arguments);
    return true;
}

static bool add_edit(wg_verdict *verdict, wit_body_edit_t edit) {
    if (verdict->tag != EXPORTS_PLUGIN_VERDICT_EDIT)
        *verdict = (wg_verdict){.tag = EXPORTS_PLUGIN_VERDICT_EDIT, .val = {.edit = {{0}, {0}}}};
    exports_plugin_list_edit_t *edits = &verdict->val.edit.edits;
    edits->ptr = wg__one_more(edits->ptr, edits->len, sizeof edit);
    edits->ptr[edits->len++] = edit;
    return true;
}

bool wg_edit_text(wg_verdict *verdict, wg_str pointer, wg_str text) {
    return add_edit(verdict, (wit_body_edit_t){.tag = WIT_BODY_EDIT_TEXT, .val = {.text = {pointer, text}}});
}

bool wg_edit_value(wg_verdict *verdict, wg_str pointer, wg_str json) {
    return add_edit(verdict, (wit_body_edit_t){.tag = WIT_BODY_EDIT_VALUE, .val = {.value = {pointer, json}}});
}

bool wg_edit_remove(wg_verdict *verdict, wg_str pointer) {
    return add_edit(verdict, (wit_body_edit_t){.tag = WIT_BODY_EDIT_REMOVE, .val = {.remove = pointer}});
}

bool wg_found(wg_verdict *verdict, const char *kind, uint32_t count) {
    if (verdict->tag == EXPORTS_PLUGIN_VERDICT_BLOCK) add_finding(&verdict->val.block.findings, kind, count);
    else if (verdict->tag == EXPORTS_PLUGIN_VERDICT_EDIT) add_finding(&verdict->val.edit.findings, kind, count);
    else wg_panic("wg_found wants a verdict that blocks or edits");
    return true;
}

bool wg_release(wg_stream_verdict *verdict, wg_str text) {
    verdict->tag = EXPORTS_PLUGIN_STREAM_VERDICT_RELEASE;
    verdict->val.release = text;
    return true;
}

bool wg_stream_block(wg_stream_verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verdict->tag = EXPORTS_PLUGIN_STREAM_VERDICT_BLOCK;
    verdict->val.block = refusal(format, arguments);
    va_end(arguments);
    return true;
}

bool wg_stream_found(wg_stream_verdict *verdict, const char *kind, uint32_t count) {
    if (verdict->tag != EXPORTS_PLUGIN_STREAM_VERDICT_BLOCK) wg_panic("wg_stream_found wants a verdict that blocks");
    add_finding(&verdict->val.block.findings, kind, count);
    return true;
}

wg_findings wg_one_finding(const char *kind, uint32_t count) {
    wg_findings findings = {0};
    if (count) add_finding(&findings, kind, count);
    return findings;
}

/* --- Held text ------------------------------------------------------------------------------------------------------ */

struct wg__channel {
    uint32_t number;
    wg_str text;
};

static struct wg__channel *find_channel(wg_held *held, uint32_t number) {
    for (size_t i = 0; i < held->len; i++)
        if (held->channels[i].number == number) return &held->channels[i];
    return NULL;
}

wg_str wg_held_take(wg_held *held, uint32_t channel, wg_str more) {
    struct wg__channel *found = find_channel(held, channel);
    if (!found || found->text.len == 0) return more;
    wg_buf both = {0};
    wg_add(&both, found->text);
    wg_add(&both, more);
    free(found->text.ptr);
    found->text = (wg_str){0};
    return wg_text(&both);
}

void wg_held_put(wg_held *held, uint32_t channel, wg_str text) {
    struct wg__channel *found = find_channel(held, channel);
    if (text.len == 0) return;
    if (!found) {
        struct wg__channel *more = realloc(held->channels, (held->len + 1) * sizeof *more);
        if (!more) wg_panic("out of memory");
        held->channels = more;
        found = &more[held->len++];
        *found = (struct wg__channel){.number = channel};
    }
    free(found->text.ptr);
    found->text = wg_keep(text);
}

void wg_held_free(wg_held *held) {
    for (size_t i = 0; i < held->len; i++) free(held->channels[i].text.ptr);
    free(held->channels);
    *held = (wg_held){0};
}
