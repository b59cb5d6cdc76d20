/*
 * What became of a batch: for log sinks and alerters. All functions but the last return true.
 */
#ifndef WITGATE_OUTCOME_H
#define WITGATE_OUTCOME_H

#include "witgate.h"

typedef exports_plugin_outcome_t wg_outcome;

/* Everything arrived. */
bool wg_delivered(wg_outcome *outcome);
/* Try the whole batch again, after so many milliseconds; 0: when the host thinks. */
bool wg_retry(wg_outcome *outcome, uint64_t after_ms, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The whole batch was refused for good. */
bool wg_rejected(wg_outcome *outcome, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One item needs another try, or was refused for good; what is not named was delivered. Each call adds one. */
bool wg_retry_item(wg_outcome *outcome, uint32_t index);
bool wg_reject_item(wg_outcome *outcome, uint32_t index, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* When to try these items again. */
bool wg_retry_items_after(wg_outcome *outcome, uint64_t ms);
/* The usual reading: 2xx is delivered, 408, 429 and 5xx are tried again, anything else is refused. */
bool wg_outcome_of(wg_outcome *outcome, const wg_response *response);
/* Sends a request that carries the whole batch, and reads its answer so. */
bool wg_deliver_by(wg_request *request, wg_outcome *outcome, wg_error *error);

#endif
