//! Request: what is asked of a node, as it is sent and as errors show it.

use std::fmt;

use hyper::Method;
use url::Url;

/// One request. Shown as its method, path and query: `GET /cryptarchia/blocks?slot_from=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub(super) method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    pub(super) json: Option<String>,
}

impl HttpRequest {
    /// Asks for `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            json: None,
        }
    }

    /// Sends `json` to `path`.
    pub fn post(path: impl Into<String>, json: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            json: Some(json.into()),
            ..Self::get(path)
        }
    }

    /// The same with one more parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The same with one more parameter, where there is a value.
    #[must_use]
    pub fn query_if(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Where it goes to at the node that answers at `base`.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let segments = self.path.split('/').filter(|segment| !segment.is_empty());
            path.pop_if_empty().extend(segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

impl fmt::Display for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (index, (name, value)) in self.query.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            write!(f, "{mark}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_the_path_of_a_proxy_and_what_it_says_cannot_leave_its_place() {
        let base: Url = "https://example.org/node/?key=1".parse().unwrap();
        let request = HttpRequest::get("/wallet/a?b/balance").query("tip", "x&y");

        assert_eq!(
            request.url(&base).as_str(),
            "https://example.org/node/wallet/a%3Fb/balance?key=1&tip=x%26y"
        );
        assert_eq!(request.to_string(), "GET /wallet/a?b/balance?tip=x&y");
    }
}
