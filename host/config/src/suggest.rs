//! The nearest known name, for "did you mean".

/// The candidate most like a name, if one is close enough to be what was meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&wanted, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// The candidate a name is a slip of: at most one letter wrong, missing, extra or swapped.
pub(crate) fn slip_of<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() < 4 {
        return None;
    }
    candidates
        .into_iter()
        .find(|candidate| *candidate != name && strsim::damerau_levenshtein(name, candidate) == 1)
}

/// `a`, `b` or `c`: the values that are allowed.
pub(crate) fn one_of(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_meant_are_found() {
        let known = ["num_retries", "model_group_alias", "fallbacks", "timeout"];
        assert_eq!(nearest("num_retrys", known), Some("num_retries"));
        assert_eq!(nearest("fallback", known), Some("fallbacks"));
        assert_eq!(nearest("Timeout", known), Some("timeout"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(slip_of("timeuot", known), Some("timeout"));
        assert_eq!(slip_of("timeout", known), None);
        assert_eq!(slip_of("tpm", ["rpm"]), None);
    }
}
