#include "witgate/request-hook.h"

bool plugin_pre_call(const wg_call *call, wg_body request, wg_decision *decision, wg_error *error) {
    if (!wg_equal(call->model, wg_setting_text("old"))) return wg_proceed(decision);
    wg_str model = wg_setting_text("new");
    if (model.len == 0) {
        wg_refuse(decision, 404, "%.*s is no more.", WG_ARG(call->model));
        return wg_refuse_with(decision, WG_STR(""), WG_STR("model"), WG_STR(""));
    }
    wg_buf json = {0};
    wg_json_put(&json, model);
    return wg_edit_value(decision, WG_STR("/model"), wg_text(&json));
}
