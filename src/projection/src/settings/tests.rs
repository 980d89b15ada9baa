//! Tests of settings, from files of each language and from variables.

use std::fs;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn load(name: &str, text: &str, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    Settings::load(Some(&file), &variables(pairs))
}

const REQUIRED: [(&str, &str); 3] = [
    ("PROJECTION_STREAM", "EVENTS"),
    ("PROJECTION_STORAGE_PATH", "/data"),
    ("PROJECTION_MANIFEST", "manifest.yaml"),
];

#[test]
fn yaml_toml_and_json_say_the_same() {
    let yaml = "stream: EVENTS\nstorage_path: /data\nmanifest: m.yaml\nsubjects: [ev.>]\nbatch_within: 20ms\nlanes: 2\n";
    let toml = "stream = 'EVENTS'\nstorage_path = '/data'\nmanifest = 'm.yaml'\nsubjects = ['ev.>']\nbatch_within = '20ms'\nlanes = 2\n";
    let json = r#"{"stream":"EVENTS","storage_path":"/data","manifest":"m.yaml","subjects":["ev.>"],"batch_within":"20ms","lanes":2}"#;
    let read = load("p.yaml", yaml, &[]).unwrap();
    assert_eq!(read.batch.within, Duration::from_millis(20));
    assert_eq!(read.subjects, ["ev.>"]);
    assert_eq!(load("p.toml", toml, &[]).unwrap(), read);
    assert_eq!(load("p.json", json, &[]).unwrap(), read);
}

#[test]
fn variables_are_enough_and_win_over_the_file() {
    let read = Settings::load(None, &variables(&REQUIRED)).unwrap();
    assert_eq!(read.stream, "EVENTS");
    let yaml = "stream: OTHER\nstorage_path: /data\nmanifest: m.yaml\ndurability: commit\n";
    let pairs = [
        ("PROJECTION_STREAM", "EVENTS"),
        ("PROJECTION_DURABILITY", "100ms"),
        ("PROJECTION_SUBJECTS", "a.>, b.>"),
    ];
    let read = load("p.yaml", yaml, &pairs).unwrap();
    assert_eq!(read.stream, "EVENTS");
    assert_eq!(
        read.durability,
        Durability::Interval(Duration::from_millis(100))
    );
    assert_eq!(read.subjects, ["a.>", "b.>"]);
}

#[test]
fn everything_that_is_wrong_is_named_at_once_and_no_value_is_shown() {
    let yaml = "stream: ''\nsource: push\nbatch_event_max: 5\nqueue_bytes_max: s3cret\nlanes: 0\n";
    let pairs = [
        ("PROJECTION_DURABILITY", "s3cret"),
        ("PROJECTION_NONSENSE", "s3cret"),
        ("HOME", "/root"),
    ];
    let error = load("p.yaml", yaml, &pairs).unwrap_err();
    let subjects: Vec<_> = error
        .problems()
        .iter()
        .map(SettingsProblem::subject)
        .collect();
    assert_eq!(
        subjects,
        [
            "batch_event_max",
            "lanes",
            "queue_bytes_max",
            "source",
            "stream",
            "PROJECTION_DURABILITY",
            "PROJECTION_NONSENSE",
            "storage_path",
            "manifest",
        ]
    );
    let text = error.to_string();
    assert!(text.contains("did you mean batch_events_max?"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_file_that_is_missing_or_in_another_language_is_a_problem_like_others() {
    let error = Settings::load(Some(Path::new("nowhere.yaml")), &variables(&REQUIRED)).unwrap_err();
    assert!(
        error.to_string().contains("nowhere.yaml cannot be read"),
        "{error}"
    );
    let error = load("p.ini", "", &REQUIRED).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("must end in .yaml, .toml or .json"),
        "{error}"
    );
}

#[test]
fn each_field_has_a_variable_and_no_two_share_a_key() {
    let mut keys: Vec<_> = fields().map(|field| field.key).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all);
    assert!(fields().all(|field| field.variable.starts_with("PROJECTION_")));
}
