//! Writers: cucumber's own on the screen and in the files that tools read.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cucumber::{
    Event, Writer, WriterExt as _, cli, event, parser,
    writer::{
        Basic, Coloring, FailOnSkipped, JUnit, Json, Normalize, Summarize, Verbosity, basic, junit,
    },
};

use super::{
    options::{Color, HarnessOptions},
    screen::Screen,
};
use crate::TrellisWorld;

/// One event of a run.
pub(crate) type RunEvent = parser::Result<Event<event::Cucumber<TrellisWorld>>>;

type Console = Summarize<Normalize<TrellisWorld, Basic<Screen>>>;

/// All writers of a run.
pub(crate) struct Writers {
    console: FailOnSkipped<Console>,
    console_options: basic::Cli,
    junit: FailOnSkipped<Normalize<TrellisWorld, JUnit<TrellisWorld, Page>>>,
    junit_page: Page,
    json: FailOnSkipped<Normalize<TrellisWorld, Json<Page>>>,
    json_page: Page,
}

impl Writers {
    pub(crate) fn new(options: &HarnessOptions, screen: Screen) -> Self {
        let color = match options.color {
            Color::Auto => Coloring::Auto,
            Color::Always => Coloring::Always,
            Color::Never => Coloring::Never,
        };
        let (junit_page, json_page) = (Page::default(), Page::default());
        let console = Basic::new::<TrellisWorld>(screen, color, Verbosity::Default);
        Self {
            console: console.summarized().fail_on_skipped(),
            console_options: basic::Cli {
                verbose: options.verbose,
                color,
            },
            junit: JUnit::new(junit_page.clone(), Verbosity::Default).fail_on_skipped(),
            junit_page,
            json: Json::new::<TrellisWorld>(json_page.clone()).fail_on_skipped(),
            json_page,
        }
    }

    /// Lets all of them know of an event.
    pub(crate) async fn handle(&mut self, event: RunEvent) {
        self.junit
            .handle_event(event.clone(), &junit::Cli::default())
            .await;
        self.json.handle_event(event.clone(), &cli::Empty).await;
        self.console
            .handle_event(event, &self.console_options)
            .await;
    }

    /// Writes `junit.xml` and `cucumber.json` into `folder`, after the last event. They are there whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn save(self, folder: &Path) -> io::Result<()> {
        save(
            &folder.join("junit.xml"),
            &printable(self.junit_page.text()),
        )?;
        save(&folder.join("cucumber.json"), &self.json_page.text())
    }
}

fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::rename(part, path)
}

/// Without the control characters that may not stand in XML in any form; nodes color their logs, and errors quote them.
fn printable(mut text: Vec<u8>) -> Vec<u8> {
    text.retain(|byte| *byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t'));
    text
}

/// A page in memory: what is on it is saved when it is complete.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_color_their_logs_with_does_not_spoil_the_xml() {
        let text = "<a>\x1b[31mgr\u{fc}n\x00</a>\n".as_bytes().to_vec();
        assert_eq!(printable(text), "<a>[31mgr\u{fc}n</a>\n".as_bytes());
    }

    #[test]
    fn a_report_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("junit.xml");
        save(&path, b"<a/>").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"<a/>");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
