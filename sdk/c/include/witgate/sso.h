/*
 * Signing in: ask an identity provider who somebody is, decide what that user is to the gateway, or read both from what a proxy
 * in front says. The host owns the flow: state, nonce, PKCE, cookies, redirects, the user's row, the session.
 *
 * Write the functions of the roles that `plugin.toml` names; no other is asked for.
 */
#ifndef WITGATE_SSO_H
#define WITGATE_SSO_H

#include "witgate.h"

/* `redirect_uri`, `state`, `nonce`, `code_challenge`. */
typedef exports_plugin_login_t wg_login;
typedef exports_plugin_authorization_t wg_authorization;
/* `code`, `redirect_uri`, `nonce`, `code_verifier`. */
typedef exports_plugin_callback_t wg_callback;
/* LiteLLM's `OpenID`: `id`, `email`, `first_name`, `last_name`, `display_name`, `picture`, `provider` (each with `is_some` and
 * `val`), `team_ids`, `user_role`, `extra_fields` (JSON). */
typedef exports_plugin_openid_t wg_openid;
/* LiteLLM's `SSOUserDefinedValues`: `user_id`, `user_email`, `user_role`, `models`, `max_budget`, `budget_duration`. */
typedef exports_plugin_user_values_t wg_user_values;
/* `method`, `path`, `query`, `headers` (`ptr`, `len`), `client_ip`. */
typedef exports_plugin_request_t wg_sign_in_request;
typedef exports_plugin_who_t wg_who;
typedef exports_plugin_mapped_t wg_mapped;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Role `provider`. Where a login goes: `wg_go_to`. */
bool plugin_authorize(const wg_login *login, wg_authorization *authorization, wg_error *error);
/* Role `provider`. Gets tokens for the code, checks them, and says who it is: `wg_user_is` or `wg_turn_away`. */
bool plugin_exchange(const wg_callback *callback, wg_who *who, wg_error *error);
/* Role `mapping`. What the user is to the gateway: `wg_map_to` or `wg_map_to_nobody`. `known` is the row that the gateway has of
 * this user, by LiteLLM's names; NULL when there is none. An error lets nobody in. */
bool plugin_map_user(const wg_openid *user, const wg_json *known, wg_mapped *mapped, wg_error *error);
/* Role `sign-in`. Who a request is from that a proxy in front has authenticated: `wg_user_is` or `wg_turn_away`. */
bool plugin_sign_in(const wg_sign_in_request *request, wg_who *who, wg_error *error);

/* --- Answers; all but the makers return true ---------------------------------------------------------------------- */

/* Sends the browser to this absolute URL, which has the login's `state`. */
bool wg_go_to(wg_authorization *authorization, wg_str url);
/* The `state` in that URL, when it is not the login's. */
bool wg_go_with_state(wg_authorization *authorization, wg_str state);
/* Somebody of whom only the id is known; fill in the rest with `wg_some`. */
wg_openid wg_openid_of(wg_str id);
bool wg_user_is(wg_who *who, wg_openid user);
/* Nobody gets in, with this status (401 or 403) and message. */
bool wg_turn_away(wg_who *who, uint16_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A user of this id; fill in the rest with `wg_some`. */
wg_user_values wg_user_values_of(wg_str user_id);
bool wg_map_to(wg_mapped *mapped, wg_user_values values);
bool wg_map_to_nobody(wg_mapped *mapped, uint16_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first header of this name; false when there is none. */
bool wg_sign_in_header(const wg_sign_in_request *request, const char *name, wg_str *value);

#endif
