#include "witgate/authenticator.h"

bool plugin_authenticate(const wg_auth_request *request, wg_decision *decision, wg_error *error) {
    if (!wg_starts_with(request->api_key, WG_STR("tok-"))) return wg_decline(decision); // not ours: the gateway decides
    const wg_json *users = wg_setting_json("users");
    for WG_EACH(user, users) {
        if (wg_same_secret(wg_json_text(user), request->api_key)) return wg_let_in_user(decision, user->name);
    }
    return wg_deny(decision, 401, "this token is not known");
}
