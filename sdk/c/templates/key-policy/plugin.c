#include "witgate/key-policy.h"

bool plugin_judge(const wg_key_request *request, wg_verdict *verdict, wg_error *error) {
    const wg_json *body = wg_json_parse(request->body);
    if (request->action == WG_GENERATE && wg_json_text(wg_json_get(body, "team_id")).len == 0) {
        return wg_deny_key(verdict, "name the team that the key is for (team_id)");
    }
    const wg_json *models = wg_json_get(body, "models");
    double most = wg_setting_number("max_models", 0);
    if (models && models->count > most) return wg_deny_key(verdict, "a key may name %.0f models at most", most);
    return wg_allow_key(verdict);
}
