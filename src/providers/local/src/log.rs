//! Logs: the file that both output streams of a node go to, and its last lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use trellis_bootstrap::LogTail;

use crate::files::{At as _, FileError};

/// Longer lines are cut, so that one dump does not fill a screen.
const LINE_CHARS_MAX: usize = 500;

/// How much of the end of a log is looked at, however long its lines are.
const TAIL_BYTES_MAX: u64 = 4 << 20;

const TAIL_BYTES_MIN: u64 = 64 << 10;

/// Opens the log for one more start of a node.
///
/// One file, opened for appending, so that lines of both streams stand in the order in which they were written.
pub(crate) fn open(path: &Path, start: u32) -> Result<File, FileError> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .at(path)?;
    if start > 1 {
        writeln!(file, "--- start {start} ---").at(path)?;
    }
    Ok(file)
}

/// The last `lines` lines of the log at `path`, without reading all of it. A log that is not there is empty.
pub(crate) fn tail(path: &Path, lines: usize) -> Result<LogTail, FileError> {
    Ok(LogTail {
        source: path.display().to_string(),
        lines: match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => last_lines(&mut other.at(path)?, lines).at(path)?,
        },
    })
}

fn last_lines(file: &mut File, lines: usize) -> io::Result<Vec<String>> {
    let size = file.metadata()?.len();
    let mut window = TAIL_BYTES_MIN;
    loop {
        let is_whole = window >= size;
        let end = read_end(file, size, window)?;
        let text = end.strip_suffix(b"\n").unwrap_or(&end);
        let mut found: Vec<&[u8]> = match text {
            [] => Vec::new(),
            text => text
                .rsplitn(lines.saturating_add(1), |byte| *byte == b'\n')
                .collect(),
        };
        let is_enough = is_whole || found.len() > lines || window >= TAIL_BYTES_MAX;
        if is_enough {
            // The piece before the last wanted line break: earlier lines, or the rest of a line.
            found.truncate(lines);
            return Ok(found.into_iter().rev().map(shown).collect());
        }
        window *= 2;
    }
}

fn read_end(file: &mut File, size: u64, window: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(size.saturating_sub(window)))?;
    let mut end = Vec::new();
    // Bounded, since the node may go on writing.
    file.take(window).read_to_end(&mut end)?;
    Ok(end)
}

fn shown(line: &[u8]) -> String {
    // A character has four bytes at most; decoding more of a long line would be waste.
    let head = &line[..line.len().min(LINE_CHARS_MAX * 4 + 4)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_end_matches('\r');
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], lines: usize, expected: &[&str]) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node.log");
        std::fs::write(&path, content).unwrap();
        assert_eq!(tail(&path, lines).unwrap().lines, expected);
    }

    #[test]
    fn the_tail_is_the_last_lines_oldest_first() {
        check(b"", 3, &[]);
        check(b"a\n", 3, &["a"]);
        check(b"a\nb\nc\nd", 3, &["b", "c", "d"]);
        check(b"a\nb\n\n", 2, &["b", ""]);
        check(b"a\nb\n", 0, &[]);
        check(b"a\r\n\xff\n", 2, &["a", "\u{fffd}"]);
    }

    #[test]
    fn long_lines_are_cut() {
        let expected = format!("{} ..", "x".repeat(LINE_CHARS_MAX));
        check("x".repeat(1 << 20).as_bytes(), 2, &[&expected]);
    }

    #[test]
    fn a_log_of_gigabytes_is_not_read_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node.log");
        let mut file = File::create(&path).unwrap();
        // A hole: it takes no space, but reading it all would take seconds.
        file.set_len(64 << 30).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        let begun = std::time::Instant::now();
        let lines = tail(&path, 1).unwrap().lines;
        assert_eq!(lines, ["last"]);
        assert_eq!(tail(&path, 20).unwrap().lines.len(), 2);
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_missing_log_is_empty_and_every_later_start_is_marked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node.log");
        assert_eq!(tail(&path, 3).unwrap().lines, [""; 0]);
        for start in 1..=2 {
            writeln!(open(&path, start).unwrap(), "up").unwrap();
        }
        assert_eq!(
            tail(&path, 3).unwrap().lines,
            ["up", "--- start 2 ---", "up"]
        );
    }
}
