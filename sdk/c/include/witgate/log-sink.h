/*
 * Log sinks: where the record of each finished request goes. The host queues, batches, retries and redacts.
 */
#ifndef WITGATE_LOG_SINK_H
#define WITGATE_LOG_SINK_H

#include "witgate/outcome.h"

typedef enum wg_event_kind { WG_SUCCESS, WG_FAILURE } wg_event_kind;

/* `id`, `kind`, and as JSON `payload` and `context`. */
typedef exports_plugin_event_t wg_event;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Delivers a batch: return one of the functions of `witgate/outcome.h`, or false with an error. An error counts as a failed
 * try: `wg_unavailable` is tried again, anything else is dropped. */
bool plugin_deliver(const wg_event *batch, size_t count, wg_outcome *outcome, wg_error *error);

/* Whether the other side can be reached with these settings. Without it an empty batch is delivered. */
bool plugin_health_check(wg_error *error);

#endif
