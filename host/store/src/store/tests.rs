//! Which URLs open what, and that a schema only moves forward.

use tempfile::TempDir;

use sqlx::sqlite::SqlitePool;

use super::*;
use crate::migrations::run_these;

#[test]
fn urls_name_places() {
    let file = |path: &str| Some(Place::File(PathBuf::from(path)));
    for (url, place) in [
        ("sqlite://data/w.db", file("data/w.db")),
        ("sqlite:///var/lib/w.db", file("/var/lib/w.db")),
        ("sqlite:w.db", file("w.db")),
        ("SQLite://w.db?mode=rwc", file("w.db")),
        ("file:w.db", file("w.db")),
        ("w.db", file("w.db")),
        ("./a:b/w.db", file("./a:b/w.db")),
        ("/tmp/a:b.db", file("/tmp/a:b.db")),
        ("sqlite::memory:", Some(Place::Memory)),
        ("sqlite://:memory:", Some(Place::Memory)),
        (":memory:", Some(Place::Memory)),
        ("", None),
        ("sqlite://", None),
        ("mysql://h/db", None),
        (
            "postgresql://u:secret@h/db",
            Some(Place::Postgres("postgresql://u:secret@h/db".to_owned())),
        ),
    ] {
        assert_eq!(Place::parse(url).ok(), place, "{url}");
    }
}

#[tokio::test]
async fn a_file_is_made_with_its_folder_private_and_in_wal_mode() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/folder/w.db");
    let store = open(&path).await.unwrap();
    store.ping().await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&store.sqlite().writer)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    store.close().await;
}

#[tokio::test]
async fn durability_is_what_was_asked_for() {
    for (durability, pragma) in [(Durability::Process, 1), (Durability::Power, 2)] {
        let folder = TempDir::new().unwrap();
        let options = StoreOptions {
            durability,
            ..Default::default()
        };
        let path = folder.path().join("w.db");
        let store = Store::open(path.to_str().unwrap(), &options).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&store.sqlite().writer)
            .await
            .unwrap();
        assert_eq!(synchronous, pragma);
    }
}

#[tokio::test]
async fn readers_cannot_write() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("w.db")).await.unwrap();
    let error = sqlx::query(r#"DELETE FROM "LiteLLM_SpendLogs""#)
        .execute(&store.sqlite().reader)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn opening_again_changes_nothing_and_two_may_open_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let (one, two) = tokio::join!(open(&path), open(&path));
    let (one, two) = (one.unwrap(), two.unwrap());
    let count = |store: Store| async move { store.spend_log_count().await.unwrap() };
    assert_eq!((count(one).await, count(two).await), (0, 0));
    let again = open(&path).await.unwrap();
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM witgate_migrations")
        .fetch_all(&again.sqlite().reader)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_failing_migration_is_refused_and_rolled_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let pool = raw(&path).await;
    // Somebody else's table stands where ours has to be made.
    sqlx::raw_sql(r#"CREATE TABLE "LiteLLM_SpendLogs" ("a" TEXT); INSERT INTO "LiteLLM_SpendLogs" VALUES ('kept')"#)
        .execute(&pool)
        .await
        .unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Migrate { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("w.db") && text.contains("already exists"),
        "{text}"
    );
    let kept: String = sqlx::query_scalar(r#"SELECT "a" FROM "LiteLLM_SpendLogs""#)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(kept, "kept");

    // A step that fails half way leaves nothing of its first half.
    let broken = [(
        7,
        "broken",
        "CREATE TABLE half (a TEXT); CREATE TABEL half2 (a TEXT);",
    )];
    let other = raw(&folder.path().join("other.db")).await;
    run_these(&other, &broken).await.unwrap_err();
    let halves: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name LIKE 'half%'")
            .fetch_one(&other)
            .await
            .unwrap();
    assert_eq!(halves, 0);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    open(&path).await.unwrap().close().await;
    sqlx::query(
        "INSERT INTO witgate_migrations VALUES (900, 'future', CURRENT_TIMESTAMP, true, x'00', 0)",
    )
    .execute(&raw(&path).await)
    .await
    .unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(
        matches!(error, OpenError::TooNew { version: 900, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_named() {
    let folder = TempDir::new().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    let error = open(&blocked.join("w.db")).await.unwrap_err();
    assert!(error.to_string().contains("file/w.db"), "{error}");

    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, vec![b'x'; 8192]).unwrap();
    let error = open(&garbage).await.unwrap_err();
    assert!(error.to_string().contains("not a database"), "{error}");
}

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path.to_str().unwrap(), &StoreOptions::default()).await
}

async fn raw(path: &Path) -> SqlitePool {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    SqlitePool::connect_with(connect).await.unwrap()
}
