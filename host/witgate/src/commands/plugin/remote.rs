//! `witgate plugin status|reload|rollback|enable|disable|logs|shadow`: the plugin routes of a running gateway, for a terminal.

use std::io::Write as _;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use reqwest::{Client, Method, Response, Url};
use serde_json::Value;

use super::print_rows;
use crate::cli::{OnePlugin, RunningGateway};

/// How all plugins do, or one.
pub(super) fn status(
    gateway: &RunningGateway,
    name: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    let told = ask(gateway, Method::GET, name, "")?;
    match told["plugins"].as_array().filter(|_| !json) {
        Some(plugins) => print_table(plugins),
        None => println!("{told:#}"),
    }
    Ok(())
}

/// What a plugin's shadow found.
pub(super) fn shadow(plugin: &OnePlugin) -> anyhow::Result<()> {
    let told = ask(&plugin.gateway, Method::GET, Some(&plugin.name), "shadow")?;
    println!("{told:#}");
    Ok(())
}

/// Changes one plugin.
pub(super) fn change(plugin: &OnePlugin, what: &str) -> anyhow::Result<()> {
    let told = ask(&plugin.gateway, Method::POST, Some(&plugin.name), what)?;
    let now = &told["plugin"];
    println!(
        "{}  {}  sha256:{}  {}",
        text(now, "name"),
        text(now, "version"),
        text(now, "digest"),
        text(now, "state")
    );
    Ok(())
}

/// Prints the log of one plugin.
pub(super) fn logs(plugin: &OnePlugin, limit: usize, follow: bool) -> anyhow::Result<()> {
    let what = format!("logs?limit={limit}");
    if !follow {
        let told = ask(&plugin.gateway, Method::GET, Some(&plugin.name), &what)?;
        let lines = told["lines"].as_array();
        lines.into_iter().flatten().for_each(print_line);
        return Ok(());
    }
    runtime()?.block_on(async {
        let what = format!("{what}&follow=true");
        let response = send(&plugin.gateway, Method::GET, Some(&plugin.name), &what).await?;
        let mut body = response.bytes_stream();
        let mut unread = Vec::new();
        while let Some(bytes) = body.next().await {
            unread.extend_from_slice(&bytes.context("the gateway ended")?);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let data = line.strip_prefix(b"data: ");
                if let Some(line) = data.and_then(|data| serde_json::from_slice(data).ok()) {
                    print_line(&line);
                }
            }
        }
        Ok(())
    })
}

fn print_line(line: &Value) {
    println!(
        "{}  {:<5}  {:<6}  {}",
        text(line, "at"),
        text(line, "level"),
        text(line, "source"),
        text(line, "text")
    );
    // Whoever follows through a pipe wants each line when it is written.
    let _ = std::io::stdout().flush();
}

fn print_table(plugins: &[Value]) {
    let mut table = vec![
        [
            "NAME",
            "KIND",
            "VERSION",
            "DIGEST",
            "STATE",
            "CALLS",
            "FAILED",
            "SECONDS",
            "CPU",
            "UNDER WAY",
        ]
        .map(str::to_owned),
    ];
    for plugin in plugins {
        let counters = &plugin["counters"];
        let calls = counters["calls"].as_object();
        let counts = || calls.into_iter().flatten();
        let sum = |all: &mut dyn Iterator<Item = (&String, &Value)>| -> u64 {
            all.filter_map(|(_, count)| count.as_u64()).sum()
        };
        let load = |name: &str| plugin["load"][name].as_u64().unwrap_or(0);
        let seconds = |name: &str| format!("{:.2}", counters[name].as_f64().unwrap_or(0.0));
        table.push([
            text(plugin, "name").to_owned(),
            text(plugin, "kind").to_owned(),
            text(plugin, "version").to_owned(),
            text(plugin, "digest").chars().take(12).collect(),
            text(plugin, "state").to_owned(),
            sum(&mut counts()).to_string(),
            sum(&mut counts().filter(|(outcome, _)| *outcome != "ok")).to_string(),
            seconds("seconds"),
            seconds("cpu_seconds"),
            (load("calls") + load("streams")).to_string(),
        ]);
    }
    print_rows(&table);
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or("-")
}

fn ask(
    gateway: &RunningGateway,
    method: Method,
    name: Option<&str>,
    what: &str,
) -> anyhow::Result<Value> {
    runtime()?.block_on(async {
        let response = send(gateway, method, name, what).await?;
        response
            .json()
            .await
            .context("the gateway answers with something that is not JSON")
    })
}

/// A successful answer, or the gateway's own words why it is none.
async fn send(
    gateway: &RunningGateway,
    method: Method,
    name: Option<&str>,
    what: &str,
) -> anyhow::Result<Response> {
    let url = url(gateway, name, what)?;
    let mut request = Client::new().request(method, url.clone());
    if let Some(key) = &gateway.key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await;
    let response = response.with_context(|| format!("no gateway answers at {}", gateway.url))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    let told: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let problems = told["problems"].as_array().map(|problems| {
        let lines = problems.iter().filter_map(Value::as_str);
        lines.collect::<Vec<_>>().join("\n")
    });
    let message = || {
        told["error"]["message"]
            .as_str()
            .or(told["detail"].as_str())
    };
    match problems.or_else(|| message().map(str::to_owned)) {
        Some(text) => bail!("{text}"),
        None => bail!("the gateway answers {status}: {told}"),
    }
}

fn url(gateway: &RunningGateway, name: Option<&str>, what: &str) -> anyhow::Result<Url> {
    let (path, query) = what.split_once('?').unwrap_or((what, ""));
    let mut url = Url::parse(&gateway.url).with_context(|| format!("--url {:?}", gateway.url))?;
    url.path_segments_mut()
        .map_err(|()| anyhow!("--url {:?} is no address of a gateway", gateway.url))?
        .pop_if_empty()
        .push("plugins")
        .extend(name)
        .extend(Some(path).filter(|path| !path.is_empty()));
    let kind = gateway.kind.as_ref().map(|kind| format!("kind={kind}"));
    let query: Vec<&str> = [query, kind.as_deref().unwrap_or("")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    url.set_query(
        Some(query.join("&"))
            .as_deref()
            .filter(|query| !query.is_empty()),
    );
    Ok(url)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start a runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_questions_become_addresses() {
        let gateway = |url: &str, kind: Option<&str>| RunningGateway {
            url: url.to_owned(),
            key: None,
            kind: kind.map(str::to_owned),
        };
        let cases = [
            (("http://h:4000", None), None, "", "http://h:4000/plugins"),
            (
                ("http://h/root/", None),
                Some("a/b c"),
                "reload",
                "http://h/root/plugins/a%2Fb%20c/reload",
            ),
            (
                ("http://h", Some("alerter")),
                Some("x"),
                "disable?force=true",
                "http://h/plugins/x/disable?force=true&kind=alerter",
            ),
        ];
        for ((at, kind), name, what, expected) in cases {
            assert_eq!(
                url(&gateway(at, kind), name, what).unwrap().as_str(),
                expected
            );
        }
        assert!(url(&gateway("nonsense", None), None, "").is_err());
    }
}
