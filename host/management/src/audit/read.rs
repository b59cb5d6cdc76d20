//! `/audit`: tells of the audit log.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Select};

use crate::fields::moment;
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const TABLE: &str = "LiteLLM_AuditLog";
const PAGE: u64 = 10;
const PAGE_MAX: u64 = 100;

/// Columns that entries can be picked by and sorted by.
const COLUMNS: [&str; 6] = [
    "changed_by",
    "changed_by_api_key",
    "action",
    "table_name",
    "object_id",
    "updated_at",
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/audit"],
        who: Who::Viewer,
        what: "Lists who changed what, newest first, page by page.",
        body: &[],
        query: &[
            "page",
            "page_size",
            "changed_by",
            "changed_by_api_key",
            "action",
            "table_name",
            "object_id",
            "start_date",
            "end_date",
            "sort_by",
            "sort_order",
        ],
        run: |plane, ask| Box::pin(list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/audit/{id}"],
        who: Who::Viewer,
        what: "Tells of one change.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(one(plane, ask)),
    },
];

async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("page_size", PAGE, PAGE_MAX)?;
    let time = |name: &str| match ask.param(name) {
        None => Ok(None),
        Some(text) => match moment(text) {
            Some(at) => Ok(Some(Value::from(witgate_store::time_text(at)))),
            None => {
                let message = format!(
                    "{name} {text:?} is no time; times are ISO 8601, such as 2026-01-31T00:00:00Z"
                );
                Err(Refusal::bad(message).param(name))
            }
        },
    };
    let mut filter = Filter::all();
    if let Some(at) = time("start_date")? {
        filter = filter.and("updated_at", Is::AtLeast(at));
    }
    if let Some(at) = time("end_date")? {
        filter = filter.and("updated_at", Is::AtMost(at));
    }
    for column in COLUMNS.into_iter().filter(|column| *column != "updated_at") {
        filter = filter.and_if(column, ask.param(column));
    }
    let order = ask.order(&COLUMNS, "updated_at", true)?;
    let total = plane.store.count(TABLE, &filter).await?;
    let select = Select {
        filter,
        order: vec![order],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    Ok(json!({
        "audit_logs": rows, "total": total, "page": page.page, "page_size": page.size,
        "total_pages": page.pages(total),
    }))
}

async fn one(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.unwrap_or_default();
    let row = plane.store.row(TABLE, "id", &id).await?;
    let row =
        row.ok_or_else(|| Refusal::detail(404, format!("Audit log with ID {id} not found")))?;
    Ok(Value::Object(row))
}
