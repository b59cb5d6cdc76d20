//! Rows in PostgreSQL: as JSON in both directions, so that the database itself makes its types of them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::query::Query;

use super::sqlite::{names, on_conflict};
use super::statement::{Param, Statement, fill};
use super::{Filter, Row, Write, WriteError, complete, known, normal, statement};
use crate::database::PostgresDb;
use crate::schema::{Kind, Table};
use crate::store::StoreError;

pub(super) async fn rows(
    db: &PostgresDb,
    table: &Table,
    statement: &Statement,
) -> Result<Vec<Row>, StoreError> {
    if !db.has(table.name) {
        return Ok(Vec::new());
    }
    let mut rows = report(db, statement).await?;
    for row in &mut rows {
        tidy(table, row);
    }
    Ok(rows)
}

pub(super) async fn report(db: &PostgresDb, statement: &Statement) -> Result<Vec<Row>, StoreError> {
    let whole = statement.sql.contains("{row}");
    let sql = dialect(db, statement);
    let sql = match whole {
        true => sql,
        false => format!("SELECT to_jsonb(q)::text FROM ({sql}) q"),
    };
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let rows = query.fetch_all(&db.pool).await?;
    let read = |row: &sqlx::postgres::PgRow| -> Result<Row, sqlx::Error> {
        let text: String = row.try_get(0)?;
        serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn write(
    db: &PostgresDb,
    steps: Vec<Write>,
    now: Timestamp,
) -> Result<Vec<u64>, WriteError> {
    let mut transaction = db.pool.begin().await.map_err(StoreError::from)?;
    let mut touched = Vec::with_capacity(steps.len());
    for step in steps {
        touched.push(one(db, &mut transaction, step, now).await?);
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(touched)
}

async fn one(
    db: &PostgresDb,
    connection: &mut PgConnection,
    step: Write,
    now: Timestamp,
) -> Result<u64, WriteError> {
    let wanted = match &step {
        Write::Remove(_, _, what) => Some(*what),
        _ => None,
    };
    // In a table that an older LiteLLM has not, nothing is, and nothing can be put.
    if !db.has(step.table()) {
        return match step {
            Write::Change(_, _, _, what)
            | Write::Remove(_, _, what)
            | Write::Present(_, _, what) => Err(WriteError::Gone(what)),
            Write::Insert(table, _) | Write::Ensure(table, _) | Write::Upsert(table, _) => {
                Err(StoreError::missing(table).into())
            }
            _ => Ok(0),
        };
    }
    let statement = match step {
        Write::Insert(table, row) => insert(db, table, row, now, |_| String::new())?,
        Write::Ensure(table, row) => insert(db, table, row, now, |table| {
            format!(" ON CONFLICT ({}) DO NOTHING", names(&table.key))
        })?,
        Write::Upsert(table, row) => {
            let columns = row.keys().filter(|name| db.has_column(table, name));
            let given: Vec<String> = columns.cloned().collect();
            insert(db, table, row, now, |table| on_conflict(table, &given))?
        }
        Write::Update {
            table,
            filter,
            set,
            add,
        } => match update(db, table, &filter, set, &add)? {
            Some(statement) => statement,
            None => return Ok(0),
        },
        Write::Change(table, filter, set, what) => {
            let step = Write::Update {
                table,
                filter,
                set,
                add: Vec::new(),
            };
            return match Box::pin(one(db, connection, step, now)).await? {
                0 => Err(WriteError::Gone(what)),
                changed => Ok(changed),
            };
        }
        Write::Delete(table, filter) | Write::Remove(table, filter, _) => {
            let table = known(table)?;
            let mut statement = Statement::default();
            statement.push(&format!("DELETE FROM \"{}\"", table.name));
            statement.filter(table, &filter)?;
            statement
        }
        Write::DeleteFirst(table, filter, order, limit) => {
            statement::delete_first(known(table)?, &filter, order, limit)?
        }
        Write::Absent(table, filter, what) => {
            // Whoever else looks for the same waits for the end of this transaction.
            let lock = "SELECT pg_advisory_xact_lock(hashtext($1))";
            sqlx::query(lock)
                .bind(format!("witgate {table} {what}"))
                .execute(&mut *connection)
                .await
                .map_err(StoreError::from)?;
            return match exists(db, connection, table, &filter).await? {
                true => Err(WriteError::Taken(what.to_owned())),
                false => Ok(0),
            };
        }
        Write::Present(table, filter, what) => {
            return match exists(db, connection, table, &filter).await? {
                true => Ok(1),
                false => Err(WriteError::Gone(what)),
            };
        }
    };
    let sql = dialect(db, &statement);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let done = query.execute(connection).await.map_err(refused)?;
    match wanted {
        Some(what) if done.rows_affected() == 0 => Err(WriteError::Gone(what)),
        _ => Ok(done.rows_affected()),
    }
}

async fn exists(
    db: &PostgresDb,
    connection: &mut PgConnection,
    table: &'static str,
    filter: &Filter,
) -> Result<bool, StoreError> {
    let statement = statement::count(known(table)?, filter)?;
    let sql = dialect(db, &statement);
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)), &statement.params);
    let row = query.fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}

fn insert(
    db: &PostgresDb,
    table: &'static str,
    row: Row,
    now: Timestamp,
    conflict: impl Fn(&Table) -> String,
) -> Result<Statement, WriteError> {
    let table = known(table)?;
    let mut row = complete(table, row, now)?;
    row.retain(|name, _| db.has_column(table.name, name));
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    let columns = names(&columns);
    let mut statement = Statement::default();
    statement.push(&format!(
        "INSERT INTO \"{0}\" ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::\"{0}\", ",
        table.name
    ));
    statement.bind(Kind::Json, Value::Object(row));
    statement.push(")");
    statement.push(&conflict(table));
    Ok(statement)
}

fn update(
    db: &PostgresDb,
    table: &'static str,
    filter: &Filter,
    set: Row,
    add: &[(&'static str, f64)],
) -> Result<Option<Statement>, WriteError> {
    let table = known(table)?;
    let mut set = normal(table, set)?;
    set.retain(|name, _| db.has_column(table.name, name));
    if set.is_empty() && add.is_empty() {
        return Ok(None);
    }
    let mut statement = Statement::default();
    statement.push(&format!("UPDATE \"{}\" SET ", table.name));
    if !set.is_empty() {
        let columns: Vec<&str> = set.keys().map(String::as_str).collect();
        let columns = names(&columns);
        statement.push(&format!(
            "({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::\"{}\", ",
            table.name
        ));
        statement.bind(Kind::Json, Value::Object(set));
        statement.push("))");
        statement.push(if add.is_empty() { "" } else { ", " });
    }
    for (at, (name, by)) in add.iter().enumerate() {
        statement.push(if at == 0 { "" } else { ", " });
        statement.push(&format!("\"{name}\" = \"{name}\" + "));
        statement.bind(Kind::Number, (*by).into());
    }
    statement.filter(table, filter)?;
    Ok(Some(statement))
}

/// With marks filled in and every parameter a numbered one, sent as text and cast.
fn dialect(db: &PostgresDb, statement: &Statement) -> String {
    // In a database of our own no JSON is written as text.
    let json = match db.is_ours {
        true => str::to_owned,
        false => decoded,
    };
    let sql = fill(&statement.sql, |word, rest| mark(word, rest, json));
    let mut numbered = String::with_capacity(sql.len() + 16 * statement.params.len());
    let mut pieces = sql.split('?');
    numbered.push_str(pieces.next().unwrap_or_default());
    for ((at, param), piece) in (1..).zip(&statement.params).zip(pieces) {
        numbered.push_str(&format!("${at}::text::{}{piece}", param.cast));
    }
    numbered
}

/// `json` is how the JSON of a column is looked into.
fn mark(word: &str, rest: &str, json: fn(&str) -> String) -> String {
    match word {
        "row" => "to_jsonb(t)::text".to_owned(),
        "day" => format!("to_char({rest}, 'YYYY-MM-DD')"),
        "holds" => {
            let (kind, rest) = rest.split_once(' ').unwrap_or(("list", rest));
            let (column, mark) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            match kind {
                "list" => format!("{mark} = ANY({column})"),
                _ => format!("{} @> jsonb_build_array({mark})", json(column)),
            }
        }
        "within" => {
            let (column, mark) = rest.rsplit_once(' ').unwrap_or((rest, "?"));
            format!("position({mark} IN {column}) > 0")
        }
        "each" => {
            let (column, name) = rest.split_once(" AS ").unwrap_or((rest, "each"));
            let column = json(column);
            format!(
                "LATERAL jsonb_array_elements_text(CASE jsonb_typeof({column}) WHEN 'array' THEN {column} ELSE '[]' END) AS e({name})"
            )
        }
        "differs" => "true".to_owned(),
        "field" => {
            let (column, name) = rest.split_once(' ').unwrap_or((rest, ""));
            format!("({} #>> '{{{}}}')", json(column), name.replace('.', ","))
        }
        "json" => json(rest),
        "seconds" => {
            let (from, to) = rest.split_once(' ').unwrap_or((rest, rest));
            format!("extract(epoch FROM {to} - {from})::double precision")
        }
        "exact" => format!("({rest})::double precision"),
        _ => String::new(),
    }
}

/// JSON of a column as [`tidy`] reads it: what some releases of LiteLLM wrote as text in JSON is what it says.
///
/// A cast of a text that is no JSON would fail the statement, and PostgreSQL before 16 cannot be asked whether one is. So the text is
/// judged first: its strings become one sign and its other scalars another, then its innermost lists and objects, over and over,
/// until one sign is left. What nests deeper than a hundred, or holds what `jsonb` does not take (NUL, half a surrogate pair, numbers
/// without end), stays text.
fn decoded(column: &str) -> String {
    // No question marks, which are parameters here.
    const STRING: &str = r#""([^"\\\u0001-\u001f]|\\(["\\/bfnrt]|u([1-9a-cA-CeEfF]H{3}|0[1-9a-fA-F]H{2}|00[1-9a-fA-F]H|000[1-9a-fA-F]|[dD][0-7]H{2}|[dD][89abAB]H{2}\\u[dD][c-fC-F]H{2})))*""#;
    const SCALAR: &str = r"true|false|null|-{0,1}(0|[1-9][0-9]{0,99})(\.[0-9]{1,99}){0,1}([eE][+-]{0,1}[0-9]{1,3}){0,1}";
    const WHOLE: &str = r"\[([\u0001\u0002](,[\u0001\u0002])*){0,1}\]|\{(\u0001:[\u0001\u0002](,\u0001:[\u0001\u0002])*){0,1}\}";
    let string = STRING.replace('H', "[0-9a-fA-F]");
    let text = format!("({column} #>> '{{}}')");
    format!(
        r"(CASE WHEN jsonb_typeof({column}) = 'string' THEN CASE WHEN {text} ~ '^[ \t\n\r]*[[{{]' AND (
  WITH RECURSIVE judged(signs, n) AS (
    SELECT regexp_replace(regexp_replace(regexp_replace({text}, '{string}', chr(1), 'g'), '{SCALAR}', chr(2), 'g'), '[ \t\n\r]+', '', 'g'), 0
    WHERE {text} !~ '[\u0001\u0002]'
    UNION ALL
    SELECT next.signs, n + 1 FROM judged, LATERAL (SELECT regexp_replace(judged.signs, '{WHOLE}', chr(2), 'g') AS signs) AS next
    WHERE next.signs <> judged.signs AND n < 100
  ) SELECT bool_or(signs = chr(2)) FROM judged) THEN {text}::jsonb ELSE {column} END ELSE {column} END)"
    )
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

fn bind<'q>(mut query: Bound<'q>, params: &'q [Param]) -> Bound<'q> {
    for param in params {
        query = query.bind(match &param.value {
            Value::Null => None,
            Value::String(text) if param.cast != "jsonb" => Some(text.clone()),
            Value::Array(texts) if param.cast == "text[]" => Some(array(texts)),
            value => Some(value.to_string()),
        });
    }
    query
}

/// PostgreSQL's text of an array.
fn array(texts: &[Value]) -> String {
    let quoted = texts.iter().map(|text| {
        let text = text.as_str().unwrap_or_default();
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Times as rows have them; JSON that some releases of LiteLLM wrote as text in JSON is read as what it says.
fn tidy(table: &Table, row: &mut Row) {
    for column in &table.columns {
        let Some(value) = row.get_mut(column.name) else {
            continue;
        };
        match (column.kind, &value) {
            (Kind::Time, Value::String(text)) => {
                let at: Option<Timestamp> = text.parse().ok().or_else(|| {
                    let civil: DateTime = text.parse().ok()?;
                    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
                });
                if let Some(at) = at {
                    *value = super::time_text(at).into();
                }
            }
            // `7` is `7.0`, as in SQLite and in LiteLLM's answers.
            (Kind::Number, Value::Number(number)) => {
                *value = number.as_f64().into();
            }
            (Kind::Json, Value::String(text)) => {
                if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
                {
                    *value = inner;
                }
            }
            _ => {}
        }
    }
}

fn refused(error: sqlx::Error) -> WriteError {
    let Some(known) = error.as_database_error() else {
        return StoreError::from(error).into();
    };
    if known.is_unique_violation() {
        return WriteError::Taken(known.constraint().unwrap_or_default().to_owned());
    }
    let code = known.code().unwrap_or_default();
    // Class 22: what a value is cannot be; class 23: a constraint.
    match code.starts_with("22") || code.starts_with("23") {
        true => WriteError::Invalid(known.message().to_owned()),
        false => StoreError::from(error).into(),
    }
}
