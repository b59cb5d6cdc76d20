/*
 * Key policies: LiteLLM's `custom_key_generate`. They may refuse a request for a virtual key, or change it.
 */
#ifndef WITGATE_KEY_POLICY_H
#define WITGATE_KEY_POLICY_H

#include "witgate.h"

/* `/key/generate` and `/key/update`. */
typedef enum wg_action { WG_GENERATE, WG_UPDATE } wg_action;

/* `action` (a `wg_action`), `caller` (who asks), and in `body` what the client sent, a JSON object; a key in it is a hash. */
typedef exports_plugin_request_t wg_key_request;
typedef exports_plugin_verdict_t wg_verdict;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Judges: return one of the functions below. An error, a trap or a timeout refuses the request. */
bool plugin_judge(const wg_key_request *request, wg_verdict *verdict, wg_error *error);

/* --- Verdicts; all return true ------------------------------------------------------------------------------------ */

bool wg_allow_key(wg_verdict *verdict);
/* Goes on with this body, a JSON object, in place of the client's. It is checked like one that a client sent. */
bool wg_edit_key(wg_verdict *verdict, wg_str body);
/* Refuses with status 403 and this message. */
bool wg_deny_key(wg_verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
