//! A client over a bare socket, for requests no client library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::journal::PATIENCE;

/// One connection to a server under test.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer read from a [`RawConnection`].
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// The status of the first line.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body after transfer decoding, as far as it came.
    pub body: Vec<u8>,
    /// False when the connection ended before the body did.
    pub complete: bool,
}

impl RawResponse {
    /// The first header of that (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics when it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

impl RawConnection {
    /// Connects to `host:port`.
    pub async fn open(authority: &str) -> Self {
        let stream = TcpStream::connect(authority)
            .await
            .expect("connect to the gateway");
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends bytes as they are; false when the server no longer takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Ends the sending half.
    pub async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer; `None` when the server closed without one. Panics when the server
    /// neither answers nor closes in time.
    pub async fn response(&mut self) -> Option<RawResponse> {
        tokio::time::timeout(PATIENCE, self.read_response())
            .await
            .expect("the server answers or closes")
    }

    /// Sends `bytes` again and again, `times` at most, until the server answers or closes; how
    /// often it took them. The answer is read with [`response`](Self::response).
    pub async fn send_until_answered(&mut self, bytes: &[u8], times: usize) -> usize {
        for sent in 0..times {
            if !self.send(bytes).await {
                return sent;
            }
            let answered = tokio::time::timeout(Duration::ZERO, self.more()).await;
            if answered.is_ok() {
                return sent + 1;
            }
        }
        times
    }

    /// True when the server closes within `limit`.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, async { while self.more().await {} })
            .await
            .is_ok()
    }

    /// Bytes as they come, until `enough` holds of all received so far (head included).
    pub async fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        tokio::time::timeout(PATIENCE, async {
            while !enough(&self.unread) && self.more().await {}
        })
        .await
        .expect("the expected bytes arrive");
        std::mem::take(&mut self.unread)
    }

    async fn read_response(&mut self) -> Option<RawResponse> {
        let head_end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..head_end]).into_owned();
        self.unread.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if status == 100 {
            return Box::pin(self.read_response()).await;
        }
        let find = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
        };
        let (body, complete) = if find("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
        {
            self.chunked().await
        } else if let Some(length) = find("content-length").and_then(|value| value.parse().ok()) {
            self.exactly(length).await
        } else {
            while self.more().await {}
            (std::mem::take(&mut self.unread), true)
        };
        Some(RawResponse {
            status,
            headers,
            body,
            complete,
        })
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                if !self.more().await {
                    return (body, false);
                }
            };
            let size = std::str::from_utf8(&self.unread[..line_end])
                .ok()
                .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
            self.unread.drain(..line_end + 2);
            let Some(size) = size else {
                return (body, false);
            };
            let (bytes, complete) = self.exactly(size).await;
            body.extend_from_slice(&bytes);
            if !complete || !self.exactly(2).await.1 {
                return (body, false);
            }
            if size == 0 {
                return (body, true);
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.unread.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.unread), false);
            }
        }
        (self.unread.drain(..length).collect(), true)
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(count) if count > 0)
    }
}
