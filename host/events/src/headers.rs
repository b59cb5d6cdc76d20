//! Headers of a finished call, all in one buffer.

use std::fmt;

/// Header names, in lower case, and values, in order.
///
/// A call has some twenty of them and waits for its sinks: as texts of their own they would be forty
/// allocations, freed by another thread.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each name and each value ends, in turn.
    ends: Vec<usize>,
}

impl Headers {
    /// Adds a header at the end.
    pub fn push(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.text.push_str(part);
            self.ends.push(self.text.len());
        }
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        let mut part = move |end: usize| {
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            text
        };
        self.ends
            .chunks_exact(2)
            .map(move |pair| (part(pair[0]), part(pair[1])))
    }

    /// The memory they take, in bytes.
    pub fn weight(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        let mut all = Self::default();
        for (name, value) in headers {
            all.push(name, value);
        }
        all
    }
}

impl fmt::Debug for Headers {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_debug_shows_no_value() {
        let pairs = [("a", "1"), ("b", ""), ("a", "zwei")];
        let headers: Headers = pairs.into_iter().collect();
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(format!("{headers:?}"), r#"{"a", "b", "a"}"#);
    }
}
