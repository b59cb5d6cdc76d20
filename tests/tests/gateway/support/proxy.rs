//! A proxy on the way out.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use witgate_testkit::PATIENCE;

/// A proxy that leads everybody to one place, whatever they ask for.
pub struct Proxy {
    port: u16,
    /// The first line and the headers of each connection.
    told: mpsc::UnboundedReceiver<String>,
}

impl Proxy {
    /// Starts one that leads to this `host:port`.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (target, tell) = (target.clone(), tell.clone());
                tokio::spawn(async move { Self::serve(stream, target, tell).await });
            }
        });
        Self { port, told }
    }

    async fn serve(
        mut stream: TcpStream,
        target: String,
        tell: mpsc::UnboundedSender<String>,
    ) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(head.clone()).ok()?;
        let mut outside = TcpStream::connect(target).await.ok()?;
        match text.starts_with("CONNECT ") {
            true => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?,
            false => outside.write_all(&head).await.ok()?,
        }
        tell.send(text).ok()?;
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut outside).await;
        Some(())
    }

    /// The head of the next connection's first request.
    pub async fn next(&mut self) -> String {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        told.expect("the proxy is asked").expect("it lives")
    }

    /// Whether nobody has asked since the last [`next`](Self::next).
    pub fn is_silent(&mut self) -> bool {
        self.told.try_recv().is_err()
    }

    /// Its address, with credentials.
    pub fn address(&self) -> String {
        format!("http://gate:way@127.0.0.1:{}", self.port)
    }
}
