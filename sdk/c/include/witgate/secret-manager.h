/*
 * Secret managers: LiteLLM's `key_management_system`. They keep what a configuration refers to as `os.environ/NAME`. The host
 * decides what is asked for and when, and keeps what it was told.
 *
 * `options` are overrides for one secret, by LiteLLM's names in `secret_manager_settings`; normally an empty object.
 */
#ifndef WITGATE_SECRET_MANAGER_H
#define WITGATE_SECRET_MANAGER_H

#include "witgate.h"

typedef exports_plugin_reading_t wg_reading;
/* `name`, `value`, `description` (`is_some`, `val`) and `tags`. */
typedef exports_plugin_secret_t wg_secret;

/* --- Yours to define ---------------------------------------------------------------------------------------------- */

/* Reads a secret: return one of the functions below. False with an error when nobody knows: the host takes the last value. */
bool plugin_read(wg_str name, const wg_json *options, wg_reading *reading, wg_error *error);

/* Stores a secret, a new version when there is one of that name. Without it, and without `plugin_delete`, the manager only
 * reads. */
bool plugin_write(const wg_secret *secret, const wg_json *options, wg_error *error);
/* Deletes a secret. That there is none is no error. */
bool plugin_delete(wg_str name, uint32_t recovery_days, const wg_json *options, wg_error *error);
/* Replaces the secret `current`. Without it: looks, writes, looks again, deletes the old name. */
bool plugin_rotate(wg_str current, const wg_secret *fresh, const wg_json *options, wg_error *error);
/* Whether the manager answers and takes the credentials. May be left out. */
bool plugin_health(wg_error *error);

/* --- Readings; all return true ------------------------------------------------------------------------------------ */

/* The value. */
bool wg_secret_is(wg_reading *reading, wg_str value);
/* There is no such secret: the gateway looks into its environment. A reading that is left alone says the same. */
bool wg_secret_unknown(wg_reading *reading);
/* How long the answer may be kept, also that there is none; else as long as the gateway's configuration says. */
bool wg_secret_keep(wg_reading *reading, uint32_t seconds);

#endif
