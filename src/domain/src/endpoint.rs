//! Endpoints: where a node can be reached, and when two spellings mean one place.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};

use crate::EndpointName;

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not a URL at all.
    #[error("{text:?} is not a URL such as http://10.0.0.2:8080")]
    NotUrl {
        /// The refused text.
        text: String,
        /// What the URL parser found wrong.
        #[source]
        source: url::ParseError,
    },
    /// A URL without a host.
    #[error("{text:?} names no host")]
    NoHost {
        /// The refused text.
        text: String,
    },
    /// Neither a port nor a scheme that has a known one.
    #[error("{text:?} names no port, and its scheme has no usual one")]
    NoPort {
        /// The refused text.
        text: String,
    },
    /// User or password inside the address, from where they would reach logs and reports.
    #[error(
        "an address must not have a user or password in it; credentials come from the environment or a file"
    )]
    Credentials,
    /// An IPv6 address whose end cannot be told from a port.
    #[error("{text:?} is an IPv6 address without brackets; write it as [address]:port")]
    NoBrackets {
        /// The refused text.
        text: String,
    },
}

/// A host and a port in one canonical spelling.
///
/// `localhost`, `127.0.0.1`, `::1` and the IPv4-mapped IPv6 forms of an address are one place; other host names are compared in lower case and never resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Canonicalises `host`.
    pub fn new(host: &str, port: u16) -> Self {
        let unbracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let bare = unbracketed.unwrap_or(host).trim_end_matches('.');
        let host = match bare.parse::<IpAddr>() {
            Ok(ip) => canonical_ip(ip).to_string(),
            Err(_) if bare.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.to_string(),
            Err(_) => bare.to_ascii_lowercase(),
        };
        Self { host, port }
    }

    /// The canonical host: an address or a lower-case name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn canonical_ip(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        canonical => canonical,
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One address of a node, with the name by which its application asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    name: EndpointName,
    place: HostPort,
    url: Url,
}

impl Endpoint {
    /// Parses `url` as the endpoint `name`.
    ///
    /// # Errors
    /// Refuses what is not a URL, has no host or port, or carries credentials.
    pub fn new(name: EndpointName, url: &str) -> Result<Self, EndpointError> {
        let text = redacted(url);
        let url = Url::parse(url).map_err(|source| EndpointError::NotUrl {
            text: text.clone(),
            source,
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(EndpointError::NoHost { text }),
        };
        let Some(port) = url.port_or_known_default() else {
            return Err(EndpointError::NoPort { text });
        };
        Ok(Self {
            name,
            place: HostPort::new(&host, port),
            url,
        })
    }

    /// The name by which the application asks for it.
    pub fn name(&self) -> &EndpointName {
        &self.name
    }

    /// Where it is, in canonical spelling.
    pub fn place(&self) -> &HostPort {
        &self.place
    }

    /// The URL as it was given.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Drops what stands before an `@`, so that an address with a password in it is not printed, however it was mistyped.
fn redacted(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("..@{rest}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={}",
            self.name,
            self.url.as_str().trim_end_matches('/')
        )
    }
}

impl FromStr for HostPort {
    type Err = EndpointError;

    /// `host:port`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let refused = || text.to_owned();
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(EndpointError::NoPort { text: refused() });
        };
        let in_brackets = host.starts_with('[') && host.ends_with(']');
        if text.parse::<Ipv6Addr>().is_ok() || (host.contains(':') && !in_brackets) {
            return Err(EndpointError::NoBrackets { text: refused() });
        }
        if host.is_empty() || host == "[]" {
            return Err(EndpointError::NoHost { text: refused() });
        }
        let port = port
            .parse()
            .map_err(|_| EndpointError::NoPort { text: refused() })?;
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new("http".parse().unwrap(), url)
    }

    #[test]
    fn spellings_of_one_place_are_one_endpoint() {
        let expected = HostPort::new("127.0.0.1", 80);
        for url in [
            "http://127.0.0.1",
            "http://localhost",
            "http://LOCALHOST:80/",
            "http://[::1]/state",
            "http://[::ffff:127.0.0.1]:80",
            "http://[::ffff:7f00:1]",
            "http://[0:0:0:0:0:0:0:1]",
            "http://localhost.",
            "http://0x7f.1",
            "ws://localhost",
            "grpc://Localhost:80",
            "grpc://[::FFFF:127.0.0.1]:80",
        ] {
            assert_eq!(http(url).unwrap().place(), &expected, "{url}");
        }
        for text in ["localhost:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(text.parse::<HostPort>().unwrap(), expected, "{text}");
        }
        for other in ["http://127.0.0.2", "https://127.0.0.1", "http://[::2]"] {
            assert_ne!(http(other).unwrap().place(), &expected, "{other}");
        }
        assert_eq!(
            http("https://n").unwrap().place(),
            http("wss://N:443").unwrap().place()
        );
        assert_ne!(http("http://localhost:81").unwrap().place(), &expected);
        assert_eq!(
            "[::ffff:10.0.0.1]:7".parse::<HostPort>().unwrap(),
            HostPort::new("10.0.0.1", 7)
        );
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for bad in [
            "http://me:secret@host:1/",
            "http://me:secret@ho st:1/",
            "http:me:secret@host",
            "tcp:me:secret@host:1",
            "tcp://me:secret@host",
            "me:secret@host:1",
            "me:secret@host",
        ] {
            let error = http(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
            let error = bad.parse::<HostPort>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let error = http("http://me:secret@host:1/").unwrap_err().to_string();
        assert!(
            error.ends_with("credentials come from the environment or a file"),
            "{error}"
        );
    }

    #[test]
    fn a_refused_endpoint_says_what_is_missing() {
        assert!(http("10.0.0.1:80").is_err());
        assert!(matches!(
            http("tcp://10.0.0.1"),
            Err(EndpointError::NoPort { .. })
        ));
        assert!(matches!(
            "host".parse::<HostPort>(),
            Err(EndpointError::NoPort { .. })
        ));
        for text in ["::1", "::1:80", "fe80::1:80"] {
            let error = text.parse::<HostPort>().unwrap_err();
            assert!(matches!(error, EndpointError::NoBrackets { .. }), "{error}");
        }
        assert!(matches!(
            ":80".parse::<HostPort>(),
            Err(EndpointError::NoHost { .. })
        ));
    }
}
