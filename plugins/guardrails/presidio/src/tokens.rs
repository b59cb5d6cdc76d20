//! Tokens that stand for what was masked: `<PERSON_1>`. The same text of the same kind has the same token in the whole
//! request. What each stands for is kept with the request, and nowhere else.

use std::collections::BTreeMap;

use witgate_plugin::Error;
use witgate_plugin::kv::Room;

use crate::analyze::Entity;

/// Bytes of originals and tokens under one key; a value may have 64 KiB.
const PER_KEY_BYTES: usize = 24 << 10;

/// The tokens of a request: each, and what it stands for.
pub type Pairs = Vec<(String, String)>;

/// Makes tokens.
#[derive(Default)]
pub struct Tokens<'a> {
    pairs: Pairs,
    by_original: BTreeMap<(String, String), usize>,
    numbers: BTreeMap<String, usize>,
    /// The texts of the request: a token must not be in them already.
    texts: Vec<&'a str>,
}

impl<'a> Tokens<'a> {
    /// Tokens for these texts.
    pub fn of(texts: Vec<&'a str>) -> Self {
        Self {
            texts,
            ..Self::default()
        }
    }

    /// The text with a token in place of everything found.
    pub fn mask(&mut self, text: &str, found: &[Entity]) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end, kind) in collapsed(found) {
            let (before, original) = (chars.get(at..start), chars.get(start..end));
            masked.extend(before.unwrap_or_default());
            let original: String = original.unwrap_or_default().iter().collect();
            masked.push_str(self.token(&kind, original));
            at = end;
        }
        masked.extend(chars.get(at..).unwrap_or_default());
        masked
    }

    fn token(&mut self, kind: &str, original: String) -> &str {
        let key = (kind.to_owned(), original);
        let index = match self.by_original.get(&key) {
            Some(index) => *index,
            None => {
                let token = self.unused(kind);
                self.pairs.push((token, key.1.clone()));
                self.by_original.insert(key, self.pairs.len() - 1);
                self.pairs.len() - 1
            }
        };
        self.pairs.get(index).map_or("", |(token, _)| token)
    }

    fn unused(&mut self, kind: &str) -> String {
        let number = self.numbers.entry(kind.to_owned()).or_default();
        loop {
            *number += 1;
            let token = format!("<{kind}_{number}>");
            if !self.texts.iter().any(|text| text.contains(&token)) {
                return token;
            }
        }
    }

    /// Keeps what the tokens stand for.
    pub fn keep(&self, room: &Room) -> Result<(), Error> {
        for (index, pairs) in portions(&self.pairs).into_iter().enumerate() {
            room.set_json(&key(index), &pairs)?;
        }
        Ok(())
    }

    /// What the tokens of the request stand for.
    pub fn load(room: &Room) -> Result<Pairs, Error> {
        let mut all = Pairs::new();
        for index in 0.. {
            let Some(pairs) = room.get_json::<Pairs>(&key(index))? else {
                break;
            };
            all.extend(pairs);
        }
        Ok(all)
    }
}

fn key(index: usize) -> String {
    format!("tokens/{index}")
}

fn portions(pairs: &[(String, String)]) -> Vec<&[(String, String)]> {
    let mut portions = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, (token, original)) in pairs.iter().enumerate() {
        let size = token.len() + original.len();
        if at > from && bytes + size > PER_KEY_BYTES {
            portions.push(&pairs[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    if from < pairs.len() {
        portions.push(&pairs[from..]);
    }
    portions
}

/// Places that do not overlap, in order: what overlaps becomes one, of the kind that is most certain.
fn collapsed(found: &[Entity]) -> Vec<(usize, usize, String)> {
    let mut found: Vec<&Entity> = found.iter().collect();
    found.sort_by_key(|entity| (entity.start, std::cmp::Reverse(entity.end)));
    let mut places: Vec<(usize, usize, &Entity)> = Vec::new();
    for entity in found {
        match places.last_mut() {
            Some((_, end, best)) if entity.start < *end => {
                *end = entity.end.max(*end);
                if entity.score > best.score {
                    *best = entity;
                }
            }
            _ => places.push((entity.start, entity.end, entity)),
        }
    }
    let named =
        |(start, end, entity): (usize, usize, &Entity)| (start, end, entity.entity_type.clone());
    places.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tokens_are_kept_in_portions() {
        let pair = |n: usize| (format!("<PERSON_{n}>"), "x".repeat(10 << 10));
        let pairs: Pairs = (0..5).map(pair).collect();
        let lengths: Vec<usize> = portions(&pairs)
            .iter()
            .map(|portion| portion.len())
            .collect();
        assert_eq!(lengths, [2, 2, 1]);
        assert!(portions(&[]).is_empty());
    }
}
