//! Reading a Prometheus text page.

/// One scrape of `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Keeps the text; lines are read when asked for.
    pub fn parse(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The sum of all series of that exact name whose labels include all of `labels`;
    /// `None` when there is no such series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = None;
        for line in self.text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (own_name, own_labels) = series.split_once('{').unwrap_or((series, ""));
            let matches = own_name == name
                && labels
                    .iter()
                    .all(|(key, value)| own_labels.contains(&format!("{key}=\"{value}\"")));
            if let (true, Ok(value)) = (matches, value.parse::<f64>()) {
                found = Some(found.unwrap_or(0.0) + value);
            }
        }
        found
    }

    /// As [`value`](Self::value), taking an absent series as 0.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels).unwrap_or(0.0)
    }

    /// The page as it came.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn sums_the_series_that_carry_the_labels() {
        let metrics = Metrics::parse(
            "# HELP calls Calls.\ncalls_total{plugin=\"a\",outcome=\"ok\"} 2\n\
             calls_total{plugin=\"a\",outcome=\"trap\"} 1\ncalls_total{plugin=\"b\"} 5\nup 1\n",
        );
        assert_eq!(metrics.value("calls_total", &[("plugin", "a")]), Some(3.0));
        assert_eq!(
            metrics.value("calls_total", &[("plugin", "a"), ("outcome", "trap")]),
            Some(1.0)
        );
        assert_eq!(metrics.value("up", &[]), Some(1.0));
        assert_eq!(metrics.value("calls", &[]), None);
    }
}
