#include "witgate/alerter.h"

bool plugin_send(const wg_alert *batch, size_t count, wg_outcome *outcome, wg_error *error) {
    wg_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        wg_addf(&text, "%s%.*s: %.*s", i ? "\n" : "", WG_ARG(batch[i].kind), WG_ARG(batch[i].title));
    }
    wg_buf body = {0};
    wg_json_begin(&body, '{');
    wg_json_key(&body, "text");
    wg_json_put(&body, wg_text(&text));
    wg_json_end(&body, '}');

    wg_request request = wg_http_post(wg_setting_text("url"));
    wg_http_json(&request, wg_text(&body));
    return wg_deliver_by(&request, outcome, error);
}
