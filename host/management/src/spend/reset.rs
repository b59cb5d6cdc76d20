//! `/global/spend/reset`: everybody begins at zero.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, Row, Select, Write};

use super::{KEYS, TEAMS, float, text};
use crate::audit::Action;
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, Changed, ControlPlane, Refusal};

/// Rows of a transaction.
const BATCH: u64 = 500;

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    method: "POST",
    paths: &["/global/spend/reset"],
    who: Who::Anyone,
    what: "Sets the spend of all keys and teams to zero; for the master key only.",
    body: &[],
    query: &[],
    run: |plane, ask| Box::pin(reset(plane, ask)),
}];

async fn reset(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    let master = settings
        .master
        .as_ref()
        .is_some_and(|master| master.is(&ask.caller));
    if !master {
        let message = format!(
            "Authentication Error, Tried to access route={}, which is only for MASTER KEY",
            ask.route
        );
        return Err(Refusal::error(401, "auth_error", message));
    }
    let tables = [
        (KEYS, "token", ScopeKind::Key),
        (TEAMS, "team_id", ScopeKind::Team),
    ];
    for (table, id, kind) in tables {
        let spent = || Filter::of("spend", Is::Not(json!(0.0)));
        loop {
            let select = Select {
                limit: Some(BATCH),
                ..spent().into()
            };
            let rows = plane.store.rows(table, &select).await?;
            let ids: Vec<String> = rows.iter().map(|row| text(row, id).to_owned()).collect();
            if ids.is_empty() {
                break;
            }
            let named = ids.iter().map(|id| Value::from(id.as_str())).collect();
            let mut steps = vec![Write::Update {
                table,
                filter: Filter::of(id, Is::In(named)),
                set: Row::from_iter([("spend".to_owned(), json!(0.0))]),
                add: Vec::new(),
            }];
            for row in &rows {
                let before = Row::from_iter([("spend".to_owned(), json!(float(row, "spend")))]);
                let after = Row::from_iter([("spend".to_owned(), json!(0.0))]);
                let updated = Action::Updated;
                steps.extend(plane.note(
                    &ask,
                    updated,
                    table,
                    text(row, id),
                    Some(&before),
                    Some(&after),
                ));
            }
            plane.store.write(steps, ask.now).await?;
            for id in ids {
                plane.changed(Changed::Spend {
                    kind,
                    id,
                    spent: Decimal::ZERO,
                });
            }
        }
    }
    Ok(json!({
        "message": "Spend for all API Keys and Teams reset successfully", "status": "success",
    }))
}
