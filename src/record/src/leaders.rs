//! Leaders: facts about who leads, for recordings of any consensus.

use std::time::SystemTime;

use serde_json::json;

use crate::{Fact, Subject};

/// Remembers who leads, so that the end of one leader is told with the beginning of the next.
#[derive(Debug, Default)]
pub struct Leaders {
    now: Option<(u64, String)>,
    last: Option<String>,
}

impl Leaders {
    /// `leader` leads in `term`. Nothing is said of what is known.
    pub fn leads(&mut self, at: SystemTime, term: u64, leader: &str) -> Vec<Fact> {
        let now = (term, leader.to_owned());
        if self.now.as_ref() == Some(&now) {
            return Vec::new();
        }
        let mut facts = self.end(at, "another leads");
        let after = self.last.replace(leader.to_owned());
        let details = json!({ "term": term, "leader": leader, "after": after });
        facts.push(fact(&now, "LeaderAgreed", at, details));
        self.now = Some(now);
        facts
    }

    /// Nobody leads any more, as far as can be known.
    pub fn nobody(&mut self, at: SystemTime) -> Vec<Fact> {
        self.end(at, "no majority follows it")
    }

    fn end(&mut self, at: SystemTime, why: &str) -> Vec<Fact> {
        let ended = self.now.take();
        let ended = ended.map(|leader| fact(&leader, "LeaderLost", at, json!({ "why": why })));
        ended.into_iter().collect()
    }
}

/// In the order of terms when they are sorted as texts.
fn fact(
    (term, leader): &(u64, String),
    event: &'static str,
    at: SystemTime,
    details: serde_json::Value,
) -> Fact {
    Fact::new(
        Subject::Leader,
        format!("{term:020}-{leader}"),
        event,
        at,
        details,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_leader_ends_when_the_next_one_is_agreed_on_or_nobody_is() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let mut leaders = Leaders::default();
        let mut said = Vec::new();
        said.extend(leaders.nobody(at));
        said.extend(leaders.leads(at, 1, "NODE_1"));
        said.extend(leaders.leads(at, 1, "NODE_1"));
        said.extend(leaders.leads(at, 3, "NODE_2"));
        said.extend(leaders.nobody(at));
        said.extend(leaders.leads(at, 4, "NODE_2"));
        let said: Vec<String> = said
            .iter()
            .map(|fact| {
                format!(
                    "{} {} {}",
                    fact.event,
                    fact.id,
                    fact.details
                        .get("after")
                        .unwrap_or(&serde_json::Value::Null)
                )
            })
            .map(|said| said.replace("0000000000000000000", ""))
            .collect();
        assert_eq!(
            said,
            [
                "LeaderAgreed 1-NODE_1 null",
                "LeaderLost 1-NODE_1 null",
                "LeaderAgreed 3-NODE_2 \"NODE_1\"",
                "LeaderLost 3-NODE_2 null",
                "LeaderAgreed 4-NODE_2 \"NODE_2\"",
            ]
        );
    }
}
