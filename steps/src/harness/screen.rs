//! The screen: the one way to a terminal or a log, so that results, notes and the status line do not overwrite each other.

use std::{
    collections::HashMap,
    fmt,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use trellis_bootstrap::Progress;

/// The most characters of the status line; it must not wrap, or it could not be erased.
const STATUS_CHARS_MAX: usize = 79;
/// How long something must be awaited before a plain line says so.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(2);
/// How often a plain line says so again.
const NEXT_LINE_AFTER: Duration = Duration::from_secs(5);
/// A goal that nobody waited for in so long is awaited anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3);
/// Goes to the beginning of the line and erases it.
const ERASE_LINE: &[u8] = b"\r\x1b[2K";

/// Standard output and error of this process. Cheap to clone; clones are the same screen.
///
/// A closed output is not an error: a run must clean up even if nobody reads what it prints.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Mutex<State>>);

struct State {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether there is a terminal to show a status line on.
    terminal: bool,
    /// A status line stands at the end.
    status: bool,
    /// Something was printed since the last result, so that results must not erase lines above them.
    interleaved: bool,
}

impl Screen {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        let terminal = io::stderr().is_terminal();
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), terminal)
    }

    fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, terminal: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            out,
            err,
            terminal,
            status: false,
            interleaved: false,
        })))
    }

    /// Prints lines among the results.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        let mut state = self.state();
        state.erase_status();
        state.interleaved = true;
        let _ = writeln!(state.out, "{text}");
        let _ = state.out.flush();
    }

    /// Prints lines that are no results.
    pub(crate) fn aside(&self, text: impl fmt::Display) {
        let mut state = self.state();
        state.erase_status();
        state.interleaved = true;
        let _ = writeln!(state.err, "{text}");
    }

    /// Replaces the status line; nothing is shown where there is no terminal.
    fn status(&self, text: &str) {
        let mut state = self.state();
        if !state.terminal {
            return;
        }
        state.erase_status();
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line: String = line.chars().take(STATUS_CHARS_MAX).collect();
        let _ = write!(state.err, "{line}");
        let _ = state.err.flush();
        state.status = true;
    }

    fn is_terminal(&self) -> bool {
        self.state().terminal
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn erase_status(&mut self) {
        if std::mem::take(&mut self.status) {
            let _ = self.err.write_all(ERASE_LINE);
            let _ = self.err.flush();
        }
    }
}

/// For cucumber's writer, which replaces the line of a running step by its result: where something else was printed in between, it is kept from erasing that.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.erase_status();
        if erases(bytes) {
            if !state.interleaved {
                let _ = state.out.write_all(bytes);
            }
        } else if !bytes.is_empty() {
            let _ = state.out.write_all(bytes);
            state.interleaved = false;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.state().out.flush();
        Ok(())
    }
}

/// Whether these are the sequences with which cucumber moves up and erases.
fn erases(bytes: &[u8]) -> bool {
    let up = bytes
        .strip_prefix(b"\x1b[")
        .and_then(|rest| rest.strip_suffix(b"A"));
    bytes == ERASE_LINE || up.is_some_and(|count| count.iter().all(u8::is_ascii_digit))
}

/// Tells who watches what is awaited: in the status line on a terminal, in an occasional plain line elsewhere.
pub(crate) struct Console {
    screen: Screen,
    awaited: Mutex<HashMap<String, Awaited>>,
}

#[derive(Clone, Copy)]
struct Awaited {
    next_line_at: Instant,
    last_told: Instant,
}

impl Console {
    pub(crate) fn new(screen: Screen) -> Self {
        Self {
            screen,
            awaited: Mutex::default(),
        }
    }

    /// Whether it is time for a plain line about `goal`.
    fn is_due(&self, goal: &str, now: Instant) -> bool {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.retain(|_, awaited| now.duration_since(awaited.last_told) < FORGOTTEN_AFTER);
        let fresh = Awaited {
            next_line_at: now + FIRST_LINE_AFTER,
            last_told: now,
        };
        let awaited = awaited.entry(goal.to_owned()).or_insert(fresh);
        awaited.last_told = now;
        let due = now >= awaited.next_line_at;
        if due {
            awaited.next_line_at = now + NEXT_LINE_AFTER;
        }
        due
    }
}

impl Progress for Console {
    fn waiting(&self, goal: &str, seen: &dyn fmt::Display, left: Duration) {
        let seconds = left.as_secs();
        if self.screen.is_terminal() {
            let seen = seen.to_string();
            let seen = seen.lines().next().unwrap_or_default();
            self.screen
                .status(&format!("{seconds:>3}s left for {goal}; last seen: {seen}"));
        } else if self.is_due(goal, Instant::now()) {
            let seen = seen.to_string().replace('\n', "\n    ");
            self.screen.aside(format_args!(
                "  waiting for {goal}, {seconds}s left; last seen: {seen}"
            ));
        }
    }

    fn note(&self, text: &str) {
        self.screen.line(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen whose both streams are one terminal, or one file.
    fn screen(terminal: bool) -> (Screen, impl Fn() -> String) {
        let paper = Paper::default();
        let screen = Screen::new(Box::new(paper.clone()), Box::new(paper.clone()), terminal);
        (screen, move || {
            String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
        })
    }

    #[test]
    fn the_status_line_is_erased_before_anything_else() {
        let (screen, text) = screen(true);
        screen.status("waiting");
        screen.status("still\nwaiting");
        screen.line("result");
        assert_eq!(text(), "waiting\r\x1b[2Kstill waiting\r\x1b[2Kresult\n");
    }

    #[test]
    fn a_result_replaces_its_step_only_where_nothing_stands_between() {
        let (mut screen, text) = screen(true);
        screen.write_all(b"step\n").unwrap();
        screen.write_all(b"\x1b[1A").unwrap();
        screen.write_all(ERASE_LINE).unwrap();
        screen.write_all(b"step passed\n").unwrap();
        screen.line("a note");
        screen.write_all(b"\x1b[1A").unwrap();
        screen.write_all(ERASE_LINE).unwrap();
        screen.write_all(b"next\n").unwrap();
        assert_eq!(text(), "step\n\x1b[1A\r\x1b[2Kstep passed\na note\nnext\n");
    }

    #[test]
    fn plain_lines_are_few() {
        let (screen, text) = screen(false);
        let console = Console::new(screen);
        console.waiting("a leader", &"nobody", Duration::from_secs(9));
        assert_eq!(text(), "");
        let begun = Instant::now() + Duration::from_mins(1);
        let due: Vec<bool> = (0..9)
            .map(|s| console.is_due("x", begun + Duration::from_secs(s)))
            .collect();
        assert_eq!(
            due,
            [false, false, true, false, false, false, false, true, false]
        );
        assert!(
            !console.is_due("x", begun + Duration::from_secs(30)),
            "that is another wait"
        );
    }
}
