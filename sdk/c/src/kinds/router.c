/* The exports of a router. */
#include "witgate/router.h"

bool exports_plugin_pick(exports_plugin_list_candidate_t *candidates, wg_route_request *request, wit_option_string_t *answer,
                         wg_error *error) {
    wg__enter(error);
    const wg_candidate *picked = NULL;
    bool done = plugin_pick(candidates->ptr, candidates->len, request, &picked, error);
    *answer = picked ? (wit_option_string_t){true, picked->id} : (wit_option_string_t){0};
    return wg__leave(done, error, true, "plugin_pick");
}
