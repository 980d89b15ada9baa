//! Artifacts: how files travel as JSON and YAML, and which of them can be in one set.

use cfgsync_artifacts::{ArtifactConflict, ArtifactContent, ArtifactFile, ArtifactSet, FileMode};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

fn file(path: &str, content: &str) -> ArtifactFile {
    ArtifactFile::new(path, content)
}

fn set(files: impl IntoIterator<Item = ArtifactFile>) -> ArtifactSet {
    ArtifactSet::new(files).expect("the paths differ")
}

fn paths(set: &ArtifactSet) -> Vec<&str> {
    set.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn text_travels_as_it_is_and_bytes_as_base64() {
    let text = file("node.yaml", "a: 1\n");
    assert_eq!(
        serde_json::to_value(&text).unwrap(),
        json!({"path": "node.yaml", "content": "a: 1\n"})
    );
    let key = ArtifactFile::new("key", vec![0xff, 0]).with_mode(FileMode::PRIVATE);
    assert_eq!(
        serde_json::to_value(&key).unwrap(),
        json!({"path": "key", "content": "/wA=", "encoding": "base64", "mode": "0600"})
    );
}

#[test]
fn what_is_no_file_is_refused_with_the_reason() {
    let refusal = |value| {
        serde_json::from_value::<ArtifactFile>(value)
            .unwrap_err()
            .to_string()
    };
    let told = refusal(json!({"path": "key", "content": "?", "encoding": "base64"}));
    assert!(
        told.starts_with("the content of \"key\" is not Base64"),
        "{told}"
    );
    let told = refusal(json!({"path": "key", "content": "", "mode": "0800"}));
    assert!(told.contains("\"0800\" is not an octal number"), "{told}");
    let told = refusal(json!({"path": "key", "content": "", "mod": "0600"}));
    assert!(told.contains("unknown field `mod`"), "{told}");
    let told = refusal(json!({"path": "key"}));
    assert!(told.contains("missing field `content`"), "{told}");
}

#[test]
fn a_mode_is_permission_bits_and_nothing_more() {
    for (text, bits) in [("0644", 0o644), ("600", 0o600), ("0o755", 0o755), ("0", 0)] {
        assert_eq!(text.parse::<FileMode>().unwrap().bits(), bits);
    }
    for text in ["", "+600", "-1", "0x1", "1777", "4755", "rw-", " 600"] {
        let refused = text.parse::<FileMode>().unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("file mode {text:?}")),
            "{refused}"
        );
    }
    assert!(FileMode::new(0o1000).is_err());
    assert_eq!(FileMode::new(0o7).unwrap().to_string(), "0007");
}

#[test]
fn contents_are_not_shown() {
    let shown = format!("{:?}", file("key", "secret"));
    assert!(shown.contains("6 bytes of text"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_path_is_in_a_set_once() {
    let twice = [file("a", "1"), file("b", "2"), file("a", "1")];
    let refused = ArtifactConflict {
        path: "a".to_owned(),
    };
    assert_eq!(ArtifactSet::new(twice), Err(refused));
    let read = serde_json::from_value::<ArtifactSet>(json!([
        {"path": "a", "content": "1"},
        {"path": "a", "content": "2"},
    ]));
    let told = read.unwrap_err().to_string();
    assert!(
        told.starts_with("two artifacts have the path \"a\""),
        "{told}"
    );
}

#[test]
fn merging_keeps_the_order_and_takes_equal_files_once() {
    let merged = set([file("b", "1"), file("a", "2")])
        .merge(set([file("c", "3"), file("a", "2"), file("0", "4")]))
        .unwrap();
    assert_eq!(paths(&merged), ["b", "a", "c", "0"]);
    assert_eq!(merged.get("c"), Some(&file("c", "3")));
    assert_eq!(merged.get("d"), None);
}

#[test]
fn files_that_differ_in_their_mode_only_conflict() {
    let public = set([file("a", "1").with_mode(FileMode::PUBLIC)]);
    let private = set([file("a", "1").with_mode(FileMode::PRIVATE)]);
    assert_eq!(
        public.merge(private).unwrap_err().to_string(),
        "two artifacts have the path \"a\"; a path can be delivered once"
    );
}

fn content() -> impl Strategy<Value = ArtifactContent> {
    prop_oneof![
        ".*".prop_map(ArtifactContent::from),
        "[ \t\r\n:#'\"-]{0,12}".prop_map(ArtifactContent::from),
        vec(any::<u8>(), 0..100).prop_map(ArtifactContent::from),
        // Bytes that happen to be text, but were not declared as such.
        ".*".prop_map(|text| ArtifactContent::Binary(text.into_bytes())),
    ]
}

fn any_file() -> impl Strategy<Value = ArtifactFile> {
    let mode = prop::option::of(0..=0o777_u32);
    (".*", content(), mode).prop_map(|(path, content, mode)| ArtifactFile {
        path,
        content,
        mode: mode.map(|bits| FileMode::new(bits).expect("nine bits")),
    })
}

/// Few paths and contents, so that sets overlap.
fn small_set() -> impl Strategy<Value = ArtifactSet> {
    vec(("[a-f]", "[xy]"), 0..6).prop_map(|files| {
        let mut seen = std::collections::HashSet::new();
        let fresh = files
            .into_iter()
            .filter(|(path, _)| seen.insert(path.clone()));
        set(fresh
            .map(|(path, content)| file(&path, &content))
            .collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn a_file_is_read_as_it_was_written(file in any_file()) {
        let json = serde_json::to_string(&file).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ArtifactFile>(&json).unwrap(), &file);
        let yaml = serde_saphyr::to_string(&file).unwrap();
        prop_assert_eq!(&serde_saphyr::from_str::<ArtifactFile>(&yaml).unwrap(), &file);
    }

    #[test]
    fn a_set_is_read_as_it_was_written(files in small_set()) {
        let json = serde_json::to_string(&files).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ArtifactSet>(&json).unwrap(), &files);
        let yaml = serde_saphyr::to_string(&files).unwrap();
        prop_assert_eq!(&serde_saphyr::from_str::<ArtifactSet>(&yaml).unwrap(), &files);
    }

    #[test]
    fn a_set_is_made_exactly_of_files_with_different_paths(names in vec("[a-f]", 0..6)) {
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        let made = ArtifactSet::new(names.iter().map(|name| file(name, "")));
        prop_assert_eq!(made.is_ok(), distinct.len() == names.len());
        if let Ok(made) = made {
            prop_assert_eq!(paths(&made), names);
        }
    }

    #[test]
    fn sets_merge_unless_they_differ_under_one_path(a in small_set(), b in small_set()) {
        let conflict = a.iter().any(|file| b.get(&file.path).is_some_and(|other| other != file));
        match a.clone().merge(b.clone()) {
            Err(ArtifactConflict { path }) => {
                prop_assert!(conflict);
                prop_assert_ne!(a.get(&path), b.get(&path));
            }
            Ok(merged) => {
                prop_assert!(!conflict);
                let new = b.iter().filter(|file| a.get(&file.path).is_none());
                let all: Vec<ArtifactFile> = a.iter().chain(new).cloned().collect();
                prop_assert_eq!(merged, set(all));
            }
        }
    }
}
