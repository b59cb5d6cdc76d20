//! The policy on real connections: what a name resolves to decides, not what it is called.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use witgate_outbound::{Client, ClientOptions, Denied, Egress, Resolve, Resolving, WhyDenied};

use crate::fake::{Server, get, policy, text};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers from a list, each question once: a name server that changes its mind.
struct Names {
    answers: Mutex<HashMap<&'static str, Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(answers: &[(&'static str, &[&'static str])]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|(name, list)| (*name, list.to_vec()))
            .collect();
        Arc::new(Self {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let next = answers
            .get_mut(host)
            .filter(|list| !list.is_empty())
            .map(|list| list.remove(0));
        let found: io::Result<Vec<IpAddr>> = match next {
            Some(address) => Ok(vec![address.parse().unwrap()]),
            None => Err(io::Error::other("no such name")),
        };
        Box::pin(async move { found })
    }
}

fn client(egress: Egress, names: &Arc<Names>) -> (Client, Arc<Mutex<Vec<Denied>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = seen.clone();
    let mut options = ClientOptions::new(egress);
    options.resolver = names.clone();
    options.on_denied = Some(Arc::new(move |denied| {
        hook.lock().unwrap().push(denied.clone())
    }));
    (Client::new(options).unwrap(), seen)
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused() {
    let server = Server::replying(OK).await;
    let names = Names::new(&[("inside.example", &["127.0.0.1"])]);
    let (client, seen) = client(policy(&["http://*:*"], &[]), &names);
    let url = format!(
        "http://inside.example:{}/?key=secret",
        server.address.port()
    );
    let error = client.send(get(url)).await.unwrap_err();
    let denied = error.denied().unwrap();
    assert!(matches!(denied.why, WhyDenied::Address { .. }), "{denied}");
    assert!(error.is_denied() && !error.is_connect() && !error.to_string().contains("secret"));
    assert_eq!(*seen.lock().unwrap(), std::slice::from_ref(denied));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_real_localhost_is_refused_too() {
    let server = Server::replying(OK).await;
    let client = Client::new(ClientOptions::new(policy(&["http://*:*"], &[]))).unwrap();
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0",
    ] {
        let url = format!("http://{host}:{}/", server.address.port());
        let error = client.send(get(url)).await.unwrap_err();
        assert!(error.is_denied(), "{host}: {error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn hosts_without_a_rule_are_not_even_resolved() {
    let names = Names::new(&[]);
    let (client, seen) = client(policy(&["https://api.example.com"], &[]), &names);
    for url in [
        "http://api.example.com/",
        "https://other.example.com/",
        "https://api.example.com:1/",
    ] {
        assert!(
            client.send(get(url)).await.unwrap_err().is_denied(),
            "{url}"
        );
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 0);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_granted_private_host_is_reached() {
    let server = Server::replying(OK).await;
    let names = Names::new(&[("vault.internal", &["127.0.0.1"])]);
    let (client, _) = client(
        policy(&["http://vault.internal:*"], &["vault.internal"]),
        &names,
    );
    let url = format!("http://vault.internal:{}/", server.address.port());
    assert_eq!(text(&client, get(url)).await, "ok");
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let server = Server::replying(OK).await;
    // One question per connection: a second answer could only be the attack.
    let names = Names::new(&[("flip.example", &["127.0.0.1", "169.254.169.254"])]);
    let (client, _) = client(
        policy(&["http://flip.example:*"], &["flip.example"]),
        &names,
    );
    let url = format!("http://flip.example:{}/", server.address.port());
    assert_eq!(text(&client, get(url)).await, "ok");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pooled_connection_does_not_widen_the_rules() {
    let server = Server::replying(OK).await;
    let lax = Client::new(ClientOptions::new(Egress::Unrestricted)).unwrap();
    assert_eq!(text(&lax, get(server.url("/"))).await, "ok");
    let strict = Client::new(ClientOptions::new(policy(&["http://*:*"], &[]))).unwrap();
    assert!(
        strict
            .send(get(server.url("/")))
            .await
            .unwrap_err()
            .is_denied()
    );
}

#[tokio::test]
async fn unknown_names_are_connect_errors() {
    let names = Names::new(&[]);
    let (client, _) = client(Egress::Unrestricted, &names);
    let error = client
        .send(get("http://nowhere.example/"))
        .await
        .unwrap_err();
    assert!(error.is_connect() && !error.is_denied(), "{error:?}");
}
