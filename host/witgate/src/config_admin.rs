//! The configuration that serves, for the control plane's operations that change what the database holds of it.

use async_trait::async_trait;
use serde_json::Value;
use witgate_management::{Configuration, PriceSource, Setting};

use crate::reload::Administration;
use crate::wiring::stored::LeftOut;

#[async_trait]
impl Configuration for Administration {
    async fn apply(&self) -> Result<LeftOut, Vec<String>> {
        let control = self.control.clone();
        let applied = self
            .runtime
            .spawn(async move { control.read_stored().await });
        let unfinished = |error| Err(vec![format!("the change was not put in force: {error}")]);
        applied.await.unwrap_or_else(unfinished)
    }

    fn fault(&self, section: &str, key: &str, value: &Value) -> Option<String> {
        witgate_config::setting_fault(section, key, value)
    }

    fn settings(&self, section: &str) -> Vec<Setting> {
        let all = witgate_config::settings_of(section);
        all.map(|one| Setting {
            name: one.name().to_owned(),
            kind: one.kind.to_string(),
            doc: one.doc.clone(),
            default: one.default.clone(),
        })
        .collect()
    }

    fn of_file(&self, section: &str, key: &str) -> bool {
        let base = self.control.base();
        base.declares(section, key) && !base.gives_way()
    }

    fn shown(&self) -> Value {
        self.control.loaded().config.redacted()
    }

    fn is_secret(&self, name: &str) -> bool {
        witgate_config::is_secret_name(name)
    }

    fn prices(&self) -> PriceSource {
        let loaded = self.control.loaded();
        self.control.cost_map().source(&loaded.environment)
    }

    async fn fetch_prices(&self) -> Result<usize, String> {
        let control = self.control.clone();
        // Also when the client leaves meanwhile, it is finished.
        let fetching = self
            .runtime
            .spawn(async move { control.fetch_prices().await });
        let unfinished = |error| Err(format!("the fetch did not finish: {error}"));
        fetching.await.unwrap_or_else(unfinished)
    }

    fn prices_scheduled(&self) {
        self.control.cost_map().look();
    }
}
