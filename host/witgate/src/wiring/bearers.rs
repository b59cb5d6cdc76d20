//! Who bears the calls of an identity that `custom_auth` made up: members of LiteLLM's `UserAPIKeyAuth` become scopes.

use jiff::Timestamp;
use serde_json::{Map, Value};
use witgate_identity::{Budget, Limits, Principal, Scope, ScopeKind};
use witgate_metering::{model_scopes, money, whole};

/// The names that a kind's members have.
struct Names {
    kind: ScopeKind,
    rpm: &'static str,
    tpm: &'static str,
    parallel: &'static str,
    max: &'static str,
    soft: &'static str,
    spend: &'static str,
    duration: &'static str,
    resets_at: &'static str,
    model_budget: &'static str,
    model_rpm: &'static str,
    model_tpm: &'static str,
}

const NONE: Names = Names {
    kind: ScopeKind::Key,
    rpm: "",
    tpm: "",
    parallel: "",
    max: "",
    soft: "",
    spend: "",
    duration: "",
    resets_at: "",
    model_budget: "",
    model_rpm: "",
    model_tpm: "",
};

/// Empty where LiteLLM has no such member.
const NAMES: [Names; 5] = [
    Names {
        rpm: "rpm_limit",
        tpm: "tpm_limit",
        parallel: "max_parallel_requests",
        max: "max_budget",
        soft: "soft_budget",
        spend: "spend",
        duration: "budget_duration",
        resets_at: "budget_reset_at",
        model_budget: "model_max_budget",
        model_rpm: "rpm_limit_per_model",
        model_tpm: "tpm_limit_per_model",
        ..NONE
    },
    Names {
        kind: ScopeKind::Team,
        rpm: "team_rpm_limit",
        tpm: "team_tpm_limit",
        max: "team_max_budget",
        spend: "team_spend",
        ..NONE
    },
    Names {
        kind: ScopeKind::TeamMember,
        rpm: "team_member_rpm_limit",
        tpm: "team_member_tpm_limit",
        spend: "team_member_spend",
        ..NONE
    },
    Names {
        kind: ScopeKind::User,
        rpm: "user_rpm_limit",
        tpm: "user_tpm_limit",
        max: "user_max_budget",
        spend: "user_spend",
        ..NONE
    },
    Names {
        kind: ScopeKind::EndUser,
        rpm: "end_user_rpm_limit",
        tpm: "end_user_tpm_limit",
        max: "end_user_max_budget",
        ..NONE
    },
];

/// Takes what limits and budgets there are out of `members`; the rest of them is left. An error says what is wrong with one.
pub(super) fn scopes(
    members: &mut Map<String, Value>,
    principal: &Principal,
    key: Option<&str>,
) -> Result<Vec<Scope>, String> {
    let mut found = Vec::new();
    for names in NAMES {
        let id = match names.kind {
            ScopeKind::Key => key.map(str::to_owned),
            ScopeKind::Team => principal.team_id.clone(),
            ScopeKind::TeamMember => {
                let pair = principal.team_id.as_ref().zip(principal.user_id.as_ref());
                pair.map(|(team, user)| format!("{team}:{user}"))
            }
            ScopeKind::User => principal.user_id.clone(),
            _ => principal.end_user_id.clone(),
        };
        // Members of nobody limit nobody, and are told like those that have no effect.
        let Some(id) = id else { continue };
        let mut scope = read(members, &names, id)?;
        scope.alias = match names.kind {
            ScopeKind::Key => principal.key_alias.clone(),
            ScopeKind::Team => principal.team_alias.clone(),
            _ => None,
        };
        let is_bearing =
            scope.budget.is_some() || !scope.limits.is_empty() || !scope.models.is_empty();
        if is_bearing || names.kind == ScopeKind::Key {
            found.push(scope);
        }
    }
    Ok(found)
}

fn read(members: &mut Map<String, Value>, names: &Names, id: String) -> Result<Scope, String> {
    let mut take = |name: &str| members.remove(name).filter(|value| !value.is_null());
    let count = |name: &str, value: Option<Value>| {
        let whole = value.map(|value| {
            whole(&value).ok_or_else(|| wrong(name, "a whole number that is not negative"))
        });
        whole.transpose()
    };
    let limits = Limits {
        rpm: count(names.rpm, take(names.rpm))?,
        tpm: count(names.tpm, take(names.tpm))?,
        parallel: count(names.parallel, take(names.parallel))?,
        ..Limits::default()
    };
    let amount = |name: &str, value: Option<Value>| {
        let amount = value
            .map(|value| money(&value).ok_or_else(|| wrong(name, "US dollars, not less than 0")));
        amount.transpose()
    };
    let max = amount(names.max, take(names.max))?;
    let soft = amount(names.soft, take(names.soft))?;
    let spent = amount(names.spend, take(names.spend))?.unwrap_or_default();
    let text = |name: &str, value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a text")),
    };
    let duration = text(names.duration, take(names.duration))?;
    let resets_at = text(names.resets_at, take(names.resets_at))?;
    let resets_at = resets_at.map(|text| {
        time(&text).ok_or_else(|| wrong(names.resets_at, "a time such as 2026-05-01T00:00:00Z"))
    });
    let models = model_scopes(
        take(names.model_budget).as_ref(),
        take(names.model_rpm).as_ref(),
        take(names.model_tpm).as_ref(),
    );
    let budget = Budget {
        max,
        soft,
        duration,
        resets_at: resets_at.transpose()?,
    };
    Ok(Scope {
        limits,
        models: models.map_err(|error| error.to_string())?,
        budget: (max.is_some() || soft.is_some()).then_some(budget),
        spent,
        ..Scope::new(names.kind, id)
    })
}

/// A time without a zone is UTC.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

fn wrong(name: &str, expected: &str) -> String {
    format!("{name} is {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(members: Value) -> Result<(Vec<Scope>, Map<String, Value>), String> {
        read_of(members, Some("hash"))
    }

    fn read_of(
        members: Value,
        key: Option<&str>,
    ) -> Result<(Vec<Scope>, Map<String, Value>), String> {
        let Value::Object(mut members) = members else {
            panic!("an object");
        };
        let principal = Principal {
            user_id: Some("u".into()),
            team_id: Some("t".into()),
            key_alias: Some("ci".into()),
            ..Principal::default()
        };
        let scopes = scopes(&mut members, &principal, key)?;
        Ok((scopes, members))
    }

    #[test]
    fn members_become_scopes() {
        let (scopes, rest) = read(json!({
            "rpm_limit": 3, "tpm_limit": null, "max_budget": 5.5, "spend": "1", "budget_reset_at": "2026-05-01T00:00:00",
            "model_max_budget": {"gpt-4o": {"budget_limit": 1, "time_period": "1d"}},
            "team_rpm_limit": 7, "team_member_tpm_limit": 9, "user_max_budget": 2, "end_user_max_budget": 1,
            "expires": "never",
        }))
        .unwrap();
        let told: Vec<_> = scopes
            .iter()
            .map(|scope| (scope.kind, scope.id.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (ScopeKind::Key, "hash"),
                (ScopeKind::Team, "t"),
                (ScopeKind::TeamMember, "t:u"),
                (ScopeKind::User, "u"),
            ]
        );
        let key = &scopes[0];
        assert_eq!((key.limits.rpm, key.limits.tpm), (Some(3), None));
        let budget = key.budget.as_ref().unwrap();
        assert_eq!(budget.max, Some("5.5".parse().unwrap()));
        assert_eq!(budget.resets_at, "2026-05-01T00:00:00Z".parse().ok());
        assert_eq!((key.spent, key.models.len()), ("1".parse().unwrap(), 1));
        assert_eq!(key.alias.as_deref(), Some("ci"));
        let mut rest: Vec<&String> = rest.keys().collect();
        rest.sort();
        assert_eq!(
            rest,
            ["end_user_max_budget", "expires"],
            "of nobody, and of no effect"
        );
    }

    /// All who come without a credential would be one key.
    #[test]
    fn without_a_credential_there_is_no_key() {
        let members = json!({"rpm_limit": 3, "user_max_budget": 2});
        let (scopes, rest) = read_of(members, None).unwrap();
        let kinds: Vec<ScopeKind> = scopes.iter().map(|scope| scope.kind).collect();
        assert_eq!(kinds, [ScopeKind::User]);
        assert!(
            rest.contains_key("rpm_limit"),
            "told, as what has no effect"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (members, words) in [
            (json!({"rpm_limit": -1}), "rpm_limit is a whole number"),
            (
                json!({"team_max_budget": "much"}),
                "team_max_budget is US dollars",
            ),
            (
                json!({"budget_reset_at": "soon"}),
                "budget_reset_at is a time",
            ),
            (
                json!({"model_max_budget": []}),
                "model_max_budget is an object",
            ),
        ] {
            let error = read(members).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
