//! PATCH: changes are applied to the resource as JSON, in the forms that Okta and Microsoft Entra send. What is left is then
//! saved as a replacement would be.

use serde_json::{Map, Value, json};

use super::wrong;
use crate::Refusal;

/// Most operations of one request.
const MOST: usize = 1000;

/// Applies the operations of a request to a resource.
pub(super) fn apply(resource: &mut Value, body: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(Value::Array(operations)) = body.get("Operations") else {
        return Err(wrong("invalidSyntax", "Operations is a list of operations"));
    };
    if operations.len() > MOST {
        return Err(wrong(
            "tooMany",
            format!("at most {MOST} operations at once"),
        ));
    }
    for operation in operations {
        let op = operation
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // Entra writes them with a capital.
        let op = match op.to_ascii_lowercase().as_str() {
            "add" => Op::Add,
            "replace" => Op::Replace,
            "remove" => Op::Remove,
            _ => return Err(wrong("invalidSyntax", "op is add, replace or remove")),
        };
        let value = operation.get("value");
        match operation.get("path").and_then(Value::as_str) {
            Some(path) => at(resource, op, path, value)?,
            None => {
                let Some(Value::Object(members)) = value.filter(|_| op != Op::Remove) else {
                    return Err(wrong("noTarget", "without a path, value is an object"));
                };
                for (path, value) in members {
                    at(resource, op, path, Some(value))?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// A path: an attribute, perhaps those of its values that fit, perhaps a part of it.
struct Path<'a> {
    attribute: &'a str,
    filter: Option<(String, Value)>,
    part: Option<&'a str>,
}

fn read(path: &str) -> Result<Path<'_>, Refusal> {
    let refused = || {
        wrong(
            "invalidPath",
            format!("the path {path:?} is not understood"),
        )
    };
    // The URN of a schema has dots and colons of its own.
    let path = match path.rsplit_once(':') {
        Some((urn, rest)) if urn.starts_with("urn:") && !urn.contains('[') => rest,
        _ => path,
    };
    if let Some((attribute, rest)) = path.split_once('[') {
        let (filter, part) = rest.split_once(']').ok_or_else(refused)?;
        let filter = super::filter::read(Some(filter)).map_err(|_| refused())?;
        let filter = filter.ok_or_else(refused)?;
        let part = match part {
            "" => None,
            part => Some(part.strip_prefix('.').ok_or_else(refused)?),
        };
        let filter = Some((filter.attribute, filter.value.into()));
        return Ok(Path {
            attribute,
            filter,
            part,
        });
    }
    let (attribute, part) = match path.split_once('.') {
        Some((attribute, part)) => (attribute, Some(part)),
        None => (path, None),
    };
    if attribute.is_empty() {
        return Err(refused());
    }
    Ok(Path {
        attribute,
        filter: None,
        part,
    })
}

fn at(resource: &mut Value, op: Op, path: &str, value: Option<&Value>) -> Result<(), Refusal> {
    let path = read(path)?;
    let Some(members) = resource.as_object_mut() else {
        return Ok(());
    };
    // Names are compared without regard to case.
    let known = members
        .keys()
        .find(|name| name.eq_ignore_ascii_case(path.attribute));
    let name = known.cloned().unwrap_or_else(|| path.attribute.to_owned());
    if op != Op::Remove && value.is_none() {
        return Err(wrong("invalidValue", "value is missing"));
    }
    let value = value.cloned().unwrap_or_default();
    match (path.filter, path.part) {
        (Some(filter), part) => {
            let list = members.entry(name).or_insert_with(|| json!([]));
            filtered(list, op, &filter, part, value);
        }
        (None, Some(part)) => {
            let of = members.entry(name).or_insert_with(|| json!({}));
            if !of.is_object() {
                *of = json!({});
            }
            if let Value::Object(of) = of {
                match op {
                    Op::Remove => drop(of.remove(part)),
                    Op::Add | Op::Replace => drop(of.insert(part.to_owned(), value)),
                }
            }
        }
        (None, None) => whole(members, name, op, value),
    }
    Ok(())
}

/// An attribute as a whole: of several values some are added, or these removed.
fn whole(members: &mut Map<String, Value>, name: String, op: Op, value: Value) {
    let list = members.get_mut(&name).and_then(Value::as_array_mut);
    match (op, list) {
        (Op::Add, Some(list)) => {
            let new = match value {
                Value::Array(new) => new,
                one => vec![one],
            };
            for one in new {
                if !list.iter().any(|known| same(known, &one)) {
                    list.push(one);
                }
            }
        }
        // Entra names those that go, RFC 7644 takes all.
        (Op::Remove, Some(list)) if value.is_array() => {
            let gone = value.as_array().cloned().unwrap_or_default();
            list.retain(|known| !gone.iter().any(|one| same(known, one)));
        }
        (Op::Remove, _) => drop(members.remove(&name)),
        (Op::Replace | Op::Add, _) => drop(members.insert(name, value)),
    }
}

/// Whether two values of an attribute are one: `value` is what names them.
fn same(one: &Value, other: &Value) -> bool {
    match (one.get("value"), other.get("value")) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// The values of an attribute that fit, or a part of them.
fn filtered(list: &mut Value, op: Op, filter: &(String, Value), part: Option<&str>, value: Value) {
    let Value::Array(list) = list else {
        return;
    };
    let (name, wanted) = filter;
    let fits = |one: &Value| one.get(name.as_str()) == Some(wanted);
    match (op, part) {
        (Op::Remove, None) => list.retain(|one| !fits(one)),
        (Op::Remove, Some(part)) => {
            for one in list.iter_mut().filter(|one| fits(one)) {
                if let Value::Object(one) = one {
                    one.remove(part);
                }
            }
        }
        (Op::Add | Op::Replace, part) => {
            if !list.iter().any(fits) {
                list.push(json!({ name.as_str(): wanted }));
            }
            for one in list.iter_mut().filter(|one| fits(one)) {
                match (part, &value, &mut *one) {
                    (Some(part), value, Value::Object(one)) => {
                        one.insert(part.to_owned(), value.clone());
                    }
                    (None, Value::Object(new), Value::Object(one)) => one.extend(new.clone()),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(resource: Value, operations: Value) -> Value {
        let mut resource = resource;
        let body = json!({ "Operations": operations });
        apply(&mut resource, body.as_object().unwrap()).unwrap();
        resource
    }

    #[test]
    fn okta_and_entra_are_understood() {
        let user = json!({"active": true, "userName": "ann", "name": {"givenName": "Ann"}, "emails": [{"type": "work", "value": "a@example.com"}]});
        let done = patched(
            user.clone(),
            json!([{"op": "replace", "value": {"active": false}}]),
        );
        assert_eq!(done["active"], false);
        let done = patched(
            user.clone(),
            json!([
                {"op": "Replace", "path": "active", "value": "False"},
                {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "b@example.com"},
                {"op": "Add", "path": "name.familyName", "value": "Lee"},
                {"op": "Add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:displayName", "value": "Ann Lee"},
                {"op": "Remove", "path": "name.givenName"},
            ]),
        );
        assert_eq!(
            done,
            json!({"active": "False", "userName": "ann", "displayName": "Ann Lee", "name": {"familyName": "Lee"}, "emails": [{"type": "work", "value": "b@example.com"}]})
        );
        let done = patched(
            user,
            json!([{"op": "replace", "value": {"name.givenName": "Anna", "USERNAME": "anna"}}]),
        );
        assert_eq!(
            (&done["name"]["givenName"], &done["userName"]),
            (&json!("Anna"), &json!("anna"))
        );
    }

    #[test]
    fn members_come_and_go() {
        let group = json!({"displayName": "red", "members": [{"value": "ann"}, {"value": "bob"}]});
        let members = |operation: Value| {
            let done = patched(group.clone(), json!([operation]));
            let listed = done["members"].as_array().cloned().unwrap_or_default();
            let ids = listed
                .iter()
                .map(|one| one["value"].as_str().unwrap().to_owned());
            ids.collect::<Vec<String>>()
        };
        let add =
            json!({"op": "add", "path": "members", "value": [{"value": "ann"}, {"value": "eve"}]});
        assert_eq!(members(add), ["ann", "bob", "eve"]);
        assert_eq!(
            members(json!({"op": "remove", "path": "members[value eq \"ann\"]"})),
            ["bob"]
        );
        assert_eq!(
            members(json!({"op": "Remove", "path": "members", "value": [{"value": "bob"}]})),
            ["ann"]
        );
        assert!(members(json!({"op": "remove", "path": "members"})).is_empty());
        assert_eq!(
            members(json!({"op": "replace", "value": {"members": [{"value": "eve"}]}})),
            ["eve"]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for operations in [
            json!({"op": "add"}),
            json!([{"op": "move", "path": "active"}]),
            json!([{"op": "add", "path": "active"}]),
            json!([{"op": "replace", "value": true}]),
            json!([{"op": "remove"}]),
            json!([{"op": "add", "path": "emails[type eq", "value": 1}]),
            json!([{"op": "add", "path": "emails[type co \"x\"]", "value": 1}]),
            json!([{"op": "add", "path": "", "value": 1}]),
        ] {
            let body = json!({ "Operations": operations });
            let mut resource = json!({});
            assert!(
                apply(&mut resource, body.as_object().unwrap()).is_err(),
                "{body}"
            );
        }
    }
}
