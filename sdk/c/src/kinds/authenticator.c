/* The exports of an authenticator, and what its author calls. */
#include "witgate/authenticator.h"

WG__EXPORT(authenticate, (wg_auth_request * request, wg_decision *decision, wg_error *error), decision,
           (request, decision, error))

wg_identity wg_nobody(void) { return (wg_identity){.metadata = WG_STR("{}"), .extra = WG_STR("{}")}; }

bool wg_let_in(wg_decision *decision, wg_identity identity) {
    decision->tag = EXPORTS_PLUGIN_DECISION_IDENTITY;
    decision->val.identity = identity;
    return true;
}

bool wg_let_in_user(wg_decision *decision, wg_str user_id) {
    wg_identity identity = wg_nobody();
    identity.user_id = wg_some(user_id);
    return wg_let_in(decision, identity);
}

bool wg_use_key(wg_decision *decision, wg_str key) {
    decision->tag = EXPORTS_PLUGIN_DECISION_KEY;
    decision->val.key = key;
    return true;
}

bool wg_decline(wg_decision *decision) {
    decision->tag = EXPORTS_PLUGIN_DECISION_DECLINE;
    return true;
}

bool wg_deny(wg_decision *decision, uint16_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    decision->tag = EXPORTS_PLUGIN_DECISION_DENY;
    decision->val.deny = (exports_plugin_denial_t){.status = status, .message = wg_vformat(format, arguments)};
    va_end(arguments);
    return true;
}

bool wg_auth_header(const wg_auth_request *request, const char *name, wg_str *value) {
    for (size_t i = 0; i < request->headers.len; i++) {
        if (!wg_equal_ignoring_case(request->headers.ptr[i].f0, wg_str_of(name))) continue;
        *value = request->headers.ptr[i].f1;
        return true;
    }
    return false;
}
