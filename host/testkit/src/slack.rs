//! Slack's incoming webhooks: one path per webhook, a JSON body with `text`, and Slack's own words for what is wrong.

use serde_json::Value;

use crate::Recorded;
use crate::recorder::Recorder;
use crate::reply::Reply;

/// A fake of Slack's webhooks.
#[derive(Debug)]
pub struct FakeSlack {
    recorder: Recorder,
}

impl FakeSlack {
    /// Starts it.
    pub async fn start() -> Self {
        Self {
            recorder: Recorder::start(Reply::with(answer)).await,
        }
    }

    /// A webhook; its path is its password.
    pub fn webhook(&self, name: &str) -> String {
        format!("{}/services/T000/B000/{name}-hush", self.recorder.origin())
    }

    /// The next post gets this instead; calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.recorder.next(reply);
        self
    }

    /// Waits for that many posts; gives the webhook's name and the text of each, in order.
    pub async fn posts(&self, count: usize) -> Vec<(String, String)> {
        self.recorder
            .requests()
            .wait_for(count)
            .await
            .iter()
            .map(post)
            .collect()
    }

    /// Waits for a text that has this in it.
    pub async fn post_with(&self, part: &str) -> (String, String) {
        let has = |request: &Recorded| post(request).1.contains(part);
        let what = format!("a message with {part:?}");
        let all = self
            .recorder
            .requests()
            .wait_until(&what, |all| all.iter().any(has))
            .await;
        all.iter()
            .find(|request| has(request))
            .map(post)
            .unwrap_or_default()
    }

    /// The posts so far.
    pub fn count(&self) -> usize {
        self.recorder.requests().len()
    }
}

fn post(request: &Recorded) -> (String, String) {
    let name = request.path().rsplit('/').next().unwrap_or_default();
    let text = request.json()["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (name.trim_end_matches("-hush").to_owned(), text)
}

fn answer(request: &Recorded) -> Reply {
    let refuse = |status, why: &str| {
        Reply::status(status, &[("content-type", "text/plain")], why.to_owned())
    };
    if request.method != "POST" || !request.path().ends_with("-hush") {
        return refuse(404, "no_service");
    }
    let is_json = request
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) if is_json && body["text"].as_str().is_some_and(|text| !text.is_empty()) => {
            refuse(200, "ok")
        }
        Ok(_) => refuse(400, "no_text"),
        Err(_) => refuse(400, "invalid_payload"),
    }
}
