//! The ledger: which events were published, which of them were acknowledged, and what views must say in consequence.
//!
//! Values only; whoever publishes is in `session`.

use std::collections::BTreeMap;

use super::{Event, EventKey, Tally};

/// How many keys each tenant has whose events come again and again.
const KEYS: u64 = 40;
/// How many bytes the view of a new key has to hold.
const NEW_KEY_BYTES: usize = 800;
/// How many wrong views an error names.
const WRONG_SHOWN: usize = 5;

/// Whose events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Of the same few keys, over and over.
    Same,
    /// Each of a key of its own, so that there is ever more to store.
    New,
}

/// What was published and acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tenants: Vec<String>,
    /// Everything that was ever tried.
    issued: BTreeMap<EventKey, Tally>,
    acknowledged: BTreeMap<EventKey, Tally>,
    events: u64,
    last: u64,
}

/// What views must say at least and may say at most: they differ by what was not acknowledged yet when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: BTreeMap<EventKey, Tally>,
    pub(super) most: BTreeMap<EventKey, Tally>,
}

impl Ledger {
    pub(super) fn new(tenants: Vec<String>) -> Self {
        Self {
            tenants,
            ..Self::default()
        }
    }

    /// The key that comes next among those that come again.
    pub(super) fn next_key(&self, keys: Keys) -> EventKey {
        let tenants = self.tenants.len() as u64;
        let tenant = self.events % tenants;
        let id = match keys {
            Keys::Same => format!("key-{:02}", self.events / tenants % KEYS),
            Keys::New => format!("new-{:06}", self.events),
        };
        let tenant = usize::try_from(tenant).expect("there are few tenants");
        EventKey {
            tenant: self.tenants[tenant].clone(),
            id,
        }
    }

    /// The next event of `key`, which counts as published from now on.
    pub(super) fn issue(&mut self, key: EventKey, keys: Keys) -> Event {
        self.events += 1;
        let number = self.issued.get(&key).map_or(0, |tally| tally.count) + 1;
        let event = Event {
            id: format!("event-{}", self.events),
            number,
            amount: self.events % 7 + 1,
            bytes: match keys {
                Keys::Same => 0,
                Keys::New => NEW_KEY_BYTES,
            },
            key,
        };
        add(&mut self.issued, &event);
        event
    }

    /// Takes the acknowledgement of an event in.
    pub(super) fn acknowledge(&mut self, event: &Event, sequence: u64) {
        add(&mut self.acknowledged, event);
        self.passed(sequence);
    }

    /// Something that is in no view was acknowledged.
    pub(super) fn passed(&mut self, sequence: u64) {
        self.last = self.last.max(sequence);
    }

    /// The last sequence that was acknowledged; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn acknowledged(&self) -> &BTreeMap<EventKey, Tally> {
        &self.acknowledged
    }

    pub(super) fn issued(&self) -> &BTreeMap<EventKey, Tally> {
        &self.issued
    }

    /// How many events were acknowledged that belong into views.
    pub(super) fn count(&self) -> u64 {
        self.acknowledged.values().map(|tally| tally.count).sum()
    }
}

impl Bounds {
    /// What is wrong with `views`, in words; `None` where every event is there that must be, once, in its order, and no other. A view of `ignored` is not looked at.
    pub(super) fn fault(
        &self,
        views: &BTreeMap<EventKey, Tally>,
        ignored: Option<&EventKey>,
    ) -> Option<String> {
        let nothing = Tally::default();
        let keys = self.most.keys().chain(views.keys());
        let keys = keys.filter(|key| Some(*key) != ignored);
        let mut wrong: Vec<String> = keys
            .filter_map(|key| {
                let view = views.get(key).unwrap_or(&nothing);
                let least = self.least.get(key).unwrap_or(&nothing);
                let most = self.most.get(key).unwrap_or(&nothing);
                differs(*view, *least, *most).map(|how| format!("{key} {how}"))
            })
            .collect();
        wrong.sort();
        wrong.dedup();
        let count = wrong.len();
        wrong.truncate(WRONG_SHOWN);
        (count > 0).then(|| {
            let all = self.most.len();
            format!(
                "{count} of {all} views are wrong:\n  {}",
                wrong.join("\n  ")
            )
        })
    }
}

fn differs(view: Tally, least: Tally, most: Tally) -> Option<String> {
    let sum_is_right = (least.sum..=most.sum).contains(&view.sum);
    let matter = if view.count < least.count {
        "events are lost"
    } else if view.count > most.count {
        "events are there more than once"
    } else if !sum_is_right {
        "they are other events"
    } else if view.disordered > 0 {
        "they did not come in their order"
    } else {
        return None;
    };
    Some(format!(
        "has {view}, and {least} were acknowledged: {matter}"
    ))
}

fn add(tallies: &mut BTreeMap<EventKey, Tally>, event: &Event) {
    let tally = tallies.entry(event.key.clone()).or_default();
    tally.count += 1;
    tally.sum += event.amount;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(vec!["north".to_owned(), "south".to_owned()])
    }

    fn publish(ledger: &mut Ledger, acknowledged: bool) -> Event {
        let key = ledger.next_key(Keys::Same);
        let event = ledger.issue(key, Keys::Same);
        if acknowledged {
            let sequence = ledger.last() + 1;
            ledger.acknowledge(&event, sequence);
        }
        event
    }

    fn bounds(ledger: &Ledger) -> Bounds {
        Bounds {
            least: ledger.acknowledged().clone(),
            most: ledger.issued().clone(),
        }
    }

    #[test]
    fn events_of_a_key_are_counted_from_one_and_tenants_take_turns() {
        let mut ledger = ledger();
        let events: Vec<Event> = (0..160).map(|_| publish(&mut ledger, true)).collect();
        assert_ne!(events[0].key.tenant, events[1].key.tenant);
        assert_eq!(events[0].key, events[80].key);
        assert_eq!((events[0].number, events[80].number), (1, 2));
        assert_eq!(ledger.count(), 160);
        let key = ledger.next_key(Keys::New);
        assert!(!ledger.acknowledged().contains_key(&key));
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_told_by_its_key() {
        let mut ledger = ledger();
        let event = publish(&mut ledger, true);
        publish(&mut ledger, true);
        let right = ledger.acknowledged().clone();
        let bounds = bounds(&ledger);
        let with = |change: fn(&mut Tally)| {
            let mut views = right.clone();
            change(views.get_mut(&event.key).unwrap());
            bounds.fault(&views, None).unwrap_or_default()
        };
        assert_eq!(with(|_| ()), "");
        assert!(with(|view| view.count = 0).contains("north/key-00 has 0 events"));
        assert!(with(|view| view.count = 0).contains("events are lost"));
        assert!(with(|view| view.count = 2).contains("more than once"));
        assert!(with(|view| view.sum += 1).contains("other events"));
        assert!(with(|view| view.disordered = 1).contains("not come in their order"));
        let mut views = right.clone();
        views.remove(&event.key);
        assert!(bounds.fault(&views, None).is_some());
        assert_eq!(bounds.fault(&views, Some(&event.key)), None);
    }

    #[test]
    fn an_event_without_an_acknowledgement_may_be_there_or_not() {
        let mut ledger = ledger();
        let event = publish(&mut ledger, false);
        let bounds = bounds(&ledger);
        assert_eq!(bounds.fault(&BTreeMap::new(), None), None);
        assert_eq!(bounds.fault(ledger.issued(), None), None);
        let twice = Tally {
            count: 2,
            sum: 2 * event.amount,
            disordered: 0,
        };
        assert!(bounds.fault(&[(event.key, twice)].into(), None).is_some());
    }
}
