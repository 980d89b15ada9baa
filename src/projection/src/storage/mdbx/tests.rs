//! Tests of MDBX as an engine: names of tables that are given to others.

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;

fn open(folder: &Path) -> Mdbx {
    let options = StoreOptions {
        engine: crate::settings::Engine::Mdbx,
        bytes_max: 64 << 20,
        durability: Durability::Interval(std::time::Duration::from_mins(1)),
    };
    Mdbx::open(folder, options).unwrap()
}

fn put(tables: &mut dyn KvWrite, name: &str, value: &[u8]) {
    let mut entries = [(&b"k"[..], Some(value))].into_iter();
    tables.put_all(name, &mut entries).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    /// Undone: the process thinks of something else in the middle.
    Undone(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..12_u8, any::<u8>()).prop_map(|(name, value)| Step::Put(name, value)),
        4 => (0..12_u8).prop_map(Step::Remove),
        1 => (0..12_u8).prop_map(Step::Undone),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn names_mean_what_was_put_under_them_and_there_are_never_more_tables_than_names_at_once(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut model = std::collections::BTreeMap::<u8, u8>::new();
        let mut most = 0;
        for step in steps {
            match step {
                Step::Put(name, value) => {
                    store.write(&mut |tables| {
                        put(tables, &format!("t{name}"), &[value]);
                        Ok(())
                    }).unwrap();
                    model.insert(name, value);
                }
                Step::Remove(name) => {
                    store.write(&mut |tables| tables.remove(&format!("t{name}"))).unwrap();
                    model.remove(&name);
                }
                Step::Undone(name) => {
                    let undone = store.write(&mut |tables| {
                        tables.remove(&format!("t{name}"))?;
                        put(tables, "u", b"u");
                        Err(StorageError::Refused)
                    });
                    prop_assert!(undone.is_err());
                }
                Step::Reopen => {
                    drop(store);
                    store = open(folder.path());
                }
            }
            most = most.max(model.len());
            let read = store.read().unwrap();
            for name in 0..12_u8 {
                let found = read.get(&format!("t{name}"), b"k").unwrap();
                prop_assert_eq!(found, model.get(&name).map(|value| vec![*value]));
            }
            prop_assert_eq!(read.get("u", b"k").unwrap(), None);
            drop(read);
            prop_assert!(store.tables().count() <= most, "{} of {most}", store.tables().count());
        }
    }
}

const CHILD: &str = "PROJECTION_MDBX_CHILD";

/// Not a test of its own: another process that only reads, since one process opens a folder once.
#[test]
fn a_child_reads_whenever_it_is_told_to() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let store = Mdbx::open_to_read(Path::new(&folder)).unwrap();
    let shown = |read: &dyn KvRead| {
        let of = |name| read.get(name, b"k").unwrap().map(|bytes| bytes[0]);
        println!("\nold {:?} new {:?}", of("old"), of("new"));
    };
    let before = store.read().unwrap();
    shown(&*before);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    shown(&*before);
    drop(before);
    shown(&*store.read().unwrap());
}

#[test]
fn a_reader_that_began_before_a_table_got_another_name_sees_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let write = |change: &mut dyn FnMut(&mut dyn KvWrite)| {
        let written = store.write(&mut |tables| {
            change(tables);
            Ok(())
        });
        written.unwrap();
    };
    write(&mut |tables| put(tables, "old", &[1]));
    let child = "storage::mdbx::tests::a_child_reads_whenever_it_is_told_to";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let mut said = lines
        .map_while(Result::ok)
        .filter(|line| line.starts_with("old "));
    assert_eq!(said.next().unwrap(), "old Some(1) new None");
    let before = store.read().unwrap();
    // Each by a thread of its own, as a reader and a writer always are.
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let written = store.write(&mut |tables| tables.remove("old"));
            written.unwrap();
            let written = store.write(&mut |tables| {
                put(tables, "new", &[2]);
                Ok(())
            });
            written.unwrap();
        });
        writing.join().unwrap();
    });
    assert_eq!(before.get("old", b"k").unwrap(), Some(vec![1]));
    assert_eq!(before.get("new", b"k").unwrap(), None);
    drop(before);
    let after = store.read().unwrap();
    assert_eq!(after.get("old", b"k").unwrap(), None);
    assert_eq!(after.get("new", b"k").unwrap(), Some(vec![2]));

    // The other process has opened nothing since, and the table goes by another name.
    let mut told = other.stdin.take().unwrap();
    told.write_all(b"on\n").unwrap();
    assert_eq!(said.next().unwrap(), "old Some(1) new None");
    assert_eq!(said.next().unwrap(), "old None new Some(2)");
    assert!(other.wait().unwrap().success());
}
