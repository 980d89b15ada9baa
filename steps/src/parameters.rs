//! Parameter types: what stands in the braces of step expressions.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use cucumber::Parameter;
use trellis_domain::{NameError, NodeName};

/// A time budget: `10 seconds`, `1 minute`, `500 ms`, `1.5 seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Parameter)]
#[param(
    name = "duration",
    regex = r"\d+(?:\.\d+)?\s?(?:milliseconds?|ms|seconds?|s|minutes?|min)"
)]
pub struct Within(Duration);

impl Deref for Within {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a duration"))?;
        let seconds = match unit.trim() {
            "ms" | "millisecond" | "milliseconds" => number / 1_000.0,
            "s" | "second" | "seconds" => number,
            "min" | "minute" | "minutes" => number * 60.0,
            _ => {
                return Err(format!(
                    "{text:?} is not a duration such as 10 seconds or 500 ms"
                ));
            }
        };
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|error| format!("{text:?} is not a duration: {error}"))
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A number of things, in digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(name = "count", regex = r"\d+")]
pub struct Count(usize);

impl Deref for Count {
    type Target = usize;

    fn deref(&self) -> &usize {
        &self.0
    }
}

impl FromStr for Count {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node, by its name (`node "NODE_1"`, `node NODE_1`, `NODE_1`) or by the role it has now.
#[derive(Debug, Clone, PartialEq, Eq, Parameter)]
#[param(
    name = "node",
    regex = r#"(?:node )?(?:"[^"]*"|[A-Z][A-Z0-9_]*)|the leader|the former leader|a follower"#
)]
pub enum NodeRef {
    /// The node of this name.
    Named(NodeName),
    /// The node that a quorum agrees is the leader.
    Leader,
    /// The node that was the leader when a step last spoke of the leader.
    FormerLeader,
    /// The first running node that is not the leader.
    Follower,
}

impl FromStr for NodeRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "the leader" => Ok(Self::Leader),
            "the former leader" => Ok(Self::FormerLeader),
            "a follower" => Ok(Self::Follower),
            other => {
                let name = other.strip_prefix("node ").unwrap_or(other);
                name.trim_matches('"').parse().map(Self::Named)
            }
        }
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Leader => f.write_str("the leader"),
            Self::FormerLeader => f.write_str("the former leader"),
            Self::Follower => f.write_str("a follower"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_the_units_that_qa_writes() {
        for (text, ms) in [
            ("10 seconds", 10_000),
            ("1 second", 1_000),
            ("500 ms", 500),
            ("500ms", 500),
            ("1.5 seconds", 1_500),
            ("2 minutes", 120_000),
        ] {
            assert_eq!(
                *text.parse::<Within>().unwrap(),
                Duration::from_millis(ms),
                "{text}"
            );
        }
        assert!("10 parsecs".parse::<Within>().is_err());
    }

    #[test]
    fn a_node_is_named_or_has_a_role() {
        let named = NodeRef::Named("NODE_1".parse().unwrap());
        for text in [r#"node "NODE_1""#, r#""NODE_1""#, "node NODE_1", "NODE_1"] {
            assert_eq!(text.parse::<NodeRef>().unwrap(), named, "{text}");
        }
        assert_eq!(
            "the former leader".parse::<NodeRef>().unwrap(),
            NodeRef::FormerLeader
        );
        let regex = regex::Regex::new(&format!("^(?:{})$", NodeRef::REGEX)).unwrap();
        assert!(regex.is_match("a follower") && !regex.is_match("some node"));
    }
}
