//! The log scan: the one line of each node's log that a person would look for first.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Words that make a line look like the beginning of trouble.
const ALARMS: [&str; 4] = ["ERROR", "panicked", "error:", "FATAL"];
/// The most characters of a line that are shown.
const LINE_CHARS_MAX: usize = 200;
/// How much of a log is read; trouble that comes later than that is in the bundle.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Words in the name of a file that make it a log.
const LOG_NAMES: [&str; 3] = ["log", "stderr", "stdout"];

/// A line of a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The node: the name of its folder.
    pub node: String,
    /// Whether the line looks like an error; else it is the last one that the node logged.
    pub alarming: bool,
    /// The line.
    pub text: String,
}

/// Scans the logs below `nodes`, a folder with one folder a node. A node that logged nothing has no line.
pub fn first_errors(nodes: &Path) -> Vec<LogLine> {
    let mut found: Vec<LogLine> = folders(nodes)
        .iter()
        .filter_map(|node| first_error(node))
        .collect();
    found.sort_by(|a, b| (a.node.len(), &a.node).cmp(&(b.node.len(), &b.node)));
    found
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn first_error(node: &Path) -> Option<LogLine> {
    let name = node.file_name()?.to_string_lossy().into_owned();
    let mut last = None;
    for log in logs(node) {
        for line in lines(&log) {
            if ALARMS.iter().any(|alarm| line.contains(alarm)) {
                return Some(LogLine {
                    node: name,
                    alarming: true,
                    text: shorten(&line),
                });
            }
            if !line.trim().is_empty() {
                last = Some(line);
            }
        }
    }
    last.map(|line| LogLine {
        node: name,
        alarming: false,
        text: shorten(&line),
    })
}

/// The log files below a node's folder, in order of their names.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut logs = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            logs.extend(self::logs(&path));
        } else if is_log(&path) {
            logs.push(path);
        }
    }
    logs.sort();
    logs
}

fn is_log(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase());
    name.is_some_and(|name| LOG_NAMES.iter().any(|word| name.contains(word)))
}

fn lines(path: &Path) -> impl Iterator<Item = String> {
    use std::io::Read as _;
    let file = File::open(path)
        .ok()
        .map(|file| BufReader::new(file.take(BYTES_MAX)));
    let raw = file
        .into_iter()
        .flat_map(|file| file.split(b'\n').map_while(Result::ok));
    raw.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn shorten(line: &str) -> String {
    let clean = line
        .trim()
        .chars()
        .filter(|c| !c.is_control() || *c == '\t');
    let mut text: String = clean.clone().take(LINE_CHARS_MAX).collect();
    if clean.count() > LINE_CHARS_MAX {
        text.push_str(" ..");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_first_alarming_line_of_each_node_is_found_and_else_the_last() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "NODE_10/logs/stderr.log",
            "all well\nERROR one\nERROR two\n",
        );
        write(root.path(), "NODE_2/node.log", "hello\nbye\n\n");
        write(root.path(), "NODE_2/config.yaml", "ERROR: not a log");
        write(root.path(), "NODE_3/stdout", "");
        let found = first_errors(root.path());
        let line = |node: &str, alarming, text: &str| LogLine {
            node: node.into(),
            alarming,
            text: text.into(),
        };
        assert_eq!(
            found,
            [
                line("NODE_2", false, "bye"),
                line("NODE_10", true, "ERROR one")
            ]
        );
    }

    #[test]
    fn a_log_that_is_not_text_does_not_spoil_the_report() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("N")).unwrap();
        fs::write(
            root.path().join("N/x.log"),
            b"\xff\xfe\x1b[31mpanicked\x00 here",
        )
        .unwrap();
        let text = &first_errors(root.path())[0].text;
        assert!(
            text.contains("panicked here") && !text.contains('\x1b'),
            "{text}"
        );
    }

    #[test]
    fn no_folder_is_no_line() {
        assert!(first_errors(Path::new("/nonexistent")).is_empty());
    }
}
