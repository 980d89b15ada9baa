//! Outputs: what may be written where, and that nothing ever leaves the folder.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_runtime::{ArtifactOutputMap, OutputError, write_artifacts};
use proptest::prelude::*;
use tempfile::TempDir;

fn set(paths: &[&str]) -> ArtifactSet {
    ArtifactSet::new(paths.iter().map(|path| ArtifactFile::new(*path, *path))).unwrap()
}

fn targets(outputs: &ArtifactOutputMap, paths: &[&str]) -> Result<Vec<PathBuf>, OutputError> {
    let files = set(paths);
    let found = outputs.resolve(&files)?;
    Ok(found.into_iter().map(|(target, _)| target).collect())
}

/// `paths` are refused below a folder, in a text that has the last of them and `why`; and a write leaves nothing.
#[track_caller]
fn refused(folder: &Path, paths: &[&str], why: &str) {
    let before = tree(folder);
    let outputs = ArtifactOutputMap::new().under(folder);
    let text = targets(&outputs, paths).unwrap_err().to_string();
    assert!(text.contains(why), "{why:?} is not in: {text}");
    let path = paths.last().unwrap();
    assert!(
        text.contains(&format!("{path:?}")),
        "{path:?} is not in: {text}"
    );
    let error = write_artifacts(&set(paths), &outputs).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(tree(folder), before);
}

#[test]
fn a_route_goes_where_it_says_and_the_rest_below_the_folder() {
    let folder = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    let outputs = ArtifactOutputMap::new()
        .route("/config.yaml", elsewhere.path().join("node.yaml"))
        .route(
            "../settings.yaml",
            elsewhere.path().join("shared/settings.yaml"),
        )
        .under(folder.path());
    let written = write_artifacts(
        &set(&[
            "/config.yaml",
            "keys/node.pem",
            "../settings.yaml",
            "./peers.yaml",
        ]),
        &outputs,
    );
    assert_eq!(
        written.unwrap(),
        [
            elsewhere.path().join("node.yaml"),
            folder.path().join("keys/node.pem"),
            elsewhere.path().join("shared/settings.yaml"),
            folder.path().join("peers.yaml"),
        ]
    );
    let settings = elsewhere.path().join("shared/settings.yaml");
    assert_eq!(fs::read_to_string(settings).unwrap(), "../settings.yaml");
}

#[test]
fn what_no_route_maps_is_refused_where_there_is_no_folder() {
    let outputs = ArtifactOutputMap::new().route("a", "/nowhere/a");
    let error = targets(&outputs, &["a", "b"]).unwrap_err();
    assert!(matches!(error, OutputError::Unrouted { path } if path == "b"));
}

#[test]
fn paths_that_leave_the_folder_or_name_no_file_are_refused() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    refused(folder, &["/etc/passwd"], "absolute");
    refused(folder, &["../outside"], "\"..\"");
    refused(folder, &["ok", "a/../../outside"], "\"..\"");
    refused(folder, &["a/.."], "\"..\"");
    refused(folder, &[""], "empty");
    refused(folder, &["."], "name of a folder");
    refused(folder, &["./."], "name of a folder");
    refused(folder, &["a/"], "name of a folder");
    refused(folder, &["a\0b"], "NUL");
    refused(folder, &[".cfgsync-new-0"], "temporary");
    refused(folder, &[".cfgsync-old-0/a"], "temporary");
    refused(folder, &[&"x".repeat(300)], "cannot be looked at");
}

#[test]
fn links_below_the_folder_are_refused_and_the_folder_may_be_one() {
    let around = TempDir::new().unwrap();
    let at = |name: &str| around.path().join(name);
    fs::create_dir_all(at("root/dir")).unwrap();
    fs::create_dir(at("outside")).unwrap();
    symlink(at("outside"), at("root/out")).unwrap();
    symlink(at("root/dir"), at("root/dir/in")).unwrap();
    symlink(at("outside/absent"), at("root/dangling")).unwrap();
    symlink(at("root"), at("link-to-root")).unwrap();

    refused(&at("root"), &["ok", "out/file"], "is a link");
    refused(&at("root"), &["dir/in/file"], "is a link");
    refused(&at("root"), &["dangling"], "is a link");
    refused(&at("link-to-root"), &["out"], "is a link");
    let outputs = ArtifactOutputMap::new().under(at("link-to-root"));
    write_artifacts(&set(&["dir/file"]), &outputs).unwrap();
    assert!(at("root/dir/file").is_file());
}

#[test]
fn places_that_are_taken_are_refused() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    refused(folder.path(), &["dir"], "is a folder");
    refused(folder.path(), &["file/a"], "is not a folder");
    refused(folder.path(), &["socket"], "is a socket");
    let outputs = ArtifactOutputMap::new().route("null", "/dev/null");
    let text = targets(&outputs, &["null"]).unwrap_err().to_string();
    assert!(text.contains("is a device"), "{text}");
}

#[test]
fn two_artifacts_with_one_place_are_refused() {
    let folder = TempDir::new().unwrap();
    refused(folder.path(), &["a/b", "a/./b"], "both belong");
    refused(folder.path(), &["a/b", "c", "a//b"], "both belong");
    refused(
        folder.path(),
        &["a", "a/b"],
        "whose place is that of the file \"a\"",
    );
    refused(
        folder.path(),
        &["b", "b.c", "b/d/e"],
        "whose place is that of the file \"b\"",
    );
}

#[test]
fn a_route_and_a_path_with_one_place_are_refused_by_whatever_way_they_come() {
    let around = TempDir::new().unwrap();
    let at = |name: &str| around.path().join(name);
    fs::create_dir(at("root")).unwrap();
    symlink(at("root"), at("link")).unwrap();
    let same = |to: &str| {
        let outputs = ArtifactOutputMap::new()
            .route("/r", at(to))
            .under(at("root"));
        targets(&outputs, &["new/a", "/r"]).unwrap_err()
    };
    for to in ["root/new/a", "link/new/a", "root/../link/./new/a"] {
        let error = same(to);
        assert!(matches!(error, OutputError::Same { .. }), "{to}: {error}");
    }
    assert!(matches!(same("link/new"), OutputError::Inside { .. }));
    // Nobody knows where this is before "absent" is there, and it may be a link by then.
    let error = same("root/absent/../new/a");
    assert!(matches!(error, OutputError::Route { .. }), "{error}");
}

#[test]
fn routes_end_at_names_of_files_and_one_artifact_has_one() {
    let check = |to: &str| {
        let outputs = ArtifactOutputMap::new().route("a", to);
        targets(&outputs, &["a"]).unwrap_err().to_string()
    };
    for to in ["", "/folder/", "/folder/..", "/nul\0", "/.cfgsync-new-a"] {
        let text = check(to);
        assert!(
            text.contains("\"a\"") && text.contains(&format!("{to:?}")),
            "{text}"
        );
    }
    let outputs = ArtifactOutputMap::new().route("a", "/b").route("a", "/c");
    let error = targets(&outputs, &["a"]).unwrap_err();
    assert!(matches!(error, OutputError::TwoRoutes { .. }));
}

/// Everything below `folder`: links by where they lead, files by what is in them.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, kind) = entry
                .map(|entry| (entry.path(), entry.file_type().unwrap()))
                .unwrap();
            let content = if kind.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if kind.is_file() {
                fs::read(&path).unwrap()
            } else if kind.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else {
                b"special".to_vec()
            };
            found.insert(path, content);
        }
    }
    found
}

/// A folder `root` with links planted in it, beside things that nobody may touch.
fn planted() -> TempDir {
    let around = TempDir::new().unwrap();
    let at = |name: &str| around.path().join(name);
    fs::create_dir_all(at("root/dir/deep")).unwrap();
    fs::create_dir_all(at("outside/dir")).unwrap();
    fs::write(at("outside/file"), "untouched").unwrap();
    fs::write(at("root/file"), "old").unwrap();
    symlink("../outside", at("root/link")).unwrap();
    symlink("../../outside/file", at("root/dir/link")).unwrap();
    symlink("/", at("root/dir/deep/link")).unwrap();
    symlink("..", at("root/dir/up")).unwrap();
    symlink("../outside/absent", at("root/dangling")).unwrap();
    around
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["dir", "deep", "file", "link", "up", "dangling", "a", "outside"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["..", ".", "", "\0", ".cfgsync-new-1", "root", "..a", "~", "\\", "x\0y"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (200_usize..300).prop_map(|length| "n".repeat(length)),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::collection::vec(name(), 1..5).prop_map(|names| names.join("/")),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_path_writes_outside_the_folder_and_a_refused_one_writes_nothing(
        paths in prop::collection::btree_set(path(), 1..4),
    ) {
        let around = planted();
        let root = around.path().join("root");
        let before = tree(around.path());
        let files = ArtifactSet::new(paths.iter().map(|path| ArtifactFile::new(path.as_str(), "new"))).unwrap();
        let written = write_artifacts(&files, &ArtifactOutputMap::new().under(&root));

        let mut after = tree(around.path());
        let Ok(written) = written else {
            prop_assert_eq!(after, before);
            return Ok(());
        };
        prop_assert_eq!(written.len(), files.len());
        for target in &written {
            // As the system sees it, all links followed.
            let place = target.canonicalize().unwrap();
            prop_assert!(place.starts_with(root.canonicalize().unwrap()), "{place:?}");
            prop_assert_eq!(after.remove(target).unwrap(), b"new".to_vec());
        }
        // Besides the files that were written, there are new folders above them and nothing else.
        for (path, content) in after {
            let known = before.get(&path) == Some(&content);
            let folder = path.is_dir() && written.iter().any(|target| target.starts_with(&path));
            prop_assert!(known || folder, "{path:?} is new, or changed");
        }
    }
}
