//! `witgate plugin new`: a plugin folder that builds and passes its cases as it is.

use std::path::{Path, PathBuf};

use witgate_plugins::Kind;

use crate::assets;
use crate::c;
use crate::go;

/// A language that there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateLanguage {
    /// A Cargo package.
    Rust,
    /// A `plugin.py`.
    Python,
    /// A `plugin.js`; TypeScript needs only another ending.
    JavaScript,
    /// A `plugin.c`.
    C,
    /// A `plugin.go` and its module.
    Go,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct NewPlugin {
    /// The folder, whose name is the plugin's.
    pub folder: PathBuf,
    /// What it is to do.
    pub kind: Kind,
    /// What it is to be written in.
    pub language: TemplateLanguage,
}

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// There is something already.
    #[error("{0} exists already; choose another name")]
    Exists(PathBuf),
    /// The name is no plugin name.
    #[error("`{0}` is no plugin name: lower-case letters, digits and `-`, a letter first")]
    Name(String),
    /// There is no template of this kind yet.
    #[error("there is no template of kind {kind} for {language} yet; there are: {known}")]
    NoTemplate {
        /// The kind.
        kind: Kind,
        /// The language.
        language: &'static str,
        /// Kinds that have one.
        known: String,
    },
    /// A file could not be written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl TemplateLanguage {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Rust,
        Self::Python,
        Self::JavaScript,
        Self::C,
        Self::Go,
    ];

    /// The name on the command line, and of the folder in `sdk/`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::C => "c",
            Self::Go => "go",
        }
    }
}

/// Makes the folder; returns the files in it.
///
/// # Errors
/// When the folder exists, the name is none, or there is no template.
pub fn new(plugin: &NewPlugin) -> Result<Vec<PathBuf>, NewError> {
    let NewPlugin {
        folder,
        kind,
        language,
    } = plugin;
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        return Err(NewError::Name(name));
    }
    if folder.exists() {
        return Err(NewError::Exists(folder.clone()));
    }
    let own = format!("sdk/{}/templates/{kind}", language.as_str());
    if assets::below(&own).next().is_none() {
        return Err(NewError::NoTemplate {
            kind: *kind,
            language: language.as_str(),
            known: known(*language),
        });
    }
    let version = match language {
        // Cargo.toml has it.
        TemplateLanguage::Rust => "",
        _ => "version = \"0.1.0\"\n",
    };
    let mut written = Vec::new();
    for (path, content) in
        assets::below(&format!("sdk/templates/{kind}")).chain(assets::below(&own))
    {
        let path = folder.join(place(path));
        let text = String::from_utf8_lossy(content)
            .replace("{{name}}", &name)
            .replace("{{version}}\n", version);
        put(&path, text.as_bytes())?;
        written.push(path);
    }
    write_sdk(folder, *language)?;
    let sdk = folder.join(".witgate");
    // What is generated for the kind is part of these.
    match language {
        TemplateLanguage::C => c::write_header(*kind, &sdk),
        TemplateLanguage::Go => go::write_for_editor(*kind, &sdk),
        _ => Ok(()),
    }
    .map_err(|error| NewError::File { path: sdk, error })?;
    written.sort();
    Ok(written)
}

/// Writes the SDK into the folder's `.witgate`: for Rust, which builds with it, and for the editors of the others.
pub(crate) fn write_sdk(folder: &Path, language: TemplateLanguage) -> Result<(), NewError> {
    let to = folder.join(".witgate");
    let put_all = |from: &str, to: &Path| {
        assets::write(from, to).map_err(|error| NewError::File {
            path: to.to_owned(),
            error,
        })
    };
    match language {
        TemplateLanguage::Rust => {
            put_all("wit", &to.join("wit"))?;
            put_all("sdk/rust/src", &to.join("sdk/rust/src"))?;
            let manifest = assets::file("sdk/rust/templates/sdk.toml").unwrap_or_default();
            put(&to.join("sdk/rust/Cargo.toml"), manifest)?;
            let readme = assets::file("sdk/rust/README.md").unwrap_or_default();
            put(&to.join("sdk/rust/README.md"), readme)
        }
        TemplateLanguage::Python => put_all("sdk/python/witgate", &to.join("sdk/python/witgate")),
        TemplateLanguage::JavaScript => put_all("sdk/javascript", &to.join("sdk/javascript")),
        TemplateLanguage::C => put_all("sdk/c/include", &to.join("sdk/c/include")),
        // Generated with the bindings.
        TemplateLanguage::Go => Ok(()),
    }
}

/// `gitignore.in` → `.gitignore`, `Cargo.toml.in` → `Cargo.toml`: names that would mean something in our own folders.
fn place(path: &str) -> String {
    match path.strip_suffix(".in") {
        Some("gitignore") => ".gitignore".to_owned(),
        Some(name) => name.to_owned(),
        None => path.to_owned(),
    }
}

fn known(language: TemplateLanguage) -> String {
    let kinds = Kind::ALL.into_iter().filter(|kind| {
        let folder = format!("sdk/{}/templates/{kind}", language.as_str());
        assets::below(&folder).next().is_some()
    });
    kinds
        .map(|kind| kind.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn put(path: &Path, content: &[u8]) -> Result<(), NewError> {
    assets::write_file(path, content).map_err(|error| NewError::File {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn every_template_is_a_valid_plugin() {
        let folder = tempfile::tempdir().expect("a folder");
        for language in TemplateLanguage::ALL {
            let own = |kind: &Kind| {
                let templates = format!("sdk/{}/templates/{kind}", language.as_str());
                assets::below(&templates).next().is_some()
            };
            let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(own).collect();
            for kind in [Kind::LogSink, Kind::Guardrail, Kind::Authenticator] {
                assert!(kinds.contains(&kind), "{kind} in {language:?}");
            }
            for kind in kinds {
                let plugin = NewPlugin {
                    folder: folder
                        .path()
                        .join(format!("my-{kind}-{}", language.as_str())),
                    kind,
                    language,
                };
                let files = new(&plugin).expect("made");
                assert!(
                    files.iter().any(|file| file.ends_with("plugin.toml")),
                    "{files:?}"
                );
                assert!(
                    files.iter().any(|file| file.ends_with("case.yaml")),
                    "{files:?}"
                );
                let source = Source::read(&plugin.folder).expect("a valid plugin.toml");
                assert_eq!(source.kind(), kind);
                source.code().expect("it has code");
                let toml =
                    std::fs::read_to_string(plugin.folder.join("plugin.toml")).expect("read");
                assert!(!toml.contains("{{"), "{toml}");
            }
        }
    }

    #[test]
    fn a_folder_that_exists_and_a_name_that_is_none_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str| {
            new(&NewPlugin {
                folder: folder.path().join(name),
                kind: Kind::Guardrail,
                language: TemplateLanguage::Python,
            })
        };
        make("mine").expect("made");
        assert!(matches!(make("mine"), Err(NewError::Exists(_))));
        assert!(matches!(make("My_Plugin"), Err(NewError::Name(_))));
    }
}
