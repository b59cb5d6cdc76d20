/*
 * Request hooks: edit requests, answers, chunks of streams and lists of deployments; LiteLLM's hooks of a `CustomLogger`.
 *
 * Write the hooks that `plugin.toml` names; the host calls no other.
 */
#ifndef WITGATE_REQUEST_HOOK_H
#define WITGATE_REQUEST_HOOK_H

#include "witgate.h"

/* `id`, `call_type`, `model`, `streaming`, `principal`. */
typedef exports_plugin_call_t wg_call;
/* `id`, `model_name`, and as JSON `params` and `info`. */
typedef exports_plugin_deployment_t wg_deployment;
typedef exports_plugin_list_deployment_t wg_deployments;
/* `class_`, `status`, `message`. */
typedef exports_plugin_failure_t wg_failure;
/* `status`, `deployment` (`is_some`, `val`). */
typedef exports_plugin_reply_t wg_reply;
typedef exports_plugin_selection_t wg_selection;
typedef exports_plugin_piece_t wg_piece;
typedef wit_list_tuple2_string_string_t wg_headers;

/* What becomes of a request or an answer. */
typedef struct wg_decision {
    uint8_t tag;
    exports_plugin_list_edit_t edits;
    wg_str text;
    exports_plugin_http_error_t refusal;
} wg_decision;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* `pre_call`: before guardrails and any upstream see the request: proceed with edits or without, respond, or refuse. */
bool plugin_pre_call(const wg_call *call, wg_body request, wg_decision *decision, wg_error *error);
/* `pre_routing`: may lead the call to another model by an edit of `/model`. The first hook with edits decides. */
bool plugin_pre_routing(const wg_call *call, wg_body request, wg_decision *decision, wg_error *error);
/* `filter_deployments`: which deployments of a model group may serve: `wg_select`, `wg_select_all` or `wg_select_refuse`. */
bool plugin_filter_deployments(const wg_call *call, wg_body request, wg_deployments deployments, wg_selection *selection,
                               wg_error *error);
/* `pre_call_deployment`: the request of one try, its deployment chosen. */
bool plugin_pre_call_deployment(const wg_call *call, wg_body request, const wg_deployment *deployment,
                                wg_decision *decision, wg_error *error);
/* `post_call_success`: a complete answer, after the guardrails. An edit whose pointer is empty replaces all of it. */
bool plugin_post_call_success(const wg_call *call, wg_body request, wg_body response, wg_decision *decision,
                              wg_error *error);
/* `post_call_failure`: a call failed: `wg_refuse` puts another error in the place of its own, `wg_proceed` leaves it. */
bool plugin_post_call_failure(const wg_call *call, wg_body request, const wg_failure *failure, wg_decision *decision,
                              wg_error *error);
/* `response_headers`: headers to add to the reply, with `wg_reply_header`. `response` is NULL when there is none, or a stream. */
bool plugin_response_headers(const wg_call *call, wg_body request, const wg_reply *reply, const wg_body *response,
                             wg_headers *headers, wg_error *error);

/* `streaming`: starts on a streamed answer: set `*stream` to a state of your own (from `malloc`). NULL leaves it alone. */
bool plugin_open_stream(const wg_call *call, wg_body request, void **stream, wg_error *error);
/* A chunk that guardrails let through, OpenAI's JSON: `wg_piece_keep` and its like. */
bool plugin_push(void *stream, wg_str chunk, wg_piece *piece, wg_error *error);
/* The upstream has said all: keep, or add chunks before the end. Without it nothing is added. */
bool plugin_finish(void *stream, wg_piece *piece, wg_error *error);
/* The stream is over. Without it `free(stream)`. */
void plugin_close_stream(void *stream);

/* --- Decisions; all return true ----------------------------------------------------------------------------------- */

/* Goes on, without changes. */
bool wg_proceed(wg_decision *decision);
/* Goes on with a change; each call adds one. */
bool wg_edit_text(wg_decision *decision, wg_str pointer, wg_str text);
bool wg_edit_value(wg_decision *decision, wg_str pointer, wg_str json);
bool wg_edit_remove(wg_decision *decision, wg_str pointer);
/* Answers with this text in place of a model; of `plugin_pre_call` only. */
bool wg_respond(wg_decision *decision, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Refuses with a status from 400 to 599 and this message. */
bool wg_refuse(wg_decision *decision, uint16_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* More of a refusal: the error's `type`, its `param`, and a JSON object; empty text leaves each as it is. */
bool wg_refuse_with(wg_decision *decision, wg_str kind, wg_str param, wg_str detail);

/* --- Selections, chunks, headers; all return true ----------------------------------------------------------------- */

/* Keeps this deployment; each call adds one. None is left when there is no call but `wg_select_none`. */
bool wg_select(wg_selection *selection, const wg_deployment *deployment);
bool wg_select_all(wg_selection *selection, wg_deployments deployments);
bool wg_select_none(wg_selection *selection);
bool wg_select_refuse(wg_selection *selection, uint16_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The chunk goes on, byte for byte. */
bool wg_piece_keep(wg_piece *piece);
bool wg_piece_drop(wg_piece *piece);
/* This chunk goes in its place; each call adds one. */
bool wg_piece_add(wg_piece *piece, wg_str chunk);
/* The stream ends here, after the chunks that were added. */
bool wg_piece_end(wg_piece *piece);
/* The stream ends with this error. */
bool wg_piece_fail(wg_piece *piece, uint16_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool wg_reply_header(wg_headers *headers, const char *name, wg_str value);

#endif
