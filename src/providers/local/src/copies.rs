//! Copies: data folders of stopped nodes, kept under a label.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use trellis_bootstrap::{Doing, ProviderError};
use trellis_domain::{NodeName, Operation};

use crate::files::{At as _, copy_folder, replace_folder};

/// The longest label, in bytes; file systems take names of 255.
const LABEL_BYTES_MAX: usize = 200;

/// The copies of one cluster: `<root>/<label>/<node>`.
pub(crate) struct Copies {
    pub(crate) root: PathBuf,
}

impl Copies {
    /// Copies `data` of `node`; an earlier copy is replaced when this one is whole.
    pub(crate) fn save(
        &self,
        node: &NodeName,
        label: &str,
        data: &Path,
    ) -> Result<(), ProviderError> {
        let doing = Doing::Operating(Operation::SaveData);
        let folder = self.root.join(checked(doing, node, label)?);
        fs::create_dir_all(&folder)
            .at(&folder)
            .and_then(|()| replace_folder(&folder.join(node.as_str()), |to| copy_folder(data, to)))
            .map_err(|error| error.of(doing, node))
    }

    /// Puts the copy of `source` in the place of `data` of `node`.
    pub(crate) fn restore(
        &self,
        node: &NodeName,
        label: &str,
        source: &NodeName,
        data: &Path,
    ) -> Result<(), ProviderError> {
        let doing = Doing::Operating(Operation::RestoreData);
        let copy = self
            .root
            .join(checked(doing, node, label)?)
            .join(source.as_str());
        if !copy.is_dir() {
            return Err(ProviderError::UnknownCopy {
                source_node: source.clone(),
                label: label.to_owned(),
                known: self.in_words(),
            });
        }
        replace_folder(data, |to| copy_folder(&copy, to)).map_err(|error| error.of(doing, node))
    }

    fn in_words(&self) -> String {
        let mut known: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
        for label in names(&self.root) {
            // What was being made when a save was cut off does not parse as a name.
            let mut nodes: Vec<NodeName> = names(&self.root.join(&label))
                .filter_map(|name| name.parse().ok())
                .collect();
            nodes.sort();
            known.insert(label, nodes);
        }
        known.retain(|_, nodes| !nodes.is_empty());
        if known.is_empty() {
            return "nothing was saved yet".to_owned();
        }
        let labels: Vec<String> = known
            .iter()
            .map(|(label, nodes)| {
                let nodes: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
                format!("{label:?} of {}", nodes.join(", "))
            })
            .collect();
        format!("saved are {}", labels.join("; "))
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

/// The label, if it is the name of one folder.
fn checked<'a>(doing: Doing, node: &NodeName, label: &'a str) -> Result<&'a str, ProviderError> {
    let is_name = !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && !label.starts_with('.')
        && !label.chars().any(|c| c == '/' || c.is_control());
    if is_name {
        return Ok(label);
    }
    Err(ProviderError::Misplaced {
        doing,
        node: node.clone(),
        detail: format!(
            "{label:?} cannot be the name of a copy; use 1 to {LABEL_BYTES_MAX} bytes without '/' that do not begin with '.'"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_restored_as_it_was_saved_and_an_unknown_copy_lists_the_known() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let copies = Copies {
            root: home.path().join("copies"),
        };
        let [one, two]: [NodeName; 2] = ["NODE_1", "NODE_2"].map(|name| name.parse().unwrap());
        fs::create_dir(&data).unwrap();
        let unknown = copies.restore(&one, "before", &one, &data).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "NODE_1 has no data saved as \"before\"; nothing was saved yet"
        );
        fs::write(data.join("log"), "1").unwrap();
        copies.save(&one, "before", &data).unwrap();
        fs::write(data.join("log"), "2").unwrap();
        fs::write(data.join("more"), "2").unwrap();
        copies.restore(&two, "before", &one, &data).unwrap();
        assert_eq!(fs::read_to_string(data.join("log")).unwrap(), "1");
        assert!(!data.join("more").exists());
        let unknown = copies
            .restore(&two, "after", &two, &data)
            .unwrap_err()
            .to_string();
        assert!(
            unknown.ends_with("saved are \"before\" of NODE_1"),
            "{unknown}"
        );
    }

    #[test]
    fn a_label_that_is_no_folder_name_is_refused() {
        let copies = Copies {
            root: "/nonexistent".into(),
        };
        let node = "N".parse().unwrap();
        let long = "x".repeat(201);
        for bad in ["", "..", ".new-N", "a/b", "a\0", &long] {
            let error = copies
                .save(&node, bad, Path::new("/nonexistent"))
                .unwrap_err();
            assert!(
                error.to_string().contains("cannot be the name of a copy"),
                "{error}"
            );
        }
    }
}
