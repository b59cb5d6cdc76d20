/* The exports of an alerter. */
#include "witgate/alerter.h"

#include "../outcome.inc"

WG__EXPORT(send, (exports_plugin_list_alert_t * batch, wg_outcome *outcome, wg_error *error), outcome,
           (batch->ptr, batch->len, outcome, error))
