//! Reads and writes secrets in HashiCorp Vault and OpenBao, KV version 2, where LiteLLM looks for them: the field `key` of
//! the secret that has the name.
//!
//! Read in this order: [`place`] (settings, and where a secret lies), [`answer`] (what Vault's answers mean), `client` (logging
//! in and asking).

pub mod answer;
mod client;
pub mod place;

use serde_json::{Map, Value};
use witgate_plugin::Error;
use witgate_plugin::secret_manager::{Reading, Secret, SecretManager};

use answer::{Doing, value_in};
use client::Client;
use place::{Place, Settings};

/// A Vault.
pub struct Vault {
    settings: Settings,
    client: Client,
}

impl SecretManager for Vault {
    type Settings = Settings;
    type Options = Place;

    fn new(settings: Settings) -> Result<Self, Error> {
        let client = Client::new(&settings)?;
        Ok(Self { settings, client })
    }

    fn read(&self, name: &str, options: &Place) -> Result<Reading, Error> {
        let path = self.settings.path(name, options)?;
        let response = self.client.ask("GET", &path, None)?;
        let value = value_in(&response, &path, options.field())?;
        let reading = value.map_or_else(Reading::none, Reading::of);
        Ok(reading.kept_for(self.settings.refresh_interval))
    }

    fn write(&self, secret: &Secret, options: &Place) -> Result<(), Error> {
        let path = self.settings.path(&secret.name, options)?;
        let mut data = Map::new();
        data.insert(options.field().to_owned(), secret.value.as_str().into());
        if let Some(description) = &secret.description {
            data.insert("description".to_owned(), description.as_str().into());
        }
        let body = serde_json::json!({ "data": data });
        let response = self.client.ask("POST", &path, Some(&body))?;
        answer::done(&response, Doing::Write, &path)
    }

    fn delete(&self, name: &str, _recovery_days: u32, options: &Place) -> Result<(), Error> {
        let path = self.settings.path(name, options)?;
        let response = self.client.ask("DELETE", &path, None::<&Value>)?;
        match response.status() {
            404 => Ok(()),
            _ => answer::done(&response, Doing::Delete, &path),
        }
    }

    fn health(&self) -> Result<(), Error> {
        let path = "auth/token/lookup-self";
        let response = self.client.ask_of_login(path)?;
        answer::done(&response, Doing::Read, path)
    }
}

witgate_plugin::export_secret_manager!(Vault);
