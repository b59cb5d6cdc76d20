//! The rules a `plugin.toml` must keep beyond its types.

use std::collections::HashSet;

use witgate_plugins::{HOOKS, Kind, SSO_ROLES, Setting, SettingKind};

use super::PluginToml;

/// Which key is wrong, and how to put it right.
pub(super) type Problem = (String, String);

const EVENTS: [&str; 5] = ["success", "failure", "proxy_failure", "service", "audit"];
const PHASES: [&str; 5] = [
    "pre_call",
    "during_call",
    "post_call",
    "logging_only",
    "streaming",
];

/// Finds the first problem.
pub(super) fn check(plugin: &PluginToml) -> Result<(), Problem> {
    name(plugin)?;
    settings(&plugin.settings)?;
    for (index, entry) in plugin.egress.iter().enumerate() {
        egress(entry, &plugin.settings).map_err(|problem| (format!("egress[{index}]"), problem))?;
    }
    for (index, variable) in plugin.env.iter().enumerate() {
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err((
                format!("env[{index}]"),
                format!("`{variable}` is no name of a variable"),
            ));
        }
    }
    // A request hook that is a log sink, too, has events.
    let logs = plugin.kind == Kind::LogSink || plugin.also.contains(&Kind::LogSink);
    let kind = if logs { Kind::LogSink } else { plugin.kind };
    words("events", &plugin.events, &EVENTS, kind, Kind::LogSink)?;
    words(
        "hooks",
        &plugin.hooks,
        &HOOKS,
        plugin.kind,
        Kind::RequestHook,
    )?;
    if plugin.kind == Kind::RequestHook && plugin.hooks.is_empty() {
        let problem = format!(
            "a request hook names the hooks it has, such as hooks = [\"pre_call\"]; there are {}",
            HOOKS.join(", ")
        );
        return Err(("hooks".to_owned(), problem));
    }
    let may = plugin.kind == Kind::RequestHook && plugin.also == [Kind::LogSink];
    if !plugin.also.is_empty() && !may {
        let problem = "only a request hook can be something else, too: also = [\"log-sink\"]";
        return Err(("also".to_owned(), problem.to_owned()));
    }
    words(
        "phases",
        &plugin.phases,
        &PHASES,
        plugin.kind,
        Kind::Guardrail,
    )?;
    words("roles", &plugin.roles, &SSO_ROLES, plugin.kind, Kind::Sso)?;
    if plugin.kind == Kind::Sso && plugin.roles.is_empty() {
        let problem = format!(
            "a plugin of kind sso says what it does of signing in: some of {}",
            SSO_ROLES.join(", ")
        );
        return Err(("roles".to_owned(), problem));
    }
    for (setting, phases) in &plugin.phases_when {
        let key = format!("phases_when.{setting}");
        let declared = plugin.settings.iter().find(|own| own.name == *setting);
        if declared.is_none_or(|own| own.kind != SettingKind::Boolean) {
            return Err((key, format!("`{setting}` is no setting of type boolean")));
        }
        words(&key, phases, &PHASES, plugin.kind, Kind::Guardrail)?;
    }
    provider(plugin)?;
    let limits = [
        ("limits.memory_mb", plugin.limits.memory_mb.map(u64::from)),
        ("limits.cpu_ms", plugin.limits.cpu_ms),
        ("limits.timeout_ms", plugin.limits.timeout_ms),
    ];
    match limits.into_iter().find(|(_, limit)| *limit == Some(0)) {
        Some((key, _)) => Err((
            key.to_owned(),
            "0 allows nothing; leave it out for the default".to_owned(),
        )),
        None => Ok(()),
    }
}

fn provider(plugin: &PluginToml) -> Result<(), Problem> {
    let wrong = |problem: &str| Err(("provider".to_owned(), problem.to_owned()));
    match (&plugin.provider, plugin.kind) {
        (None, Kind::Provider) => {
            wrong("a provider needs this table; begin with call_types = [\"chat\"]")
        }
        (Some(_), kind) if kind != Kind::Provider => wrong(&format!(
            "only a plugin of kind provider has it, this is a {kind}; remove it"
        )),
        (Some(facts), _) => facts.problem().map_or(Ok(()), |problem| wrong(&problem)),
        (None, _) => Ok(()),
    }
}

fn name(plugin: &PluginToml) -> Result<(), Problem> {
    let name = &plugin.name;
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if good {
        return Ok(());
    }
    let fixed: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let problem = format!(
        "`{name}` is no plugin name: lower-case letters, digits and `-`, a letter first; for example name = \"{fixed}\""
    );
    Err(("name".to_owned(), problem))
}

fn settings(settings: &[Setting]) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for (index, setting) in settings.iter().enumerate() {
        let key = |member: &str| format!("settings[{index}].{member}");
        if setting.name.is_empty() {
            return Err((key("name"), "a setting needs a name".to_owned()));
        }
        let name = &setting.name;
        if !seen.insert(name) {
            return Err((key("name"), format!("`{name}` is there twice; remove one")));
        }
        if setting.reveal && !setting.secret {
            return Err((
                key("reveal"),
                format!("`{name}` is not secret; add secret = true or remove reveal"),
            ));
        }
        if setting.secret && !setting.kind.can_be_secret() {
            return Err((
                key("type"),
                format!(
                    "a secret is text; give `{name}` type = \"string\" \"headers\" or \"object\""
                ),
            ));
        }
        let Some(default) = &setting.default else {
            continue;
        };
        if setting.secret {
            return Err((
                key("default"),
                format!("`{name}` is secret, and a manifest is public; remove default"),
            ));
        }
        if setting.required {
            return Err((
                key("required"),
                format!("`{name}` has a default, so it is never missing; remove one of the two"),
            ));
        }
        if !setting.kind.admits(default) {
            let wanted = type_name(setting.kind);
            return Err((
                key("default"),
                format!("{default} is not of the setting's type, {wanted}"),
            ));
        }
    }
    Ok(())
}

/// The type as `plugin.toml` writes it.
pub(crate) fn type_name(kind: SettingKind) -> &'static str {
    match kind {
        SettingKind::String => "string",
        SettingKind::Integer => "integer",
        SettingKind::Number => "number",
        SettingKind::Boolean => "boolean",
        SettingKind::Object => "object",
        SettingKind::List => "list",
        SettingKind::Headers => "headers",
        SettingKind::EncodedHeaders => "encoded-headers",
    }
}

fn egress(entry: &str, settings: &[Setting]) -> Result<(), String> {
    if let Some(name) = entry
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return match settings.iter().find(|setting| setting.name == name) {
            Some(setting)
                if matches!(
                    setting.kind,
                    SettingKind::String | SettingKind::Object | SettingKind::List
                ) =>
            {
                Ok(())
            }
            Some(_) => Err(format!(
                "the setting `{name}` is no text, list or object, so it can hold no URL"
            )),
            None => Err(format!(
                "there is no setting `{name}`; add it to [[settings]] or write the URL itself"
            )),
        };
    }
    let problem = |what: &str| {
        Err(format!(
            "`{entry}`: {what}; write https://HOST, https://HOST:PORT, https://*.DOMAIN or {{SETTING}}"
        ))
    };
    // Settings may be parts of the host.
    let mut plain = entry.to_owned();
    while let Some((before, name, after)) = reference(&plain) {
        let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
            return Err(format!(
                "there is no setting `{name}`; add it to [[settings]] or write the host itself"
            ));
        };
        // A number for a port, a name for anything else.
        let example = match setting.kind {
            SettingKind::Integer => "1",
            _ => "x",
        };
        plain = format!("{before}{example}{after}");
    }
    // `url` takes no `*` in a host, and the wildcard stands for whole labels at the front only.
    let plain = plain.replacen("://*.", "://wildcard.", 1);
    let Ok(url) = url::Url::parse(&plain) else {
        return problem("is no URL");
    };
    if !matches!(url.scheme(), "http" | "https" | "smtp") {
        return problem("is neither http nor https, nor smtp for mail");
    }
    if plain.contains('*') {
        return problem("`*` may only be the first label of the host");
    }
    if !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
    {
        return problem("has more than scheme, host and port");
    }
    Ok(())
}

/// The first `{setting}` of a rule, and what stands before and after it.
fn reference(rule: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = rule.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn words(
    key: &str,
    given: &[String],
    known: &[&str],
    kind: Kind,
    owner: Kind,
) -> Result<(), Problem> {
    if !given.is_empty() && kind != owner {
        return Err((
            key.to_owned(),
            format!("only a plugin of kind {owner} has it, this is a {kind}; remove it"),
        ));
    }
    for (index, word) in given.iter().enumerate() {
        if known.contains(&word.as_str()) {
            continue;
        }
        let mut problem = format!("`{word}` is none of {}", known.join(", "));
        let nearest = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
        if let Some(nearest) = nearest {
            problem.push_str(&format!("; did you mean {nearest}?"));
        }
        return Err((format!("{key}[{index}]"), problem));
    }
    Ok(())
}
