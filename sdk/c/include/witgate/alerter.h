/*
 * Alerters: tell people what is wrong. The host decides what is worth an alert and when, batches and retries.
 */
#ifndef WITGATE_ALERTER_H
#define WITGATE_ALERTER_H

#include "witgate/outcome.h"

typedef enum wg_severity { WG_LOW, WG_MEDIUM, WG_HIGH } wg_severity;

/* `id`, `kind`, `level` (a `wg_severity`), `at_ms`, `local_time`, `title`, `text`, `fields`, `metadata`, `link`, `proxy_url`,
 * `count`. */
typedef exports_plugin_alert_t wg_alert;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Sends a batch: return one of the functions of `witgate/outcome.h`, or false with an error. */
bool plugin_send(const wg_alert *batch, size_t count, wg_outcome *outcome, wg_error *error);

#endif
