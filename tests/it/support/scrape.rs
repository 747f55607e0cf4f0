//! A scrape in Prometheus' text format, taken apart.

use std::collections::BTreeMap;

/// What a scrape says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    /// The value of each series, under its name and labels as they are written.
    pub(crate) values: BTreeMap<String, f64>,
    pub(crate) help: BTreeMap<String, String>,
    pub(crate) types: BTreeMap<String, String>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a description");
                let earlier = scrape.help.insert(name.to_owned(), help.to_owned());
                assert_eq!(earlier, None, "described twice: {name}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                let earlier = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(earlier, None, "in two places: {name}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let value = value.parse().expect("a number");
                let earlier = scrape.values.insert(series.to_owned(), value);
                assert_eq!(earlier, None, "twice: {series}");
            }
        }
        scrape
    }

    /// The value of a series of ours, such as `refused_total{kind="missing"}`; the part that all
    /// names begin with is left out.
    pub(crate) fn of(&self, series: &str) -> f64 {
        let series = format!("token_auth_{series}");
        *self.values.get(&series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.values))
    }

    /// Every series of ours that is not 0, without its buckets, sums and common beginning.
    pub(crate) fn counted(&self) -> BTreeMap<&str, f64> {
        let ours = self.values.iter().filter(|(series, value)| {
            **value != 0.0 && !series.contains("_bucket{") && !series.ends_with("_sum")
        });
        ours.map(|(series, value)| (series.trim_start_matches("token_auth_"), *value)).collect()
    }
}
