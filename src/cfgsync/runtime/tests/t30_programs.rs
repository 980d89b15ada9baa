//! The two programs, as whoever starts them sees them: what they print, write and end with.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const SERVER: &str = env!("CARGO_BIN_EXE_cfgsync-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_cfgsync-client");

const BUNDLE: &str = "
nodes:
  - identifier: node-1
    files: [{path: node.yaml, content: 'id: 1', mode: '0600'}]
";

/// A server that is killed with the test.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(folder: &Path, config: &str) -> Command {
    // Unless the test has one of its own.
    if !folder.join("bundle.yaml").exists() {
        fs::write(folder.join("bundle.yaml"), BUNDLE).unwrap();
    }
    fs::write(folder.join("server.yaml"), config).unwrap();
    let mut command = Command::new(SERVER);
    command.arg("--config").arg(folder.join("server.yaml"));
    command
}

fn serve(folder: &Path, more: &str) -> Server {
    let config = format!("port: 0\nsource: {{kind: bundle, bundle_path: bundle.yaml}}\n{more}\n");
    let mut child = configure(folder, &config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line.trim().strip_prefix("serving on ").expect(&line);
    Server {
        url: url.to_owned(),
        child,
    }
}

fn client(url: &str, output: &Path, variables: &[(&str, &str)], program: &[&str]) -> Output {
    client_command(url, output, variables, program)
        .output()
        .unwrap()
}

fn client_command(
    url: &str,
    output: &Path,
    variables: &[(&str, &str)],
    program: &[&str],
) -> Command {
    let mut command = Command::new(CLIENT);
    command
        .env_clear()
        .env("CFGSYNC_SERVER", url)
        .env("CFGSYNC_IDENTIFIER", "node-1")
        .env("CFGSYNC_OUTPUT_DIR", output)
        .env("CFGSYNC_DEADLINE_SECS", "20")
        .envs(variables.iter().copied());
    if !program.is_empty() {
        command.arg("--").args(program);
    }
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_client_becomes_the_program_with_its_files_in_place() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(home.path(), "");
    let file = out.path().join("node.yaml");
    let program = ["/bin/cat", file.to_str().unwrap()];
    let done = client(&server.url, out.path(), &[], &program);
    assert_eq!(done.status.code(), Some(0), "{}", errors(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "id: 1");

    let missing = client(&server.url, out.path(), &[], &["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(errors(&missing).contains("/no/such/program cannot be run"));
}

#[test]
fn a_program_that_fails_is_what_the_caller_sees() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(home.path(), "");
    let done = client(&server.url, out.path(), &[], &["/bin/sh", "-c", "exit 7"]);
    assert_eq!(done.status.code(), Some(7), "{}", errors(&done));
}

#[test]
fn a_token_opens_what_is_closed_without_it() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(home.path().join("token"), "sesame\n").unwrap();
    let server = serve(home.path(), "token_file: token");
    let without = client(&server.url, out.path(), &[], &[]);
    assert_eq!(without.status.code(), Some(1));
    assert!(errors(&without).contains("401"), "{}", errors(&without));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);

    let with = client(&server.url, out.path(), &[("CFGSYNC_TOKEN", "sesame")], &[]);
    assert_eq!(with.status.code(), Some(0), "{}", errors(&with));
    assert!(!errors(&with).contains("sesame"));
}

#[test]
fn the_program_does_not_get_the_token() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(home.path().join("token"), "sesame\n").unwrap();
    let server = serve(home.path(), "token_file: token");
    let variables = [("CFGSYNC_TOKEN", "sesame"), ("THE_PROGRAMS_OWN", "kept")];
    let done = client(&server.url, out.path(), &variables, &["/usr/bin/env"]);
    assert_eq!(done.status.code(), Some(0), "{}", errors(&done));
    let environment = String::from_utf8_lossy(&done.stdout);
    assert!(environment.contains("THE_PROGRAMS_OWN=kept"));
    assert!(!environment.contains("sesame"), "{environment}");
}

/// Enough for a signal to find the client at it.
const MANY: usize = 300;

/// Sends SIGTERM to a client as soon as its folder has a file whose name begins so; gives its exit code.
fn terminated_at(prefix: &str) -> (Option<i32>, Vec<String>) {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = "x".repeat(50_000);
    let file = |index| format!("      - {{path: 'file-{index:03}', content: '{content}'}}\n");
    let files: Vec<String> = (0..MANY).map(file).collect();
    let files = files.concat();
    let bundle = format!("nodes:\n  - identifier: node-1\n    files:\n{files}");
    fs::write(home.path().join("bundle.yaml"), bundle).unwrap();
    let server = serve(home.path(), "");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(out.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    };

    let mut command = client_command(&server.url, out.path(), &[], &["/bin/false"]);
    let mut client = command.stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !names().iter().any(|name| name.starts_with(prefix)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing came");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&client), Signal::TERM).unwrap();
    let code = client.wait().unwrap().code();
    (code, names())
}

#[test]
fn a_signal_does_not_cut_a_write_off() {
    for prefix in [".cfgsync-new-", "file-"] {
        let (code, names) = terminated_at(prefix);
        // With its first file in place it may be done, and the program, before the signal comes.
        assert!(code == Some(143) || prefix == "file-", "{code:?}");
        let whole = names.iter().all(|name| name.starts_with("file-"));
        assert!(whole && names.len() == MANY, "{prefix}: {names:?}");
    }
}

#[test]
fn a_client_that_gives_up_says_what_it_waited_for() {
    let out = tempfile::tempdir().unwrap();
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let deadline = [("CFGSYNC_DEADLINE_SECS", "1")];
    let done = client(&format!("http://{port}"), out.path(), &deadline, &[]);
    assert_eq!(done.status.code(), Some(1));
    let text = errors(&done);
    assert!(text.contains("server not up yet"), "{text}");
    assert!(text.contains("waited 1s"), "{text}");
}

#[test]
fn what_cannot_be_written_has_its_own_exit_code() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(home.path(), "");
    fs::create_dir(out.path().join("node.yaml")).unwrap();
    let done = client(&server.url, out.path(), &[], &[]);
    assert_eq!(done.status.code(), Some(3), "{}", errors(&done));
    assert!(errors(&done).contains("node.yaml"), "{}", errors(&done));
}

#[test]
fn an_environment_that_is_wrong_is_told_as_a_whole() {
    let out = tempfile::tempdir().unwrap();
    let wrong = [("CFGSYNC_IP", "here"), ("CFGSYNC_DEADLINE_SECS", "soon")];
    let done = client("nowhere", out.path(), &wrong, &[]);
    assert_eq!(done.status.code(), Some(2));
    for name in ["CFGSYNC_SERVER", "CFGSYNC_IP", "CFGSYNC_DEADLINE_SECS"] {
        assert!(errors(&done).contains(name), "{}", errors(&done));
    }
}

#[test]
fn a_server_that_cannot_serve_says_why() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let source = "source: {kind: bundle, bundle_path: bundle.yaml}";
    let done = configure(home.path(), &format!("port: {port}\n{source}"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let text = errors(&done);
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{text}"
    );

    let done = configure(
        home.path(),
        "port: 0\nsource: {kind: bundle, bundle_path: none.yaml}",
    )
    .arg("--check")
    .output()
    .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(errors(&done).contains("none.yaml"), "{}", errors(&done));
}

#[test]
fn files_that_cannot_be_served_end_the_server_as_they_end_its_check() {
    let home = tempfile::tempdir().unwrap();
    let source = "port: 0\nsource: {kind: bundle, bundle_path: none.yaml}";
    let done = configure(home.path(), source).output().unwrap();
    assert_eq!(done.status.code(), Some(2), "{}", errors(&done));
    assert!(errors(&done).contains("none.yaml"), "{}", errors(&done));
}
