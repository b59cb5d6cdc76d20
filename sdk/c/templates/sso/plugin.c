#include "witgate/sso.h"

static bool is_admin(wg_str email) {
    for WG_EACH(admin, wg_setting_json("admins")) {
        if (wg_equal(admin->text, email)) return true;
    }
    return false;
}

bool plugin_map_user(const wg_openid *user, const wg_json *known, wg_mapped *mapped, wg_error *error) {
    wg_str email = user->email.is_some ? user->email.val : WG_STR("");
    wg_str domain = wg_setting_text("domain");
    if (!wg_ends_with(email, wg_format("@%.*s", WG_ARG(domain)))) {
        return wg_map_to_nobody(mapped, 403, "Only people of %.*s may enter.", WG_ARG(domain));
    }
    wg_user_values values = wg_user_values_of(known ? wg_json_text(wg_json_get(known, "user_id")) : email);
    values.user_email = wg_some(email);
    values.user_role = wg_some(is_admin(email) ? WG_STR("proxy_admin") : WG_STR("internal_user"));
    values.max_budget = wg_some(WG_STR("10"));
    values.budget_duration = wg_some(WG_STR("30d"));
    return wg_map_to(mapped, values);
}
