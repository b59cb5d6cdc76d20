use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn fail_times(breaker: &Breaker, count: u32, now: Instant) -> Option<Duration> {
    (0..count).find_map(|_| breaker.failed(breaker.enter(now).unwrap(), now))
}

#[test]
fn five_failures_in_a_row_open_it() {
    let (breaker, now) = (Breaker::default(), Instant::now());
    assert_eq!(fail_times(&breaker, 4, now), None);
    breaker.succeeded(breaker.enter(now).unwrap(), now);
    assert_eq!(
        fail_times(&breaker, 4, now),
        None,
        "a success in between starts the count anew"
    );
    assert_eq!(fail_times(&breaker, 1, now), Some(REST_FIRST));
    assert_eq!(breaker.enter(now + SECOND), Err(REST_FIRST - SECOND));
    assert_eq!(breaker.state(now), State::Open);
}

#[test]
fn mostly_failing_opens_it_only_among_enough_calls() {
    let (breaker, now) = (Breaker::default(), Instant::now());
    let opened_after = (1..100).find(|call| {
        let pass = breaker.enter(now).unwrap();
        match call % 3 {
            0 => breaker.succeeded(pass, now).then_some(()).is_some(),
            _ => breaker.failed(pass, now).is_some(),
        }
    });
    assert_eq!(opened_after, Some(20));
}

#[test]
fn old_failures_are_forgotten() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    for call in 0..200_u32 {
        // Two failures, a success: but only one call in five seconds.
        let now = start + call * 5 * SECOND;
        let pass = breaker.enter(now).unwrap();
        match call % 3 {
            0 => assert!(!breaker.succeeded(pass, now)),
            _ => assert_eq!(breaker.failed(pass, now), None),
        }
    }
}

#[test]
fn half_open_tries_one_call_and_rests_longer_each_time() {
    let (breaker, mut now) = (Breaker::default(), Instant::now());
    fail_times(&breaker, 5, now);
    let mut rest = REST_FIRST;
    for _ in 0..7 {
        now += rest;
        assert_eq!(breaker.state(now), State::HalfOpen);
        let probe = breaker.enter(now).unwrap();
        assert!(probe.is_probe());
        assert!(breaker.enter(now).is_err(), "one at a time");
        rest = (2 * rest).min(REST_LONGEST);
        assert_eq!(breaker.failed(probe, now), Some(rest));
    }
    assert_eq!(rest, REST_LONGEST);
    now += rest;
    assert!(breaker.succeeded(breaker.enter(now).unwrap(), now));
    assert_eq!(breaker.state(now), State::Closed);
    assert_eq!(
        fail_times(&breaker, 5, now),
        Some(REST_FIRST),
        "the rest starts short again"
    );
}

#[test]
fn a_probe_that_was_cancelled_leaves_room_for_the_next() {
    let (breaker, now) = (Breaker::default(), Instant::now());
    fail_times(&breaker, 5, now);
    let now = now + REST_FIRST;
    let probe = breaker.enter(now).unwrap();
    breaker.abandoned(probe);
    assert!(breaker.enter(now).unwrap().is_probe());
}
