//! What a UI asks before it adds a guardrail: which there are to choose from, and what each takes.

use serde_json::{Map, Value, json};

use crate::operation::{Operation, Outcome, Who};
use crate::{Choice, ControlPlane, Refusal};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/guardrails/ui/add_guardrail_settings"],
        who: Who::Viewer,
        what: "Tells when guardrails run, and which personal data Presidio's finds.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(form(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/guardrails/ui/provider_specific_params"],
        who: Who::Viewer,
        what: "Tells which guardrails can be added by their names, and the settings of each.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(params(plane)),
    },
];

/// When a guardrail runs here.
const MODES: [&str; 4] = ["pre_call", "post_call", "during_call", "logging_only"];

/// The guardrail that finds entities, and what becomes of one.
const PRESIDIO: &str = "presidio";
const ACTIONS: [&str; 2] = ["MASK", "BLOCK"];

/// What Presidio's recognizers find, by LiteLLM's categories.
const ENTITIES: [(&str, &[&str]); 11] = [
    (
        "General",
        &[
            "DATE_TIME",
            "EMAIL_ADDRESS",
            "IP_ADDRESS",
            "NRP",
            "LOCATION",
            "PERSON",
            "PHONE_NUMBER",
            "MEDICAL_LICENSE",
            "URL",
        ],
    ),
    ("Finance", &["CREDIT_CARD", "CRYPTO", "IBAN_CODE"]),
    (
        "USA",
        &[
            "US_BANK_NUMBER",
            "US_DRIVER_LICENSE",
            "US_ITIN",
            "US_PASSPORT",
            "US_SSN",
        ],
    ),
    ("UK", &["UK_NHS", "UK_NINO"]),
    ("Spain", &["ES_NIF", "ES_NIE"]),
    (
        "Italy",
        &[
            "IT_FISCAL_CODE",
            "IT_DRIVER_LICENSE",
            "IT_VAT_CODE",
            "IT_PASSPORT",
            "IT_IDENTITY_CARD",
        ],
    ),
    ("Poland", &["PL_PESEL"]),
    ("Singapore", &["SG_NRIC_FIN", "SG_UEN"]),
    ("Australia", &["AU_ABN", "AU_ACN", "AU_TFN", "AU_MEDICARE"]),
    (
        "India",
        &[
            "IN_PAN",
            "IN_AADHAAR",
            "IN_VEHICLE_REGISTRATION",
            "IN_VOTER",
            "IN_PASSPORT",
        ],
    ),
    ("Finland", &["FI_PERSONAL_IDENTITY_CODE"]),
];

async fn known(plane: &ControlPlane) -> Result<Vec<Choice>, Refusal> {
    let known = plane.configuration()?.guardrails().await;
    known.map_err(|why| Refusal::error(500, "internal_server_error", why))
}

async fn form(plane: &ControlPlane) -> Outcome {
    let known = known(plane).await?;
    let finds = known.iter().any(|one| one.name == PRESIDIO);
    let listed = ENTITIES.iter().filter(|_| finds);
    let categories = listed
        .clone()
        .map(|(category, entities)| json!({"category": category, "entities": entities}));
    let entities: Vec<&str> = listed.flat_map(|(_, all)| all.iter().copied()).collect();
    Ok(json!({
        "supported_entities": entities,
        "supported_actions": if finds { ACTIONS.as_slice() } else { &[] },
        "supported_modes": MODES,
        "pii_entity_categories": categories.collect::<Vec<_>>(),
    }))
}

async fn params(plane: &ControlPlane) -> Outcome {
    let known = known(plane).await?;
    let told = known.into_iter().map(|one| {
        let params = one.params.into_iter().map(|param| {
            let told = json!({
                "description": param.doc, "required": param.required, "type": param.kind,
                "default_value": param.default,
            });
            (param.name, told)
        });
        let mut told: Map<String, Value> = params.collect();
        told.insert("ui_friendly_name".to_owned(), one.title.into());
        (one.name, Value::Object(told))
    });
    Ok(Value::Object(told.collect()))
}
