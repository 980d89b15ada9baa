//! Environment: what a node's process is given to begin with. The same on every machine, but for where programs are found.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use trellis_bootstrap::NodeCommand;

use crate::{folder::NodeFolder, label::Label};

/// Variables without which programs or their libraries are not found.
const INHERITED: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The program to run: a bare name is looked up on `PATH`, anything else is taken from where the harness is, not from the node's folder.
pub(crate) fn program(command: &NodeCommand) -> PathBuf {
    let is_bare = command.program.components().count() == 1 && !command.program.is_absolute();
    if is_bare {
        return command.program.clone();
    }
    // It fails for an empty path only, and that is refused when it is run.
    std::path::absolute(&command.program).unwrap_or_else(|_| command.program.clone())
}

/// Puts a node's process together: its own folder as working directory and home, a process group of its own, no input, both outputs to `log`.
///
/// Nothing is handed down but `PATH` and `LD_LIBRARY_PATH`. `HOME` and `TMPDIR` are the node's own, so that nodes do not meet in them and teardown removes what they left; `LANG` is `C.UTF-8` and `RUST_BACKTRACE` is `1`. The application may set any of these otherwise, but not the label.
pub(crate) fn assemble(
    command: &NodeCommand,
    folder: &NodeFolder,
    label: &Label,
    log: &File,
) -> std::io::Result<Command> {
    let mut assembled = Command::new(program(command));
    let inherited = INHERITED
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    assembled
        .args(&command.args)
        .env_clear()
        .envs(inherited)
        .env("HOME", folder.root())
        .env("TMPDIR", folder.tmp())
        .env("LANG", "C.UTF-8")
        .env("RUST_BACKTRACE", "1")
        .envs(&command.env)
        .envs(label.variables())
        .current_dir(folder.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0);
    Ok(assembled)
}

/// What to try when a program did not run.
pub(crate) fn hint(command: &NodeCommand, error: &std::io::Error) -> String {
    let program = program(command);
    let path = || {
        let path: OsString = std::env::var_os("PATH").unwrap_or_default();
        path.to_string_lossy().into_owned()
    };
    match error.kind() {
        std::io::ErrorKind::NotFound if program.is_file() => {
            "the file is there, so the interpreter that it names is missing".to_owned()
        }
        std::io::ErrorKind::NotFound if program.is_absolute() => {
            "there is no such file; build it or correct the path".to_owned()
        }
        std::io::ErrorKind::NotFound => {
            format!("install it, or put its folder on PATH ({})", path())
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("make it executable: chmod +x {}", program.display())
        }
        _ => "try to run it by hand".to_owned(),
    }
}
