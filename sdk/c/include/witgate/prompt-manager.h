/*
 * Prompt managers: fill a chat request with a prompt that is kept elsewhere, by its id.
 */
#ifndef WITGATE_PROMPT_MANAGER_H
#define WITGATE_PROMPT_MANAGER_H

#include "witgate.h"

/* `id`, `model`, as JSON `messages`, `params` and `prompt_variables`, `prompt_id`, `prompt_label` and `prompt_version` (`is_some`,
 * `val`), `principal`. */
typedef exports_plugin_call_t wg_call;
typedef exports_plugin_answer_t wg_answer_prompt;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Fetches the prompt and fills in its variables: return one of the functions below, or false with an error. An error fails the call
 * unless the operator's `fail` is `open`. */
bool plugin_get_prompt(const wg_call *call, wg_answer_prompt *answer, wg_error *error);

/* --- Answers; all return true ------------------------------------------------------------------------------------- */

/* The prompt: all messages, a JSON array, in place of the client's. */
bool wg_prompt(wg_answer_prompt *answer, wg_str messages);
/* The model that answers; for a prompt that is there already. */
bool wg_prompt_model(wg_answer_prompt *answer, wg_str model);
/* Parameters to set, a JSON object; for a prompt that is there already. */
bool wg_prompt_params(wg_answer_prompt *answer, wg_str params);
/* There is no such prompt here: the next prompt manager is asked. */
bool wg_prompt_unknown(wg_answer_prompt *answer);

#endif
