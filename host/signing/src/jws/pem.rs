//! Public keys in PEM's armour: `PUBLIC KEY` (RFC 5280's SubjectPublicKeyInfo), `RSA PUBLIC KEY`, and `CERTIFICATE`, of which
//! only the key is read. Nothing of a certificate is checked: where it was found is what vouches for it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Jwk, KEYS_MAX};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OBJECT: u8 = 0x06;
/// The version of a certificate.
const EXPLICIT: u8 = 0xa0;

/// The algorithms of keys, as they are encoded.
const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];
/// The curves: encoded, by name, and the bytes of a coordinate.
const CURVES: [(&[u8], &str, usize); 3] = [
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        "P-256",
        32,
    ),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "P-384", 48),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521", 66),
];

/// The keys of a text; those that cannot be read do no harm to the others.
pub(super) fn keys(text: &str) -> Vec<Jwk> {
    let blocks = text.split("-----BEGIN ").skip(1).take(KEYS_MAX);
    blocks.filter_map(key).collect()
}

/// The key of what follows `-----BEGIN `.
fn key(block: &str) -> Option<Jwk> {
    let (label, rest) = block.split_once("-----")?;
    let (base64, _) = rest.split_once("-----END")?;
    let base64: String = base64.split_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    match label {
        "PUBLIC KEY" => info(&der),
        "RSA PUBLIC KEY" => rsa(&der),
        "CERTIFICATE" => certificate(&der),
        _ => None,
    }
}

/// `Certificate { tbs { [0] version?, serial, algorithm, issuer, validity, subject, key, … }, … }`
fn certificate(der: &[u8]) -> Option<Jwk> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut tbs, _) = take(certificate, SEQUENCE)?;
    if let Some((_, rest)) = take(tbs, EXPLICIT) {
        tbs = rest;
    }
    (_, tbs) = take(tbs, INTEGER)?;
    for _ in 0..4 {
        (_, tbs) = take(tbs, SEQUENCE)?;
    }
    info(tbs)
}

/// `SubjectPublicKeyInfo { { algorithm, parameters }, key }`
fn info(der: &[u8]) -> Option<Jwk> {
    let (info, _) = take(der, SEQUENCE)?;
    let (algorithm, rest) = take(info, SEQUENCE)?;
    let (bits, _) = take(rest, BITS)?;
    // Whole bytes.
    let key = bits.strip_prefix(&[0])?;
    let (object, parameters) = take(algorithm, OBJECT)?;
    if object == RSA {
        return rsa(key);
    }
    if object == EC {
        let (curve, _) = take(parameters, OBJECT)?;
        let (_, name, size) = CURVES.iter().find(|(known, _, _)| *known == curve)?;
        // The uncompressed form.
        let point = key.strip_prefix(&[4])?;
        let (x, y) = point.split_at_checked(*size)?;
        return (y.len() == *size).then(|| Jwk {
            kty: "EC".to_owned(),
            crv: (*name).to_owned(),
            x: encode(x),
            y: encode(y),
            ..Jwk::nameless()
        });
    }
    (object == ED25519 && key.len() == 32).then(|| Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: encode(key),
        ..Jwk::nameless()
    })
}

/// `RSAPublicKey { modulus, exponent }`
fn rsa(der: &[u8]) -> Option<Jwk> {
    let (numbers, _) = take(der, SEQUENCE)?;
    let (modulus, rest) = take(numbers, INTEGER)?;
    let (exponent, _) = take(rest, INTEGER)?;
    Some(Jwk {
        kty: "RSA".to_owned(),
        n: encode(modulus),
        e: encode(exponent),
        ..Jwk::nameless()
    })
}

/// The content of the first value, when it has this tag, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ ..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
