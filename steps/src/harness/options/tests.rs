//! What arguments, variables and files come to.

use super::*;

/// The options by these arguments, where nothing else is said.
fn parse(arguments: &[&str]) -> Result<HarnessOptions, clap::Error> {
    let mut options = HarnessOptions::try_parse_from(["cucumber"].iter().chain(arguments))?;
    let nothing = Environment::of([("", ""); 0]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), "[workspace]").unwrap();
    options.complete(folder.path(), nothing).unwrap();
    Ok(options)
}

/// The options by these arguments, variables and this file.
fn complete(
    arguments: &[&str],
    variables: &[(&str, &str)],
    file: &str,
) -> Result<HarnessOptions, SettingsError> {
    let arguments = ["cucumber"].iter().chain(arguments);
    let mut options = HarnessOptions::try_parse_from(arguments).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trellis.toml"), file).unwrap();
    let environment = Environment::of(variables.iter().copied());
    options
        .complete(folder.path(), environment)
        .map(|_| options)
}

#[test]
fn the_options_are_consistent() {
    HarnessOptions::command().debug_assert();
}

#[test]
fn what_cargo_test_says_is_understood() {
    let options = parse(&[
        "leader",
        "--nocapture",
        "--show-output",
        "--test-threads",
        "3",
        "--exact",
        "-q",
        "--include-ignored",
        "--format",
        "terse",
        "--skip",
        "slow",
    ])
    .unwrap();
    assert_eq!(options.concurrency(), 3);
    let selection = options.selection(Path::new("/nonexistent/features"));
    assert_eq!(
        (selection.filters, selection.skips),
        (vec!["leader".into()], vec!["slow".into()])
    );
    assert!(options.is_terse() && selection.exact && !options.wants_nothing());
    assert!(parse(&["--ignored"]).unwrap().wants_nothing());
}

#[test]
fn what_cucumber_users_say_is_understood() {
    let options = parse(&[
        "-t",
        "@smoke and not @slow",
        "-n",
        "^A",
        "-i",
        "x.feature",
        "-c",
        "2",
        "--retry",
        "1",
        "--retry-after",
        "3s",
        "--retry-tag-filter",
        "@flaky",
        "--fail-fast",
        "-vv",
        "--color",
        "never",
    ])
    .unwrap();
    assert_eq!(options.retry_after, Some(Duration::from_secs(3)));
    assert!(options.fail_fast && options.verbose == 2 && options.color == Color::Never);
    assert!(parse(&["--tags", "@a and ("]).is_err());
}

#[test]
fn the_command_line_wins_over_variables_and_they_over_the_file() {
    let file = "[run]\nnodes = 11\nconcurrency = 5\nkeep = true\nfail_fast = true\ncolor = \"always\"\nretry = 2\nretry_after = \"3s\"\n";
    let by_file = complete(&[], &[], file).unwrap();
    assert_eq!((by_file.budget(), by_file.concurrency()), (11, 5));
    assert!(by_file.keep && by_file.fail_fast && by_file.color == Color::Always);
    assert_eq!(by_file.retry, Some(2));
    assert_eq!(by_file.retry_after, Some(Duration::from_secs(3)));

    let variables = [("TRELLIS_NODES", "12"), ("NO_COLOR", "1")];
    let by_variable = complete(&[], &variables, file).unwrap();
    assert_eq!((by_variable.budget(), by_variable.concurrency()), (12, 5));
    assert_eq!(by_variable.color, Color::Never);

    let said = [
        "--nodes=13",
        "--keep=false",
        "--color=always",
        "--retry=0",
        "--test-threads=1",
    ];
    let by_command = complete(&said, &variables, file).unwrap();
    assert_eq!((by_command.budget(), by_command.concurrency()), (13, 1));
    assert!(!by_command.keep && by_command.fail_fast);
    assert_eq!(by_command.color, Color::Always);
    assert_eq!(by_command.retry, Some(0));
}

#[test]
fn a_variable_that_makes_no_sense_is_named() {
    for name in ["TRELLIS_NODES", "CUCUMBER_FILTER_TAGS"] {
        let error = complete(&[], &[(name, "@a and (")], "").unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_wait_between_tries_alone_asks_for_no_try() {
    let options = complete(&[], &[], "[run]\nretry_after = \"3s\"\n").unwrap();
    assert_eq!((options.retry, options.retry_after), (None, None));
}

#[test]
fn a_path_is_an_input_and_anything_else_a_filter() {
    let root = Path::new("/nonexistent/features");
    for input in ["a.feature", "a/b.feature:12", "features/**/*.feature", "/"] {
        assert!(Selection::is_input(input, root), "{input}");
    }
    for filter in ["leader", "a.feature:12: The leader dies", "fail over"] {
        assert!(!Selection::is_input(filter, root), "{filter}");
    }
}

#[test]
fn ports_are_a_range() {
    assert_eq!(port_range("20000-20999"), Ok(20000..=20999));
    for bad in ["20000", "2-1", "0-5", "a-b", "1-70000"] {
        assert!(port_range(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_budget_always_has_room_for_a_large_scenario() {
    assert!(parse(&[]).unwrap().budget() >= NODES_MIN);
    assert_eq!(parse(&["--nodes", "3"]).unwrap().budget(), 3);
}

#[test]
fn a_missing_program_is_tolerated_unless_it_is_ci_that_misses_it() {
    let missing =
        |arguments: &[&str], ci: &str| complete(arguments, &[("CI", ci)], "").unwrap().missing;
    assert_eq!(missing(&[], ""), Missing::Skip);
    assert_eq!(missing(&[], "false"), Missing::Skip);
    assert_eq!(missing(&[], "true"), Missing::Fail);
    assert_eq!(missing(&["--missing", "skip"], "true"), Missing::Skip);
    assert_eq!(missing(&["--missing", "fail"], ""), Missing::Fail);
}
