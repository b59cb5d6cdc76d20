/* The exports of a log sink. */
#include "witgate/log-sink.h"

#include "../outcome.inc"

WG__EXPORT(deliver, (exports_plugin_list_event_t * batch, wg_outcome *outcome, wg_error *error), outcome,
           (batch->ptr, batch->len, outcome, error))

__attribute__((weak)) bool plugin_health_check(wg_error *error) {
    wg_outcome outcome = {.tag = WG__UNSET};
    if (!plugin_deliver(NULL, 0, &outcome, error)) return false;
    if (outcome.tag == EXPORTS_PLUGIN_OUTCOME_RETRY)
        return wg_unavailable(error, "%.*s", WG_ARG(outcome.val.retry.reason));
    if (outcome.tag == EXPORTS_PLUGIN_OUTCOME_REJECTED)
        return wg_failed(error, "%.*s", WG_ARG(outcome.val.rejected));
    return true;
}

bool exports_plugin_health_check(wg_error *error) {
    wg__enter(error);
    return wg__leave(plugin_health_check(error), error, true, "plugin_health_check");
}
