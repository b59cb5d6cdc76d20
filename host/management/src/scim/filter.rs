//! Filters: `ATTRIBUTE eq "VALUE"`, which is what identity providers ask for.

use super::wrong;
use crate::Refusal;

/// What is compared with what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The attribute, in lower case, without the URN of a schema.
    pub attribute: String,
    /// Its value.
    pub value: String,
}

/// Reads a filter; without one everything is asked for.
pub(super) fn read(text: Option<&str>) -> Result<Option<Filter>, Refusal> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let refused = || {
        wrong(
            "invalidFilter",
            "Filters have the form: ATTRIBUTE eq \"VALUE\"",
        )
    };
    let (attribute, rest) = text.split_once(' ').ok_or_else(refused)?;
    let (operator, value) = rest.trim_start().split_once(' ').ok_or_else(refused)?;
    if !operator.eq_ignore_ascii_case("eq") {
        return Err(refused());
    }
    // One JSON string and nothing after it.
    let value: String = serde_json::from_str(value.trim()).map_err(|_| refused())?;
    let attribute = attribute.rsplit(':').next().unwrap_or(attribute);
    Ok(Some(Filter {
        attribute: attribute.to_ascii_lowercase(),
        value,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equality_is_asked_for() {
        let found = read(Some(r#"userName Eq "a\"b@example.com""#))
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.attribute.as_str(), found.value.as_str()),
            ("username", "a\"b@example.com")
        );
        let urn = r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann""#;
        assert_eq!(read(Some(urn)).unwrap().unwrap().attribute, "username");
        assert_eq!(read(None).unwrap(), None);
        for wrong in [
            "",
            "userName",
            "userName eq",
            "userName co \"a\"",
            "userName eq a",
            "userName eq \"a\" and active eq true",
        ] {
            assert!(read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
