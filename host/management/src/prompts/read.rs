//! Reads prompts: lists, versions, one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use witgate_store::{Filter, Row, Select};

use super::{OPEN, TABLE, environment_of, not_found, parted, served, version_of};
use crate::fields::text;
use crate::in_force::plain;
use crate::operation::Outcome;
use crate::stored::object;
use crate::{Ask, ControlPlane, Refusal};

/// Rows that are read at most.
const MOST: u64 = 10_000;

impl ControlPlane {
    /// The rows of a prompt, or of all, the newest version first.
    pub(super) async fn prompt_rows(
        &self,
        id: Option<&str>,
        environment: Option<&str>,
    ) -> Result<Vec<Row>, Refusal> {
        if !self.store.has_table(TABLE) {
            return Ok(Vec::new());
        }
        let filter = match id {
            Some(id) => Filter::by("prompt_id", id),
            None => Filter::all(),
        };
        let select = Select {
            order: vec![("created_at", true)],
            limit: Some(MOST),
            ..filter.into()
        };
        let mut rows = self.store.rows(TABLE, &select).await?;
        rows.retain(|row| environment.is_none_or(|one| one == environment_of(row)));
        rows.sort_by_key(|row| std::cmp::Reverse(version_of(row)));
        Ok(rows)
    }

    /// The row that a path names: the newest version, or the one that it ends in.
    pub(super) async fn prompt(&self, ask: &Ask) -> Result<Row, Refusal> {
        let named = ask.named.as_deref().unwrap_or_default();
        let (id, version) = parted(named);
        let rows = self.prompt_rows(Some(id), ask.param("environment")).await?;
        let serving = served(&rows).into_iter();
        let found = serving
            .filter(|row| version.is_none_or(|version| version == version_of(row)))
            .max_by_key(|row| version_of(row));
        found.cloned().ok_or_else(|| not_found(named))
    }

    /// A row for people: parameters opened, secrets masked.
    pub(super) fn shown_prompt(&self, row: &Row) -> Value {
        let params = object(row.get("litellm_params"));
        // Without a salt nothing can be opened, and what is encrypted is a secret by its name.
        let params = match self.settings.load().seal() {
            Ok(seal) => plain(&seal, params),
            Err(_) => params,
        };
        let mut info = object(row.get("prompt_info"));
        info.insert("prompt_type".to_owned(), "db".into());
        let environment = environment_of(row);
        info.entry("environment").or_insert(environment.into());
        let of = |column: &str| row.get(column).cloned().unwrap_or_default();
        json!({
            "prompt_id": of("prompt_id"), "litellm_params": self.masked(params), "prompt_info": info,
            "created_at": of("created_at"), "updated_at": of("updated_at"), "version": version_of(row),
            "environment": environment, "created_by": of("created_by"),
        })
    }

    /// The prompts of the files, secrets masked; of one with several versions the newest.
    fn prompts_of_files(&self, stored: &BTreeSet<String>) -> Result<Vec<Value>, Refusal> {
        let shown = self.configuration()?.shown();
        let list = shown.get("prompts").and_then(Value::as_array);
        let mut newest: Vec<Value> = Vec::new();
        for entry in list.into_iter().flatten() {
            let entry = object(Some(entry));
            let id = text(&entry, "prompt_id").unwrap_or_default();
            if stored.contains(id) {
                continue;
            }
            let mut info = object(entry.get("prompt_info"));
            info.insert("prompt_type".to_owned(), "config".into());
            let version = entry.get("version").and_then(Value::as_u64);
            let told = json!({
                "prompt_id": id, "litellm_params": object(entry.get("litellm_params")), "prompt_info": info,
                "created_at": null, "updated_at": null, "version": version, "environment": null, "created_by": null,
            });
            match newest.iter_mut().find(|one| one["prompt_id"] == id) {
                Some(one) if one["version"].as_u64() < version => *one = told,
                Some(_) => {}
                None => newest.push(told),
            }
        }
        Ok(newest)
    }
}

/// The ids of rows.
fn ids(rows: &[Row]) -> BTreeSet<String> {
    let ids = rows.iter().filter_map(|row| text(row, "prompt_id"));
    ids.map(str::to_owned).collect()
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let own = ask.caller.metadata.get("prompts").and_then(Value::as_array);
    let own = own.filter(|own| !own.is_empty());
    if own.is_none() && !ask.sees_all() {
        return Ok(json!({"prompts": []}));
    }
    let environment = ask.param("environment");
    let rows = plane.prompt_rows(None, None).await?;
    let mut told = match environment {
        None => plane.prompts_of_files(&ids(&rows))?,
        // Those of the files are of no environment.
        Some(_) => Vec::new(),
    };
    let in_it = |row: &&Row| environment.is_none_or(|one| one == environment_of(row));
    let asked: Vec<Row> = rows.iter().filter(in_it).cloned().collect();
    let mut seen = BTreeSet::new();
    // The newest come first.
    for row in served(&asked) {
        let id = text(row, "prompt_id").unwrap_or_default();
        if seen.insert(id) {
            told.push(plane.shown_prompt(row));
        }
    }
    if let Some(own) = own {
        let is_own = |id: &Value| {
            own.iter()
                .any(|one| one.as_str().map(parted).map(|(id, _)| id) == id.as_str())
        };
        told.retain(|prompt| is_own(&prompt["prompt_id"]));
    }
    if !ask.sees_all() {
        for prompt in &mut told {
            let mut params = object(prompt.get("litellm_params"));
            params.retain(|name, _| OPEN.contains(&name.as_str()));
            prompt["litellm_params"] = params.into();
        }
    }
    Ok(json!({ "prompts": told }))
}

pub(super) async fn versions(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (id, _) = parted(ask.named.as_deref().unwrap_or_default());
    let rows = plane
        .prompt_rows(Some(id), ask.param("environment"))
        .await?;
    if rows.is_empty() {
        let text = format!("No versions found for prompt ID {id}");
        return Err(Refusal::Detail(404, json!(text)));
    }
    let told = rows.iter().map(|row| plane.shown_prompt(row));
    Ok(json!({"prompts": told.collect::<Vec<_>>()}))
}

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let spec = match plane.prompt(&ask).await {
        Ok(row) => plane.shown_prompt(&row),
        Err(refusal) => {
            if ask.param("environment").is_some() {
                return Err(refusal);
            }
            let rows = plane.prompt_rows(None, None).await?;
            let named = ask.named.as_deref();
            let mut of_files = plane.prompts_of_files(&ids(&rows))?.into_iter();
            let found = of_files.find(|one| one["prompt_id"].as_str() == named);
            found.ok_or(refusal)?
        }
    };
    // What the prompt says is with its manager, and may depend on who asks.
    Ok(json!({"prompt_spec": spec, "raw_prompt_template": null}))
}
