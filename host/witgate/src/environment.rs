//! The variables that the gateway goes by: those of the process, and below them what a file `.env` in the working directory
//! says, unless `LITELLM_MODE` is `PRODUCTION`. The environment of the process itself is not changed, so options of the
//! command line have no value from there.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use witgate_config::Env;

/// The file's name.
const FILE: &str = ".env";

/// Longest file that is read, bytes.
const LENGTH_MAX: u64 = 1 << 20;

/// The variables.
pub fn environment() -> Env {
    let own: HashMap<String, String> = std::env::vars().collect();
    let mode = own.get("LITELLM_MODE").map(|mode| mode.trim());
    let is_production = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("PRODUCTION"));
    let added = match is_production {
        true => Vec::new(),
        false => read(Path::new(FILE))
            .map(|text| variables(&text, &own))
            .unwrap_or_default(),
    };
    // Of two with a name the later counts: the process's own.
    Env::new(added.into_iter().chain(own))
}

/// The text of a file of variables; `None` when there is none that can be read.
fn read(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut text = String::new();
    file.take(LENGTH_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `NAME=value` lines as python-dotenv reads them: `export` before a name, quotes, comments, `${NAME}` of what is known
/// already. Values have one line.
fn variables(text: &str, own: &HashMap<String, String>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim();
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            continue;
        }
        let known = |name: &str| {
            let of_file = found.iter().rev().find(|(known, _)| known == name);
            own.get(name).or(of_file.map(|(_, value)| value)).cloned()
        };
        let value = value_of(value.trim(), &known);
        found.push((name.to_owned(), value));
    }
    found
}

fn value_of(text: &str, known: &dyn Fn(&str) -> Option<String>) -> String {
    if let Some(rest) = text.strip_prefix('\'') {
        // As it stands.
        return rest.split('\'').next().unwrap_or_default().to_owned();
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some('r') => value.push('\r'),
                    Some(other) => value.push(other),
                    None => {}
                },
                other => value.push(other),
            }
        }
        return filled(&value, known);
    }
    let end = text.find(" #").unwrap_or(text.len());
    filled(text[..end].trim_end(), known)
}

/// The text with each `${NAME}` replaced; a name that nobody knows is empty.
fn filled(text: &str, known: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        out.push_str(&known(name).unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_python_dotenv_reads_them() {
        let own = HashMap::from([("HOST".to_owned(), "h".to_owned())]);
        let text = "# a comment\nA=1\n export B = two words # and why\nC='${HOST} # x'\nD=\"a\\n${A}\" # y\n\
             E=${HOST}:${NONE}${A}\nF=\n1G=no\nno line\nH=a#b\nI=${open\n";
        let found = variables(text, &own);
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            found,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "${HOST} # x"),
                ("D", "a\n1"),
                ("E", "h:1"),
                ("F", ""),
                ("H", "a#b"),
                ("I", "${open"),
            ]
        );
    }
}
