/* The exports of a request hook, and what its author calls. */
#include "witgate/request-hook.h"

#include <stdlib.h>
#include <string.h>

/* --- What may be left out ------------------------------------------------------------------------------------------- */

/* The host calls what the manifest names. So one of these that is reached was forgotten, or written under another name. */
#define NO_HOOK(hook, name) "plugin.toml names the hook " hook ", and there is no plugin_" name

WG__ABSENT(pre_call, (const wg_call *call, wg_body request, wg_decision *decision, wg_error *error),
           NO_HOOK("pre_call", "pre_call"))
WG__ABSENT(pre_routing, (const wg_call *call, wg_body request, wg_decision *decision, wg_error *error),
           NO_HOOK("pre_routing", "pre_routing"))
WG__ABSENT(filter_deployments,
           (const wg_call *call, wg_body request, wg_deployments deployments, wg_selection *selection, wg_error *error),
           NO_HOOK("filter_deployments", "filter_deployments"))
WG__ABSENT(pre_call_deployment,
           (const wg_call *call, wg_body request, const wg_deployment *deployment, wg_decision *decision,
            wg_error *error),
           NO_HOOK("pre_call_deployment", "pre_call_deployment"))
WG__ABSENT(post_call_success,
           (const wg_call *call, wg_body request, wg_body response, wg_decision *decision, wg_error *error),
           NO_HOOK("post_call_success", "post_call_success"))
WG__ABSENT(post_call_failure,
           (const wg_call *call, wg_body request, const wg_failure *failure, wg_decision *decision, wg_error *error),
           NO_HOOK("post_call_failure", "post_call_failure"))
WG__ABSENT(response_headers,
           (const wg_call *call, wg_body request, const wg_reply *reply, const wg_body *response, wg_headers *headers,
            wg_error *error),
           NO_HOOK("response_headers", "response_headers"))
WG__ABSENT(open_stream, (const wg_call *call, wg_body request, void **stream, wg_error *error),
           NO_HOOK("streaming", "open_stream"))
WG__ABSENT(push, (void *stream, wg_str chunk, wg_piece *piece, wg_error *error), NO_HOOK("streaming", "push"))

__attribute__((weak)) bool plugin_finish(void *stream, wg_piece *piece, wg_error *error) {
    return wg_piece_keep(piece);
}

__attribute__((weak)) void plugin_close_stream(void *stream) { free(stream); }

/* --- Exports -------------------------------------------------------------------------------------------------------- */

typedef exports_plugin_http_error_t http_error;
typedef exports_plugin_stream_hook_t stream_hook;

/* Tags of `wg_decision`. */
enum { PROCEED, RESPOND, REFUSE };

/* The bindings leave it to us what a stream hook is: the author's state. */
struct exports_plugin_stream_hook_t {
    void *state;
};

/* What both kinds of decisions have in common. */
static bool decided(bool done, const wg_decision *decision, exports_plugin_decision_t *out, wg_error *error,
                    const char *function) {
    if (done && decision->tag == RESPOND)
        done = wg_failed(error, "`%s` answers with a text, which only `pre_call` may", function + strlen("plugin_"));
    if (decision->tag == REFUSE) {
        out->tag = EXPORTS_PLUGIN_DECISION_REFUSE;
        out->val.refuse = decision->refusal;
    } else {
        out->tag = EXPORTS_PLUGIN_DECISION_PROCEED;
        out->val.proceed = decision->edits;
    }
    return wg__leave(done, error, decision->tag != WG__UNSET, function);
}

#define DECISION(name, parameters, call, ...)                                                                         \
    bool exports_plugin_##name parameters {                                                                           \
        wg__enter(error);                                                                                             \
        wg_decision decision = {.tag = WG__UNSET};                                                                    \
        bool done = plugin_##name call;                                                                               \
        wit_body_view_drop_borrow(request);                                                                           \
        __VA_ARGS__;                                                                                                  \
        return decided(done, &decision, out, error, "plugin_" #name);                                                 \
    }

DECISION(pre_routing, (wg_call * call, wg_body request, exports_plugin_decision_t *out, wg_error *error),
         (call, request, &decision, error))

DECISION(pre_call_deployment,
         (wg_call * call, wg_body request, wg_deployment *deployment, exports_plugin_decision_t *out, wg_error *error),
         (call, request, deployment, &decision, error))

DECISION(post_call_success,
         (wg_call * call, wg_body request, wg_body response, exports_plugin_decision_t *out, wg_error *error),
         (call, request, response, &decision, error), wit_body_view_drop_borrow(response))

bool exports_plugin_pre_call(wg_call *call, wg_body request, exports_plugin_pre_decision_t *out, wg_error *error) {
    wg__enter(error);
    wg_decision decision = {.tag = WG__UNSET};
    bool done = plugin_pre_call(call, request, &decision, error);
    wit_body_view_drop_borrow(request);
    if (decision.tag == RESPOND) {
        out->tag = EXPORTS_PLUGIN_PRE_DECISION_RESPOND;
        out->val.respond = decision.text;
    } else if (decision.tag == REFUSE) {
        out->tag = EXPORTS_PLUGIN_PRE_DECISION_REFUSE;
        out->val.refuse = decision.refusal;
    } else {
        out->tag = EXPORTS_PLUGIN_PRE_DECISION_PROCEED;
        out->val.proceed = decision.edits;
    }
    return wg__leave(done, error, decision.tag != WG__UNSET, "plugin_pre_call");
}

bool exports_plugin_filter_deployments(wg_call *call, wg_body request, wg_deployments *deployments,
                                       wg_selection *selection, wg_error *error) {
    wg__enter(error);
    selection->tag = WG__UNSET;
    bool done = plugin_filter_deployments(call, request, *deployments, selection, error);
    wit_body_view_drop_borrow(request);
    return wg__leave(done, error, selection->tag != WG__UNSET, "plugin_filter_deployments");
}

bool exports_plugin_post_call_failure(wg_call *call, wg_body request, wg_failure *failure,
                                      exports_plugin_option_http_error_t *out, wg_error *error) {
    wg__enter(error);
    wg_decision decision = {.tag = WG__UNSET};
    exports_plugin_decision_t plain;
    bool done = plugin_post_call_failure(call, request, failure, &decision, error);
    wit_body_view_drop_borrow(request);
    *out = (exports_plugin_option_http_error_t){decision.tag == REFUSE, decision.refusal};
    return decided(done, &decision, &plain, error, "plugin_post_call_failure");
}

bool exports_plugin_response_headers(wg_call *call, wg_body request, wg_reply *reply, wg_body *response,
                                     wg_headers *headers, wg_error *error) {
    wg__enter(error);
    *headers = (wg_headers){0};
    bool done = plugin_response_headers(call, request, reply, response, headers, error);
    wit_body_view_drop_borrow(request);
    if (response) wit_body_view_drop_borrow(*response);
    return wg__leave(done, error, true, "plugin_response_headers");
}

bool exports_plugin_open_stream(wg_call *call, wg_body request, exports_plugin_option_own_stream_hook_t *out,
                                wg_error *error) {
    wg__enter(error);
    void *state = NULL;
    bool done = plugin_open_stream(call, request, &state, error);
    wit_body_view_drop_borrow(request);
    *out = (exports_plugin_option_own_stream_hook_t){0};
    if (done && state) {
        stream_hook *hook = malloc(sizeof *hook);
        if (!hook) wg_panic("out of memory");
        hook->state = state;
        *out = (exports_plugin_option_own_stream_hook_t){true, exports_plugin_stream_hook_new(hook)};
    }
    return wg__leave(done, error, true, "plugin_open_stream");
}

bool exports_plugin_method_stream_hook_push(stream_hook *hook, exports_plugin_json_t *chunk, wg_piece *piece,
                                            wg_error *error) {
    wg__enter(error);
    piece->tag = WG__UNSET;
    bool done = plugin_push(hook->state, *chunk, piece, error);
    return wg__leave(done, error, piece->tag != WG__UNSET, "plugin_push");
}

bool exports_plugin_method_stream_hook_finish(stream_hook *hook, wg_piece *piece, wg_error *error) {
    wg__enter(error);
    piece->tag = WG__UNSET;
    bool done = plugin_finish(hook->state, piece, error);
    return wg__leave(done, error, piece->tag != WG__UNSET, "plugin_finish");
}

void exports_plugin_stream_hook_destructor(stream_hook *hook) {
    plugin_close_stream(hook->state);
    free(hook);
}

/* --- Decisions ------------------------------------------------------------------------------------------------------ */

static http_error refusal(uint16_t status, const char *format, va_list arguments) {
    return (http_error){.status = status, .message = wg_vformat(format, arguments)};
}

bool wg_proceed(wg_decision *decision) {
    *decision = (wg_decision){.tag = PROCEED};
    return true;
}

static bool add_edit(wg_decision *decision, wit_body_edit_t edit) {
    if (decision->tag != PROCEED) wg_proceed(decision);
    exports_plugin_list_edit_t *edits = &decision->edits;
    edits->ptr = wg__one_more(edits->ptr, edits->len, sizeof edit);
    edits->ptr[edits->len++] = edit;
    return true;
}

bool wg_edit_text(wg_decision *decision, wg_str pointer, wg_str text) {
    return add_edit(decision, (wit_body_edit_t){.tag = WIT_BODY_EDIT_TEXT, .val = {.text = {pointer, text}}});
}

bool wg_edit_value(wg_decision *decision, wg_str pointer, wg_str json) {
    return add_edit(decision, (wit_body_edit_t){.tag = WIT_BODY_EDIT_VALUE, .val = {.value = {pointer, json}}});
}

bool wg_edit_remove(wg_decision *decision, wg_str pointer) {
    return add_edit(decision, (wit_body_edit_t){.tag = WIT_BODY_EDIT_REMOVE, .val = {.remove = pointer}});
}

bool wg_respond(wg_decision *decision, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    *decision = (wg_decision){.tag = RESPOND, .text = wg_vformat(format, arguments)};
    va_end(arguments);
    return true;
}

bool wg_refuse(wg_decision *decision, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    *decision = (wg_decision){.tag = REFUSE, .refusal = refusal(status, format, arguments)};
    va_end(arguments);
    return true;
}

bool wg_refuse_with(wg_decision *decision, wg_str kind, wg_str param, wg_str detail) {
    if (decision->tag != REFUSE) wg_panic("wg_refuse_with wants a decision that refuses: call wg_refuse first");
    http_error *error = &decision->refusal;
    if (kind.len) error->kind = wg_some(kind);
    if (param.len) error->param = wg_some(param);
    if (detail.len) error->detail = (exports_plugin_option_json_t){true, detail};
    return true;
}

/* --- Selections, chunks, headers ------------------------------------------------------------------------------------ */

bool wg_select_none(wg_selection *selection) {
    *selection = (wg_selection){.tag = EXPORTS_PLUGIN_SELECTION_KEEP};
    return true;
}

bool wg_select(wg_selection *selection, const wg_deployment *deployment) {
    if (selection->tag != EXPORTS_PLUGIN_SELECTION_KEEP) wg_select_none(selection);
    wit_list_string_t *ids = &selection->val.keep;
    ids->ptr = wg__one_more(ids->ptr, ids->len, sizeof(wg_str));
    ids->ptr[ids->len++] = deployment->id;
    return true;
}

bool wg_select_all(wg_selection *selection, wg_deployments deployments) {
    wg_select_none(selection);
    for (size_t i = 0; i < deployments.len; i++) wg_select(selection, &deployments.ptr[i]);
    return true;
}

bool wg_select_refuse(wg_selection *selection, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    selection->tag = EXPORTS_PLUGIN_SELECTION_REFUSE;
    selection->val.refuse = refusal(status, format, arguments);
    va_end(arguments);
    return true;
}

bool wg_piece_keep(wg_piece *piece) {
    piece->tag = EXPORTS_PLUGIN_PIECE_KEEP;
    return true;
}

bool wg_piece_drop(wg_piece *piece) {
    memset(piece, 0, sizeof *piece);
    piece->tag = EXPORTS_PLUGIN_PIECE_REPLACE;
    return true;
}

bool wg_piece_add(wg_piece *piece, wg_str chunk) {
    if (piece->tag != EXPORTS_PLUGIN_PIECE_REPLACE && piece->tag != EXPORTS_PLUGIN_PIECE_END) wg_piece_drop(piece);
    exports_plugin_list_json_t *chunks = &piece->val.replace;
    chunks->ptr = wg__one_more(chunks->ptr, chunks->len, sizeof chunk);
    chunks->ptr[chunks->len++] = chunk;
    return true;
}

bool wg_piece_end(wg_piece *piece) {
    if (piece->tag != EXPORTS_PLUGIN_PIECE_REPLACE) wg_piece_drop(piece);
    /* The list lies in the same place. */
    piece->tag = EXPORTS_PLUGIN_PIECE_END;
    return true;
}

bool wg_piece_fail(wg_piece *piece, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    piece->tag = EXPORTS_PLUGIN_PIECE_FAIL;
    piece->val.fail = refusal(status, format, arguments);
    va_end(arguments);
    return true;
}

bool wg_reply_header(wg_headers *headers, const char *name, wg_str value) {
    headers->ptr = wg__one_more(headers->ptr, headers->len, sizeof(wg_pair));
    headers->ptr[headers->len++] = (wg_pair){wg_str_of(name), value};
    return true;
}
