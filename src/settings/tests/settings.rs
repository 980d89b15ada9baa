//! What people write in `trellis.toml` and in variables: what it comes to, and what they are told when it is wrong.

use std::{fs, num::NonZeroUsize, path::Path, time::Duration};

use tempfile::TempDir;
use trellis_domain::{Credential, NodeName};
use trellis_settings::{
    ColorChoice, Environment, Settings, SettingsError, SettingsSource, default_state_folder,
};

/// The secret that no text about anything may have in it.
const SECRET: &str = "correct horse";

fn load_with(text: &str, variables: &[(&str, &str)]) -> (Result<Settings, SettingsError>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trellis.toml"), text).unwrap();
    let source = SettingsSource {
        file: None,
        start: folder.path().to_owned(),
        environment: Environment::of(variables.iter().copied()),
    };
    (Settings::load(&source), folder)
}

#[track_caller]
fn load(text: &str) -> Settings {
    load_with(text, &[]).0.unwrap()
}

/// What is said about `text`, without the folder that it is in.
#[track_caller]
fn refused_with(text: &str, variables: &[(&str, &str)]) -> String {
    let (loaded, folder) = load_with(text, variables);
    let error = loaded.unwrap_err();
    let all = format!("{error} {error:?} {}", error.render(true));
    assert!(!all.contains(SECRET), "{all}");
    let folder = format!("{}/", folder.path().display());
    error.render(false).replace(&folder, "")
}

#[track_caller]
fn refused(text: &str) -> String {
    refused_with(text, &[])
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

#[test]
fn no_file_and_no_variables_are_no_settings() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = folder.path().join("Cargo.toml");
    fs::write(workspace, "[workspace]\n").unwrap();
    let settings = Settings::load(&SettingsSource {
        file: None,
        start: folder.path().join("features"),
        environment: Environment::of([("", ""); 0]),
    })
    .unwrap();
    assert_eq!(settings.file, None);
    assert_eq!(settings.run, trellis_settings::RunSettings::default());
    assert!(settings.clusters.is_empty() && settings.nodes.is_empty());
}

#[test]
fn every_key_of_a_run_is_read_and_folders_begin_at_the_file() {
    let text = r#"
        [run]
        concurrency = 3
        nodes = 1_0
        fail_fast = true
        retry = 0
        retry_after = "3s"
        deployer = "local"
        ports = "20000-20999"
        out = "runs"
        state = "/var/state"
        keep = true
        color = "never"
        log = "debug"
    "#;
    let (settings, folder) = load_with(text, &[]);
    let run = settings.unwrap().run;
    assert_eq!(run.concurrency, NonZeroUsize::new(3));
    assert_eq!(run.nodes, NonZeroUsize::new(10));
    assert_eq!((run.fail_fast, run.keep), (Some(true), Some(true)));
    assert_eq!(run.retry, Some(0));
    assert_eq!(run.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(run.deployer.as_deref(), Some("local"));
    assert_eq!(run.ports, Some(20000..=20999));
    assert_eq!(run.out, Some(folder.path().join("runs")));
    assert_eq!(run.state.as_deref(), Some(Path::new("/var/state")));
    assert_eq!(run.color, Some(ColorChoice::Never));
    assert_eq!(run.log.as_deref(), Some("debug"));
}

#[test]
fn a_variable_wins_over_the_file_and_an_empty_one_is_none() {
    let text = "[run]\nnodes = 3\ndeployer = \"local\"\nout = \"runs\"\ncolor = \"always\"\n";
    let variables = [
        ("TRELLIS_NODES", "7"),
        ("TRELLIS_DEPLOYER", ""),
        ("TRELLIS_OUT", "elsewhere"),
        ("NO_COLOR", "1"),
    ];
    let run = load_with(text, &variables).0.unwrap().run;
    assert_eq!(run.nodes, NonZeroUsize::new(7));
    assert_eq!(run.deployer.as_deref(), Some("local"));
    assert_eq!(run.out.as_deref(), Some(Path::new("elsewhere")));
    assert_eq!(run.color, Some(ColorChoice::Never));
}

#[test]
fn clusters_and_nodes_are_found_by_name() {
    let text = r#"
        [clusters.staging]
        provider = "static"
        cluster = "staging.yaml"

        [clusters.mine]
        provider = "up"
        cluster = "mine"

        [nodes.PUBLIC_1]
        url = "http://10.0.0.2:8080"

        [nodes.PUBLIC_2]
        endpoints = { http = "http://10.0.0.3:8080", p2p = "tcp://10.0.0.3:9000" }
    "#;
    let (settings, folder) = load_with(text, &[]);
    let settings = settings.unwrap();
    let file = folder.path().join("staging.yaml").display().to_string();
    assert_eq!(settings.cluster("staging").unwrap().attach.cluster, file);
    assert_eq!(settings.cluster("mine").unwrap().attach.cluster, "mine");
    let node = settings.external(&name("PUBLIC_1")).unwrap();
    let endpoint = node.endpoints.first().unwrap();
    assert_eq!(endpoint.to_string(), "http=http://10.0.0.2:8080");
    assert!(node.listed_in.ends_with("trellis.toml"));
    let several = settings.external(&name("PUBLIC_2")).unwrap();
    assert_eq!(several.endpoints.len(), 2);

    assert_eq!(
        settings.cluster("stagin").unwrap_err().to_string(),
        "the settings know no cluster \"stagin\"; did you mean \"staging\"?"
    );
    assert_eq!(
        settings.external(&name("X")).unwrap_err().to_string(),
        "the settings know no node \"X\"; known: PUBLIC_1, PUBLIC_2"
    );
}

#[test]
fn a_credential_is_read_when_it_is_used_from_a_variable_or_a_file() {
    let text = r#"
        [nodes.A]
        url = "http://10.0.0.2:80"
        credential = { basic = { user = "carol", password_env = "A_PASSWORD" } }

        [nodes.B]
        url = "http://10.0.0.3:80"
        credential = { bearer = { token_file = "b.token" } }

        [nodes.C]
        url = "http://10.0.0.4:80"
        credential.bearer.token_env = "C_TOKEN"
    "#;
    let (settings, folder) = load_with(text, &[("A_PASSWORD", SECRET)]);
    let settings = settings.unwrap();
    let credential = |node| {
        let external = settings.external(&name(node))?;
        Ok::<_, trellis_settings::LookupError>(external.credential.unwrap())
    };
    let Credential::Basic { user, password } = credential("A").unwrap() else {
        panic!("it is basic")
    };
    assert_eq!((user.as_str(), password.expose()), ("carol", SECRET));

    let error = credential("B").unwrap_err();
    assert_eq!(error.to_string(), "the credential of B cannot be had");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("b.token"), "{cause}");
    fs::write(folder.path().join("b.token"), "abc\n").unwrap();
    let Credential::Bearer(token) = credential("B").unwrap() else {
        panic!("it is a token")
    };
    assert_eq!(token.expose(), "abc");

    let error = credential("C").unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the variable C_TOKEN, which should hold the token, is not set"
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line_and_the_nearest_key() {
    insta::assert_snapshot!(refused_with(
        "[run]\nconcurency = 2\nnodes = 0\ncolor = \"allways\"\n\n[cluster.a]\nprovider = \"static\"\n\n[clusters.b]\ncluster = \"b.yaml\"\n\n[nodes.A]\nurl = \"10.0.0.2\"\n\n[nodes.\"A B\"]\n",
        &[("TRELLIS_NODES", "many")],
    ));
}

#[test]
fn a_secret_in_the_file_is_refused_and_shown_by_no_problem() {
    let text = format!(
        "[nodes.A]\nurl = \"http://carol:{SECRET}@10.0.0.2:80\"\ncredential = {{ basic = {{ user = \"carol\", password = \"{SECRET}\" }} }}\n[nodes.B]\nurl = \"http://10.0.0.3:80\"\ncredential = {{ bearer = {{ tokn = \"{SECRET}\", token_env = \"{SECRET}\" }} }}\nurls = [\"http://carol:{SECRET}@10.0.0.4\"]\napi_token = \"{SECRET}\"\n"
    );
    insta::assert_snapshot!(refused(&text));
}

#[test]
fn a_file_that_is_not_toml_says_where_and_shows_no_values() {
    let text = format!(
        "[nodes.A]\nurl = \"http://10.0.0.2:80\ncredential = {{ bearer = {{ token = \"{SECRET}\" }} }}\n= 3\n"
    );
    insta::assert_snapshot!(refused(&text));
}

#[test]
fn a_credential_is_one_thing_from_one_place() {
    let both = "[nodes.A]\nurl = \"http://a:1\"\ncredential = { basic = { user = \"u\", password_env = \"A\" }, bearer = { token_env = \"B\" } }\n";
    assert!(refused(both).contains("nodes.A.credential must be either basic or bearer"));
    let twice = "[nodes.A]\nurl = \"http://a:1\"\ncredential.bearer = { token_env = \"B\", token_file = \"b\" }\n";
    assert!(refused(twice).contains("must say once where the token is"));
    let nowhere = "[nodes.A]\nurl = \"http://a:1\"\ncredential.basic = { password_env = \"B\" }\n";
    assert!(refused(nowhere).contains("nodes.A.credential.basic names no user"));
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let source = |file: Option<&str>| SettingsSource {
        file: file.map(Into::into),
        start: "/nonexistent".into(),
        environment: Environment::of([("TRELLIS_CONFIG", "/nonexistent/variable.toml")]),
    };
    let error = Settings::load(&source(None)).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/variable.toml"), "{error}");
    let error = Settings::load(&source(Some("/nonexistent/said.toml")));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/said.toml"), "{error}");
}

#[test]
fn a_wrong_variable_is_named_and_its_value_is_not_shown() {
    let said = refused_with("", &[("TRELLIS_NODES", SECRET)]);
    assert!(
        said.contains("the variable TRELLIS_NODES must be a whole number, 1 or more"),
        "{said}"
    );
}

#[test]
fn state_is_kept_where_the_user_keeps_state() {
    let state = |variables: &[(&str, &str)]| {
        let environment = Environment::of(variables.iter().copied());
        default_state_folder(&environment).display().to_string()
    };
    assert_eq!(state(&[("XDG_STATE_HOME", "/x")]), "/x/trellis");
    assert_eq!(state(&[("HOME", "/h")]), "/h/.local/state/trellis");
    assert_eq!(
        state(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
        "/h/.local/state/trellis"
    );
    let said = Environment::of([("TRELLIS_STATE", "/s"), ("HOME", "/h")]);
    let source = SettingsSource {
        file: None,
        start: "/nonexistent".into(),
        environment: said,
    };
    let settings = Settings::load(&source).unwrap();
    assert_eq!(settings.state_folder(), Path::new("/s"));
    assert!(load("").state_folder().ends_with("trellis"));
}

/// The example of the reference is one that works.
#[test]
fn the_example_of_the_documentation_is_read() {
    let page = include_str!("../../../docs/src/reference/settings.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let settings = load(example);
    assert!(settings.run.nodes.is_some());
    assert!(!settings.clusters.is_empty() && !settings.nodes.is_empty());
}
