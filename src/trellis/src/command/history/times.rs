//! Times: how moments and durations of a record are written for people.

use std::time::{Duration, SystemTime};

/// What stands in a cell that has nothing to show.
pub(super) const NOTHING: &str = "-";

/// Now, in milliseconds since 1970.
pub(super) fn since_1970() -> u64 {
    trellis_record::millis(SystemTime::now())
}

/// Such as `2026-11-21 16:15:00.123Z`.
pub(super) fn moment(millis: Option<u64>) -> String {
    let Some(millis) = millis else {
        return NOTHING.to_owned();
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    humantime::format_rfc3339_millis(at)
        .to_string()
        .replace('T', " ")
}

/// Such as `12.3s` or `2h 5m 7s`: as exact as people read it.
pub(super) fn lasted(millis: u64) -> String {
    if millis < 60_000 {
        return format!("{:.1}s", Duration::from_millis(millis).as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(millis / 1_000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_people_read_them() {
        assert_eq!(moment(Some(1_000_000_000_123)), "2001-09-09 01:46:40.123Z");
        assert_eq!(moment(None), "-");
        assert_eq!(lasted(0), "0.0s");
        assert_eq!(lasted(12_345), "12.3s");
        assert_eq!(lasted(7_507_900), "2h 5m 7s");
    }
}
