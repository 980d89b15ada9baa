//! Writing when the disk or somebody with a signal is in the way: full disks, read-only ones, writers killed in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_runtime::{ArtifactOutputMap, write_artifacts};

/// The variables of a writer: where it writes, which version, and how large each file is.
const FOLDER: &str = "T20_FOLDER";
const VERSION: &str = "T20_VERSION";
const SIZE: &str = "T20_SIZE";
/// How many files a set has.
const FILES: usize = 60;
/// How often a writer is killed.
const KILLS: u64 = 60;

/// A set whose every byte says its version.
fn set(version: u8, size: usize) -> ArtifactSet {
    let content = char::from(version).to_string().repeat(size);
    let file = |n| ArtifactFile::new(format!("part-{}/{n}.txt", n % 3), content.clone());
    ArtifactSet::new((0..FILES).map(file)).unwrap()
}

/// This program again, as a writer of one set.
fn writer(folder: &Path, version: char, size: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_writer_of_the_other_tests", "--nocapture"])
        .env(FOLDER, folder)
        .env(VERSION, version.to_string())
        .env(SIZE, size.to_string());
    command
}

/// Does nothing unless another test here starts it.
#[test]
fn the_writer_of_the_other_tests() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let version = std::env::var(VERSION).unwrap().as_bytes()[0];
    let size = std::env::var(SIZE).unwrap().parse().unwrap();
    let outputs = ArtifactOutputMap::new().under(Path::new(&folder));
    if let Err(error) = write_artifacts(&set(version, size), &outputs) {
        println!("refused: {error}: {:?}", std::error::Error::source(&error));
        std::process::exit(3);
    }
}

/// All files below `folder` by path, with what is in them.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read_to_string(&path).unwrap();
                found.insert(path.display().to_string(), content);
            }
        }
    }
    found
}

/// Runs `then` after `mount` has put a file system of its own at `folder`, which others never see.
fn mounted(folder: &Path, mount: &str, then: &[Command]) -> Output {
    let mut script = format!("set -eu; cd '{}'; {mount}\n", folder.display());
    for command in then {
        for (key, value) in command.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy();
            writeln!(script, "export {}='{value}'", key.to_string_lossy()).unwrap();
        }
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        writeln!(script, "{} || echo \"status $?\"", words.join(" ")).unwrap();
    }
    script.push_str("cd /; find \"$T20_FOLDER\" -type f | sort | xargs cat | tr -d '\\n' | fold -w1 | sort | uniq -c\nfind \"$T20_FOLDER\" -name '.cfgsync-*'\n");
    Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .output()
        .expect("unshare is part of util-linux")
}

#[test]
fn a_disk_that_fills_up_keeps_the_old_set() {
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m none .";
    let old = writer(folder.path(), 'a', 5_000);
    let new = writer(folder.path(), 'b', 30_000);
    let output = mounted(folder.path(), mount, &[old, new]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("No space left on device"), "{output:?}");
    assert!(text.contains("none of the set was"), "{text}");
    assert!(text.contains("free space on that file system"), "{text}");
    assert!(text.contains("status 3"), "{text}");
    let kept = format!("{} a", FILES * 5_000);
    assert!(text.contains(&kept), "the old set is not whole: {text}");
    let counts = text.lines().map(str::trim);
    let new = counts.filter(|line| line.ends_with(" b"));
    assert_eq!(new.count(), 0, "something of the new set is there: {text}");
    assert!(!text.contains("/.cfgsync-"), "files were left: {text}");
}

#[test]
fn a_disk_that_is_read_only_keeps_the_old_set() {
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs none .";
    let old = writer(folder.path(), 'a', 100);
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,ro"]).arg(folder.path());
    let new = writer(folder.path(), 'b', 100);
    let output = mounted(folder.path(), mount, &[old, remount, new]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Read-only file system"), "{output:?}");
    assert!(
        text.contains("mount that file system for writing"),
        "{text}"
    );
    assert!(text.contains("status 3"), "{text}");
    assert!(text.contains(&format!("{} a", FILES * 100)), "{text}");
}

/// Kills the writer once `moment` has come or it has ended, and says whether it was there to be killed.
fn killed_at(mut writer: Child, mut moment: impl FnMut() -> bool) -> bool {
    while !moment() && writer.try_wait().unwrap().is_none() {}
    let _ = writer.kill();
    writer.wait().unwrap().signal().is_some()
}

/// The names under which files of the old set wait for the end of a swap.
fn set_aside(folder: &Path) -> BTreeSet<OsString> {
    let parts = (0..3).map(|part| fs::read_dir(folder.join(format!("part-{part}"))).unwrap());
    let names = parts.flatten().flatten().map(|entry| entry.file_name());
    names
        .filter(|name| name.as_encoded_bytes().starts_with(b".cfgsync-old-"))
        .collect()
}

#[test]
fn a_writer_that_is_killed_leaves_whole_files_and_the_next_one_a_whole_set() {
    let folder = tempfile::tempdir().unwrap();
    let size = 50_000;
    let outputs = ArtifactOutputMap::new().under(folder.path());
    write_artifacts(&set(b'a', size), &outputs).unwrap();
    let (mut killed, mut mixed) = (0, 0);
    for round in 0..KILLS {
        let before = set_aside(folder.path());
        let version = if round % 2 == 0 { 'b' } else { 'a' };
        let child = writer(folder.path(), version, size)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        // Half of them in the swap, the others at any moment: the pauses of all rounds cover a whole write.
        let pause = Duration::from_micros(2_000 * (round % 40));
        let here = if round % 4 < 2 {
            killed_at(child, || !set_aside(folder.path()).is_subset(&before))
        } else {
            killed_at(child, || begun.elapsed() > pause)
        };
        killed += u64::from(here);
        let found = tree(folder.path());
        let files: Vec<&String> = found
            .iter()
            .filter(|(path, _)| !path.contains(".cfgsync-"))
            .map(|(_, content)| content)
            .collect();
        assert_eq!(files.len(), FILES, "round {round}");
        for content in &files {
            assert_eq!(content.len(), size, "round {round}: a file is torn");
            let first = content.as_bytes()[0];
            assert!(content.bytes().all(|byte| byte == first), "round {round}");
        }
        mixed += u64::from(files.iter().any(|content| *content != files[0]));
    }
    println!("{killed} of {KILLS} writers were killed, {mixed} in the middle of a swap");
    assert!(killed > KILLS / 10 && mixed > 0);

    write_artifacts(&set(b'c', size), &outputs).unwrap();
    let found = tree(folder.path());
    assert_eq!(found.len(), FILES, "something was left: {:?}", found.keys());
    let whole = "c".repeat(size);
    assert!(found.values().all(|content| *content == whole));
}
