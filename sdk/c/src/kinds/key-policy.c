/* The exports of a key policy, and what its author calls. */
#include "witgate/key-policy.h"

WG__EXPORT(judge, (wg_key_request * request, wg_verdict *verdict, wg_error *error), verdict, (request, verdict, error))

bool wg_allow_key(wg_verdict *verdict) {
    verdict->tag = EXPORTS_PLUGIN_VERDICT_ALLOW;
    return true;
}

bool wg_edit_key(wg_verdict *verdict, wg_str body) {
    verdict->tag = EXPORTS_PLUGIN_VERDICT_EDIT;
    verdict->val.edit = body;
    return true;
}

bool wg_deny_key(wg_verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verdict->tag = EXPORTS_PLUGIN_VERDICT_DENY;
    verdict->val.deny = wg_vformat(format, arguments);
    va_end(arguments);
    return true;
}
