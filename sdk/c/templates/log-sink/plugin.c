#include "witgate/log-sink.h"

bool plugin_deliver(const wg_event *batch, size_t count, wg_outcome *outcome, wg_error *error) {
    wg_buf body = {0};
    wg_json_begin(&body, '[');
    for (size_t i = 0; i < count; i++) wg_json_put_raw(&body, batch[i].payload);
    wg_json_end(&body, ']');

    wg_request request = wg_http_post(wg_setting_text("url"));
    wg_http_json(&request, wg_text(&body));
    wg_http_bearer(&request, "token");
    return wg_deliver_by(&request, outcome, error);
}
