//! Settings of the database: `/config/*` and the operations that set one part of it (`store_model_in_db`).
//!
//! A setting is judged by the definition that the file's are judged by, written, and put in force at once. What the file
//! declares is the file's. Secrets are encrypted in the database and masked in every answer.

pub(crate) mod cache;
mod callbacks;
pub(crate) mod fallbacks;
mod fields;
pub(crate) mod hub;
mod parts;
mod passages;
mod single;
pub(crate) mod sso;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member};
use crate::in_force::{plain, restore, sealed};
use crate::operation::{Operation, Outcome, Running, Who};
use crate::refusal::RACED;
use crate::stored::{CONFIG as TABLE, ROUTES, SECTIONS, object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const VARIABLES: &str = "environment_variables";
const LITELLM: &str = "litellm_settings";

const UPDATE: &[Field] = &[
    member("general_settings", Shape::Object),
    member("litellm_settings", Shape::Object),
    member("router_settings", Shape::Object),
    member("environment_variables", Shape::Object),
];
const FIELD: &[Field] = &[
    member("field_name", Shape::Text),
    member("field_value", Shape::Any),
    member("config_type", Shape::Text),
];
const NAMED: &[Field] = &[
    member("field_name", Shape::Text),
    member("config_type", Shape::Text),
];
const CALLBACK: &[Field] = &[member("callback_name", Shape::Text)];
const IP: &[Field] = &[member("ip", Shape::Text)];
const PART: &[Field] = &[];
const CACHE: &[Field] = &[member("cache_settings", Shape::Object)];
const THEME: &[Field] = &[
    member("logo_url", Shape::Text),
    member("favicon_url", Shape::Text),
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/config/list"],
        who: Who::Viewer,
        what: "Lists the settings of a section that can be stored, with their values.",
        body: &[],
        query: &["config_type"],
        run: |plane, ask| Box::pin(fields::list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/config/field/info"],
        who: Who::Viewer,
        what: "Tells a setting of general_settings that is stored in the database.",
        body: &[],
        query: &["field_name", "config_type"],
        run: |plane, ask| Box::pin(fields::info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/config/field/update"],
        who: Who::Admin,
        what: "Stores a setting; it is in force at once.",
        body: &[FIELD],
        query: &[],
        run: |plane, ask| Box::pin(fields::update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/config/field/delete"],
        who: Who::Admin,
        what: "Takes a stored setting away.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(fields::delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/config/update"],
        who: Who::Admin,
        what: "Stores settings of several sections; what is not said stays, null takes away.",
        body: &[UPDATE],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/get/config/callbacks"],
        who: Who::Viewer,
        what: "Tells the log sinks and alerts that are configured, with their variables masked.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(callbacks::get(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/callbacks/list"],
        who: Who::Viewer,
        what: "Lists the log sinks that are configured.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(callbacks::list(plane)),
    },
    Operation {
        method: "POST",
        paths: &["/config/callback/delete"],
        who: Who::Admin,
        what: "Takes a log sink of the database away.",
        body: &[CALLBACK],
        query: &[],
        run: |plane, ask| Box::pin(callbacks::delete(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/router/settings"],
        who: Who::Viewer,
        what: "Tells the settings of the router, with their values.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(fields::router(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/alerting/settings"],
        who: Who::Viewer,
        what: "Tells the settings of alerts, with their values.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(fields::alerting(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/get/allowed_ips"],
        who: Who::Viewer,
        what: "Tells the addresses that clients may have.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(parts::allowed_ips(plane)),
    },
    Operation {
        method: "POST",
        paths: &["/add/allowed_ip"],
        who: Who::Admin,
        what: "Adds an address that clients may have.",
        body: &[IP],
        query: &[],
        run: |plane, ask| Box::pin(parts::allowed_ip(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/delete/allowed_ip"],
        who: Who::Admin,
        what: "Takes an address away that clients may have.",
        body: &[IP],
        query: &[],
        run: |plane, ask| Box::pin(parts::allowed_ip(plane, ask, false)),
    },
    Operation {
        method: "GET",
        paths: &["/config/pass_through_endpoint"],
        who: Who::Viewer,
        what: "Lists the pass-through routes of the database and of the file, or one by its id; their headers are masked.",
        body: &[],
        query: &["endpoint_id"],
        run: |plane, ask| Box::pin(passages::list(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/config/pass_through_endpoint"],
        who: Who::Admin,
        what: "Adds a pass-through route to the database; it is in force at once. It needs a key unless auth is false.",
        body: &[passages::FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(passages::new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/config/pass_through_endpoint/{endpoint_id}"],
        who: Who::Admin,
        what: "Changes a pass-through route of the database; what is not said stays, null takes away.",
        body: &[passages::FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(passages::update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/config/pass_through_endpoint"],
        who: Who::Admin,
        what: "Deletes a pass-through route of the database.",
        body: &[],
        query: &["endpoint_id"],
        run: |plane, ask| Box::pin(passages::delete(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/active/callbacks", "/settings"],
        who: Who::Viewer,
        what: "Tells the log sinks and alerts that are at work, as LiteLLM lists them.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(callbacks::active(plane)),
    },
    shown_part(
        &["/get/internal_user_settings"],
        "Tells what new users get (default_internal_user_params).",
        |plane, _| Box::pin(parts::get(plane, parts::USERS)),
    ),
    changed_part(
        &["/update/internal_user_settings"],
        "Sets what new users get (default_internal_user_params).",
        |plane, ask| Box::pin(parts::update(plane, ask, parts::USERS)),
    ),
    shown_part(
        &["/get/default_team_settings"],
        "Tells what new teams get (default_team_params).",
        |plane, _| Box::pin(parts::get(plane, parts::TEAMS)),
    ),
    changed_part(
        &["/update/default_team_settings"],
        "Sets what new teams get (default_team_params).",
        |plane, ask| Box::pin(parts::update(plane, ask, parts::TEAMS)),
    ),
    shown_part(
        &["/get/sso_settings"],
        "Tells how people sign in at an identity provider, as the database has it; secrets are masked.",
        |plane, _| Box::pin(sso::get(plane)),
    ),
    Operation {
        body: &[sso::FIELDS],
        ..changed_part(
            &["/update/sso_settings"],
            "Sets how people sign in at an identity provider; it is in force at once. What is not said stays, null takes away.",
            |plane, ask| Box::pin(sso::update(plane, ask)),
        )
    },
    Operation {
        body: &[THEME],
        ..changed_part(
            &["/update/ui_theme_settings"],
            "Sets where browsers find the pictures of the UI (ui_theme_config); what is not said stays, null takes away.",
            |plane, ask| Box::pin(parts::theme(plane, ask)),
        )
    },
    shown_part(
        &["/cache/settings"],
        "Tells the parameters of the cache in force, with what each means; secrets are masked.",
        |plane, _| Box::pin(async move { cache::get(plane) }),
    ),
    Operation {
        method: "POST",
        body: &[CACHE],
        ..changed_part(
            &["/cache/settings"],
            "Stores the parameters of the cache, and turns it on with them; in force at once.",
            |plane, ask| Box::pin(cache::update(plane, ask)),
        )
    },
    Operation {
        method: "POST",
        body: &[CACHE],
        ..changed_part(
            &["/cache/settings/test"],
            "Reaches the Redis of these parameters, and changes nothing.",
            |plane, ask| Box::pin(cache::test(plane, ask)),
        )
    },
];

type Run = for<'a> fn(&'a ControlPlane, Ask) -> Running<'a>;

/// An operation that tells one setting which has members of its own.
const fn shown_part(paths: &'static [&'static str], what: &'static str, run: Run) -> Operation {
    Operation {
        method: "GET",
        paths,
        who: Who::Viewer,
        what,
        body: &[],
        query: &[],
        run,
    }
}

/// One that sets members of it.
const fn changed_part(paths: &'static [&'static str], what: &'static str, run: Run) -> Operation {
    Operation {
        method: "PATCH",
        who: Who::Admin,
        body: &[PART],
        ..shown_part(paths, what, run)
    }
}

/// Changes of settings by their section; null takes one away.
type Changes = BTreeMap<&'static str, Map<String, Value>>;

/// The name of a section that can be stored.
fn section(name: &str) -> Result<&'static str, Refusal> {
    let found = SECTIONS.into_iter().find(|section| *section == name);
    found.ok_or_else(|| {
        let text = format!(
            "config_type={name}: settings are stored of {}",
            SECTIONS.join(", ")
        );
        Refusal::bad(text).param("config_type")
    })
}

impl ControlPlane {
    /// What the database holds of a section, as it is there; and how often that was changed.
    async fn stored(&self, section: &str) -> Result<(Option<Map<String, Value>>, Value), Refusal> {
        let row = self.store.row(TABLE, "param_name", section).await?;
        let revision = row
            .as_ref()
            .and_then(|row| row.get("reload_revision"))
            .cloned();
        let held = row.map(|row| object(row.get("param_value")));
        Ok((held, revision.unwrap_or_default()))
    }

    /// Stores changes, and puts them in force.
    async fn store_settings(&self, ask: &Ask, changes: Changes) -> Result<(), Refusal> {
        self.store_seen(ask, changes, None).await
    }

    /// The same, of changes that were made of what a section held at this revision.
    async fn store_seen(
        &self,
        ask: &Ask,
        changes: Changes,
        seen: Option<Value>,
    ) -> Result<(), Refusal> {
        let settings = self.settings.load_full();
        settings.must_store()?;
        let (mut steps, mut back, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (section, mut changes) in changes {
            let (held, revision) = self.stored(section).await?;
            if seen.as_ref().is_some_and(|seen| *seen != revision) {
                return Err(Refusal::Raced);
            }
            if section == VARIABLES {
                sso::stays_home(self, sso::Said::Variables(&changes)).await?;
            }
            self.unmask_settings(&settings, section, &mut changes, held.as_ref())?;
            self.judge(section, &changes)?;
            for (key, value) in &mut changes {
                let path = format!("{section}.{key}");
                match value {
                    Value::Array(routes) if path == ROUTES => {
                        let held = held.as_ref().and_then(|held| held.get(key));
                        places.extend(passages::touched(
                            routes,
                            held,
                            settings.seal().ok().as_ref(),
                        ));
                        passages::seal(self, &settings, routes)?;
                    }
                    _ => places.push(place(TABLE, &path)),
                }
            }
            let mut now = held.clone().unwrap_or_default();
            let changes = match section {
                VARIABLES => sealed(&settings.seal()?, changes)?,
                _ => changes,
            };
            for (key, value) in changes {
                match value.is_null() {
                    true => drop(now.remove(&key)),
                    false => drop(now.insert(key, value)),
                }
            }
            let named = Filter::by("param_name", section);
            let mut row = json!({"param_name": section, "param_value": now});
            // Newer LiteLLM counts changes; there a change in between is seen.
            if self.store.has_column(TABLE, "reload_revision") {
                let next = revision.as_i64().unwrap_or_default() + 1;
                row["reload_revision"] = next.into();
                if held.is_some() {
                    let other = named.clone().and("reload_revision", Is::Not(revision));
                    steps.push(Write::Absent(TABLE, other, RACED));
                } else {
                    steps.push(Write::Absent(TABLE, named.clone(), RACED));
                }
            }
            let row = row.as_object().cloned().unwrap_or_default();
            steps.extend(self.note(
                ask,
                Action::Updated,
                TABLE,
                section,
                None,
                Some(&told(&now)),
            ));
            back.push(match held {
                None => Write::Delete(TABLE, named),
                Some(held) => {
                    let mut old = row.clone();
                    old.insert("param_value".to_owned(), held.into());
                    Write::Upsert(TABLE, old)
                }
            });
            steps.push(Write::Upsert(TABLE, row));
        }
        self.put_in_force(ask, Changed::Config, &places, steps, back)
            .await
    }

    /// Puts what is stored in place of masks. Of variables reads show nothing else.
    fn unmask_settings(
        &self,
        settings: &crate::Settings,
        section: &str,
        changes: &mut Map<String, Value>,
        held: Option<&Map<String, Value>>,
    ) -> Result<(), Refusal> {
        let held = held.cloned().unwrap_or_default();
        if section != VARIABLES {
            let path = |key: &str| format!("{section}.{key}");
            // Routes and caches have their own rules for which secrets go where.
            for (key, value) in changes.iter_mut() {
                match value {
                    Value::Array(routes) if path(key) == ROUTES => {
                        passages::unmask_list(self, routes, held.get(key))?;
                    }
                    Value::Object(said) if path(key) == cache::PATH => {
                        cache::stays_home(self, said, &object(held.get(key)))?;
                    }
                    _ => {}
                }
            }
            return self.unmask(section, changes, &held);
        }
        let held = plain(&settings.seal()?, held);
        changes.iter_mut().try_for_each(|(name, value)| {
            let at = format!("{section}.{name}");
            restore(&|_| true, &at, name, value, held.get(name))
        })
    }

    /// Refuses what no file could say, and what the file says already.
    fn judge(&self, section: &str, changes: &Map<String, Value>) -> Result<(), Refusal> {
        let configuration = self.configuration()?;
        for (key, value) in changes {
            let path = format!("{section}.{key}");
            // Of a list of routes the files and the database have each their own.
            if path != ROUTES && configuration.of_file(section, key) {
                let text = format!(
                    "{path} is declared in the configuration file: change it there, or set general_settings.db_config_precedence: db"
                );
                return Err(Refusal::bad(text).param(&path));
            }
            if section == VARIABLES && !matches!(value, Value::String(_) | Value::Null) {
                return Err(Refusal::bad(format!("{path} is a text")).param(&path));
            }
            if value.is_null() {
                continue;
            }
            if let Some(fault) = configuration.fault(section, key, value) {
                return Err(Refusal::bad(fault).param(&path));
            }
        }
        Ok(())
    }
}

/// A row for the audit log: which settings are stored. What they say may be secret.
fn told(values: &Map<String, Value>) -> Row {
    let names: Vec<&String> = values.keys().collect();
    Row::from_iter([("param_value".to_owned(), json!(names))])
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[UPDATE], &ask.body)?;
    let known = |name: &&String| SECTIONS.contains(&name.as_str());
    if let Some(unknown) = ask.body.keys().find(|name| !known(name)) {
        section(unknown)?;
    }
    let mut changes = Changes::new();
    for name in SECTIONS {
        let said = object(given.members.get(name));
        if !said.is_empty() {
            changes.insert(name, said);
        }
    }
    // LiteLLM adds log sinks to those that are there.
    if let Some(litellm) = changes.get_mut("litellm_settings") {
        let (held, _) = plane.stored("litellm_settings").await?;
        callbacks::join(litellm, &held.unwrap_or_default());
    }
    plane.store_settings(&ask, changes).await?;
    Ok(json!({"message": "Config updated successfully"}))
}
