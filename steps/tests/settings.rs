//! Settings that cannot be used end a run before anything else happens. Without arguments this program is the test, with `--config` the harness that it runs.

use std::{
    env, fs,
    process::{Command, ExitCode, Output},
};

use trellis_steps::Harness;

fn main() -> ExitCode {
    if env::args_os().any(|argument| argument == "--config") {
        return Harness::new(env::temp_dir()).main();
    }
    bad_settings_end_the_run_with_exit_code_2_and_are_drawn();
    good_settings_let_the_run_go_on();
    println!("2 passed");
    ExitCode::SUCCESS
}

fn run(settings: &str) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("trellis.toml");
    fs::write(&file, settings).expect("a file can be written");
    let output = Command::new(env::current_exe().expect("this program is somewhere"))
        .arg("--config")
        .arg(&file)
        .env_remove("TRELLIS_NODES")
        .output()
        .expect("this program can be run");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, printed)
}

fn bad_settings_end_the_run_with_exit_code_2_and_are_drawn() {
    let (output, printed) = run("[run]\nnodse = 3\ncolor = \"allways\"\n");
    assert_eq!(output.status.code(), Some(2), "{printed}");
    for said in [
        "unknown key run.nodse",
        "trellis.toml:2:1",
        "did you mean nodes?",
        "run.color must be one of",
        "the settings cannot be used; nothing was started",
    ] {
        assert!(printed.contains(said), "{said:?} is not in:\n{printed}");
    }
}

/// This harness has no backend, which is the next thing that is looked at.
fn good_settings_let_the_run_go_on() {
    let (_, printed) = run("[run]\ndeployer = \"nowhere\"\n");
    assert!(
        printed.contains("there is no backend \"nowhere\""),
        "{printed}"
    );
}
