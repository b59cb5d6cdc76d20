//! Where an OpenAI-compatible provider is reached, and by which key.
//!
//! The table is data (`providers.tsv`); a provider with a dialect of its own is not in it.

use std::sync::LazyLock;

use witgate_config::Env;

/// A row of the table.
#[derive(Debug)]
pub struct Provider {
    /// Prefix in `litellm_params.model`.
    pub name: &'static str,
    base_env: Vec<&'static str>,
    base_default: Option<&'static str>,
    /// Variables of the key.
    pub key_env: Vec<&'static str>,
    key_default: Option<&'static str>,
}

static TABLE: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    include_str!("providers.tsv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(row)
        .collect()
});

fn row(line: &'static str) -> Option<Provider> {
    let mut fields = line.split('\t');
    let some = |text: &'static str| (text != "-").then_some(text);
    let list = |text: &'static str| -> Vec<&'static str> {
        some(text)
            .map(|t| t.split(',').collect())
            .unwrap_or_default()
    };
    Some(Provider {
        name: fields.next()?,
        base_env: list(fields.next()?),
        base_default: some(fields.next()?),
        key_env: list(fields.next()?),
        key_default: some(fields.next()?),
    })
}

/// Every OpenAI-compatible provider.
pub fn all() -> impl Iterator<Item = &'static Provider> {
    TABLE.iter()
}

/// The OpenAI-compatible provider of this name; `None` for one with a dialect of its own.
pub fn find(name: &str) -> Option<&'static Provider> {
    TABLE.iter().find(|provider| provider.name == name)
}

impl Provider {
    /// The base URL, when the deployment names none.
    pub fn base(&self, env: &Env) -> Option<String> {
        let own = self.base_env.iter().find_map(|name| env.non_empty(name));
        own.or(self.base_default).map(str::to_owned)
    }

    /// The key, when the deployment names none.
    pub fn key(&self, env: &Env) -> Option<String> {
        let own = self.key_env.iter().find_map(|name| env.non_empty(name));
        own.or(self.key_default).map(str::to_owned)
    }

    /// The base URL that nobody need name.
    pub fn base_default(&self) -> Option<&'static str> {
        self.base_default
    }

    /// Whether it asks for no key of its own.
    pub fn goes_without_key(&self) -> bool {
        self.key_default.is_some()
    }

    /// Variables of the base URL, for messages.
    pub fn base_env(&self) -> String {
        self.base_env.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_complete() {
        let lines = include_str!("providers.tsv").lines();
        assert_eq!(
            TABLE.len(),
            lines
                .filter(|l| !l.starts_with('#') && !l.is_empty())
                .count()
        );
        for provider in TABLE.iter() {
            assert!(
                witgate_routing::PROVIDERS.contains(&provider.name),
                "{}",
                provider.name
            );
            assert!(
                provider
                    .base_default
                    .is_none_or(|url| url.starts_with("http") && !url.ends_with('/')),
                "{}",
                provider.name
            );
        }
    }
}
