/* The exports of a plugin for signing in, and what its author calls. */
#include "witgate/sso.h"

/* --- What may be left out ------------------------------------------------------------------------------------------- */

#define NO_ROLE(name) "plugin.toml names a role that needs plugin_" name ", and there is none"

WG__ABSENT(authorize, (const wg_login *login, wg_authorization *authorization, wg_error *error), NO_ROLE("authorize"))
WG__ABSENT(exchange, (const wg_callback *callback, wg_who *who, wg_error *error), NO_ROLE("exchange"))
WG__ABSENT(map_user, (const wg_openid *user, const wg_json *known, wg_mapped *mapped, wg_error *error),
           NO_ROLE("map_user"))
WG__ABSENT(sign_in, (const wg_sign_in_request *request, wg_who *who, wg_error *error), NO_ROLE("sign_in"))

/* --- Exports -------------------------------------------------------------------------------------------------------- */

bool exports_plugin_authorize(wg_login *login, wg_authorization *authorization, wg_error *error) {
    wg__enter(error);
    *authorization = (wg_authorization){0};
    bool done = plugin_authorize(login, authorization, error);
    return wg__leave(done, error, authorization->url.len > 0, "plugin_authorize");
}

WG__EXPORT(exchange, (wg_callback * callback, wg_who *who, wg_error *error), who, (callback, who, error))

WG__EXPORT(map_user, (wg_openid * user, exports_plugin_json_t *known, wg_mapped *mapped, wg_error *error), mapped,
           (user, known ? wg_json_parse(*known) : NULL, mapped, error))

WG__EXPORT(sign_in, (wg_sign_in_request * request, wg_who *who, wg_error *error), who, (request, who, error))

/* --- Answers -------------------------------------------------------------------------------------------------------- */

typedef exports_plugin_denial_t denial;

bool wg_go_to(wg_authorization *authorization, wg_str url) {
    authorization->url = url;
    return true;
}

bool wg_go_with_state(wg_authorization *authorization, wg_str state) {
    authorization->state = wg_some(state);
    return true;
}

wg_openid wg_openid_of(wg_str id) { return (wg_openid){.id = id, .extra_fields = WG_STR("{}")}; }

bool wg_user_is(wg_who *who, wg_openid user) {
    who->tag = EXPORTS_PLUGIN_WHO_USER;
    who->val.user = user;
    return true;
}

bool wg_turn_away(wg_who *who, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    who->tag = EXPORTS_PLUGIN_WHO_DENY;
    who->val.deny = (denial){status, wg_vformat(format, arguments)};
    va_end(arguments);
    return true;
}

wg_user_values wg_user_values_of(wg_str user_id) { return (wg_user_values){.user_id = user_id}; }

bool wg_map_to(wg_mapped *mapped, wg_user_values values) {
    mapped->tag = EXPORTS_PLUGIN_MAPPED_VALUES;
    mapped->val.values = values;
    return true;
}

bool wg_map_to_nobody(wg_mapped *mapped, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mapped->tag = EXPORTS_PLUGIN_MAPPED_DENY;
    mapped->val.deny = (denial){status, wg_vformat(format, arguments)};
    va_end(arguments);
    return true;
}

bool wg_sign_in_header(const wg_sign_in_request *request, const char *name, wg_str *value) {
    for (size_t i = 0; i < request->headers.len; i++) {
        if (!wg_equal_ignoring_case(request->headers.ptr[i].f0, wg_str_of(name))) continue;
        *value = request->headers.ptr[i].f1;
        return true;
    }
    return false;
}
