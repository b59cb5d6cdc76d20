//! What is kept, how long, and when it is asked again; on a clock that the tests move.

use super::*;

fn secrets() -> Secrets {
    Secrets {
        keep: Duration::from_secs(100),
        ..Secrets::default()
    }
}

fn found(value: &str, keep_s: Option<u64>) -> Said {
    let value = Zeroizing::new(value.to_owned());
    Ok((Some(value), keep_s.map(Duration::from_secs)))
}

fn trouble() -> Said {
    Err(Trouble {
        text: "no answer".to_owned(),
        for_all: true,
    })
}

fn value(secrets: &Secrets, name: &str) -> Option<String> {
    let kept = secrets.kept.get(name)?;
    kept.value.as_ref().map(|value| value.to_string())
}

fn left(secrets: &Secrets, name: &str) -> u64 {
    let kept = &secrets.kept[name];
    kept.until.duration_since(Instant::now()).as_secs()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_own_time_else_for_ours_and_never_for_none() {
    let mut secrets = secrets();
    secrets.keep("A".to_owned(), found("a", None));
    secrets.keep("B".to_owned(), found("b", Some(7)));
    secrets.keep("C".to_owned(), found("c", Some(0)));
    secrets.keep("D".to_owned(), Ok((None, None)));
    let kept = ["A", "B", "C", "D"].map(|name| left(&secrets, name));
    assert_eq!(kept, [100, 7, 1, 100]);
    let first = secrets.next().map(|at| at.duration_since(Instant::now()));
    assert_eq!(first, Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_last_value_counts_and_pauses_grow_to_half_a_minute() {
    let mut secrets = secrets();
    secrets.keep("A".to_owned(), found("a", None));
    let mut pauses = Vec::new();
    for _ in 0..7 {
        secrets.keep("A".to_owned(), trouble());
        secrets.keep("B".to_owned(), trouble());
        pauses.push(left(&secrets, "B"));
    }
    assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(value(&secrets, "A").as_deref(), Some("a"));
    assert_eq!(value(&secrets, "B"), None);
    secrets.keep("B".to_owned(), found("b", None));
    secrets.keep("B".to_owned(), trouble());
    assert_eq!(left(&secrets, "B"), 2, "an answer ends the row of failures");
    assert_eq!(value(&secrets, "B").as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn the_same_value_again_is_no_change() {
    let mut secrets = secrets();
    secrets.keep("A".to_owned(), found("a", None));
    let before = secrets.values();
    secrets.keep("A".to_owned(), found("a", None));
    assert!(secrets.values() == before);
    secrets.keep("A".to_owned(), found("b", None));
    assert!(secrets.values() != before);
    let before = secrets.values();
    secrets.keep("A".to_owned(), Ok((None, None)));
    assert!(
        secrets.values() != before,
        "a secret that is gone is one, too"
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_are_fetched_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let path = file.display().to_string();
    std::fs::write(&file, "first\n").unwrap();
    let mut secrets = secrets();
    let env: EnvLookup = Arc::new(move |name| (name == "FILE").then(|| path.clone()));
    secrets.env = Some(env);
    let name = "oidc/env_path/FILE";
    secrets.ask(&[name.to_owned()], Read::Due).await;
    assert_eq!(value(&secrets, name).as_deref(), Some("first"));
    std::fs::write(&file, "second\n").unwrap();
    assert!(!secrets.refresh().await, "its time is not over");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(secrets.refresh().await);
    assert_eq!(value(&secrets, name).as_deref(), Some("second"));
    // A file that is gone for a moment takes nothing away.
    std::fs::remove_file(&file).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!secrets.refresh().await);
    assert_eq!(value(&secrets, name).as_deref(), Some("second"));
    assert_eq!(left(&secrets, name), 2);
}
