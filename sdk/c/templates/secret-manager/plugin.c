#include "witgate/secret-manager.h"

bool plugin_read(wg_str name, const wg_json *options, wg_reading *reading, wg_error *error) {
    wg_str url = wg_setting_text("url");
    while (wg_ends_with(url, WG_STR("/"))) url = wg_slice(url, 0, url.len - 1);
    wg_request request = wg_http_get(wg_format("%.*s/%.*s", WG_ARG(url), WG_ARG(wg_percent(name))));
    wg_http_bearer(&request, "token");

    wg_response response;
    if (!wg_http_send(&request, &response, error)) return false;
    if (response.status == 404) return wg_secret_unknown(reading); // the gateway looks into its environment
    if (wg_response_worth_a_retry(&response)) {
        return wg_unavailable(error, "the keeper answered with status %d", response.status);
    }
    if (!wg_response_ok(&response)) {
        return wg_failed(error, "the keeper answered with status %d; may the token read %.*s?", response.status,
                         WG_ARG(name));
    }
    return wg_secret_is(reading, wg_response_text(&response));
}
