//! The status page: one report as plain HTML, without scripts and without anything from elsewhere. The browser asks again by itself.

use std::fmt::Write;

use crate::{
    health::{Check, Info, ProjectionReport, Report},
    rebuild::{Phase, Progress, Purpose},
};

/// Before and after what is shown.
const FRAME: &str = include_str!("page.html");

/// `report` for people.
pub(super) fn page(report: &Report, info: &Info) -> String {
    let mut body = String::new();
    head(&mut body, report, info);
    projections(&mut body, report, info);
    rebuilds(&mut body, &report.rebuilds);
    quarantine(&mut body, &report.projections);
    node(&mut body, report, info);
    let sign = if report.ready { "ready" } else { "not ready" };
    FRAME
        .replace("{{stream}}", &escape(&report.stream))
        .replace("{{sign}}", sign)
        .replace("{{body}}", &body)
}

/// Writing to a text does not fail.
macro_rules! put {
    ($text:expr, $($rest:tt)*) => {
        let _ = write!($text, $($rest)*);
    };
}

fn head(body: &mut String, report: &Report, info: &Info) {
    let (class, word) = if report.ready {
        ("good", "ready")
    } else {
        ("bad", "not ready")
    };
    put!(
        body,
        "<header><h1>Projection <small>{}</small></h1><p class=\"badge {class}\">{word}</p></header>",
        escape(&info.stream)
    );
    let wrong: Vec<&Check> = report.checks.iter().filter(|check| !check.ok).collect();
    if wrong.is_empty() {
        return;
    }
    body.push_str("<section class=\"wrong\"><ul>");
    for check in wrong {
        put!(
            body,
            "<li><b>{}</b> {}",
            escape(&check.name),
            escape(&check.says)
        );
        if let Some(mend) = &check.mend {
            put!(body, "<br><span class=\"mend\">→ {}</span>", escape(mend));
        }
        body.push_str("</li>");
    }
    body.push_str("</ul></section>");
}

fn projections(body: &mut String, report: &Report, info: &Info) {
    body.push_str("<section><h2>Views</h2>");
    for state in &report.projections {
        let (class, word) = if state.blocked.is_some() {
            ("bad", "blocked")
        } else if state.behind > 0 {
            ("busy", "behind")
        } else {
            ("good", "up to date")
        };
        put!(
            body,
            "<article><h3>{} <span class=\"badge {class}\">{word}</span></h3><dl>",
            escape(&state.name())
        );
        let facts = [
            (
                "At",
                format!("{} of {}", grouped(state.floor), grouped(state.stream_last)),
            ),
            ("Behind", format!("{} events", grouped(state.behind))),
            ("Lag", duration(state.lag_seconds)),
            ("Rate", format!("{:.0} events/s", state.rate)),
            ("Quarantine", grouped(state.quarantined as u64)),
            ("Parked keys", grouped(state.parked_keys as u64)),
            ("Program", program(info, state)),
        ];
        for (name, value) in facts {
            put!(
                body,
                "<div><dt>{name}</dt><dd>{}</dd></div>",
                escape(&value)
            );
        }
        body.push_str("</dl></article>");
    }
    body.push_str("</section>");
}

/// The beginning of the hash of the program that makes it, where that is the one of the manifest.
fn program(info: &Info, state: &ProjectionReport) -> String {
    let of_type = state
        .projection
        .rsplit_once('@')
        .map(|(of_type, _)| of_type);
    let made = info
        .projections
        .iter()
        .find(|made| Some(&*made.view_type) == of_type);
    made.map_or_else(String::new, |made| {
        made.program_hash.chars().take(12).collect()
    })
}

fn rebuilds(body: &mut String, rebuilds: &[Progress]) {
    body.push_str("<section><h2>Rebuilds</h2>");
    if rebuilds.is_empty() {
        body.push_str("<p class=\"none\">None goes on.</p>");
    }
    for rebuild in rebuilds {
        let percent = rebuild.ratio() * 100.0;
        put!(
            body,
            "<article><h3>{} <small>{}</small></h3><progress max=\"100\" value=\"{percent:.1}\"></progress><p>{percent:.1} %, at {} of {}{}</p></article>",
            escape(&rebuild.generation),
            escape(&phase(rebuild)),
            grouped(rebuild.done),
            grouped(rebuild.total),
            rebuild.seconds_to_go.map_or_else(String::new, |seconds| {
                format!(", {} to go", whole_seconds(seconds))
            })
        );
    }
    body.push_str("</section>");
}

fn phase(rebuild: &Progress) -> String {
    match &rebuild.phase {
        Phase::CaughtUp if rebuild.purpose == Purpose::Keep => "is kept as the way back".to_owned(),
        Phase::Replaying => "takes events in".to_owned(),
        Phase::CaughtUp => "has caught up".to_owned(),
        Phase::Served => "was made, and served".to_owned(),
        Phase::Exchanging => "is put into what is served".to_owned(),
        Phase::Done => "is done".to_owned(),
        Phase::Retiring => "is being cleared".to_owned(),
        Phase::Waiting { why } => format!("waits: {why}"),
        Phase::Failed { why } => format!("does not go on: {why}"),
    }
}

fn quarantine(body: &mut String, projections: &[ProjectionReport]) {
    body.push_str("<section><h2>Quarantine</h2>");
    let with: Vec<_> = projections
        .iter()
        .filter(|state| state.quarantined > 0)
        .collect();
    if with.is_empty() {
        body.push_str("<p class=\"none\">Every event is in the views.</p>");
    }
    for state in with {
        let name = escape(&state.projection);
        let (below, option) = state.shard.map_or_else(Default::default, |shard| {
            (format!("shards/{shard}/"), format!(" --shard {shard}"))
        });
        let oldest = state.quarantine_oldest_s.map_or_else(String::new, |age| {
            format!(", the oldest for {}", duration(age))
        });
        put!(
            body,
            "<p><b>{}</b>: {} events{oldest}, {} views parked. <a href=\"{below}quarantine/{name}\">Show them</a></p><p class=\"mend\">→ projection quarantine list {name}{option}</p>",
            escape(&state.name()),
            grouped(state.quarantined as u64),
            grouped(state.parked_keys as u64)
        );
    }
    body.push_str("</section>");
}

fn node(body: &mut String, report: &Report, info: &Info) {
    body.push_str("<section><h2>Node</h2><dl>");
    let restarts: Vec<String> = report
        .restarts
        .iter()
        .map(|(why, times)| format!("{times} × {}", why.replace('_', " ")))
        .collect();
    let none = || "none".to_owned();
    let facts = [
        ("State", report.state.clone()),
        ("Waits for", report.waiting_for.clone().unwrap_or_else(none)),
        ("Received", format!("{} events", grouped(report.received))),
        (
            "Restarts",
            if restarts.is_empty() {
                none()
            } else {
                restarts.join(", ")
            },
        ),
        (
            "Store",
            format!(
                "{} of {}",
                bytes(report.storage.used_bytes),
                bytes(report.storage.limit_bytes)
            ),
        ),
        (
            "NATS",
            if report.nats_connected {
                "connected"
            } else {
                "away"
            }
            .to_owned(),
        ),
        ("Version", format!("{} ({})", info.version, info.commit)),
        (
            "Runs for",
            duration(f64::from(
                u32::try_from(report.uptime_s).unwrap_or(u32::MAX),
            )),
        ),
    ];
    for (name, value) in facts {
        put!(
            body,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escape(&value)
        );
    }
    body.push_str("</dl></section>");
}

/// `text` as it may stand in HTML, in an attribute too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            sign => escaped.push(sign),
        }
    }
    escaped
}

/// A number with a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            // Narrow, and no line ends there.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    if seconds < 60.0 {
        return format!("{seconds:.0} s");
    }
    whole_seconds(std::time::Duration::from_secs_f64(seconds).as_secs())
}

fn whole_seconds(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
fn bytes(number: u64) -> String {
    let mut size = number as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1_024.0 {
            return format!("{size:.0} {unit}");
        }
        size /= 1_024.0;
    }
    format!("{size:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_elsewhere_cannot_become_a_part_of_the_page() {
        assert_eq!(escape("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
    }

    #[test]
    fn numbers_are_as_people_read_them() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(bytes(16 << 30), "16.0 GiB");
        assert_eq!(bytes(4_096), "4 KiB");
        assert_eq!(duration(0.25), "0.2 s");
        assert_eq!(duration(17.4), "17 s");
        assert_eq!(duration(3_661.9), "1h 1m 1s");
    }
}
