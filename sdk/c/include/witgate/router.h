/*
 * Routers: a routing strategy of one's own. They pick the deployment that gets a call.
 */
#ifndef WITGATE_ROUTER_H
#define WITGATE_ROUTER_H

#include "witgate.h"

/* `id`, `call_type`, `model`, `streaming`, `tags`, `prompt_tokens` (`is_some`, `val`), `failed_tries`, `principal`, and as JSON
 * `metadata`. */
typedef exports_plugin_request_t wg_route_request;
/* `id`, `model`, `tags`, `in_flight`, `requests`, `tokens`, `cost`; and where they are known (`is_some`, `val`) `weight`, `order`,
 * `region`, `in_flight_max`, `requests_max`, `tokens_max`, `prompt_tokens_max`, `latency`, `first_token`. */
typedef exports_plugin_candidate_t wg_candidate;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Picks one of the candidates: set `*picked`, and return true. Left at NULL, or with an error, a trap or a timeout,
 * `simple-shuffle` makes this choice. */
bool plugin_pick(const wg_candidate *candidates, size_t count, const wg_route_request *request, const wg_candidate **picked,
                 wg_error *error);

#endif
