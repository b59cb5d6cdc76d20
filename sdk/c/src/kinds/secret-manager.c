/* The exports of a secret manager, and what its author calls. */
#include "witgate/secret-manager.h"

/* --- What may be left out ------------------------------------------------------------------------------------------- */

#define ONLY_READS                                                                                                    \
    "`%.*s` is left as it is: this secret manager only reads; set "                                                   \
    "general_settings.key_management_settings.access_mode to read_only"

WG__ABSENT(write, (const wg_secret *secret, const wg_json *options, wg_error *error), ONLY_READS, WG_ARG(secret->name))
WG__ABSENT(delete, (wg_str name, uint32_t recovery_days, const wg_json *options, wg_error *error), ONLY_READS,
           WG_ARG(name))

__attribute__((weak)) bool plugin_rotate(wg_str current, const wg_secret *fresh, const wg_json *options,
                                         wg_error *error) {
    wg_reading before = {0}, after = {0};
    if (!plugin_read(current, options, &before, error)) return false;
    if (!before.value.is_some) return wg_failed(error, "the manager has no secret `%.*s`", WG_ARG(current));
    if (!plugin_write(fresh, options, error) || !plugin_read(fresh->name, options, &after, error)) return false;
    if (!after.value.is_some || !wg_same_secret(after.value.val, fresh->value))
        return wg_failed(error, "`%.*s` was written, and another value was read", WG_ARG(fresh->name));
    return wg_equal(current, fresh->name) || plugin_delete(current, 7, options, error);
}

__attribute__((weak)) bool plugin_health(wg_error *error) { return true; }

/* --- Exports -------------------------------------------------------------------------------------------------------- */

typedef exports_plugin_json_t json;

bool exports_plugin_read(wg_str *name, json *options, wg_reading *reading, wg_error *error) {
    wg__enter(error);
    *reading = (wg_reading){0};
    return wg__leave(plugin_read(*name, wg_json_parse(*options), reading, error), error, true, "plugin_read");
}

bool exports_plugin_write(wg_secret *secret, json *options, wg_error *error) {
    wg__enter(error);
    return wg__leave(plugin_write(secret, wg_json_parse(*options), error), error, true, "plugin_write");
}

bool exports_plugin_delete(wg_str *name, uint32_t recovery_days, json *options, wg_error *error) {
    wg__enter(error);
    bool done = plugin_delete(*name, recovery_days, wg_json_parse(*options), error);
    return wg__leave(done, error, true, "plugin_delete");
}

bool exports_plugin_rotate(wg_str *current, wg_secret *fresh, json *options, wg_error *error) {
    wg__enter(error);
    bool done = plugin_rotate(*current, fresh, wg_json_parse(*options), error);
    return wg__leave(done, error, true, "plugin_rotate");
}

bool exports_plugin_health(wg_error *error) {
    wg__enter(error);
    return wg__leave(plugin_health(error), error, true, "plugin_health");
}

/* --- Readings ------------------------------------------------------------------------------------------------------- */

bool wg_secret_is(wg_reading *reading, wg_str value) {
    reading->value = wg_some(value);
    return true;
}

bool wg_secret_unknown(wg_reading *reading) {
    reading->value = (wit_option_string_t){0};
    return true;
}

bool wg_secret_keep(wg_reading *reading, uint32_t seconds) {
    reading->keep_s.is_some = true;
    reading->keep_s.val = seconds;
    return true;
}
