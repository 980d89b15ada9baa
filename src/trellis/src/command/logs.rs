//! `trellis logs`: what a node logged, and what it logs.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

use clap::Args;
use tokio::time::{MissedTickBehavior, interval};
use trellis_domain::NodeName;

use super::{ClusterArguments, StateArguments, exit::Failure, up::block_on};

/// How often a log is looked at for more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much of the end of a log is looked at for its last lines.
const TAIL_BYTES_MAX: u64 = 4 << 20;

/// Shows what a node logged.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node.
    node: NodeName,
    #[command(flatten)]
    which: ClusterArguments,
    /// How many lines, from the end; ten thousand at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Goes on with what is logged from now on, until Ctrl-C or the end of the cluster.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(place: &StateArguments, said: &Arguments) -> Result<(), Failure> {
    let client = place.client(&said.which)?;
    let tail = block_on(client.log(&said.node, said.lines))??;
    let mut out = io::stdout().lock();
    if said.follow {
        let path = Path::new(&tail.source);
        if !path.is_file() {
            return Err(Failure::could_not(format!(
                "the log of {} is no file of this machine and cannot be followed here; try: {}",
                said.node, tail.source
            )));
        }
        let followed = block_on(follow(path, said.lines, &mut out))?;
        return quietly(followed);
    }
    let print = || {
        for line in &tail.lines {
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    quietly({ print }())
}

/// Whoever reads may have read enough.
fn quietly(printed: io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::because_of(&error)),
        _ => Ok(()),
    }
}

/// Copies the last `lines` lines of the file to `out`, then whatever is added to it, until it is removed.
async fn follow(path: &Path, lines: usize, out: &mut impl io::Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    out.write_all(last_lines(&end, lines))?;
    out.flush()?;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Before reading: what was written until the file was removed is read, too.
        let is_gone = file.metadata()?.nlink() == 0;
        io::copy(&mut file, out)?;
        out.flush()?;
        if is_gone {
            return Ok(());
        }
    }
}

/// The part of `text` that its last `lines` lines are.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut breaks = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => &[],
        Some(before) => breaks.nth(before).map_or(text, |(at, _)| &text[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_cut_at_line_breaks() {
        for (text, lines, expected) in [
            ("", 3, ""),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\nb\n", 0, ""),
        ] {
            assert_eq!(last_lines(text.as_bytes(), lines), expected.as_bytes());
        }
    }
}
