/*
 * Guardrails: judge, and where allowed edit, what goes in and what comes out.
 *
 *     bool plugin_check(const wg_call *call, wg_body body, wg_verdict *verdict, wg_error *error) {
 *         if (is_bad(body)) return wg_block(verdict, "This text is not allowed.");
 *         return wg_allow(verdict);
 *     }
 */
#ifndef WITGATE_GUARDRAIL_H
#define WITGATE_GUARDRAIL_H

#include "witgate.h"

typedef enum wg_phase { WG_PRE_CALL, WG_DURING_CALL, WG_POST_CALL, WG_LOGGING_ONLY } wg_phase;

/* `id`, `phase`, `call_type`, `model`, `principal`, and in `params` the caller's own parameters, a JSON object. */
typedef exports_plugin_call_t wg_call;
typedef exports_plugin_verdict_t wg_verdict;
typedef exports_plugin_stream_verdict_t wg_stream_verdict;
/* What was found: kind and count, never the text. */
typedef exports_plugin_finding_t wg_finding;
typedef exports_plugin_list_finding_t wg_findings;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Judges a request or a complete answer: return one of the functions below, or false with an error. */
bool plugin_check(const wg_call *call, wg_body body, wg_verdict *verdict, wg_error *error);

/* Starts the inspection of a streamed answer: set `*stream` to a state of your own (from `malloc`). NULL, or no such
 * function: the host holds the stream and calls `plugin_check` on the whole answer. */
bool plugin_open_stream(const wg_call *call, void **stream, wg_error *error);
/* More text of a channel (each choice's content and each tool call's arguments is one): release or block. */
bool plugin_push(void *stream, uint32_t channel, wg_str text, wg_stream_verdict *verdict, wg_error *error);
/* The channel is complete: release what was held, or block. */
bool plugin_finish(void *stream, uint32_t channel, wg_stream_verdict *verdict, wg_error *error);
/* What was found so far, over all channels. May be left out. */
wg_findings plugin_stream_findings(void *stream);
/* The stream is over. Without it `free(stream)`. */
void plugin_close_stream(void *stream);

/* --- Verdicts; all return true ------------------------------------------------------------------------------------ */

bool wg_allow(wg_verdict *verdict);
/* Refuses, with status 400 and this message for the client. */
bool wg_block(wg_verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Another status, and more for the client, a JSON object; both for a verdict that blocks already. */
bool wg_block_with(wg_verdict *verdict, uint16_t status, wg_str detail);
/* Leaves the decision to the operator's `fail: open | closed`. */
bool wg_could_not_judge(wg_verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Edits the body; each call adds one edit to the verdict. */
bool wg_edit_text(wg_verdict *verdict, wg_str pointer, wg_str text);
bool wg_edit_value(wg_verdict *verdict, wg_str pointer, wg_str json);
bool wg_edit_remove(wg_verdict *verdict, wg_str pointer);
/* Adds a finding to a verdict that blocks or edits. */
bool wg_found(wg_verdict *verdict, const char *kind, uint32_t count);

/* This text may go to the client in place of all that was pushed and not released; empty text holds everything. */
bool wg_release(wg_stream_verdict *verdict, wg_str text);
bool wg_stream_block(wg_stream_verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool wg_stream_found(wg_stream_verdict *verdict, const char *kind, uint32_t count);
/* A list of one finding, or none when the count is 0. */
wg_findings wg_one_finding(const char *kind, uint32_t count);

/* --- Held text of streams ----------------------------------------------------------------------------------------- */

/* Text that is held back, channel by channel. Begin with `{0}`; it lives until `wg_held_free`. */
typedef struct wg_held {
    struct wg__channel *channels;
    size_t len;
} wg_held;

/* The text that was held in this channel and the new one behind it; nothing is held any more. */
wg_str wg_held_take(wg_held *held, uint32_t channel, wg_str more);
/* Holds a text back. */
void wg_held_put(wg_held *held, uint32_t channel, wg_str text);
void wg_held_free(wg_held *held);

#endif
