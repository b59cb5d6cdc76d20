use super::*;

fn fault(class: ErrorClass, status: u16) -> Fault<'static> {
    Fault {
        class,
        status,
        retry_after: None,
        message: "",
        blame: Blame::Deployment,
    }
}

fn standing(own: &OwnCooldown, group: usize) -> Standing<'_> {
    Standing {
        own,
        is_single: group == 1,
        is_wildcard: false,
    }
}

fn rest_s(verdict: &Verdict) -> Option<f64> {
    match verdict {
        Verdict::Ignored => None,
        Verdict::Share { rest } | Verdict::Count { rest, .. } => Some(rest.as_secs_f64()),
    }
}

/// Successes, failures, status, size of the group, whether it rests: the table of the rules.
#[test]
fn by_the_share_of_failures() {
    let settings = CooldownSettings::default();
    let rows = [
        (0, 1, 429, 2, true),
        (9, 1, 429, 1, false),
        (0, 1, 500, 2, false),
        (0, 4, 500, 2, false),
        (0, 5, 500, 2, true),
        (2, 3, 500, 2, true),
        (3, 3, 500, 2, false),
        (0, 999, 500, 1, false),
        (0, 1000, 500, 1, true),
        (1, 1000, 500, 1, false),
        (50, 1, 401, 1, true),
        (50, 1, 404, 3, true),
        (50, 1, 408, 3, false),
    ];
    for (successes, failures, status, group, rests) in rows {
        assert_eq!(
            by_share(&settings, group == 1, status, successes, failures),
            rests,
            "{successes} {failures} {status} {group}"
        );
    }
}

#[test]
fn some_failures_say_nothing_of_the_deployment() {
    let settings = CooldownSettings::default();
    let own = OwnCooldown::default();
    for (class, status, counts) in [
        (ErrorClass::BadRequest, 400, false),
        (ErrorClass::ContextWindowExceeded, 400, false),
        (ErrorClass::Authentication, 401, true),
        (ErrorClass::PaymentRequired, 402, true),
        (ErrorClass::PermissionDenied, 403, false),
        (ErrorClass::NotFound, 404, true),
        (ErrorClass::Timeout, 408, true),
        (ErrorClass::UnprocessableEntity, 422, false),
        (ErrorClass::RateLimit, 429, true),
        (ErrorClass::InternalServer, 500, true),
        (ErrorClass::BadGateway, 502, true),
        (ErrorClass::ServiceUnavailable, 503, true),
        (ErrorClass::ApiConnection, 500, false),
        (ErrorClass::Api, 599, true),
    ] {
        let verdict = judge(&settings, &standing(&own, 3), &fault(class, status));
        assert_eq!(rest_s(&verdict).is_some(), counts, "{class:?}");
    }
    let failure = fault(ErrorClass::RateLimit, 429);
    let callers = Fault {
        blame: Blame::Other,
        ..failure
    };
    assert!(rest_s(&judge(&settings, &standing(&own, 3), &callers)).is_none());
    let wildcard = Standing {
        is_wildcard: true,
        ..standing(&own, 3)
    };
    assert!(rest_s(&judge(&settings, &wildcard, &failure)).is_none());
    let off = CooldownSettings {
        disabled: true,
        ..settings
    };
    assert!(rest_s(&judge(&off, &standing(&own, 3), &failure)).is_none());
}

/// The deployment's own time, what the upstream asked for, the time that comes of both.
#[test]
fn how_long_it_rests() {
    let settings = CooldownSettings {
        time: Duration::from_secs(10),
        ..CooldownSettings::default()
    };
    let rows = [
        (None, None, Some(10.0)),
        (None, Some(30), Some(30.0)),
        (Some(7), Some(30), Some(7.0)),
        (Some(0), Some(30), None),
        (Some(0), None, None),
        (None, Some(0), None),
    ];
    for (own, asked, expected) in rows {
        let own = OwnCooldown {
            time: own.map(Duration::from_secs),
            ..OwnCooldown::default()
        };
        let failure = Fault {
            retry_after: asked.map(Duration::from_secs),
            ..fault(ErrorClass::RateLimit, 429)
        };
        let verdict = judge(&settings, &standing(&own, 2), &failure);
        assert_eq!(rest_s(&verdict), expected, "{own:?} {asked:?}");
    }
}

/// Settings, the deployment's own, size of the group, class; what is allowed and under which name.
#[test]
fn by_the_number_of_failures() {
    let policy = |rules: &[(&str, u32)]| {
        let mut policy = AllowedFailsPolicy::default();
        rules
            .iter()
            .for_each(|(key, n)| assert!(policy.set(key, *n)));
        policy
    };
    let with = |allowed: Option<u32>, rules: &[(&str, u32)]| CooldownSettings {
        allowed_fails: allowed,
        policy: policy(rules),
        ..CooldownSettings::default()
    };
    let own = |allowed: Option<u32>, rules: &[(&str, u32)]| OwnCooldown {
        allowed_fails: allowed,
        policy: policy(rules),
        ..OwnCooldown::default()
    };
    let five_hundred = ErrorClass::InternalServer;
    let rows = [
        // Configured, also with the default's value: counted.
        (
            with(Some(2), &[]),
            own(None, &[]),
            2,
            five_hundred,
            Some((None, 2)),
        ),
        (
            with(Some(3), &[]),
            own(None, &[]),
            2,
            five_hundred,
            Some((None, 3)),
        ),
        (with(Some(2), &[]), own(None, &[]), 1, five_hundred, None),
        // A policy names the class, or its parent.
        (
            with(Some(2), &[("InternalServerErrorAllowedFails", 0)]),
            own(None, &[]),
            1,
            five_hundred,
            Some((Some(five_hundred), 0)),
        ),
        (
            with(None, &[("BadRequestErrorAllowedFails", 4)]),
            own(None, &[]),
            2,
            ErrorClass::ContentPolicyViolation,
            Some((Some(ErrorClass::BadRequest), 4)),
        ),
        // Another class is counted by the default.
        (
            with(None, &[("RateLimitErrorAllowedFails", 9)]),
            own(None, &[]),
            2,
            five_hundred,
            Some((None, 3)),
        ),
        // The deployment's own word goes before the router's.
        (
            with(Some(2), &[("InternalServerErrorAllowedFails", 9)]),
            own(Some(1), &[]),
            2,
            five_hundred,
            Some((None, 1)),
        ),
        (
            with(Some(2), &[]),
            own(None, &[("InternalServerErrorAllowedFails", 5)]),
            2,
            five_hundred,
            Some((Some(five_hundred), 5)),
        ),
    ];
    for (settings, own, group, class, expected) in rows {
        let verdict = judge(
            &settings,
            &standing(&own, group),
            &fault(class, class.status()),
        );
        let counted = match verdict {
            Verdict::Count { class, allowed, .. } => Some((class, allowed)),
            Verdict::Ignored => None,
            Verdict::Share { .. } => panic!("by share: {settings:?}"),
        };
        assert_eq!(counted, expected, "{settings:?} {own:?}");
    }
}

#[test]
fn a_policy_has_only_its_keys() {
    let mut policy = AllowedFailsPolicy::default();
    assert!(
        AllowedFailsPolicy::KEYS
            .iter()
            .all(|key| policy.set(key, 1))
    );
    for wrong in [
        "TeapotErrorAllowedFails",
        "BadRequestErrorRetries",
        "DefaultAllowedFails",
    ] {
        assert!(!policy.set(wrong, 1), "{wrong}");
    }
}
