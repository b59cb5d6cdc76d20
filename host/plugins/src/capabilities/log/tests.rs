use super::*;

fn log(secrets: &[&str]) -> Log {
    let secrets = secrets
        .iter()
        .map(|text| Arc::new(Zeroizing::new((*text).to_owned())));
    Log::new("p".into(), secrets.collect(), None, Arc::default())
}

#[test]
fn secrets_are_masked_the_longest_first() {
    let log = log(&["sk-secret", "sk-secret-long", "abc"]);
    assert_eq!(
        log.clean("a sk-secret-long b sk-secret c abc"),
        "a [secret] b [secret] c abc"
    );
    assert_eq!(
        log.line("sent", &[("key".to_owned(), "sk-secret".to_owned())]),
        "sent key=[secret]"
    );
}

#[test]
fn lines_cannot_be_forged_or_endless() {
    let log = log(&[]);
    assert_eq!(log.clean("one\ntwo\x1b[2J"), "one two\u{fffd}[2J");
    let long = log.clean(&"é".repeat(LINE_MAX));
    assert!(long.len() <= LINE_MAX + '…'.len_utf8(), "{}", long.len());
    assert!(long.ends_with('…'));
}

#[test]
fn a_flood_is_cut_to_the_rate() {
    let start = Instant::now();
    let mut bucket = Bucket {
        lines: LINES_PER_SECOND,
        at: start,
        dropped: 0,
    };
    let written = (0..1000).filter(|_| bucket.take(start).is_some()).count();
    assert_eq!(written, 100);
    assert_eq!(
        bucket.take(start + Duration::from_millis(20)),
        Some(900),
        "says what was dropped"
    );
    assert_eq!(bucket.take(start + Duration::from_millis(20)), Some(0));
    assert_eq!(bucket.take(start + Duration::from_millis(20)), None);
}
