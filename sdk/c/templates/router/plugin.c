#include "witgate/router.h"

bool plugin_pick(const wg_candidate *candidates, size_t count, const wg_route_request *request, const wg_candidate **picked,
                 wg_error *error) {
    double most = wg_setting_number("max_in_flight", 0);
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].in_flight >= most) continue;
        if (!*picked || candidates[i].cost < (*picked)->cost) *picked = &candidates[i];
    }
    return true;
}
