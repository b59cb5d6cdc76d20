//! The difference between what was expected and what came, as lines of YAML.

use serde_json::Value;

/// Lines around a change that are shown.
const CONTEXT: usize = 3;
/// Lines beyond which the tables of the comparison would be too large; then only both ends are compared.
const COMPARED_MAX: usize = 3000;

/// A readable difference, `None` when there is none.
#[must_use]
pub fn diff(expected: &Value, actual: &Value) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (old, new) = (yaml(expected), yaml(actual));
    let lines = compare(
        &old.lines().collect::<Vec<_>>(),
        &new.lines().collect::<Vec<_>>(),
    );
    Some(format!("- expected\n+ actual\n{}", show(&lines)))
}

/// A value as YAML.
#[must_use]
pub fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// A line that is in both, only expected, or only actual.
type Line<'a> = (char, &'a str);

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = (&old[start..], &new[start..]);
    let end = rest
        .0
        .iter()
        .rev()
        .zip(rest.1.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old_middle, new_middle) = (&rest.0[..rest.0.len() - end], &rest.1[..rest.1.len() - end]);
    let same = |lines: &[&'a str]| lines.iter().map(|line| (' ', *line)).collect::<Vec<_>>();
    let mut out = same(&old[..start]);
    if old_middle.len() > COMPARED_MAX || new_middle.len() > COMPARED_MAX {
        out.extend(old_middle.iter().map(|line| ('-', *line)));
        out.extend(new_middle.iter().map(|line| ('+', *line)));
    } else {
        out.extend(longest_common(old_middle, new_middle));
    }
    out.extend(same(&old[old.len() - end..]));
    out
}

/// The classic table of longest common subsequences, walked from its start.
fn longest_common<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let width = new.len() + 1;
    let mut table = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            table[i * width + j] = match old[i] == new[j] {
                true => table[(i + 1) * width + j + 1] + 1,
                false => table[(i + 1) * width + j].max(table[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || i < old.len() && table[(i + 1) * width + j] >= table[i * width + j + 1]
        {
            out.push(('-', old[i]));
            i += 1;
        } else {
            out.push(('+', new[j]));
            j += 1;
        }
    }
    out
}

/// The changes with some lines around them.
fn show(lines: &[Line<'_>]) -> String {
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT + 1).min(lines.len());
        lines[from..to].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let mut skipped = false;
    for (at, (mark, text)) in lines.iter().enumerate() {
        if near(at) {
            if skipped {
                out.push_str("  …\n");
            }
            out.push_str(&format!("{mark} {text}\n"));
            skipped = false;
        } else {
            skipped = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_shown_with_its_surroundings() {
        let old = json!({"a": 1, "list": [1, 2, 3, 4, 5, 6, 7, 8, 9], "z": "old"});
        let new = json!({"a": 1, "list": [1, 2, 3, 4, 5, 6, 7, 8, 9], "z": "new"});
        assert_eq!(diff(&old, &old), None);
        let text = diff(&old, &new).expect("a difference");
        assert!(text.contains("- z: old\n+ z: new\n"), "{text}");
        assert!(!text.contains("a: 1"), "{text}");
    }

    #[test]
    fn lines_in_the_middle_are_matched() {
        let lines = compare(&["a", "b", "c", "d"], &["a", "c", "x", "d"]);
        assert_eq!(
            lines,
            [(' ', "a"), ('-', "b"), (' ', "c"), ('+', "x"), (' ', "d")]
        );
    }
}
