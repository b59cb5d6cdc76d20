/*
 * Models, called through the gateway: routed, retried, metered and recorded with this plugin as the caller. The manifest asks for
 * them (`llm = ["{model}"]`), the operator grants them.
 *
 *     wg_model_answer answer;
 *     if (!wg_chat(request, 0, &answer, error)) return false;
 *     if (wg_is(wg_model_text(&answer), "yes")) …
 */
#ifndef WITGATE_LLM_H
#define WITGATE_LLM_H

#include "witgate.h"

/* `body`, OpenAI's chat completion; `cost_usd` (`is_some`, `val`); `call_id`. */
typedef wit_llm_answer_t wg_model_answer;

/* Calls a model with OpenAI's chat completion request, JSON, and waits for the whole answer; 0 ms: as long as the host lets it. */
bool wg_chat(wg_str request, uint32_t timeout_ms, wg_model_answer *answer, wg_error *error);
/* The same, chunk by chunk. The stream ends with the call of the plugin in which it was opened. */
typedef struct wg_model_stream {
    int32_t handle;
} wg_model_stream;
bool wg_chat_stream(wg_str request, uint32_t timeout_ms, wg_model_stream *stream, wg_error *error);
/* The next chunk, OpenAI's `chat.completion.chunk`; `*more` is false when the answer is complete. */
bool wg_chat_next(wg_model_stream stream, wg_str *chunk, bool *more, wg_error *error);
/* The text that a chunk adds to the first choice. */
wg_str wg_chunk_text(wg_str chunk);

/* The text of the first choice; empty when it has none. */
wg_str wg_model_text(const wg_model_answer *answer);

#endif
