//! `oci://host[:port]/repository[:tag][@sha256:…]`

use std::fmt;
use std::str::FromStr;

use crate::{Digest, RegistryError};

const SCHEME: &str = "oci://";
const EXAMPLE: &str = "oci://registry.example.com/plugins/my-sink:1.0.0@sha256:…";

/// Where an artefact lies in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry, with its port when it has one.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The tag; `latest` when neither tag nor digest was given.
    pub tag: Option<String>,
    /// The digest of the artefact's manifest: what is pinned.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Whether a text is meant to be a reference.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The same place, pinned to this digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let wrong = |why: &str| {
            RegistryError::Reference(format!(
                "{text:?} is no reference: {why}; one is written {EXAMPLE}"
            ))
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong("it does not begin with oci://"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => {
                let digest = digest
                    .parse()
                    .map_err(|_| wrong("its digest is not sha256: and 64 hex digits"))?;
                (rest, Some(digest))
            }
            Some(_) => return Err(wrong("its digest is not sha256: and 64 hex digits")),
            None => (rest, None),
        };
        let (host, path) = rest
            .split_once('/')
            .ok_or_else(|| wrong("it names no repository"))?;
        let good_host = format!("http://{host}/")
            .parse::<http::Uri>()
            .is_ok_and(|uri| {
                uri.authority().is_some_and(|own| own.as_str() == host) && !host.contains('@')
            });
        if host.is_empty() || !good_host {
            return Err(wrong("its host is none"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        let good_part = |part: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            !part.is_empty()
                && part.bytes().all(|b| inner(b) || b"._-".contains(&b))
                && part.bytes().next().is_some_and(inner)
                && part.bytes().last().is_some_and(inner)
        };
        if repository.len() > 255 || !repository.split('/').all(good_part) {
            return Err(wrong(
                "a repository is made of lower-case letters, digits and, inside a part, `.`, `_` and `-`",
            ));
        }
        let good_tag = |tag: &String| {
            tag.len() <= 128
                && tag
                    .bytes()
                    .next()
                    .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
                && tag
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if tag.as_ref().is_some_and(|tag| !good_tag(tag)) {
            return Err(wrong("its tag is none"));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self {
            host: host.to_ascii_lowercase(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_registries_read_them() {
        let digest = Digest::of(b"x");
        for (text, shown) in [
            (
                "oci://r.example.com/a",
                "oci://r.example.com/a:latest".to_owned(),
            ),
            (
                "oci://R.example.com:5000/a/b-c:1.0",
                "oci://r.example.com:5000/a/b-c:1.0".to_owned(),
            ),
            (
                "oci://127.0.0.1:5000/a@DIGEST",
                format!("oci://127.0.0.1:5000/a@{digest}"),
            ),
            (
                "oci://r.example.com/a:v1@DIGEST",
                format!("oci://r.example.com/a:v1@{digest}"),
            ),
        ] {
            let text = text.replace("DIGEST", &digest.to_string());
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), shown);
        }
        for text in [
            "r.example.com/a",
            "oci://",
            "oci://r.example.com",
            "oci:///a",
            "oci://r/A",
            "oci://r/a/../b",
            "oci://r/a//b",
            "oci://user:password@r/a",
            "oci://r/a:",
            "oci://r/a:-x",
            "oci://r/a@sha256:12",
            "oci://r/a@md5:12",
            "oci://r/a?b",
            "oci://r/-a",
            "oci://r /a",
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.contains("oci://registry.example.com"), "{error}");
        }
    }
}
