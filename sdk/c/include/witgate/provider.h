/*
 * Providers: between OpenAI's JSON and the dialect of one model provider. A provider sends nothing; it says what to send and
 * reads what came.
 */
#ifndef WITGATE_PROVIDER_H
#define WITGATE_PROVIDER_H

#include "witgate.h"

/* `id`, `call_type`, `model`, `body` and `params` (JSON), `api_base`, `credentials`, `headers`. */
typedef exports_plugin_call_t wg_call;
typedef exports_plugin_built_t wg_built;
typedef exports_plugin_parsed_t wg_parsed;
typedef exports_plugin_failure_t wg_failure;
/* `status`, `headers`, `body`. */
typedef exports_plugin_response_t wg_response;
/* `event` (`is_some`, `val`) and `data`. */
typedef exports_plugin_frame_t wg_frame;
typedef exports_plugin_progress_t wg_progress;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* OpenAI's parameters that calls of this type to this model may have: an array that ends with NULL. */
const char *const *plugin_supported_params(wg_str call_type, wg_str model);
/* The request for a call: `wg_send_json` or `wg_send_request`, or `wg_refuse`. */
bool plugin_build_request(const wg_call *call, wg_built *built, wg_error *error);
/* Reads a complete answer with a status of success: `wg_answer_is`, `wg_answer_failed` or `wg_ask_again`. */
bool plugin_parse_response(wg_str context, const wg_response *response, wg_parsed *parsed, wg_error *error);

/* Reads an answer with a status of failure: fill in the failure and set `*mapped`. Without it the host's general rules decide. */
bool plugin_map_error(wg_str context, const wg_response *response, bool *mapped, wg_failure *failure, wg_error *error);

/* For providers that stream. Starts reading an answer: set `*stream` to a state of your own (from `malloc`), or leave it NULL. */
bool plugin_open_stream(wg_str context, const wg_response *head, void **stream, wg_error *error);
/* Reads one frame: `wg_chunk` and its like, `wg_done` at the stream's own end. */
bool plugin_push(void *stream, const wg_frame *frame, wg_progress *progress, wg_error *error);
/* The connection ended without an end. Without it that is a failure. */
bool plugin_finish(void *stream, wg_progress *progress, wg_error *error);
/* The stream is over. Without it `free(stream)`. */
void plugin_close_stream(void *stream);

/* --- Requests; all return true ------------------------------------------------------------------------------------ */

/* POSTs a JSON text. */
bool wg_send_json(wg_built *built, wg_str url, wg_str json);
/* Any other request. */
bool wg_send_request(wg_built *built, const char *method, wg_str url, wg_str body);
/* A header; `{name}` in the value of a credential header stands for the secret of this name (`Bearer {api_key}`). */
bool wg_send_header(wg_built *built, const char *name, wg_str value);
bool wg_send_credential_header(wg_built *built, const char *name, const char *value);
/* How a streamed answer is cut: `sse`, `ndjson`, `json-array` or `raw`. */
bool wg_send_framed(wg_built *built, const char *framing);
/* Handed back with the answer. */
bool wg_send_context(wg_built *built, wg_str context);
/* The call cannot be expressed in this dialect. */
bool wg_refuse(wg_built *built, const char *class_name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Whether there is a secret of this name. */
bool wg_has_credential(const wg_call *call, const char *name);

/* --- Answers; all return true ------------------------------------------------------------------------------------- */

/* OpenAI's answer; what it leaves out of `id`, `object`, `created` and `model` the host fills in. */
bool wg_answer_is(wg_parsed *parsed, wg_str json);
/* The provider failed, whatever its status says: with LiteLLM's name of the error (`RateLimitError`, …). */
bool wg_answer_failed(wg_parsed *parsed, const char *class_name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ask again, after so many milliseconds; `wg_send_…` on the `wg_built` says what. */
bool wg_ask_again(wg_parsed *parsed, uint32_t delay_ms, const wg_built *built);
/* A failure with LiteLLM's name of the error. */
wg_failure wg_failure_of(const char *class_name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The body of a response as JSON; NULL when it is none. The data of a frame. */
const wg_json *wg_response_json(const wg_response *response);
const wg_json *wg_frame_json(const wg_frame *frame);
wg_str wg_frame_text(const wg_frame *frame);

/* --- Chunks; all return true -------------------------------------------------------------------------------------- */

/* A whole chunk of OpenAI's, as JSON. */
bool wg_chunk(wg_progress *progress, wg_str json);
/* A chunk with more content of the first choice. */
bool wg_chunk_content(wg_progress *progress, wg_str text);
/* A chunk that ends the first choice: `stop`, `length`, `tool_calls`, … */
bool wg_chunk_finish(wg_progress *progress, const char *reason);
/* A chunk with the usage. */
bool wg_chunk_usage(wg_progress *progress, uint64_t prompt_tokens, uint64_t completion_tokens);
/* The stream is complete, or failed. */
bool wg_done(wg_progress *progress);
bool wg_stream_failed(wg_progress *progress, const char *class_name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
