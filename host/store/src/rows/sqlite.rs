//! Rows in SQLite: lists and JSON are text, truth is 0 and 1, times are text.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Column as _, Row as _, TypeInfo, ValueRef};

use super::statement::{Param, Statement, cast, fill};
use super::{Filter, Row, Write, WriteError, complete, known, normal, statement};
use crate::database::SqliteDb;
use crate::schema::{Kind, Table};
use crate::store::StoreError;

pub(super) async fn rows(
    db: &SqliteDb,
    table: &Table,
    statement: &Statement,
) -> Result<Vec<Row>, StoreError> {
    let sql = dialect(&statement.sql);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let rows = query.fetch_all(&db.reader).await?;
    let rows = rows.iter().map(|row| read(table, row));
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) async fn report(db: &SqliteDb, statement: &Statement) -> Result<Vec<Row>, StoreError> {
    let sql = dialect(&statement.sql);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let rows = query.fetch_all(&db.reader).await?;
    Ok(rows.iter().map(read_any).collect::<Result<_, _>>()?)
}

pub(super) async fn write(
    db: &SqliteDb,
    steps: Vec<Write>,
    now: Timestamp,
) -> Result<Vec<u64>, WriteError> {
    let mut transaction = db
        .writer
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(StoreError::from)?;
    let mut touched = Vec::with_capacity(steps.len());
    for step in steps {
        touched.push(one(&mut transaction, step, now).await?);
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(touched)
}

async fn one(
    connection: &mut SqliteConnection,
    step: Write,
    now: Timestamp,
) -> Result<u64, WriteError> {
    let wanted = match &step {
        Write::Remove(_, _, what) => Some(*what),
        _ => None,
    };
    let statement = match step {
        Write::Insert(table, row) => insert(table, row, now, |_, _| String::new())?,
        Write::Ensure(table, row) => insert(table, row, now, |table, _| {
            format!(" ON CONFLICT ({}) DO NOTHING", names(&table.key))
        })?,
        Write::Upsert(table, row) => {
            let given: Vec<String> = row.keys().cloned().collect();
            insert(table, row, now, |table, _| on_conflict(table, &given))?
        }
        Write::Update {
            table,
            filter,
            set,
            add,
        } => update(table, &filter, set, &add)?,
        Write::Change(table, filter, set, what) => {
            let step = Write::Update {
                table,
                filter,
                set,
                add: Vec::new(),
            };
            return match Box::pin(one(connection, step, now)).await? {
                0 => Err(WriteError::Gone(what)),
                changed => Ok(changed),
            };
        }
        Write::Delete(table, filter) | Write::Remove(table, filter, _) => delete(table, &filter)?,
        Write::DeleteFirst(table, filter, order, limit) => {
            statement::delete_first(known(table)?, &filter, order, limit)?
        }
        Write::Absent(table, filter, what) => {
            return match exists(connection, table, &filter).await? {
                true => Err(WriteError::Taken(what.to_owned())),
                false => Ok(0),
            };
        }
        Write::Present(table, filter, what) => {
            return match exists(connection, table, &filter).await? {
                true => Ok(1),
                false => Err(WriteError::Gone(what)),
            };
        }
    };
    let sql = dialect(&statement.sql);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let done = query.execute(connection).await.map_err(refused)?;
    match wanted {
        Some(what) if done.rows_affected() == 0 => Err(WriteError::Gone(what)),
        _ => Ok(done.rows_affected()),
    }
}

async fn exists(
    connection: &mut SqliteConnection,
    table: &'static str,
    filter: &Filter,
) -> Result<bool, StoreError> {
    let statement = statement::count(known(table)?, filter)?;
    let sql = dialect(&statement.sql);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let row = query.fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}

fn insert(
    table: &'static str,
    row: Row,
    now: Timestamp,
    conflict: impl Fn(&Table, &Row) -> String,
) -> Result<Statement, WriteError> {
    let table = known(table)?;
    let row = complete(table, row, now)?;
    let conflict = conflict(table, &row);
    let mut statement = Statement::default();
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    statement.push(&format!(
        "INSERT INTO \"{}\" ({}) VALUES (",
        table.name,
        names(&columns)
    ));
    for (at, (name, value)) in row.into_iter().enumerate() {
        statement.push(if at == 0 { "" } else { ", " });
        let kind = table.column(&name).map_or(Kind::Text, |c| c.kind);
        statement.bind(kind, value);
    }
    statement.push(")");
    statement.push(&conflict);
    Ok(statement)
}

/// What was given wins over what is there.
pub(super) fn on_conflict(table: &Table, given: &[String]) -> String {
    let set: Vec<String> = given
        .iter()
        .filter(|name| !table.key.contains(&name.as_str()))
        .map(|name| format!("\"{name}\" = excluded.\"{name}\""))
        .collect();
    match set.is_empty() {
        true => format!(" ON CONFLICT ({}) DO NOTHING", names(&table.key)),
        false => format!(
            " ON CONFLICT ({}) DO UPDATE SET {}",
            names(&table.key),
            set.join(", ")
        ),
    }
}

fn update(
    table: &'static str,
    filter: &Filter,
    set: Row,
    add: &[(&'static str, f64)],
) -> Result<Statement, WriteError> {
    let table = known(table)?;
    let set = normal(table, set)?;
    let mut statement = Statement::default();
    statement.push(&format!("UPDATE \"{}\" SET ", table.name));
    let mut first = true;
    let mut comma = |statement: &mut Statement| {
        if !std::mem::take(&mut first) {
            statement.push(", ");
        }
    };
    for (name, value) in set {
        comma(&mut statement);
        let kind = table.column(&name).map_or(Kind::Text, |c| c.kind);
        statement.push(&format!("\"{name}\" = "));
        statement.bind(kind, value);
    }
    for (name, by) in add {
        comma(&mut statement);
        statement.push(&format!("\"{name}\" = \"{name}\" + "));
        statement.bind(Kind::Number, (*by).into());
    }
    statement.filter(table, filter)?;
    Ok(statement)
}

fn delete(table: &'static str, filter: &Filter) -> Result<Statement, WriteError> {
    let table = known(table)?;
    let mut statement = Statement::default();
    statement.push(&format!("DELETE FROM \"{}\"", table.name));
    statement.filter(table, filter)?;
    Ok(statement)
}

/// `"a", "b"`
pub(super) fn names(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

fn dialect(sql: &str) -> String {
    fill(sql, |word, rest| match word {
        "row" => "*".to_owned(),
        "json" => rest.to_owned(),
        "day" => format!("substr({rest}, 1, 10)"),
        "holds" => {
            let (_, rest) = rest.split_once(' ').unwrap_or(("", rest));
            let (column, mark) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            format!("EXISTS (SELECT 1 FROM json_each({column}) WHERE value = {mark})")
        }
        "within" => {
            let (column, mark) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            format!("instr({column}, {mark}) > 0")
        }
        "each" => {
            let (column, name) = rest.split_once(" AS ").unwrap_or((rest, "each"));
            format!("(SELECT value AS {name} FROM json_each({column}))")
        }
        "differs" => rest.replacen(' ', " <> ", 1),
        "field" => {
            let (column, name) = rest.split_once(' ').unwrap_or((rest, ""));
            format!("json_extract({column}, '$.{name}')")
        }
        "seconds" => {
            let (from, to) = rest.split_once(' ').unwrap_or((rest, rest));
            format!("((julianday({to}) - julianday({from})) * 86400.0)")
        }
        "exact" => format!("CAST({rest} AS REAL)"),
        _ => String::new(),
    })
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(mut query: Bound<'q>, params: &'q [Param]) -> Bound<'q> {
    for param in params {
        let structured = [cast(Kind::List), cast(Kind::Json)].contains(&param.cast);
        query = match &param.value {
            Value::Null => query.bind(None::<String>),
            value if structured => query.bind(value.to_string()),
            Value::Bool(flag) => query.bind(i64::from(*flag)),
            Value::Number(number) => match number.as_i64() {
                Some(whole) if param.cast != cast(Kind::Number) => query.bind(whole),
                _ => query.bind(number.as_f64()),
            },
            Value::String(text) => query.bind(text.as_str()),
            value => query.bind(value.to_string()),
        };
    }
    query
}

fn read(table: &Table, row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let mut read = Row::new();
    for column in &table.columns {
        let name = column.name;
        let value: Value = match column.kind {
            Kind::Text | Kind::Time => row.try_get::<Option<String>, _>(name)?.into(),
            Kind::List | Kind::Json => {
                let text: Option<String> = row.try_get(name)?;
                text.map_or(Value::Null, |text| json(&text))
            }
            Kind::Bool => row.try_get::<Option<i64>, _>(name)?.map(|v| v != 0).into(),
            Kind::Int => row.try_get::<Option<i64>, _>(name)?.into(),
            Kind::Number => row.try_get::<Option<f64>, _>(name)?.into(),
        };
        read.insert(name.to_owned(), value);
    }
    Ok(read)
}

/// What another program wrote and is no JSON is told as the text it is.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn read_any(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let mut read = Row::new();
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let value: Value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" | "BOOLEAN" => row.try_get::<i64, _>(at)?.into(),
            "REAL" => row.try_get::<f64, _>(at)?.into(),
            _ => row.try_get_unchecked::<String, _>(at)?.into(),
        };
        read.insert(column.name().to_owned(), value);
    }
    Ok(read)
}

/// A violated index is known by SQLite's message: `UNIQUE constraint failed: TABLE.COLUMN`, or the name of the index.
fn refused(error: sqlx::Error) -> WriteError {
    let Some(known) = error.as_database_error() else {
        return StoreError::from(error).into();
    };
    if known.is_unique_violation() {
        let what = known.message().rsplit(['.', ' ']).next();
        return WriteError::Taken(what.unwrap_or_default().trim_matches('\'').to_owned());
    }
    match known.is_check_violation() || known.is_foreign_key_violation() {
        true => WriteError::Invalid(known.message().to_owned()),
        false => StoreError::from(error).into(),
    }
}
