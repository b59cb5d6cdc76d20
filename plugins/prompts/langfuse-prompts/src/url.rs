//! Where prompts are.

/// The base address, with a scheme and without a slash at its end.
pub fn base(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    match host.contains("://") {
        true => host.to_owned(),
        // As LiteLLM: without a scheme it is a name on the own network.
        false => format!("http://{host}"),
    }
}

/// The address of a prompt; `None` for a name that cannot be one. A version says more than a label, and Langfuse takes one of them.
pub fn prompt(
    base: &str,
    name: &str,
    version: Option<&str>,
    label: Option<&str>,
) -> Option<String> {
    if name.trim().is_empty() || matches!(name, "." | "..") {
        return None;
    }
    let mut url = format!("{base}/api/public/v2/prompts/{}", encoded(name));
    let version = version.map(|version| ("version", version));
    if let Some((name, value)) = version.or(label.map(|label| ("label", label))) {
        url.push_str(&format!("?{name}={}", encoded(value)));
    }
    Some(url)
}

/// Percent-encoded but for letters, digits and `-._~`: a name stays one part of the path.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.extend(
                    [other >> 4, other & 15].map(|nibble| char::from(HEX[usize::from(nibble)])),
                );
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        for (name, version, label, rest) in [
            ("greet", None, None, Some("greet")),
            (
                "team/greet é",
                Some("3"),
                None,
                Some("team%2Fgreet%20%C3%A9?version=3"),
            ),
            (
                "a?b#c",
                Some("1&x"),
                Some("prod uction"),
                Some("a%3Fb%23c?version=1%26x"),
            ),
            ("../..", None, None, Some("..%2F..")),
            ("..", None, None, None),
            (
                "greet",
                None,
                Some("prod uction"),
                Some("greet?label=prod%20uction"),
            ),
            (" ", None, None, None),
        ] {
            let url = prompt("https://l", name, version, label);
            let expected = rest.map(|rest| format!("https://l/api/public/v2/prompts/{rest}"));
            assert_eq!(url, expected, "{name}");
        }
    }

    #[test]
    fn a_host_without_a_scheme_is_on_the_own_network() {
        assert_eq!(base("langfuse:3000/"), "http://langfuse:3000");
        assert_eq!(base("https://l.example.com/"), "https://l.example.com");
    }
}
