//! `prompt`: fills in the prompt that the request or its deployment names.
//!
//! Position: after the caller is known to be allowed, before guardrails, which must judge the text that goes upstream.
//! Reads: `request`, `model`, `principal`. Writes: `request`, `model`, `prompt`. Errors: `UnknownPrompt`, `PromptUnavailable`,
//! `Denied`, `MissingField`, `UnknownModel`, `ModelAccessDenied`. Config: `prompt_id` and its kin in `litellm_params`, `prompts`, `callbacks`. Cost: one
//! plugin call for a request with a prompt, a look-up otherwise.

use std::fmt::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;
use witgate_events::PromptUsed;
use witgate_routing::Route;
use witgate_wire::request::is_control_field;
use witgate_wire::{Edits, Endpoint, RequestView};

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::ports::{Prompt, PromptCall};
use crate::snapshot::{FailPolicy, KeptVersion, PromptRef, Prompts, Snapshot};
use crate::stages::{Flow, authorize, parse};

/// Parameters that belong to the request as such: a prompt cannot set them.
const OF_THE_REQUEST: [&str; 5] = ["model", "messages", "stream", "stream_options", "user"];

pub(super) async fn prompt(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    if x.arrival.endpoint != Endpoint::ChatCompletions || snapshot.prompts.managers.is_empty() {
        return Ok(Flow::Continue);
    }
    let filled = match wanted(x, &snapshot)? {
        Some(wanted) => fill(x, &snapshot, &wanted).await,
        None => Ok(()),
    };
    filled?;
    // `parse` let a request without messages pass because of its prompt.
    parse::required(x)?;
    Ok(Flow::Continue)
}

/// Whether a request may leave out its messages: a prompt may be what it is about.
pub(super) fn may_name_one(x: &Exchange, request: &RequestView) -> bool {
    let prompts = &x.snapshot.prompts;
    !prompts.managers.is_empty()
        && x.arrival.endpoint == Endpoint::ChatCompletions
        && (request.field("prompt_id").is_some() || !prompts.by_group.is_empty())
}

/// The prompt of a call, and whom to ask for it.
struct Wanted<'s> {
    id: String,
    variables: String,
    label: Option<String>,
    version: Option<String>,
    /// The client chose it.
    by_client: bool,
    /// The deployment's own prompt, or the `prompts` entry.
    of: Option<&'s PromptRef>,
    /// Model of a deployment with the manager's prefix.
    model: Option<&'s str>,
    managers: &'s [usize],
}

fn wanted<'s>(x: &Exchange, snapshot: &'s Snapshot) -> Result<Option<Wanted<'s>>, Failure> {
    let Some(request) = &x.request else {
        return Ok(None);
    };
    let prompts = &snapshot.prompts;
    let own = text(request, "prompt_id")?.filter(|id| !id.is_empty());
    let group = group_of(x, snapshot).and_then(|group| prompts.by_group.get(&group));
    let asked = version(request)?;
    let mut named = own.as_ref().and_then(|id| prompts.by_id.get(id));
    if let (Some(kept), Some(version)) = (named.and_then(|named| named.kept.as_ref()), &asked) {
        // The versions are the configuration's: the prompt manager knows nothing of them.
        named = Some(version_of(prompts, &kept.prompt_id, version)?);
    }
    let kept = named.and_then(|named| named.kept.as_ref());
    if let Some(id) = &own {
        check_allowed(x, id, kept)?;
    }
    let of = named.or(group);
    let by_client = own.is_some();
    let asked = asked.filter(|_| kept.is_none());
    let id = match named {
        Some(named) => named.id.clone().or(own),
        None => own.or_else(|| group?.id.clone()),
    };
    let Some(id) = id else {
        return match group {
            None => Ok(None),
            Some(_) => Err(Failure::new(
                Case::UnknownPrompt,
                format!(
                    "litellm.BadRequestError: the model '{}' needs a prompt; send `prompt_id`, or set it in the deployment's litellm_params",
                    x.model
                ),
            )
            .param("prompt_id")),
        };
    };
    let variables = match request.field("prompt_variables") {
        None => of.and_then(|of| of.variables.clone()),
        Some(raw) if raw.kind() == "object" => Some(raw.text().to_owned()),
        Some(raw) => return Err(wrong_type("prompt_variables", "an object", raw.kind())),
    };
    Ok(Some(Wanted {
        id,
        variables: variables.unwrap_or_else(|| "{}".to_owned()),
        label: text(request, "prompt_label")?.or_else(|| of?.label.clone()),
        version: asked.or_else(|| of?.version.clone()),
        by_client,
        of,
        model: group.and_then(|group| group.model.as_deref()),
        managers: of
            .and_then(|of| of.manager.as_ref())
            .map_or(prompts.asked.as_slice(), std::slice::from_ref),
    }))
}

/// A version of a prompt that the configuration keeps the versions of.
fn version_of<'s>(prompts: &'s Prompts, of: &str, version: &str) -> Result<&'s PromptRef, Failure> {
    prompts
        .by_id
        .get(&format!("{of}.v{version}"))
        .ok_or_else(|| {
            let message =
                format!("litellm.BadRequestError: the prompt '{of}' has no version '{version}'");
            Failure::new(Case::UnknownPrompt, message).param("prompt_version")
        })
}

/// The group whose deployments will serve.
fn group_of(x: &Exchange, snapshot: &Snapshot) -> Option<String> {
    if snapshot.prompts.by_group.is_empty() {
        return None;
    }
    let team = x.principal.team_id.as_deref();
    let resolution = snapshot.routing.resolve_for(&x.model, team).ok()?;
    let first = *resolution.candidates.first()?;
    Some(snapshot.routing.deployment(first).model_group.clone())
}

/// The key's `prompts`: which ones it may name, of a prompt with versions all of them or one. A list that cannot be read
/// allows none.
fn check_allowed(x: &Exchange, id: &str, kept: Option<&KeptVersion>) -> Result<(), Failure> {
    let is_it = |one: &Value| match kept {
        Some(kept) => *one == kept.prompt_id || *one == kept.name(),
        None => one == id,
    };
    let allowed = match x.principal.metadata.get("prompts") {
        None | Some(Value::Null) => true,
        Some(Value::Array(listed)) => listed.is_empty() || listed.iter().any(is_it),
        Some(_) => false,
    };
    match allowed {
        true => Ok(()),
        false => {
            let message = format!(
                "Key not allowed to use the prompt '{id}'. Contact admin to change its prompts."
            );
            Err(Failure::new(Case::Denied { status: 403 }, message).param("prompt_id"))
        }
    }
}

fn text(request: &RequestView, name: &str) -> Result<Option<String>, Failure> {
    let Some(raw) = request.field(name) else {
        return Ok(None);
    };
    match raw.as_str() {
        Some(text) => Ok(Some(text.into_owned())),
        None => Err(wrong_type(name, "a string", raw.kind())),
    }
}

/// `prompt_version`, a number or its text.
fn version(request: &RequestView) -> Result<Option<String>, Failure> {
    match request.field("prompt_version") {
        Some(raw) if raw.kind() == "number" => Ok(Some(raw.text().to_owned())),
        _ => text(request, "prompt_version"),
    }
}

fn wrong_type(name: &str, wanted: &str, found: &str) -> Failure {
    let message = format!("litellm.BadRequestError: '{name}' must be {wanted}, not {found}");
    Failure::new(Case::MissingField, message).param(name)
}

async fn fill(x: &mut Exchange, snapshot: &Snapshot, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let managers = &snapshot.prompts.managers;
    for entry in wanted
        .managers
        .iter()
        .filter_map(|index| managers.get(*index))
    {
        let Some(call) = call_of(x, wanted) else {
            return Ok(());
        };
        match entry.plugin.prompt(call).await {
            Ok(Some(prompt)) => {
                x.prompt = used(wanted, &entry.integration);
                return apply(x, snapshot, wanted, &entry.integration, &prompt);
            }
            Ok(None) => {}
            Err(fault) if entry.fail == FailPolicy::Open => {
                tracing::warn!(
                    plugin = entry.name,
                    "a prompt could not be fetched, and the plugin fails open: the request goes on as it came: {fault}"
                );
                return Ok(());
            }
            Err(fault) => {
                let message = format!(
                    "The prompt '{}' could not be fetched from '{}'",
                    wanted.id, entry.integration
                );
                return Err(Failure::new(Case::PromptUnavailable, message).note(fault.text));
            }
        }
    }
    Err(unknown(snapshot, wanted))
}

fn unknown(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Failure {
    let managers = &snapshot.prompts.managers;
    let asked = wanted
        .managers
        .iter()
        .filter_map(|index| managers.get(*index));
    let names: Vec<&str> = asked.map(|entry| entry.integration.as_str()).collect();
    let message = match names.is_empty() {
        true => format!(
            "litellm.BadRequestError: no prompt manager is asked for '{}'; list one in `callbacks`, or the prompt in `prompts`",
            wanted.id
        ),
        false => format!(
            "litellm.BadRequestError: there is no prompt '{}' in {}",
            wanted.id,
            names.join(", ")
        ),
    };
    Failure::new(Case::UnknownPrompt, message).param("prompt_id")
}

fn call_of(x: &Exchange, wanted: &Wanted<'_>) -> Option<PromptCall> {
    let request = x.request.as_ref()?;
    let messages = request
        .field("messages")
        .filter(|raw| raw.kind() == "array");
    let mut params = String::from("{");
    for (name, value) in request.object().iter() {
        if matches!(name, "model" | "messages") || is_control_field(name) || value.is_null() {
            continue;
        }
        if params.len() > 1 {
            params.push(',');
        }
        // Writing to a string does not fail.
        let _ = write!(params, "{}:{}", serde_json::Value::from(name), value.text());
    }
    params.push('}');
    Some(PromptCall {
        id: x.call_id.clone(),
        model: wanted.model.unwrap_or(&x.model).to_owned(),
        messages: messages.map_or("[]", |raw| raw.text()).to_owned(),
        params,
        prompt_id: wanted.id.clone(),
        variables: wanted.variables.clone(),
        label: wanted.label.clone(),
        version: wanted.version.clone(),
        principal: x.principal.clone(),
        headers: x.arrival.headers.clone(),
        memory: x.memory.clone(),
    })
}

/// For events: LiteLLM's `prompt_management_metadata`.
fn used(wanted: &Wanted<'_>, integration: &str) -> Option<PromptUsed> {
    Some(PromptUsed {
        id: wanted.id.clone(),
        integration: integration.to_owned(),
        variables: RawValue::from_string(wanted.variables.clone()).ok()?.into(),
    })
}

fn apply(
    x: &mut Exchange,
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
    integration: &str,
    prompt: &Prompt,
) -> Result<(), Failure> {
    let Some(request) = &x.request else {
        return Ok(());
    };
    let mut edits = Edits::new();
    edits.set("messages", prompt.messages.clone());
    let keeps_params = wanted.of.is_some_and(|of| of.ignore_params);
    for (name, value) in prompt.params.iter().filter(|_| !keeps_params) {
        if is_control_field(name) || OF_THE_REQUEST.contains(&name.as_str()) {
            let message = format!(
                "The prompt '{}' of '{integration}' sets '{name}', which a prompt may not",
                wanted.id
            );
            let note = "take the parameter out of the prompt, or set ignore_prompt_manager_optional_params";
            return Err(Failure::new(Case::PromptUnavailable, message).note(note));
        }
        edits.set(name, value.clone());
    }
    let model = model(x, snapshot, wanted, integration, prompt)?;
    if let Some(model) = &model {
        edits.set_string("model", model);
    }
    let edited = request.with_edits(&edits).map_err(|error| {
        Failure::internal(format!("a prompt cannot be put into the request: {error}"))
    })?;
    x.request = Some(edited);
    if let Some(model) = model {
        x.model = model;
        // The client chose the prompt, and so the model.
        if wanted.by_client {
            authorize::check_model(x)?;
        }
    }
    Ok(())
}

/// Where the call goes instead; `None` where it was going.
fn model(
    x: &Exchange,
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
    integration: &str,
    prompt: &Prompt,
) -> Result<Option<String>, Failure> {
    let keeps = wanted.of.is_some_and(|of| of.ignore_model);
    let of_prompt = prompt.model.as_deref().filter(|_| !keeps);
    let team = x.principal.team_id.as_deref();
    let resolve = |name: &str| snapshot.routing.resolve_for(name, team).ok();
    match (of_prompt, wanted.model) {
        (Some(name), _) if name == x.model => Ok(None),
        // The deployment itself serves the model behind its prefix.
        (Some(name), Some(own)) if name == own && resolve(name).is_none() => Ok(None),
        (Some(name), _) => match resolve(name) {
            Some(_) => Ok(Some(name.to_owned())),
            None => Err(Failure::new(
                Case::UnknownModel,
                format!(
                    "The prompt '{}' of '{integration}' asks for the model '{name}', which is not in model_list; add it, or set ignore_prompt_manager_model",
                    wanted.id
                ),
            )),
        },
        (None, Some(own)) if own != x.model => {
            let group = resolve(own).filter(|found| found.route == Route::Group);
            Ok(group.map(|_| own.to_owned()))
        }
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
