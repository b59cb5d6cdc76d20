//! Model names with `*`, matched as LiteLLM's regular expressions match.

/// A pattern: literals with a capture between each two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    literals: Vec<String>,
    specificity: (usize, usize),
}

impl Pattern {
    /// Compiles a name; `None` when it has no `*`.
    pub fn new(name: &str) -> Option<Pattern> {
        if !name.contains('*') {
            return None;
        }
        let literals: Vec<String> = name.split('*').map(str::to_owned).collect();
        let regex = regex_text(name);
        let special = regex.chars().filter(|c| "*+?\\^$|()".contains(*c)).count();
        Some(Pattern {
            literals,
            specificity: (regex.chars().count(), special),
        })
    }

    /// What orders patterns: the larger is tried first. LiteLLM measures the regular expression's
    /// text, escapes included.
    pub fn specificity(&self) -> (usize, usize) {
        self.specificity
    }

    /// What each `*` stands for in `name`, each as long as possible from left to right; `None` when
    /// the name does not match. Only the start is anchored: text behind a last literal is ignored.
    pub fn captures<'a>(&self, name: &'a str) -> Option<Vec<&'a str>> {
        let (first, rest) = self.literals.split_first()?;
        let name = name.strip_prefix(first.as_str())?;
        // The last place of each literal, found from the right, is where a greedy match puts it.
        let mut end = name.len();
        let mut places = Vec::with_capacity(rest.len());
        for literal in rest.iter().rev() {
            let at = name[..end].rfind(literal.as_str())?;
            places.push((at, at + literal.len()));
            end = at;
        }
        let mut from = 0;
        let mut captures = Vec::with_capacity(places.len());
        for (start, end) in places.into_iter().rev() {
            captures.push(&name[from..start]);
            from = end;
        }
        Some(captures)
    }
}

/// Fills the `*`s of an upstream name. A name without `*` stays; when there are more captures than
/// `*`s the whole requested name is taken.
pub(crate) fn fill(upstream: &str, captures: &[&str], requested: &str) -> String {
    let stars = upstream.matches('*').count();
    if stars == 0 {
        return upstream.to_owned();
    }
    if captures.len() > stars {
        return requested.to_owned();
    }
    let mut captures = captures.iter();
    let mut filled = String::with_capacity(upstream.len() + requested.len());
    for c in upstream.chars() {
        match c {
            '*' => filled.push_str(captures.next().copied().unwrap_or("*")),
            c => filled.push(c),
        }
    }
    filled
}

/// `re.escape(name)` of Python with each `\*` replaced by `(.*)`.
fn regex_text(name: &str) -> String {
    let mut regex = String::with_capacity(name.len() * 2);
    for c in name.chars() {
        if c == '*' {
            regex.push_str("(.*)");
            continue;
        }
        if "()[]{}?+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One row: pattern, name, captures.
    #[test]
    fn matching_table() {
        let rows: &[(&str, &str, Option<&[&str]>)] = &[
            ("acme/*", "acme/m1", Some(&["m1"])),
            ("acme/*", "acme/", Some(&[""])),
            ("acme/*", "acm/m1", None),
            ("p::*::v::*", "p::a::v::b", Some(&["a", "b"])),
            ("*lite*", "my-lite-2", Some(&["my-", "-2"])),
            ("gpt*", "gpt-4o-x", Some(&["-4o-x"])),
            ("*-mini", "a-mini-2", Some(&["a"])),
            ("*-mini", "a-mini-mini", Some(&["a-mini"])),
            ("*", "anything/at all", Some(&["anything/at all"])),
            ("**", "ab", Some(&["ab", ""])),
            ("a*b*c", "abc", Some(&["", ""])),
            ("a*b*c", "acb", None),
        ];
        for (pattern, name, captures) in rows {
            let got = Pattern::new(pattern).unwrap().captures(name);
            assert_eq!(got.as_deref(), *captures, "{pattern} {name}");
        }
        assert_eq!(Pattern::new("gpt-4o"), None);
    }

    #[test]
    fn upstream_names_are_filled() {
        let rows: &[(&str, &[&str], &str, &str)] = &[
            ("openai/*", &["m1"], "acme/m1", "openai/m1"),
            (
                "openai/p::*::v::*",
                &["a", "b"],
                "p::a::v::b",
                "openai/p::a::v::b",
            ),
            ("bedrock/x*", &["my-", "-2"], "my-lite-2", "my-lite-2"),
            ("openai/gpt-x", &["zzz"], "all/zzz", "openai/gpt-x"),
        ];
        for (upstream, captures, requested, filled) in rows {
            assert_eq!(fill(upstream, captures, requested), *filled);
        }
    }

    #[test]
    fn longer_patterns_come_first() {
        let of = |name: &str| Pattern::new(name).unwrap().specificity();
        assert!(of("openai/gpt-*") > of("openai/*"));
        assert!(of("openai/*") > of("*"));
        // The escape of a dash counts, as in the regular expression.
        assert!(of("a-*") > of("ab*"));
    }

    proptest! {
        #[test]
        fn captures_put_back_make_a_prefix_of_the_name(
            pattern in "[ab]{0,2}(\\*[ab]{0,2}){1,3}", name in "[ab]{0,12}",
        ) {
            let compiled = Pattern::new(&pattern).unwrap();
            let matched = compiled.captures(&name);
            if let Some(captures) = &matched {
                prop_assert!(name.starts_with(&fill(&pattern, captures, &name)));
            }
            prop_assert_eq!(matched.is_some(), matches(&pattern, &name));
        }
    }

    /// The plain definition: some prefix of the name matches, tried by backtracking.
    fn matches(pattern: &str, name: &str) -> bool {
        match pattern.split_at_checked(1) {
            None => true,
            Some(("*", rest)) => (0..=name.len()).any(|i| matches(rest, &name[i..])),
            Some((c, rest)) => name.strip_prefix(c).is_some_and(|name| matches(rest, name)),
        }
    }
}
