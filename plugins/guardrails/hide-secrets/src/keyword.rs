//! Names that announce a secret (`password`, `api_key`, …), and whether what is assigned to one is a
//! secret or only a word.

/// How a piece of text ends, as far as assignments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// With a name that says something about the value: `= …` may follow.
    Name,
    /// With such a name and an operator: the value may follow.
    Operator,
    /// Otherwise.
    Other,
}

/// Ends of names that announce a secret, in lower case, without `_` and `-`.
const NAMES: [&[u8]; 36] = [
    b"password",
    b"passwd",
    b"pwd",
    b"passphrase",
    b"secret",
    b"token",
    b"credential",
    b"contrasena",
    b"apikey",
    b"authkey",
    b"servicekey",
    b"accountkey",
    b"dbkey",
    b"databasekey",
    b"privkey",
    b"privatekey",
    b"clientkey",
    b"accesskey",
    b"secretkey",
    b"masterkey",
    b"encryptionkey",
    b"signingkey",
    b"storagekey",
    b"sharedkey",
    b"sharedaccesskey",
    b"subscriptionkey",
    b"licensekey",
    b"sshkey",
    b"hmackey",
    b"saltkey",
    b"webhookkey",
    b"dbpass",
    b"databasepass",
    b"keypass",
    b"userpass",
    b"apipass",
];

/// Names, or last words of names, whose values are random but no secrets.
const HARMLESS: [&[u8]; 13] = [
    b"sha",
    b"sha1",
    b"sha256",
    b"sha512",
    b"md5",
    b"digest",
    b"hash",
    b"checksum",
    b"etag",
    b"id",
    b"uuid",
    b"commit",
    b"fingerprint",
];

/// The last three letters of [`NAMES`] and [`HARMLESS`], but for `id` and `uuid`.
const ENDS: [[u8; 3]; 21] = [
    *b"ord", *b"swd", *b"pwd", *b"ase", *b"ret", *b"ken", *b"ial", *b"ena", *b"key", *b"ass",
    *b"sha", *b"ha1", *b"256", *b"512", *b"md5", *b"est", *b"ash", *b"sum", *b"tag", *b"mit",
    *b"int",
];

/// The longest of [`NAMES`].
const MAX_NAME: usize = 15;

/// Shortest value that counts.
const MIN_VALUE: usize = 6;

/// How a piece ends. `marked`: it has an operator somewhere.
pub(crate) fn tail_of(piece: &[u8], marked: bool) -> Tail {
    let Some(last) = piece.last() else {
        return Tail::Other;
    };
    // Most words end here.
    if last.is_ascii_alphanumeric() {
        return if is_telling_name(piece) {
            Tail::Name
        } else {
            Tail::Other
        };
    }
    if marked && let Some(name) = before_operator(piece) {
        return if is_telling_name(name) {
            Tail::Operator
        } else {
            Tail::Other
        };
    }
    let name = without_quotes(piece);
    if name.len() < piece.len() && is_telling_name(name) {
        Tail::Name
    } else {
        Tail::Other
    }
}

fn is_telling_name(text: &[u8]) -> bool {
    may_tell(text) && (ends_with_any(text, &NAMES) || is_harmless_name(text))
}

/// Whether the last three letters are those of a name on the lists: most words are done here.
pub(crate) fn may_tell(text: &[u8]) -> bool {
    let [.., a, b, c] = text else {
        return text.eq_ignore_ascii_case(b"id");
    };
    match [
        a.to_ascii_lowercase(),
        b.to_ascii_lowercase(),
        c.to_ascii_lowercase(),
    ] {
        [b'u', b'i', b'd'] => true,
        [_, b'i', b'd'] => !a.is_ascii_alphanumeric() || *b == b'I' || c.is_ascii_uppercase(),
        last => ENDS.contains(&last),
    }
}

/// Whether a text ends with a name that announces a secret.
pub(crate) fn is_secret_name(text: &[u8]) -> bool {
    may_tell(text) && ends_with_any(text, &NAMES)
}

/// Whether a text ends with a name whose values are no secrets: `sha256`, `request_id`, `commitHash`.
pub(crate) fn is_harmless_name(text: &[u8]) -> bool {
    let length = text
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let word = &text[text.len() - length..];
    HARMLESS.iter().any(|name| {
        let Some((before, end)) = word
            .len()
            .checked_sub(name.len())
            .and_then(|at| word.split_at_checked(at))
        else {
            return false;
        };
        let begins = before.is_empty() || end.first().is_some_and(u8::is_ascii_uppercase);
        begins && end.eq_ignore_ascii_case(name)
    })
}

/// What stands before the operator that ends a text, without blanks and quotes. `None` when none does.
pub(crate) fn before_operator(text: &[u8]) -> Option<&[u8]> {
    // The value's opening quote may be there already.
    let text = text
        .strip_suffix(b"\"")
        .or_else(|| text.strip_suffix(b"'"))
        .unwrap_or(text)
        .trim_ascii_end();
    let mut name = text;
    for _ in 0..2 {
        name = match name {
            [rest @ .., b'=' | b':'] => rest,
            _ => break,
        };
    }
    (name.len() < text.len()).then(|| without_quotes(name.trim_ascii_end()))
}

/// Whether what is assigned to a secret's name is one: no word, number, reference or placeholder.
pub(crate) fn is_secret_value(value: &[u8]) -> bool {
    if value.len() < MIN_VALUE || value[0] == b'$' || value[0] == b'%' || value[0] == b'/' {
        return false;
    }
    let starts = [
        &b"os.environ"[..],
        b"process.env",
        b"http://",
        b"https://",
        b"env.",
        b"vault:",
        b"[REDACTED",
    ];
    if starts.iter().any(|start| value.starts_with(start)) {
        return false;
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let uppers = value
        .iter()
        .skip(1)
        .filter(|byte| byte.is_ascii_uppercase())
        .count();
    let lowers = value
        .iter()
        .filter(|byte| byte.is_ascii_lowercase())
        .count();
    let others = value.len()
        - value
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .count();
    let letters = value.len() - digits - others;
    let first = value[0];
    let same = value.iter().all(|byte| *byte == first);
    // `my_password`, `SOME_NAME` and `some.path` are names of things.
    let word_like = digits == 0
        && (uppers == 0 || lowers == 0)
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'));
    letters > 0 && !same && !word_like && (digits > 0 || others > 0 || (uppers > 0 && lowers > 0))
}

fn without_quotes(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [rest @ .., b'"' | b'\'' | b'`' | b'\\'] = text {
        text = rest;
    }
    text
}

/// Compares from the end, without case and without `_` and `-`.
fn ends_with_any(text: &[u8], names: &[&[u8]]) -> bool {
    let mut plain = [0; MAX_NAME];
    let mut length = 0;
    for byte in text.iter().rev() {
        match byte {
            b'_' | b'-' => {}
            byte if byte.is_ascii_alphanumeric() && length < MAX_NAME => {
                plain[length] = byte.to_ascii_lowercase();
                length += 1;
            }
            _ => break,
        }
    }
    names
        .iter()
        .any(|name| name.len() <= length && name.iter().rev().eq(&plain[..name.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_out_lets_every_name_through() {
        for name in NAMES.iter().chain(&HARMLESS) {
            assert!(name.len() <= MAX_NAME);
            for text in [
                name.to_vec(),
                name.to_ascii_uppercase(),
                [b"my_", *name].concat(),
            ] {
                assert!(is_telling_name(&text), "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn names_by_their_last_words() {
        for name in [
            "DB_PASSWORD",
            "db-password",
            "apiKey",
            "api_key",
            "x.client_secret",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(is_secret_name(name.as_bytes()), "{name}");
        }
        for name in ["tokens", "monkey", "key", "passwords", "secretary", "d", ""] {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
        for name in [
            "id",
            "requestId",
            "request_id",
            "sha256",
            "contentHash",
            "ETag",
        ] {
            assert!(is_harmless_name(name.as_bytes()), "{name}");
        }
        for name in ["android", "said", "rehash", "paid"] {
            assert!(!is_harmless_name(name.as_bytes()), "{name}");
        }
    }
}
