//! The upstream of the load tests as a process.
//!
//! `fake-upstream [ADDRESS]` (default `127.0.0.1:0`) prints `listening on http://ADDRESS`, then
//! serves its two canned answers until it is killed.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool of the tests: its one line on stdout is its interface"
)]

use witgate_testkit::BenchUpstream;

#[tokio::main]
async fn main() {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let server = BenchUpstream::start_at(&address).await;
    println!("listening on {}", server.origin());
    tokio::signal::ctrl_c().await.expect("wait for control-C");
}
