//! The schema's history, embedded. Forward only: a migration is never edited once released, a new one
//! is added. Each runs in its own transaction together with its entry in the history table.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

/// Where applied migrations are noted. LiteLLM's own history table is never touched.
pub(crate) const HISTORY_TABLE: &str = "witgate_migrations";

/// Version, description and SQL, oldest first.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "spend logs",
        include_str!("../migrations/0001_spend_logs.sql"),
    ),
    (
        2,
        "session index",
        include_str!("../migrations/0002_session_index.sql"),
    ),
    (
        3,
        "verification tokens",
        include_str!("../migrations/0003_verification_tokens.sql"),
    ),
    (4, "users", include_str!("../migrations/0004_users.sql")),
    (
        5,
        "control plane",
        include_str!("../migrations/0005_control_plane.sql"),
    ),
    (6, "claims, all-time spend", CLAIMS),
];

/// PostgreSQL's, for databases that LiteLLM did not make.
const POSTGRES: &[(i64, &str, &str)] = &[
    (
        1,
        "tables",
        include_str!("../migrations/postgres/0001_tables.sql"),
    ),
    (2, "claims, all-time spend", CLAIMS),
    (
        3,
        "calls of users",
        include_str!("../migrations/postgres/0003_calls_of_users.sql"),
    ),
];

/// The same for both.
const CLAIMS: &str = include_str!("../migrations/claims_and_all_time_spend.sql");

/// Brings a PostgreSQL database to the newest schema. Gateways that start at once wait for each other.
pub(crate) async fn run_postgres(pool: &PgPool) -> Result<(), MigrateError> {
    migrator(POSTGRES).run(pool).await
}

/// Brings a database to the newest schema.
pub(crate) async fn run(pool: &SqlitePool) -> Result<(), MigrateError> {
    run_these(pool, MIGRATIONS).await
}

/// Applies what is missing of a list of migrations.
pub(crate) async fn run_these(
    pool: &SqlitePool,
    migrations: &[(i64, &'static str, &'static str)],
) -> Result<(), MigrateError> {
    let mut races = migrations.len();
    let migrator = migrator(migrations);
    loop {
        match migrator.run(pool).await {
            // Two processes that start at once: the other one was faster with this migration, and may be so with
            // each. One that cannot be applied fails the last time, too.
            Err(MigrateError::ExecuteMigration(..) | MigrateError::Execute(_)) if races > 0 => {
                races -= 1;
            }
            outcome => return outcome,
        }
    }
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations
        .iter()
        .map(|&(version, description, sql)| {
            let sql = sql.into_sql_str();
            Migration::new(
                version,
                description.into(),
                MigrationType::Simple,
                sql,
                false,
            )
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name(HISTORY_TABLE);
    migrator
}
