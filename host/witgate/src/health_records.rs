//! Checks of deployments in `LiteLLM_HealthCheckTable`: written behind whoever checks, read for whoever asks what earlier ones found.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use witgate_pipeline::{Gateway, HealthRecord};
use witgate_server::routes::Earlier;
use witgate_store::{Filter, Is, Row, Select, Store, StoreError, Write, time_text};

const TABLE: &str = "LiteLLM_HealthCheckTable";
/// Wait after the database failed.
const RETRY: Duration = Duration::from_secs(5);
/// Most rows that are looked at for an answer.
const READ_MAX: usize = 10_000;
/// Records of one transaction.
const AT_ONCE: usize = 500;

/// Writes what checks find until the end, and what is left then.
pub async fn keep(gateway: Arc<Gateway>, store: Store, stop: CancellationToken) {
    if !store.has_table(TABLE) {
        return;
    }
    let health = &gateway.health;
    loop {
        let stopped = tokio::select! {
            () = health.has_unwritten() => false,
            () = stop.cancelled() => true,
        };
        let records = health.take_unwritten();
        if let Err(error) = write(&store, &records).await {
            tracing::warn!(%error, records = records.len(), "health checks are not in the database; tried again");
            health.put_back(records);
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return,
            }
        }
        if stopped {
            return;
        }
    }
}

async fn write(
    store: &Store,
    records: &[Arc<HealthRecord>],
) -> Result<(), witgate_store::WriteError> {
    for records in records.chunks(AT_ONCE) {
        let rows = records
            .iter()
            .map(|record| Write::Ensure(TABLE, row(record)));
        store.write(rows.collect(), jiff::Timestamp::now()).await?;
    }
    Ok(())
}

/// Earlier checks that are in the database, the newest first; an error when it does not tell.
pub async fn earlier(store: &Store, wanted: &Earlier<'_>) -> Result<Vec<HealthRecord>, StoreError> {
    if !store.has_table(TABLE) {
        return Ok(Vec::new());
    }
    let filter = Filter::all()
        .and_if("model_name", wanted.model)
        .and_if("status", wanted.status);
    let select = Select {
        filter: filter.and("checked_at", Is::Given),
        order: vec![("checked_at", true)],
        offset: 0,
        limit: Some(wanted.most.min(READ_MAX) as u64),
    };
    let rows = store.rows(TABLE, &select).await?;
    Ok(rows.iter().map(record).collect())
}

fn row(record: &HealthRecord) -> Row {
    let mut row = record.columns();
    row.insert("checked_at".to_owned(), time_text(record.checked_at).into());
    row
}

fn record(row: &Row) -> HealthRecord {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    HealthRecord {
        health_check_id: text("health_check_id")
            .and_then(|id| id.parse().ok())
            .unwrap_or_default(),
        model_name: text("model_name").unwrap_or_default(),
        model_id: text("model_id").unwrap_or_default(),
        is_healthy: row.get("status").and_then(Value::as_str) == Some("healthy"),
        error_message: text("error_message"),
        response_time_ms: row
            .get("response_time_ms")
            .and_then(Value::as_f64)
            .unwrap_or_default(),
        checked_by: text("checked_by"),
        checked_at: text("checked_at")
            .and_then(|at| at.parse().ok())
            .unwrap_or_default(),
    }
}
