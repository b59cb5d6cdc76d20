//! Guardrails at work on a complete body: which ones run, what their verdicts do, what is recorded.
//!
//! Shared by the stages `guard in`, `call` (during_call) and `guard out`; streams are in
//! [`crate::guard_stream`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use witgate_events::{GuardrailRun, GuardrailStatus};
use witgate_wire::json::Object;
use witgate_wire::{Edits, RequestView, texts};

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::ports::{
    Block, BodyText, BodyView, Edit, Finding, GuardCall, Phase, PluginFault, Verdict,
};
use crate::snapshot::{FailPolicy, GuardrailEntry};

/// A body under inspection.
pub enum WireView {
    /// A request, which `parse` has indexed.
    Request(RequestView),
    /// A response's body.
    Response(Bytes),
    /// A body that is passed through, and the texts of it that are judged.
    Passed(Bytes, Vec<BodyText>),
}

impl WireView {
    /// A request's body.
    pub fn request(request: &RequestView) -> Arc<Self> {
        Arc::new(Self::Request(request.clone()))
    }

    /// A response's body.
    pub fn response(bytes: Bytes) -> Arc<Self> {
        Arc::new(Self::Response(bytes))
    }

    /// A body that is passed through.
    pub fn passed(bytes: Bytes, texts: Vec<BodyText>) -> Arc<Self> {
        Arc::new(Self::Passed(bytes, texts))
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.bytes(),
            Self::Response(bytes) | Self::Passed(bytes, _) => bytes,
        }
    }
}

impl BodyView for WireView {
    fn raw(&self) -> Cow<'_, str> {
        let bytes = self.bytes();
        // Checking is several times faster than mending, which JSON from outside hardly ever needs.
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }
    }

    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn field(&self, pointer: &str) -> Option<String> {
        let scanned;
        let object = match self {
            Self::Request(request) => request.object(),
            Self::Response(bytes) | Self::Passed(bytes, _) => {
                scanned = Object::scan(bytes).ok()?;
                &scanned
            }
        };
        if pointer.is_empty() {
            return Some(self.raw().into_owned());
        }
        let mut steps = pointer.strip_prefix('/')?.split('/').map(unescape);
        let mut value = object.get(&steps.next()?)?;
        for step in steps {
            value = match value.kind() {
                "array" => value.elements().nth(step.parse().ok()?)?,
                _ => value.get(&step)?,
            };
        }
        Some(value.text().to_owned())
    }

    fn texts(&self) -> Vec<BodyText> {
        let found = match self {
            Self::Request(request) => texts::request_texts(request),
            Self::Response(bytes) => texts::response_texts(bytes),
            Self::Passed(_, texts) => return texts.clone(),
        };
        let owned = |t: texts::TextRef<'_>| BodyText {
            pointer: t.pointer,
            role: t.role,
            text: t.text.into_owned(),
        };
        found.into_iter().map(owned).collect()
    }
}

/// A step of a JSON pointer, RFC 6901 escapes undone.
fn unescape(step: &str) -> Cow<'_, str> {
    if step.contains('~') {
        Cow::Owned(step.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(step)
    }
}

/// Indexes of the guardrails that judge this call in this phase, in the order of the config
/// (LiteLLM's `should_run_guardrail`): those that the request, its key or its team names, and those that are always on.
pub fn selected(x: &Exchange, phase: Phase) -> Vec<usize> {
    let entries = &x.snapshot.guardrails;
    if entries.is_empty() {
        return Vec::new();
    }
    let asked = x
        .request
        .as_ref()
        .map(witgate_wire::RequestView::guardrails)
        .unwrap_or_default();
    let of_models = of_models(x, phase);
    let runs = |entry: &GuardrailEntry| {
        let is_on = entry.default_on || phase == Phase::LoggingOnly;
        (is_on
            || asked.contains(&entry.name)
            || of_models.contains(&entry.name.as_str())
            || of_caller(x, &entry.name))
            && entry.modes.include(phase, &x.tags)
            && !leads_here(x, &entry.name)
    };
    (0..entries.len()).filter(|i| runs(&entries[*i])).collect()
}

/// Guardrails that the deployments have which may serve the model asked for (`litellm_params.guardrails`); of an answer
/// also those of the deployment that gave it.
fn of_models(x: &Exchange, phase: Phase) -> Vec<&str> {
    if !x.snapshot.settings.guards_models {
        return Vec::new();
    }
    let served = x
        .served
        .deployment
        .filter(|_| phase == Phase::PostCall || phase == Phase::LoggingOnly);
    let asked = asked_deployments(x);
    named_by(x, asked.iter().copied().chain(served)).collect()
}

/// The deployments that may serve the model asked for.
fn asked_deployments(x: &Exchange) -> Arc<[usize]> {
    let team = x.principal.team_id.as_deref();
    let route = x.snapshot.routing.resolve_for(&x.model, team);
    route.map(|route| route.candidates).unwrap_or_default()
}

/// The guardrails that these deployments have.
fn named_by(x: &Exchange, deployments: impl Iterator<Item = usize>) -> impl Iterator<Item = &str> {
    let targets = deployments.filter_map(move |index| x.snapshot.targets.get(index));
    targets.flat_map(|target| target.guardrails.iter().map(String::as_str))
}

/// Indexes of the guardrails that judge requests for these deployments and have not judged this one, as it was for others.
pub fn not_asked_yet(x: &Exchange, deployments: &[usize]) -> Vec<usize> {
    if !x.snapshot.settings.guards_models {
        return Vec::new();
    }
    let wanted: Vec<&str> = named_by(x, deployments.iter().copied()).collect();
    let phases = [Phase::PreCall, Phase::DuringCall];
    let asked = phases.map(|phase| selected(x, phase));
    let judges = |(index, entry): &(usize, &GuardrailEntry)| {
        let is_meant = |phase: &Phase| entry.modes.include(*phase, &x.tags);
        wanted.contains(&entry.name.as_str())
            && phases.iter().any(is_meant)
            && !asked.iter().flatten().any(|asked| asked == index)
            && !leads_here(x, &entry.name)
    };
    let entries = x.snapshot.guardrails.iter().enumerate();
    entries.filter(judges).map(|(index, _)| index).collect()
}

/// Whether the caller's key or team names a guardrail.
pub fn of_caller(x: &Exchange, name: &str) -> bool {
    let lists = [&x.principal.metadata, &x.principal.team_metadata];
    let mut lists = lists
        .into_iter()
        .filter_map(|own| own.get("guardrails")?.as_array());
    lists.any(|list| list.iter().any(|one| one.as_str() == Some(name)))
}

/// Whether the call is a plugin's, and this plugin's calls led to it.
fn leads_here(x: &Exchange, plugin: &str) -> bool {
    let made_by = x.made_by.as_ref();
    made_by.is_some_and(|by| by.plugins.iter().any(|one| one.as_ref() == plugin))
}

/// What a guardrail is told of this call.
pub fn call_of(x: &Exchange, entry: &GuardrailEntry, phase: Phase) -> GuardCall {
    let params = x.request.as_ref().and_then(|request| {
        let params = request.guardrail_params(&entry.name)?;
        let body = params
            .get("extra_body")
            .filter(|raw| raw.kind() == "object");
        Some(body.unwrap_or(params).text().to_owned())
    });
    GuardCall {
        id: x.call_id.clone(),
        phase,
        call_type: x.call_type(),
        model: x.model.clone(),
        principal: x.principal.clone(),
        params: params.unwrap_or_else(|| "{}".to_owned()),
        headers: x.arrival.headers.clone(),
        memory: x.memory.clone(),
    }
}

/// What a judgement means for the call, and its record.
pub struct Judged {
    /// Edits to make, when there are any.
    pub edits: Option<Edits>,
    /// For the event.
    pub run: GuardrailRun,
    /// Why the call ends here.
    pub failure: Option<Failure>,
}

impl Judged {
    /// The guardrail's edits make no sense on this body: it has not judged it.
    pub fn cannot_edit(&mut self, entry: &GuardrailEntry, error: &dyn std::fmt::Display) {
        let fault = PluginFault::new(format!("its edit cannot be made: {error}"));
        self.run.guardrail_status = GuardrailStatus::GuardrailFailedToRespond;
        self.run.guardrail_response = said("failed");
        self.failure = no_verdict(entry, &fault);
    }

    /// Records the judgement; an error when the call ends with it.
    pub fn conclude(self, x: &mut Exchange, index: usize) -> Result<(), Failure> {
        if !x.snapshot.guardrails[index].is_enforced() {
            return Ok(());
        }
        let judged = self.run.guardrail_status != GuardrailStatus::GuardrailFailedToRespond;
        x.guardrails.push(self.run);
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if judged {
            x.applied(index);
        }
        Ok(())
    }
}

fn said(response: &str) -> Option<Arc<serde_json::value::RawValue>> {
    serde_json::value::to_raw_value(response)
        .ok()
        .map(Arc::from)
}

/// Asks one guardrail about a body.
pub async fn judge(
    gateway: &Gateway,
    x: &Exchange,
    index: usize,
    phase: Phase,
    body: Arc<WireView>,
) -> Judged {
    let entry = &x.snapshot.guardrails[index];
    let start = gateway.clock.now();
    let verdict = entry.plugin.check(call_of(x, entry, phase), body).await;
    let end = gateway.clock.now();
    let mut judged = Judged {
        edits: None,
        run: GuardrailRun::default(),
        failure: None,
    };
    let mut findings = Vec::new();
    let (status, response) = match verdict {
        Ok(Verdict::Allow) => (GuardrailStatus::Success, "allow"),
        Ok(Verdict::Edit {
            edits,
            findings: found,
        }) => {
            findings = found;
            judged.edits = Some(wire_edits(&edits));
            (GuardrailStatus::GuardrailIntervened, "mask")
        }
        Ok(Verdict::Block(block)) => {
            findings.clone_from(&block.findings);
            judged.failure = Some(blocked(entry, phase, block));
            (GuardrailStatus::GuardrailIntervened, "block")
        }
        Ok(Verdict::CouldNotJudge(why)) => {
            judged.failure = no_verdict(entry, &PluginFault::new(why));
            (GuardrailStatus::GuardrailFailedToRespond, "could not judge")
        }
        Err(fault) => {
            judged.failure = no_verdict(entry, &fault);
            (GuardrailStatus::GuardrailFailedToRespond, "failed")
        }
    };
    judged.run = record(entry, phase, status, response, &findings, (start, end));
    judged
}

/// The guardrail's record for the event.
pub fn record(
    entry: &GuardrailEntry,
    phase: Phase,
    status: GuardrailStatus,
    response: &str,
    findings: &[Finding],
    (start, end): (jiff::Timestamp, jiff::Timestamp),
) -> GuardrailRun {
    let seconds = |t: jiff::Timestamp| t.as_microsecond() as f64 / 1e6;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.kind.clone()).or_default() += u64::from(finding.count);
    }
    GuardrailRun {
        guardrail_name: Some(entry.name.clone()),
        guardrail_provider: Some(entry.provider.clone()),
        guardrail_mode: Some(Cow::Borrowed(phase.as_str())),
        guardrail_request: None,
        guardrail_response: said(response),
        guardrail_status: status,
        start_time: Some(seconds(start)),
        end_time: Some(seconds(end)),
        duration: Some(seconds(end) - seconds(start)),
        masked_entity_count: (!counts.is_empty()).then_some(counts),
    }
}

/// A block in the client's words.
pub fn blocked(entry: &GuardrailEntry, phase: Phase, block: Block) -> Failure {
    let status = if (400..600).contains(&block.status) {
        block.status
    } else {
        400
    };
    let mut detail = block
        .detail
        .and_then(|text| serde_json::from_str::<serde_json::Map<_, _>>(&text).ok())
        .unwrap_or_default();
    for (key, value) in [
        ("guardrail_name", entry.name.as_str()),
        ("guardrail_mode", phase.as_str()),
    ] {
        detail.entry(key).or_insert_with(|| value.into());
    }
    let mut failure = Failure::new(Case::GuardrailBlocked { status }, block.message);
    failure.detail = Some(serde_json::Value::Object(detail).to_string());
    failure
}

/// What a missing judgement means: nothing when the guardrail fails open.
pub fn no_verdict(entry: &GuardrailEntry, fault: &PluginFault) -> Option<Failure> {
    tracing::warn!(guardrail = entry.name, policy = ?entry.fail, "guardrail gave no verdict: {fault}");
    match entry.fail {
        FailPolicy::Open | FailPolicy::Shadow => None,
        FailPolicy::Closed => Some(
            Failure::new(
                Case::GuardrailUnavailable,
                format!(
                    "Guardrail '{}' could not judge this call, and fails closed",
                    entry.name
                ),
            )
            .note(fault.text.clone()),
        ),
    }
}

/// The edited body. An edit may carry JSON of the guardrail's own making, so the result is checked.
pub fn edited_body(body: &Bytes, edits: &Edits) -> Result<Bytes, String> {
    let object = Object::scan(body).map_err(|e| e.to_string())?;
    let edited = object.apply(edits).map_err(|e| e.to_string())?;
    Object::scan(&edited).map_err(|e| e.to_string())?;
    Ok(edited)
}

/// A guardrail's edits as the wire knows them.
pub fn wire_edits(edits: &[Edit]) -> Edits {
    let mut out = Edits::new();
    for edit in edits {
        match edit {
            Edit::Text { pointer, text } => out.set_pointer_string(pointer, text),
            Edit::Value { pointer, json } => out.set_pointer(pointer, json.clone()),
            Edit::Remove { pointer } => out.remove_pointer(pointer),
        };
    }
    out
}
