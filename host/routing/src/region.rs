//! Regions of deployments, as `allowed_model_region` compares them.

/// Where a deployment stands. Its part of the world is found out once: that takes a while.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) name: String,
    area: Option<&'static str>,
}

impl Region {
    pub(crate) fn new(name: &str) -> Region {
        Region {
            name: name.to_owned(),
            area: area(name),
        }
    }

    /// Whether it is the wanted one: the same name, or one of the European or American regions of
    /// the clouds where `eu` or `us` is wanted.
    pub(crate) fn is_in(&self, wanted: &str) -> bool {
        self.name.eq_ignore_ascii_case(wanted)
            || self
                .area
                .is_some_and(|area| area.eq_ignore_ascii_case(wanted))
    }
}

/// Parts of the names of regions that stand in Europe; Azure's have no common beginning.
const EU: [&str; 14] = [
    "eu-",
    "europe",
    "france",
    "germany",
    "italy",
    "norway",
    "poland",
    "spain",
    "sweden",
    "switzerland",
    "uksouth",
    "ukwest",
    "denmark",
    "austria",
];

/// The same for the United States.
const US: [&str; 7] = [
    "us-",
    "eastus",
    "westus",
    "centralus",
    "southcentralus",
    "northcentralus",
    "westcentralus",
];

fn area(region: &str) -> Option<&'static str> {
    let region = region.to_ascii_lowercase();
    let is_named = |parts: &[&str]| parts.iter().any(|part| region.contains(part));
    match region.as_str() {
        "eu" => Some("eu"),
        "us" => Some("us"),
        _ if is_named(&EU) => Some("eu"),
        _ if is_named(&US) => Some("us"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_table() {
        for (own, wanted, expected) in [
            ("eu", "eu", true),
            ("eu-central-1", "eu", true),
            ("europe-west4", "EU", true),
            ("swedencentral", "eu", true),
            ("eastus2", "us", true),
            ("us-east5", "us", true),
            ("us-east-1", "eu", false),
            ("ap-south-1", "eu", false),
            ("ap-south-1", "us", false),
            ("ap-south-1", "ap-south-1", true),
            ("", "eu", false),
        ] {
            let own = Region::new(own);
            assert_eq!(own.is_in(wanted), expected, "{own:?} {wanted}");
        }
    }
}
