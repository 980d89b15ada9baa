//! Prefer: how long a client would wait for its answer (RFC 7240).

use std::time::Duration;

use axum::http::HeaderMap;

/// The seconds of `Prefer: wait=N`. The first `wait` counts; one that is no number is as good as none, since a preference never makes a request fail.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter();
    let mut preferences = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let wait = preferences.find_map(seconds)?;
    wait.parse().ok().map(Duration::from_secs)
}

/// `N` of `wait=N`, `wait="N"` or `Wait = N; parameters`.
fn seconds(preference: &str) -> Option<&str> {
    let (preference, _) = preference.split_once(';').unwrap_or((preference, ""));
    let (name, value) = preference.split_once('=')?;
    let value = name
        .trim()
        .eq_ignore_ascii_case("wait")
        .then(|| value.trim())?;
    let unquoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    Some(unquoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(values: &[&'static str], expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", HeaderValue::from_static(value));
        }
        assert_eq!(
            wait(&headers),
            expected.map(Duration::from_secs),
            "{values:?}"
        );
    }

    #[test]
    fn the_first_wait_counts_however_it_is_written() {
        check(&["wait=10"], Some(10));
        check(&["respond-async, WAIT = \"7\"; x=y"], Some(7));
        check(&["respond-async", "wait=5", "wait=6"], Some(5));
        check(&["wait=0"], Some(0));
    }

    #[test]
    fn what_is_no_wait_is_none() {
        for text in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=soon",
            "await=5",
            "wait=99999999999999999999",
        ] {
            check(&[text], None);
        }
        check(&[], None);
    }
}
