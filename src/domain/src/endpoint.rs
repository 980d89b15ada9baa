//! Endpoints: where a node can be reached, and when two spellings mean one place.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
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
    /// User or password inside the URL, from where they would reach logs and reports.
    #[error("an endpoint URL must not carry a user or password")]
    Credentials,
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
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim_end_matches('.');
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
        let text = url.to_owned();
        let url = Url::parse(url).map_err(|source| EndpointError::NotUrl {
            text: redacted(&text),
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

/// Drops what stands before an `@`, so that a mistyped URL with a password in it is not printed.
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

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(EndpointError::NoPort {
                text: text.to_owned(),
            });
        };
        if host.is_empty() {
            return Err(EndpointError::NoHost {
                text: text.to_owned(),
            });
        }
        let port = port.parse().map_err(|_| EndpointError::NoPort {
            text: text.to_owned(),
        })?;
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
        ] {
            assert_eq!(http(url).unwrap().place(), &expected, "{url}");
        }
        assert_ne!(http("http://127.0.0.2").unwrap().place(), &expected);
        assert_ne!(http("http://localhost:81").unwrap().place(), &expected);
        assert_eq!(
            "[::ffff:10.0.0.1]:7".parse::<HostPort>().unwrap(),
            HostPort::new("10.0.0.1", 7)
        );
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for bad in ["http://me:secret@host:1/", "http://me:secret@ho st:1/"] {
            let error = http(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
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
    }
}
