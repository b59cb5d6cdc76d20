//! The same for PostgreSQL: a group is one JSON parameter, of which the database makes rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::Acquire;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::{Addition, Group, Inserted, SAME};
use crate::database::PostgresDb;
use crate::spend::marks::{self, MARKS, Marks};
use crate::spend::packed::{INTEGER_COLUMNS, Packed, TEXT_COLUMNS};
use crate::spend::time_text;

const TABLE: &str = "LiteLLM_SpendLogs";

pub(super) async fn insert(
    db: &PostgresDb,
    group: &Group<'_>,
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    match insert_once(db, group, now).await {
        // LiteLLM has changed its tables since they were looked at.
        Err(error) if is_the_schemas_fault(&error) && db.look_again().await? => {
            insert_once(db, group, now).await
        }
        outcome => outcome,
    }
}

async fn insert_once(
    db: &PostgresDb,
    group: &Group<'_>,
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let columns = columns(db);
    let mut transaction = db.pool.begin().await?;
    let mut inserted = Inserted::default();
    match insert_new(db, &mut transaction, &columns, &group.kept, now).await {
        Ok(new) => {
            for (at, is_new) in new.into_iter().enumerate() {
                inserted.note(at, is_new);
            }
        }
        Err(error) if is_the_rows_fault(&error) => {
            transaction.rollback().await?;
            transaction = db.pool.begin().await?;
            let mut rows: Vec<_> = group.kept.iter().copied().enumerate().collect();
            rows.sort_by_cached_key(|(_, row)| id_of(row).into_owned());
            for (at, row) in rows {
                let mut save = transaction.begin().await?;
                match insert_new(db, &mut save, &columns, &[row], now).await {
                    Ok(new) => {
                        save.commit().await?;
                        inserted.note(at, new == [true]);
                    }
                    Err(error) if is_the_rows_fault(&error) => {
                        save.rollback().await?;
                        inserted.impossible.push((at, error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    let told = (group, &inserted);
    inserted.duplicates += add_totals(db, &mut transaction, told, now).await?;
    transaction.commit().await?;
    Ok(inserted)
}

/// The columns that a row has and the table, too.
fn columns(db: &PostgresDb) -> Vec<&'static str> {
    let all = ["spend"]
        .into_iter()
        .chain(INTEGER_COLUMNS)
        .chain(TEXT_COLUMNS)
        .chain(["created_at", "updated_at"]);
    all.filter(|column| db.has_column(TABLE, column)).collect()
}

/// Which of the rows are new; those with an id of another call's get another one.
async fn insert_new(
    db: &PostgresDb,
    connection: &mut PgConnection,
    columns: &[&str],
    rows: &[&Packed],
    now: Timestamp,
) -> Result<Vec<bool>, sqlx::Error> {
    let mut ids = insert_rows(db, connection, columns, rows, now).await?;
    // Of two with the same id in a group, the first one is written.
    let mut new: Vec<bool> = rows.iter().map(|row| ids.remove(&*id_of(row))).collect();
    if new.contains(&false) {
        let others = anothers(db, connection, rows, &new).await?;
        let renamed = |at: &usize| Some((*at, rows.get(*at)?.renamed()));
        let renamed: Vec<(usize, Packed)> = others.iter().filter_map(renamed).collect();
        let again: Vec<&Packed> = renamed.iter().map(|(_, row)| row).collect();
        let mut ids = insert_rows(db, connection, columns, &again, now).await?;
        for (at, row) in &renamed {
            if let Some(new) = new.get_mut(*at) {
                *new = ids.remove(&*id_of(row));
            }
        }
    }
    Ok(new)
}

/// A row's id as the table has it: PostgreSQL's texts have no NUL.
fn id_of(row: &Packed) -> Cow<'_, str> {
    match row.request_id().contains('\0') {
        true => row.request_id().replace('\0', "").into(),
        false => row.request_id().into(),
    }
}

/// Of the rows whose id was there: where the one that has it is of another call.
async fn anothers(
    db: &PostgresDb,
    connection: &mut PgConnection,
    rows: &[&Packed],
    new: &[bool],
) -> Result<Vec<usize>, sqlx::Error> {
    let old = rows
        .iter()
        .zip(new)
        .enumerate()
        .filter(|(_, (_, new))| !**new);
    let old: Vec<Value> = old
        .map(|(at, (row, _))| {
            let texts = SAME.map(|column| {
                (
                    column.to_owned(),
                    row.column(column).replace('\0', "").into(),
                )
            });
            let mut object = serde_json::Map::from_iter(texts);
            object.insert("at".to_owned(), at.into());
            object.into()
        })
        .collect();
    // A table of an older LiteLLM does not know the call's own id.
    let call = match db.has_column(TABLE, "litellm_call_id") {
        true => r#"coalesce(t."litellm_call_id", '')"#,
        false => r#"d."litellm_call_id""#,
    };
    let sql = format!(
        r#"SELECT d."at" FROM jsonb_to_recordset($1::text::jsonb) AS d("at" bigint, "request_id" text, "litellm_call_id" text, "startTime" timestamp(3), "endTime" timestamp(3))
           JOIN "{TABLE}" t ON t."request_id" = d."request_id"
           WHERE {call} <> d."litellm_call_id" OR t."startTime" <> d."startTime" OR t."endTime" <> d."endTime" "#
    );
    let found = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql))
        .bind(Value::Array(old).to_string())
        .fetch_all(connection)
        .await?;
    Ok(found
        .into_iter()
        .filter_map(|at| usize::try_from(at).ok())
        .collect())
}

/// The ids of the rows that are new.
async fn insert_rows(
    db: &PostgresDb,
    connection: &mut PgConnection,
    columns: &[&str],
    rows: &[&Packed],
    now: Timestamp,
) -> Result<std::collections::HashSet<String>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(std::collections::HashSet::new());
    }
    // In the order of their ids, as another gateway that writes the same ones.
    let mut rows = rows.to_vec();
    rows.sort_by_cached_key(|row| id_of(row).into_owned());
    let rows: Vec<Value> = rows.iter().map(|row| object(db, row, now)).collect();
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("\"{column}\""))
        .collect();
    let names = names.join(", ");
    let sql = format!(
        "INSERT INTO \"{TABLE}\" ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::\"{TABLE}\", $1::text::jsonb) ON CONFLICT (\"request_id\") DO NOTHING RETURNING \"request_id\""
    );
    let new = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(Value::Array(rows).to_string())
        .fetch_all(connection)
        .await?;
    new.iter().map(|row| row.try_get(0)).collect()
}

/// A row as JSON. A number that its column does not take is the highest that it does: a row with less than an upstream claims of
/// itself is better than none.
fn object(db: &PostgresDb, row: &Packed, now: Timestamp) -> Value {
    let mut object = row.object();
    cut(db, TABLE, &INTEGER_COLUMNS, &mut object);
    for column in ["created_at", "updated_at"] {
        object.insert(column.to_owned(), time_text(now).into());
    }
    Value::Object(object)
}

/// Cuts whole numbers to what their columns take.
fn cut(db: &PostgresDb, table: &str, columns: &[&str], object: &mut Map<String, Value>) {
    for column in columns {
        let most = db.most(table, column);
        if let Some(value) = object.get_mut(*column)
            && value.as_i64().is_some_and(|number| number > most)
        {
            *value = most.into();
        }
    }
}

/// Adds the sums of new rows to the totals; how many that are not kept were counted before.
async fn add_totals(
    db: &PostgresDb,
    connection: &mut PgConnection,
    (group, inserted): (&Group<'_>, &Inserted),
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let ids = marks::ids(&group.uncounted);
    let has_marks = !ids.is_empty() && db.has(MARKS);
    let mut marks = Marks::default();
    let (now_text, until) = (time_text(now), time_text(marks::kept_until(now)));
    if has_marks {
        // What is there is locked until the end of the transaction: of two that write the same rows, the second one finds them counted.
        let known = sqlx::query_as(
            r#"INSERT INTO "LiteLLM_CronJob" ("cronjob_id", "pod_id", "last_updated", "ttl")
               SELECT id, '0', $2::text::timestamp, $3::text::timestamp FROM jsonb_array_elements_text($1::text::jsonb) AS t(id) ORDER BY id
               ON CONFLICT ("cronjob_id") DO UPDATE SET "last_updated" = excluded."last_updated" RETURNING "cronjob_id", "pod_id" "#,
        )
        .bind(Value::from(ids).to_string())
        .bind(&now_text)
        .bind(&until)
        .fetch_all(&mut *connection)
        .await?;
        marks = Marks::of(known.into_iter());
    }
    let fresh = match has_marks {
        true => marks.fresh(&group.uncounted),
        false => group.uncounted.clone(),
    };
    let is_new = |at: usize| !inserted.is_old(at);
    let totals = group.totals(is_new, &fresh);
    for addition in totals.additions() {
        add(db, connection, &addition, now).await?;
    }
    totals.windows.add_postgres(db, connection, now).await?;
    if let Some(moved) = marks.moved() {
        sqlx::query(
            r#"UPDATE "LiteLLM_CronJob" m SET "pod_id" = d.mark->>'through', "ttl" = $2::text::timestamp
               FROM jsonb_array_elements($1::text::jsonb) AS d(mark) WHERE m."cronjob_id" = d.mark->>'id'"#,
        )
        .bind(moved)
        .bind(&until)
        .execute(&mut *connection)
        .await?;
    }
    Ok(group.uncounted.len().saturating_sub(fresh.len()) as u64)
}

async fn add(
    db: &PostgresDb,
    connection: &mut PgConnection,
    addition: &Addition,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let table = addition.table;
    if !db.has(table) {
        return Ok(());
    }
    let exists = |column: &&str| db.has_column(table, column);
    let key: Vec<&str> = addition.key.iter().copied().filter(exists).collect();
    let mut rows = match &addition.rows {
        Value::Array(rows) => rows.clone(),
        _ => Vec::new(),
    };
    let (unique, sql) = match addition.makes {
        false => (key.clone(), update(db, addition, &key)),
        true => match db.unique(table, &key) {
            Some(unique) => {
                let sql = upsert(db, addition, &unique);
                (unique, sql)
            }
            None => {
                // Without an index two gateways could both make the row.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtext($1))")
                    .bind(format!("witgate {table}"))
                    .execute(&mut *connection)
                    .await?;
                (key.clone(), update_or_insert(db, addition, &key))
            }
        },
    };
    if unique.len() < addition.key.len() {
        rows = merged(rows, &unique, addition.sums);
    }
    for row in &mut rows {
        if let Some(row) = row.as_object_mut() {
            cut(db, table, addition.sums, row);
            for column in ["created_at", "updated_at"].iter().chain(addition.last) {
                row.insert((*column).to_owned(), time_text(now).into());
            }
        }
    }
    let text = Value::Array(rows).to_string().replace("\\u0000", "");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}

/// The rows that a statement is given.
fn given(table: &str) -> String {
    format!("jsonb_populate_recordset(NULL::\"{table}\", $1::text::jsonb)")
}

/// `a.x, a.y` of columns `x` and `y`.
fn list(columns: &[&str], of: impl Fn(&str) -> String) -> String {
    let each: Vec<String> = columns.iter().map(|column| of(column)).collect();
    each.join(", ")
}

fn quoted(column: &str) -> String {
    format!("\"{column}\"")
}

/// `t.x = d.x AND …`
fn same(columns: &[&str], t: &str, d: &str) -> String {
    let each = columns.iter().map(|c| format!("{t}.\"{c}\" = {d}.\"{c}\""));
    each.collect::<Vec<_>>().join(" AND ")
}

/// Adds to rows that are there, locked in the order of their ids first: a join locks them in any order, and two gateways that each
/// wait for a row of the other never end.
fn update(db: &PostgresDb, addition: &Addition, key: &[&str]) -> String {
    let table = addition.table;
    let exists = |column: &&&str| db.has_column(table, column);
    let sums = addition.sums.iter().filter(exists);
    let sums = sums.map(|c| format!("\"{c}\" = t.\"{c}\" + d.\"{c}\""));
    let last = addition.last.iter().filter(exists);
    let last = last.map(|c| format!("\"{c}\" = d.\"{c}\""));
    let set: Vec<String> = sums.chain(last).collect();
    format!(
        "WITH d AS MATERIALIZED (SELECT * FROM {}), {} UPDATE \"{table}\" t SET {} FROM d, l WHERE {} AND {}",
        given(table),
        locked(table, key),
        set.join(", "),
        same(key, "t", "l"),
        same(key, "d", "l"),
    )
}

/// `l AS (…)`: the rows of a table that are in `d`, locked in the order of these columns, the same in every database.
fn locked(table: &str, key: &[&str]) -> String {
    format!(
        "l AS MATERIALIZED (SELECT {} FROM \"{table}\" WHERE ({}) IN (SELECT {} FROM d) ORDER BY {} FOR NO KEY UPDATE)",
        list(key, quoted),
        list(key, quoted),
        list(key, quoted),
        list(key, |c| format!("\"{c}\" COLLATE \"C\"")),
    )
}

/// Adds to rows that are there by a unique index, and makes the others; in the order in which they are given.
fn upsert(db: &PostgresDb, addition: &Addition, unique: &[&str]) -> String {
    let table = addition.table;
    let (columns, values) = new(db, addition);
    format!(
        "INSERT INTO \"{table}\" AS t ({columns}) SELECT {values} FROM {} d ON CONFLICT ({}) DO UPDATE SET {}",
        given(table),
        list(unique, quoted),
        sums(db, addition, "excluded"),
    )
}

/// The same where no index tells rows apart, as between two steps of a migration: to the first of the rows that are the same is added.
fn update_or_insert(db: &PostgresDb, addition: &Addition, key: &[&str]) -> String {
    let table = addition.table;
    let (columns, values) = new(db, addition);
    format!(
        "WITH d AS MATERIALIZED (SELECT * FROM {}), u AS (UPDATE \"{table}\" t SET {} FROM d WHERE t.ctid = (SELECT s.ctid FROM \"{table}\" s WHERE {} ORDER BY s.ctid LIMIT 1) RETURNING {}) INSERT INTO \"{table}\" ({columns}) SELECT {values} FROM d WHERE NOT EXISTS (SELECT 1 FROM u WHERE {})",
        given(table),
        sums(db, addition, "d"),
        same(key, "s", "d"),
        list(key, |c| format!("d.\"{c}\"")),
        same(key, "u", "d"),
    )
}

/// Columns of a new row, and where its values come from.
fn new(db: &PostgresDb, addition: &Addition) -> (String, String) {
    let all = addition.key.iter().chain(addition.new).chain(addition.sums);
    let mut columns: Vec<&str> = all.copied().collect();
    if !addition.new.is_empty() {
        columns.extend(["created_at", "updated_at"]);
    }
    columns.retain(|column| db.has_column(addition.table, column));
    let values = list(&columns, |column| format!("d.\"{column}\""));
    (list(&columns, quoted), values)
}

/// A sum that its column does not take would keep every row of the group from being written.
fn sums(db: &PostgresDb, addition: &Addition, from: &str) -> String {
    let table = addition.table;
    let exists = addition.sums.iter().copied();
    let exists: Vec<&str> = exists.filter(|c| db.has_column(table, c)).collect();
    list(&exists, |c| match db.most(table, c) {
        i64::MAX => format!("\"{c}\" = t.\"{c}\" + {from}.\"{c}\""),
        most => format!("\"{c}\" = least(t.\"{c}\"::bigint + {from}.\"{c}\", {most})"),
    })
}

/// Rows that are the same in these columns as one: a statement may touch none twice.
fn merged(rows: Vec<Value>, same: &[&str], sums: &[&str]) -> Vec<Value> {
    let mut whole: BTreeMap<Vec<String>, Value> = BTreeMap::new();
    for row in rows {
        let id = same
            .iter()
            .map(|c| row[*c].as_str().unwrap_or_default().to_owned());
        match whole.entry(id.collect()) {
            Entry::Vacant(entry) => {
                entry.insert(row);
            }
            Entry::Occupied(mut entry) => {
                for sum in sums {
                    let (one, other) = (&entry.get()[*sum], &row[*sum]);
                    let both = match (one.as_i64(), other.as_i64()) {
                        (Some(one), Some(other)) => one.saturating_add(other).into(),
                        _ => Value::from(
                            one.as_f64().unwrap_or_default() + other.as_f64().unwrap_or_default(),
                        ),
                    };
                    if let Some(row) = entry.get_mut().as_object_mut() {
                        row.insert((*sum).to_owned(), both);
                    }
                }
            }
        }
    }
    whole.into_values().collect()
}

/// Whether a statement names what the database does not have, a table, a column or a unique index (class 42), or not the index that
/// forbids the row.
fn is_the_schemas_fault(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("42") || code == "23505")
}

/// Whether the same row would fail again: what it says cannot be (class 22), or a constraint forbids it (23).
fn is_the_rows_fault(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
