/*
 * Authenticators: who makes a request.
 */
#ifndef WITGATE_AUTHENTICATOR_H
#define WITGATE_AUTHENTICATOR_H

#include "witgate.h"

/* `api_key`, `method`, `path`, `query` and `client_ip` (`is_some`, `val`), `headers` (`ptr`, `len`). */
typedef exports_plugin_request_t wg_auth_request;
typedef exports_plugin_decision_t wg_decision;
/* LiteLLM's `UserAPIKeyAuth`; each text with `is_some` and `val`. */
typedef exports_plugin_identity_t wg_identity;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Decides: return one of the functions below. An error, a trap or a timeout lets nobody in. */
bool plugin_authenticate(const wg_auth_request *request, wg_decision *decision, wg_error *error);

/* --- Decisions; all return true ----------------------------------------------------------------------------------- */

/* Lets in as this user. For more than the user make a `wg_identity` with `wg_nobody`, fill it in and use `wg_let_in`. */
bool wg_let_in_user(wg_decision *decision, wg_str user_id);
wg_identity wg_nobody(void);
bool wg_let_in(wg_decision *decision, wg_identity identity);
/* Lets the gateway check this key in place of the one that was sent. */
bool wg_use_key(wg_decision *decision, wg_str key);
/* Not mine: the gateway's own authentication decides, under `mode: auto`. */
bool wg_decline(wg_decision *decision);
/* Refuses, with status 401 or 403 and this message. */
bool wg_deny(wg_decision *decision, uint16_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The first header of this name; false when there is none. */
bool wg_auth_header(const wg_auth_request *request, const char *name, wg_str *value);

#endif
