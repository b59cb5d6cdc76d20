/* The exports of an alerter. */
#include "witgate/alerter.h"

#include "../outcome.inc"

bool exports_plugin_send(exports_plugin_list_alert_t *batch, wg_outcome *outcome, wg_error *error) {
    wg__enter(error);
    outcome->tag = WG__UNSET;
    bool done = plugin_send(batch->ptr, batch->len, outcome, error);
    return wg__leave(done, error, outcome->tag != WG__UNSET, "plugin_send");
}
