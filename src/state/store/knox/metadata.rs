//! What Smarter keeps as JSON: tags and annotations.
//!
//! They decide nothing, and Smarter writes them in more shapes than this crate does. So whatever is
//! there is shown as text, and no shape of it makes a key unreadable.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::value::key::ApiKey;

/// A list of texts and nothing else.
pub(super) fn texts(json: &str) -> Option<Vec<String>> {
    serde_json::from_str(json).ok()
}

/// The items of a list; one that is no text as its JSON.
pub(super) fn tags(json: &str) -> Vec<String> {
    match serde_json::from_str(json) {
        Ok(Value::Array(items)) => items.into_iter().map(shown).collect(),
        _ => Vec::new(),
    }
}

/// The members of an object, or of all objects in a list, as Smarter's manifests have them; of a name
/// that comes twice the last one.
pub(super) fn annotations(json: Option<&str>) -> BTreeMap<String, String> {
    let objects = match json.and_then(|json| serde_json::from_str(json).ok()) {
        Some(Value::Array(items)) => items,
        Some(object) => vec![object],
        None => Vec::new(),
    };
    let members = objects.into_iter().filter_map(|object| match object {
        Value::Object(members) => Some(members),
        _ => None,
    });
    members.flatten().map(|(name, value)| (name, shown(value))).collect()
}

pub(super) fn tags_of(key: &ApiKey) -> String {
    key.tags().collect::<Value>().to_string()
}

/// A list of objects with one member each, as Smarter's manifests have them.
pub(super) fn annotations_of(key: &ApiKey) -> String {
    let objects = key.annotations().map(|(name, value)| Value::from_iter([(name, value)]));
    objects.collect::<Value>().to_string()
}

/// Whether it is a version of <https://semver.org>, or none: all that Smarter saves.
pub(super) fn is_semantic(version: &str) -> bool {
    let (rest, build) = version.split_once('+').unzip();
    let rest = rest.unwrap_or(version);
    let (core, release) = rest.split_once('-').unzip();
    let is_number = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let core: Vec<&str> = core.unwrap_or(rest).split('.').collect();
    version.is_empty()
        || core.len() == 3
            && core.iter().all(|part| !part.is_empty() && is_number(part))
            && [release, build].into_iter().flatten().all(|parts| parts.split('.').all(is_part))
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semantic_version_is_told_from_others() {
        for good in ["", "0.0.0", "1.2.3", "10.20.30-alpha.1+build.5", "1.0.0-x-y", "1.0.0+a-b"] {
            assert!(is_semantic(good), "{good}");
        }
        for bad in
            ["1", "1.2", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-β", "1..3", "1.2.3.4"]
        {
            assert!(!is_semantic(bad), "{bad}");
        }
    }

    #[test]
    fn no_shape_makes_a_key_unreadable() {
        assert_eq!(tags(r#"["a", 1, {"b": null}]"#), ["a", "1", r#"{"b":null}"#]);
        for odd in ["", "{}", "null", "[", "\"a\""] {
            assert!(tags(odd).is_empty(), "{odd}");
        }
        let read = |json| annotations(Some(json)).into_iter().collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(r#"{"a": "1", "b": 2}"#), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(read(r#"[{"a": "1"}, {"a": true}, 7]"#), [pair("a", "true")]);
        assert_eq!(read("null"), []);
        assert!(annotations(None).is_empty());
    }
}
