//! What the model hub shows everybody: `litellm_settings.public_model_groups` and the links beside them.

use serde_json::{Map, Value, json};

use super::fallbacks::{is_known, known, unknown};
use super::{Changes, LITELLM};
use crate::fields::{Field, Given, Shape, member};
use crate::operation::{Operation, Outcome, Who};
use crate::stored::object;
use crate::{Ask, ControlPlane, Refusal};

const GROUPS: &[Field] = &[member("model_groups", Shape::Texts)];
const LINKS: &[Field] = &[member("useful_links", Shape::Object)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/model_group/make_public"],
        who: Who::Admin,
        what: "Says which model groups everybody may see at /public/model_hub; no others.",
        body: &[GROUPS],
        query: &[],
        run: |plane, ask| Box::pin(make_public(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/model_hub/update_useful_links"],
        who: Who::Admin,
        what: "Says which links stand beside them.",
        body: &[LINKS],
        query: &[],
        run: |plane, ask| Box::pin(link(plane, ask)),
    },
];

async fn make_public(plane: &ControlPlane, ask: Ask) -> Outcome {
    if !ask.body.contains_key("model_groups") {
        return Err(Refusal::missing("model_groups"));
    }
    let groups = ask.texts("model_groups")?;
    let all = known(plane)?;
    let strangers: Vec<&String> = groups.iter().filter(|one| !is_known(&all, one)).collect();
    if !strangers.is_empty() {
        let error = format!("Model groups not found: {strangers:?}");
        return Err(unknown(404, error, &all));
    }
    store(plane, &ask, "public_model_groups", json!(groups)).await?;
    Ok(json!({
        "message": "Successfully updated public model groups",
        "public_model_groups": groups,
        "updated_by": ask.caller.user_id,
    }))
}

async fn link(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[LINKS], &ask.body)?;
    let links = given.members.get("useful_links").cloned();
    let Some(links) = links.filter(|links| !links.is_null()) else {
        return Err(Refusal::missing("useful_links"));
    };
    let each = links.as_object().into_iter().flatten();
    for (name, url) in each {
        let url = url.as_str().unwrap_or_default();
        if !crate::ui::is_page(url) {
            let error =
                format!("useful_links: {name:?} is no link; give a URL with http(s) and a host");
            return Err(Refusal::detail(400, error));
        }
    }
    store(plane, &ask, "public_model_groups_links", links.clone()).await?;
    Ok(json!({
        "message": "Successfully updated useful links",
        // Null takes them away.
        "useful_links": object(Some(&links)),
        "updated_by": ask.caller.user_id,
    }))
}

async fn store(plane: &ControlPlane, ask: &Ask, key: &str, value: Value) -> Result<(), Refusal> {
    let change = Map::from_iter([(key.to_owned(), value)]);
    let changes = Changes::from([(LITELLM, change)]);
    plane.store_settings(ask, changes).await
}
