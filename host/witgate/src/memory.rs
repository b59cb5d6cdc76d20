//! What the process holds in memory: LiteLLM's `GET /memory-usage`, as far as it means something here.

use serde_json::{Map, Value, json};

use crate::reload::Control;

/// Lines of Linux's `/proc/self/status`, and what they are told as. Elsewhere nothing is told.
const LINES: [(&str, &str); 4] = [
    ("VmRSS:", "resident_bytes"),
    ("VmHWM:", "resident_bytes_max"),
    ("VmSize:", "virtual_bytes"),
    ("Threads:", "threads"),
];

/// What is told: of the process, and how many of what is in memory.
pub fn told(control: &Control) -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let gateway = control.gateway();
    let snapshot = gateway.snapshot.load();
    let mut counts: Map<String, Value> = control
        .known()
        .sizes()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    let under_way = gateway.metrics.in_flight.get();
    for (name, count) in [
        ("deployments", snapshot.routing.deployments().len()),
        ("guardrails", snapshot.guardrails.len()),
        ("plugins", control.plugins().statuses().len()),
        ("calls_in_flight", usize::try_from(under_way).unwrap_or(0)),
    ] {
        counts.insert(name.to_owned(), count.into());
    }
    json!({"process": process(&status), "in_memory": counts})
}

/// Sizes in bytes, and the count of threads; null for what the system does not tell.
fn process(status: &str) -> Map<String, Value> {
    let told = LINES.into_iter().map(|(line, name)| {
        let rest = status.lines().find_map(|text| text.strip_prefix(line));
        let mut words = rest.unwrap_or_default().split_whitespace();
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        let number = match words.next() {
            Some("kB") => number.map(|kib| kib * 1024),
            _ => number,
        };
        (name.to_owned(), json!(number))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_bytes_and_counts() {
        let told = process("Name:\twitgate\nVmHWM:\t  2048 kB\nVmRSS:\t     12 kB\nThreads:\t7\n");
        let expected = json!({
            "resident_bytes": 12_288, "resident_bytes_max": 2_097_152, "virtual_bytes": null, "threads": 7,
        });
        assert_eq!(Value::Object(told), expected);
    }
}
