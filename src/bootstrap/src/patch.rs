//! Configuration overrides: a dotted path into a generated YAML or JSON file, and the value to put there.
//!
//! Only what the application generates can be overridden: a path that is not in the file is a spelling error, and is answered with the nearest path that is.

mod value;

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

/// Why an override does not fit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The application has no configuration file that takes overrides.
    #[error("the application {app} has no configuration file that takes overrides")]
    NoConfig {
        /// The application.
        app: String,
    },
    /// The generated file is not YAML.
    #[error("the generated configuration {file} is not valid YAML: {reason}")]
    NotYaml {
        /// The file.
        file: String,
        /// What the parser found.
        reason: String,
    },
    /// The value is not YAML.
    #[error("the value {value:?} for {path:?} is not valid YAML: {reason}")]
    BadValue {
        /// Where it was to go.
        path: String,
        /// The value.
        value: String,
        /// What the parser found.
        reason: String,
    },
    /// The path is not in the file.
    #[error("{file} has no {path:?}; {hint}")]
    UnknownPath {
        /// The file.
        file: String,
        /// The path.
        path: String,
        /// The nearest known path, or what there is.
        hint: String,
    },
}

/// Puts every override into the YAML text of `file`: a dotted path (numbers index lists) and its value.
///
/// # Errors
/// A path that the file does not have, with the nearest one, or a value that cannot be read.
pub fn apply_overrides(
    file: &str,
    text: &str,
    overrides: &BTreeMap<String, String>,
) -> Result<String, PatchError> {
    let not_yaml = |reason: String| PatchError::NotYaml {
        file: file.to_owned(),
        reason,
    };
    let mut config: Value =
        serde_saphyr::from_str(text).map_err(|error| not_yaml(error.to_string()))?;
    for (path, value) in overrides {
        let Some(place) = find(&mut config, path) else {
            return Err(PatchError::UnknownPath {
                file: file.to_owned(),
                path: path.clone(),
                hint: hint(&config, path),
            });
        };
        let key = path.rsplit('.').next().unwrap_or(path);
        *place = value::read(value, key, place).map_err(|reason| PatchError::BadValue {
            path: path.clone(),
            value: value.clone(),
            reason,
        })?;
    }
    serde_saphyr::to_string(&config).map_err(|error| not_yaml(error.to_string()))
}

fn find<'a>(config: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(config, |place, key| match place {
        Value::Object(fields) => fields.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn hint(config: &Value, path: &str) -> String {
    let mut known = Vec::new();
    paths(config, "", &mut known);
    let near = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(candidate, path), candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match near {
        Some((_, candidate)) => format!("the nearest known path is {candidate:?}"),
        None => "it is empty".to_owned(),
    }
}

fn paths(value: &Value, prefix: &str, known: &mut Vec<String>) {
    let mut child = |key: &str, value: &Value| {
        let path = if prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{prefix}.{key}")
        };
        paths(value, &path, known);
        known.push(path);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| child(key, value)),
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                child(&index.to_string(), value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "raft:\n  heartbeat_ms: 150\npeers:\n  - id: 1\n  - id: 2\n";

    fn patched(path: &str, value: &str) -> Result<Value, PatchError> {
        let overrides = BTreeMap::from([(path.to_owned(), value.to_owned())]);
        apply_overrides("node.yaml", CONFIG, &overrides)
            .map(|text| serde_saphyr::from_str(&text).unwrap())
    }

    #[test]
    fn a_value_replaces_what_the_path_points_at_and_nothing_else() {
        let config = patched("raft.heartbeat_ms", "50").unwrap();
        assert_eq!(config["raft"]["heartbeat_ms"], 50);
        assert_eq!(config["peers"][1]["id"], 2);
        let config = patched("peers.1", "{id: 7, tags: [a, b]}").unwrap();
        assert_eq!(config["peers"][1]["tags"][1], "b");
    }

    #[test]
    fn an_unknown_path_names_the_nearest_known_one() {
        let error = patched("raft.heartbeat", "50").unwrap_err().to_string();
        assert_eq!(
            error,
            r#"node.yaml has no "raft.heartbeat"; the nearest known path is "raft.heartbeat_ms""#
        );
        assert!(patched("peers.2.id", "1").is_err());
        assert!(patched("raft.heartbeat_ms.x", "1").is_err());
    }

    #[test]
    fn a_bad_value_is_shown() {
        let error = patched("raft.heartbeat_ms", "[1").unwrap_err().to_string();
        assert!(
            error.starts_with(r#"the value "[1" for "raft.heartbeat_ms" is not valid YAML"#),
            "{error}"
        );
    }
}
