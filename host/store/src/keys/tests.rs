//! Keys as they are written, read and found.

use super::*;
use crate::store::StoreOptions;

async fn memory() -> Store {
    Store::open("sqlite::memory:", &StoreOptions::default())
        .await
        .unwrap()
}

fn key(name: &str) -> KeyRow {
    KeyRow {
        token: name.repeat(8),
        key_name: Some("sk-...abcd".into()),
        models: r#"["gpt"]"#.into(),
        aliases: "{}".into(),
        config: "{}".into(),
        permissions: "{}".into(),
        metadata: r#"{"a":1}"#.into(),
        allowed_routes: "[]".into(),
        created_at: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
        updated_at: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
        ..KeyRow::default()
    }
}

#[tokio::test]
async fn a_key_comes_back_as_it_was_written_and_changed() {
    let store = memory().await;
    let mut one = key("one");
    store.insert_key(&one).await.unwrap();
    assert_eq!(store.key(&one.token).await.unwrap(), Some(one.clone()));
    assert_eq!(store.key("one").await.unwrap(), None, "a prefix is no hash");
    one.blocked = Some(true);
    one.key_alias = Some("alias".into());
    one.expires = Some(Timestamp::from_millisecond(1_800_000_000_500).unwrap());
    assert!(store.update_key(&one).await.unwrap());
    assert_eq!(store.key(&one.token).await.unwrap(), Some(one.clone()));
    assert!(!store.update_key(&key("two")).await.unwrap());
    let gone = [one.token.clone(), "unknown".into()];
    assert_eq!(store.delete_keys(&gone).await.unwrap(), 1);
    assert_eq!(store.key(&one.token).await.unwrap(), None);
}

#[tokio::test]
async fn hashes_and_aliases_are_taken_once() {
    let store = memory().await;
    let mut one = key("one");
    one.key_alias = Some("alias".into());
    store.insert_key(&one).await.unwrap();
    let mut other = key("two");
    other.key_alias.clone_from(&one.key_alias);
    assert!(matches!(
        store.insert_key(&other).await,
        Err(KeyError::AliasTaken)
    ));
    one.key_alias = None;
    assert!(matches!(
        store.insert_key(&one).await,
        Err(KeyError::TokenTaken)
    ));
    other.key_alias = None;
    store.insert_key(&other).await.unwrap();
    other.key_alias = Some("alias".into());
    assert!(matches!(
        store.update_key(&other).await,
        Err(KeyError::AliasTaken)
    ));
}

#[tokio::test]
async fn lists_are_filtered_and_paged_and_metacharacters_are_only_text() {
    let store = memory().await;
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let mut row = key(name);
        row.user_id = Some(if name == "c" { "x' OR 1=1 --" } else { "u" }.into());
        row.created_at = Timestamp::from_second(1_700_000_000 + index as i64).unwrap();
        store.insert_key(&row).await.unwrap();
    }
    let of = |user: &str| KeyFilter {
        user_id: Some(user.into()),
        ..KeyFilter::default()
    };
    let names = |rows: Vec<KeyRow>| rows.into_iter().map(|row| row.token).collect::<Vec<_>>();
    let (rows, total) = store.list_keys(&of("u"), 0, 1).await.unwrap();
    assert_eq!((names(rows), total), (vec!["b".repeat(8)], 2));
    let (rows, total) = store.list_keys(&of("u"), 1, 10).await.unwrap();
    assert_eq!((names(rows), total), (vec!["a".repeat(8)], 2));
    let (rows, _) = store.list_keys(&of("x' OR 1=1 --"), 0, 10).await.unwrap();
    assert_eq!(names(rows), vec!["c".repeat(8)]);
    let (rows, total) = store.list_keys(&KeyFilter::default(), 0, 10).await.unwrap();
    assert_eq!((rows.len(), total), (3, 3));
}
