//! Under an egress policy a proxy is no way around it. A process of its own: the proxies are those of the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use witgate_outbound::{
    Body, Client, ClientOptions, Egress, Policy, Proxies, ProxyVariables, Resolve, Resolving,
    use_proxies,
};

/// Two names, and the proxy's.
struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        let found: io::Result<Vec<IpAddr>> = match host {
            "inside.test" => Ok(vec!["10.0.0.1".parse().unwrap()]),
            "vendor.test" => Ok(vec!["93.184.216.34".parse().unwrap()]),
            "proxy.test" => Ok(vec!["127.0.0.1".parse().unwrap()]),
            _ => Err(io::Error::other("no such name")),
        };
        Box::pin(async move { found })
    }
}

/// A proxy that answers everything itself; what it was told first on each connection.
async fn proxy() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let answer = match head.starts_with("CONNECT") {
                        true => "HTTP/1.1 200 OK\r\n\r\n",
                        false => "HTTP/1.1 204 No Content\r\n\r\n",
                    };
                    tell.send(head).unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (port, told)
}

fn client(egress: Egress) -> Client {
    let mut options = ClientOptions::new(egress);
    options.resolver = Arc::new(Names);
    Client::new(options).unwrap()
}

#[tokio::test]
async fn a_proxy_is_no_way_around_the_policy() {
    let (port, mut told) = proxy().await;
    let address = format!("http://u:p@proxy.test:{port}");
    let all = ProxyVariables {
        all: Some(&address),
        ..ProxyVariables::default()
    };
    use_proxies(Proxies::read(&all).unwrap());
    let policy = Policy {
        allow: vec!["http://*:*".parse().unwrap()],
        private: Vec::new(),
    };
    let strict = client(Egress::Policy(Arc::new(policy)));
    let lax = client(Egress::Unrestricted);
    let get = |url: &str| Request::get(url).body(Body::Empty).unwrap();

    let refused = strict.send(get("http://inside.test/")).await.unwrap_err();
    assert!(refused.is_denied(), "{refused}");
    assert!(told.try_recv().is_err());

    strict.send(get("http://vendor.test/x")).await.unwrap();
    let first = told.recv().await.unwrap();
    assert!(
        first.starts_with("CONNECT 93.184.216.34:80 HTTP/1.1\r\n"),
        "{first}"
    );
    assert!(
        first.contains("Proxy-Authorization: Basic dTpw\r\n"),
        "{first}"
    );
    let inner = told.recv().await.unwrap();
    assert!(inner.starts_with("GET /x HTTP/1.1\r\n"), "{inner}");
    assert!(inner.contains("host: vendor.test\r\n"), "{inner}");
    assert!(!inner.contains("dTpw"), "{inner}");

    // Whom no policy binds has the proxy look names up, as is usual; twice on one connection.
    for _ in 0..2 {
        let answer = lax
            .send(get("http://only.the.proxy.knows/y?z"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 204);
        let whole = told.recv().await.unwrap();
        assert!(
            whole.starts_with("GET http://only.the.proxy.knows/y?z HTTP/1.1\r\n"),
            "{whole}"
        );
        assert!(
            whole.contains("proxy-authorization: Basic dTpw\r\n"),
            "{whole}"
        );
    }
}
