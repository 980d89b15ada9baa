//! The client's environment: what a container says to `cfgsync-client`.
//!
//! | variable | what it is |
//! | --- | --- |
//! | `CFGSYNC_SERVER` | the URL of the server, such as `http://10.0.0.1:4400` |
//! | `CFGSYNC_IDENTIFIER` | the node's name |
//! | `CFGSYNC_IP` | the address at which others reach the node; the one from which it reaches the server, unless it is said |
//! | `CFGSYNC_METADATA` or `CFGSYNC_METADATA_FILE` | what the application wants to know of the node, as JSON |
//! | `CFGSYNC_OUTPUT_DIR` | the folder for files that no route maps |
//! | `CFGSYNC_ROUTES` | where single files go: `artifact=path`, separated by commas or line ends |
//! | `CFGSYNC_DEADLINE_SECS` | how long to wait, in seconds; 300 unless it is said |
//! | `CFGSYNC_TOKEN` or `CFGSYNC_TOKEN_FILE` | the bearer token, where the server wants one |

use std::{
    fmt, fs,
    net::{IpAddr, ToSocketAddrs as _, UdpSocket},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use cfgsync_core::{BearerToken, NodeRegistration};
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::{ArtifactOutputMap, FETCH_WITHIN};

/// What the environment says to a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The URL of the server.
    pub server: String,
    /// The node.
    pub registration: NodeRegistration,
    /// Where files go.
    pub outputs: ArtifactOutputMap,
    /// How long to wait.
    pub within: Duration,
    /// The token, where the server wants one.
    pub token: Option<BearerToken>,
}

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the environment does not say what cfgsync-client needs:{}", Lines(.0))]
pub struct EnvironmentError(Vec<String>);

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl ClientSettings {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// All that is wrong with them, at once. The contents of tokens and metadata are not shown.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables that `lookup` gives; an empty one counts as none.
    ///
    /// # Errors
    /// As for [`ClientSettings::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let mut reader = Reader {
            lookup: &|name| lookup(name).filter(|value| !value.is_empty()),
            problems: Vec::new(),
        };
        let server: Option<Url> = reader.server();
        let identifier: Option<String> = reader.required("CFGSYNC_IDENTIFIER", "a name");
        let ip = reader.ip(server.as_ref());
        let metadata = reader.metadata();
        let outputs = reader.outputs();
        let seconds = reader.optional("CFGSYNC_DEADLINE_SECS", "a whole number of seconds");
        let token = reader.either("CFGSYNC_TOKEN", "CFGSYNC_TOKEN_FILE");
        let (Some(server), Some(identifier), Some(ip), []) =
            (server, identifier, ip, reader.problems.as_slice())
        else {
            return Err(EnvironmentError(reader.problems));
        };
        let registration = NodeRegistration::new(identifier, ip)
            .with_metadata(&metadata)
            .expect("JSON that was read can be written");
        Ok(Self {
            server: server.to_string(),
            registration,
            outputs,
            within: seconds.map_or(FETCH_WITHIN, Duration::from_secs),
            token: token.map(|token| BearerToken::new(token.trim())),
        })
    }
}

/// Reads one variable after the other, and goes on after one that is wrong.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, what: &str) -> Option<T> {
        let text = self.get(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems
                    .push(format!("{name} is {text:?}, which is not {what}: {error}"));
                None
            }
        }
    }

    fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, what: &str) -> Option<T> {
        if self.get(name).is_none() {
            self.problems
                .push(format!("{name} is not set; it is {what}"));
        }
        self.optional(name, what)
    }

    /// The URL of the server. One with a user or password in it is refused, and not repeated.
    fn server(&mut self) -> Option<Url> {
        let text = self.get("CFGSYNC_SERVER").unwrap_or_default();
        let secret = match text.parse::<Url>() {
            Ok(url) if url.has_host() => !url.username().is_empty() || url.password().is_some(),
            // What stands before the colon of `user:password@host` reads as a scheme.
            _ => text.contains('@'),
        };
        if secret {
            self.problems.push("CFGSYNC_SERVER must not have a user or password in it; a server that wants a secret is given CFGSYNC_TOKEN".to_owned());
            return None;
        }
        self.required("CFGSYNC_SERVER", "a URL")
    }

    /// The value of `name`, or what is in the file that `file` names.
    fn either(&mut self, name: &str, file: &str) -> Option<String> {
        let (value, path) = (self.get(name), self.get(file));
        if value.is_some() && path.is_some() {
            self.problems.push(format!(
                "{name} and {file} are both set; one of them is enough"
            ));
            return None;
        }
        let Some(path) = path else { return value };
        match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) => {
                self.problems
                    .push(format!("{file} is {path:?}, which cannot be read: {error}"));
                None
            }
        }
    }

    fn metadata(&mut self) -> Value {
        let Some(text) = self.either("CFGSYNC_METADATA", "CFGSYNC_METADATA_FILE") else {
            return Value::Null;
        };
        serde_json::from_str(&text).unwrap_or_else(|error| {
            self.problems.push(format!(
                "the metadata are not JSON: line {}, column {}",
                error.line(),
                error.column()
            ));
            Value::Null
        })
    }

    fn outputs(&mut self) -> ArtifactOutputMap {
        let (routes, folder) = (self.get("CFGSYNC_ROUTES"), self.get("CFGSYNC_OUTPUT_DIR"));
        if routes.is_none() && folder.is_none() {
            self.problems.push(
                "neither CFGSYNC_OUTPUT_DIR nor CFGSYNC_ROUTES is set; files have to go somewhere"
                    .to_owned(),
            );
        }
        let mut outputs = ArtifactOutputMap::new();
        let routes = routes.unwrap_or_default();
        for route in routes.split([',', '\n']).map(str::trim) {
            match route.split_once('=') {
                _ if route.is_empty() => {}
                Some((from, to)) => outputs = outputs.route(from, PathBuf::from(to)),
                None => self.problems.push(format!(
                    "CFGSYNC_ROUTES has {route:?}, which is not artifact=path"
                )),
            }
        }
        match folder {
            Some(folder) => outputs.under(PathBuf::from(folder)),
            None => outputs,
        }
    }

    /// The address that is said, or the one from which the server is reached.
    fn ip(&mut self, server: Option<&Url>) -> Option<IpAddr> {
        if self.get("CFGSYNC_IP").is_some() {
            return self.optional("CFGSYNC_IP", "an IP address");
        }
        match own_address(server?) {
            Ok(ip) => Some(ip),
            Err(error) => {
                self.problems.push(format!(
                    "CFGSYNC_IP is not set, and the address from which {} is reached cannot be found: {error}",
                    server?
                ));
                None
            }
        }
    }
}

/// The address from which this machine would speak to `server`. Nothing is sent.
fn own_address(server: &Url) -> std::io::Result<IpAddr> {
    let host = server.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = server.port_or_known_default().unwrap_or(80);
    let mut last = std::io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        match socket.connect(address) {
            Ok(()) => return Ok(socket.local_addr()?.ip()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ClientSettings, String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        ClientSettings::from_lookup(lookup).map_err(|error| error.to_string())
    }

    const ENOUGH: [(&str, &str); 3] = [
        ("CFGSYNC_SERVER", "http://127.0.0.1:4400"),
        ("CFGSYNC_IDENTIFIER", "node-1"),
        ("CFGSYNC_OUTPUT_DIR", "/config"),
    ];

    #[test]
    fn the_address_is_the_one_from_which_the_server_is_reached() {
        let settings = read(&ENOUGH).unwrap();
        assert_eq!(settings.registration.ip.to_string(), "127.0.0.1");
        assert_eq!(settings.within, FETCH_WITHIN);
        let mut said = ENOUGH.to_vec();
        said.push(("CFGSYNC_IP", "fd00::7"));
        assert_eq!(read(&said).unwrap().registration.ip.to_string(), "fd00::7");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = read(&[
            ("CFGSYNC_SERVER", "nowhere"),
            ("CFGSYNC_IP", "here"),
            ("CFGSYNC_ROUTES", "a-b"),
            ("CFGSYNC_DEADLINE_SECS", "soon"),
            ("CFGSYNC_METADATA", "{\"secret\": hunter2}"),
        ])
        .unwrap_err();
        for name in [
            "CFGSYNC_SERVER is \"nowhere\"",
            "CFGSYNC_IDENTIFIER is not set",
            "CFGSYNC_IP is \"here\"",
            "CFGSYNC_ROUTES has \"a-b\"",
            "CFGSYNC_DEADLINE_SECS is \"soon\"",
            "the metadata are not JSON: line 1",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for url in [
            "http://bob:hunter2@127.0.0.1:4400",
            "http://hunter2@127.0.0.1",
            "http://bob:hunter2@",
            "bob:hunter2@127.0.0.1",
            "http://bob:hunter2@10.0.0.1:port",
        ] {
            let mut with_password = ENOUGH.to_vec();
            with_password[0].1 = url;
            let text = read(&with_password).unwrap_err();
            assert!(text.contains("CFGSYNC_SERVER must not have"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_token_is_shown_to_nobody() {
        let mut with_token = ENOUGH.to_vec();
        with_token.push(("CFGSYNC_TOKEN", "hunter2"));
        let settings = read(&with_token).unwrap();
        assert!(settings.token.is_some());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
