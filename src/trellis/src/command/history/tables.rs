//! Tables: what is on record, as aligned plain text.
//!
//! Spans that are still open end where the record does.

use serde_json::Value;
use trellis_record::{Condition, Record, Row};

use super::{
    in_words,
    times::{NOTHING, lasted, moment, since_1970},
};

/// How much of the id of a block is shown.
const BLOCK_SHOWN: usize = 12;
/// How many outages of a node are listed below the table.
const OUTAGES_SHOWN: usize = 3;

/// The records, one a line.
pub(super) fn records(records: &[Record]) -> String {
    let rows = records.iter().map(|record| {
        let about = &record.about;
        let ended = about.ended_ms.or_else(|| {
            let is_live = record.condition == Condition::Live;
            is_live.then(since_1970)
        });
        vec![
            about.run.to_string(),
            about.cluster.clone(),
            about.app.to_string(),
            moment(Some(about.begun_ms)),
            ended.map_or_else(
                || NOTHING.to_owned(),
                |ended| lasted(ended.saturating_sub(about.begun_ms)),
            ),
            in_words(record.condition).to_owned(),
        ]
    });
    let headings = ["RUN", "CLUSTER", "APP", "BEGUN", "LASTED", "STATE"];
    table(&headings, rows.collect())
}

/// What is to be known of a record before its views.
pub(super) fn heading(record: &Record, itself: &Value) -> String {
    let about = &record.about;
    let of = format!("{}: {} of {}", about.run, about.cluster, about.app);
    let begun = moment(Some(about.begun_ms));
    let seen = moment(itself["seen_ms"].as_u64());
    let mut text = match record.condition {
        Condition::Live => format!("{of}, goes on since {begun}"),
        Condition::Ended => format!(
            "{of}, from {begun} to {}: {}",
            moment(about.ended_ms),
            about.how.as_deref().unwrap_or(NOTHING)
        ),
        Condition::Killed => format!(
            "{of}, from {begun}; who kept it was killed, and its last sign of life is of {seen}"
        ),
    };
    if about.is_cut_off {
        text.push_str("\nit lacks what came last, which its server did not store or fold in time");
    }
    for gap in itself["gaps"].as_array().into_iter().flatten() {
        let dropped = gap["dropped"].as_u64().unwrap_or_default();
        let observation = gap["observation"].as_str().unwrap_or_default();
        let at = moment(gap["at_ms"].as_u64());
        let lacks = format!(
            "\nit lacks {dropped} changes of the observation {observation} before {at}, which were more than could be held back"
        );
        text.push_str(&lacks);
    }
    text
}

/// Rows of one view.
pub(super) struct Shown<'a> {
    pub(super) rows: &'a [Row],
    /// Until when the record knows what was.
    pub(super) until: u64,
}

impl Shown<'_> {
    pub(super) fn leaders(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let view = &row.view.value();
            let open = view["since_ms"].as_u64();
            let now = open.map_or(0, |since| self.until.saturating_sub(since));
            let to = view["to_ms"].as_u64().filter(|_| open.is_none());
            vec![
                number(&view["term"]),
                text(&view["leader"]),
                moment(view["from_ms"].as_u64()),
                moment(to),
                lasted(view["led_ms"].as_u64().unwrap_or_default() + now),
                text(&view["after"]),
                match open {
                    Some(_) => NOTHING.to_owned(),
                    None => text(&view["why"]),
                },
            ]
        });
        let headings = ["TERM", "LEADER", "FROM", "TO", "LED", "AFTER", "ENDED BY"];
        table(&headings, rows.collect())
    }

    pub(super) fn nodes(&self) -> String {
        let mut below = String::new();
        let rows = self.rows.iter().map(|row| {
            let view = &row.view.value();
            let (up, down) = self.up_and_down(view);
            below.push_str(&self.outages(row));
            vec![
                row.id.to_string(),
                text(&view["state"]),
                lasted(up),
                lasted(down),
                number(&view["downs"]),
                number(&view["restarts"]),
                percent(up, up + down),
            ]
        });
        let headings = [
            "NODE",
            "STATE",
            "UP",
            "DOWN",
            "OUTAGES",
            "RESTARTS",
            "AVAILABLE",
        ];
        let rows = rows.collect();
        format!("{}{below}", table(&headings, rows))
    }

    /// How long a node was up and down, with the span that is still open.
    fn up_and_down(&self, view: &Value) -> (u64, u64) {
        let up = view["up_ms"].as_u64().unwrap_or_default();
        let down = view["down_ms"].as_u64().unwrap_or_default();
        let since = view["at_ms"].as_u64().unwrap_or(self.until);
        let open = self.until.saturating_sub(since);
        match (view["is_up"].as_bool(), view["first_up_ms"].is_u64()) {
            (Some(true), _) => (up + open, down),
            (_, true) => (up, down + open),
            // It was never ready, so it is not down either.
            _ => (up, down),
        }
    }

    fn outages(&self, row: &Row) -> String {
        let view = &row.view.value();
        let over = view["outages"].as_array().into_iter().flatten();
        let over = over.map(|outage| {
            let (from, to) = (outage["from_ms"].as_u64(), outage["to_ms"].as_u64());
            let from = from.unwrap_or_default();
            let how = text(&outage["how"]);
            (from, to.unwrap_or(from), how, "was down for")
        });
        let open = view["down_since_ms"].as_u64();
        let open = open.filter(|_| view["is_up"] == false);
        let open = open.map(|from| {
            let how = text(&view["down_how"]);
            (from, self.until, how, "is down for")
        });
        let all: Vec<_> = over.chain(open).collect();
        let newest = all.iter().rev().take(OUTAGES_SHOWN).rev();
        let lines = newest.map(|(from, to, how, verb)| {
            format!(
                "\n  {} {verb} {} from {}: {how}",
                row.id,
                lasted(to.saturating_sub(*from)),
                moment(Some(*from)),
            )
        });
        lines.collect()
    }

    pub(super) fn heads(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let view = &row.view.value();
            let answers = if view["answers"] == true {
                "yes".to_owned()
            } else {
                format!("no: {}", text(&view["why"]))
            };
            vec![
                row.id.to_string(),
                number(&view["height"]),
                block(&view["block"]),
                moment(view["head_at_ms"].as_u64()),
                number(&view["final_height"]),
                number(&view["moves"]),
                number(&view["reorgs"]),
                number(&view["deepest_reorg"]),
                text(&view["mode"]),
                answers,
            ]
        });
        let headings = [
            "NODE", "HEIGHT", "BLOCK", "SINCE", "FINAL", "MOVES", "REORGS", "DEEPEST", "MODE",
            "ANSWERS",
        ];
        table(&headings, rows.collect())
    }

    pub(super) fn reorgs(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let view = &row.view.value();
            let place =
                |height: &str, id: &str| format!("{} {}", number(&view[height]), block(&view[id]));
            vec![
                moment(view["at_ms"].as_u64()),
                text(&view["node"]),
                number(&view["depth"]),
                place("from_height", "from"),
                place("to_height", "to"),
                place("common_height", "common"),
            ]
        });
        let headings = ["AT", "NODE", "DEPTH", "LEFT", "FOR", "COMMON"];
        table(&headings, rows.collect())
    }

    pub(super) fn lags(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let view = &row.view.value();
            let behind = view["behind_ms"].as_u64().unwrap_or_default();
            let is_behind = view["lag"].as_u64().is_some_and(|lag| lag > 0);
            let open = view["at_ms"].as_u64().filter(|_| is_behind);
            let open = open.map_or(0, |since| self.until.saturating_sub(since));
            let first = view["first_ms"].as_u64().unwrap_or(self.until);
            vec![
                row.id.to_string(),
                number(&view["lag"]),
                moment(view["at_ms"].as_u64()),
                number(&view["worst"]),
                moment(view["worst_at_ms"].as_u64()),
                lasted(behind + open),
                percent(behind + open, self.until.saturating_sub(first)),
            ]
        });
        let headings = [
            "NODE", "LAG", "SINCE", "WORST", "WORST AT", "BEHIND", "OF TIME",
        ];
        table(&headings, rows.collect())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or(NOTHING).to_owned()
}

fn number(value: &Value) -> String {
    let number = value.as_u64();
    number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string())
}

/// Enough of the id of a block to know it again.
fn block(value: &Value) -> String {
    let id = text(value);
    id.chars().take(BLOCK_SHOWN).collect()
}

/// `part` of `whole`; of nothing there is no part.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NOTHING.to_owned();
    }
    // Cut off and not rounded: a node that was down is not available to 100.00 %.
    let hundredths = u128::from(part) * 10_000 / u128::from(whole);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// Cells in columns. No line ends in blanks, and the last one has no line break.
fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned());
    let all: Vec<Vec<String>> = std::iter::once(headings.collect()).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let lines = all.iter().map(|row| {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        let line: Vec<String> = cells.collect();
        line.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(views: &[(&str, Value)]) -> Vec<Row> {
        let rows = views.iter().map(|(id, view)| {
            let row = json!({ "id": id, "view": view, "last_seq": 1, "applied": 1 });
            serde_json::from_value(row).unwrap()
        });
        rows.collect()
    }

    #[test]
    fn a_span_that_is_open_ends_where_the_record_does() {
        let rows = rows(&[
            (
                "NODE_1",
                json!({
                    "state": "running", "is_up": true, "at_ms": 1_000, "first_up_ms": 1_000,
                    "up_ms": 0, "down_ms": 0, "downs": 0, "restarts": 0, "outages": [],
                }),
            ),
            (
                "NODE_2",
                json!({
                    "state": "stopped", "is_up": false, "at_ms": 9_000, "first_up_ms": 1_000,
                    "up_ms": 7_000, "down_ms": 1_000, "downs": 2, "restarts": 1,
                    "down_since_ms": 9_000, "down_how": "stopped",
                    "outages": [{ "from_ms": 3_000, "to_ms": 4_000, "how": "exited (exit code 1)" }],
                }),
            ),
        ]);
        let shown = Shown {
            rows: &rows,
            until: 11_000,
        };
        let expected = [
            "NODE    STATE    UP     DOWN  OUTAGES  RESTARTS  AVAILABLE",
            "NODE_1  running  10.0s  0.0s  0        0         100.00 %",
            "NODE_2  stopped  7.0s   3.0s  2        1         70.00 %",
            "  NODE_2 was down for 1.0s from 1970-01-01 00:00:03.000Z: exited (exit code 1)",
            "  NODE_2 is down for 2.0s from 1970-01-01 00:00:09.000Z: stopped",
        ];
        assert_eq!(shown.nodes(), expected.join("\n"));
    }

    #[test]
    fn a_leader_that_is_has_no_end() {
        let rows = rows(&[
            (
                "1",
                json!({
                    "term": 1, "leader": "A", "after": null, "from_ms": 0, "since_ms": null,
                    "to_ms": 4_000, "led_ms": 4_000, "why": "another leads",
                }),
            ),
            (
                "2",
                json!({
                    "term": 2, "leader": "B", "after": "A", "from_ms": 4_000, "since_ms": 4_000,
                    "to_ms": null, "led_ms": 0,
                }),
            ),
        ]);
        let shown = Shown {
            rows: &rows,
            until: 5_000,
        };
        let expected = [
            "TERM  LEADER  FROM                      TO                        LED   AFTER  ENDED BY",
            "1     A       1970-01-01 00:00:00.000Z  1970-01-01 00:00:04.000Z  4.0s  -      another leads",
            "2     B       1970-01-01 00:00:04.000Z  -                         1.0s  A      -",
        ];
        assert_eq!(shown.leaders(), expected.join("\n"));
    }

    #[test]
    fn a_share_is_cut_off_so_that_an_outage_is_never_hidden() {
        assert_eq!(percent(999_999, 1_000_000), "99.99 %");
        assert_eq!(percent(5, 5), "100.00 %");
        assert_eq!(percent(0, 0), "-");
    }
}
