//! Quarantine: events that are not in the views, why, and what becomes of later events of their keys.
//!
//! Values only. They are written in the transaction that moves the checkpoint past them (see `storage`), so an event is in the views or here, and never in neither.

use serde::{Deserialize, Serialize};

use crate::{hex::hex, types::ViewId};

/// What a projection does with an event that it can never apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoisonPolicy {
    /// Stops before it, and says so.
    Halt,
    /// Sets it aside, and later events of its view behind it, in order. Other views go on.
    #[default]
    ParkKey,
    /// Sets it aside and goes on.
    Skip,
}

/// Why an event is not in the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It is no event envelope.
    Decode,
    /// It belongs to a tenant whose events this is not the place for.
    Tenant,
    /// The program cannot deal with what it says.
    Contract,
    /// The program ran out of gas.
    Gas,
    /// The event or its view is too large.
    Size,
    /// It waits behind another event of its view.
    Waiting,
    /// An operator let the projection go on without it.
    Dropped,
}

impl Fault {
    /// As it is stored, and called in metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Tenant => "tenant",
            Self::Contract => "contract",
            Self::Gas => "gas",
            Self::Size => "size",
            Self::Waiting => "waiting",
            Self::Dropped => "dropped",
        }
    }
}

/// Which event, and of which view where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The sequence of the event.
    pub sequence: u64,
    /// Whose view, as it is in the key of a table; empty where no view is known.
    pub in_table: String,
}

impl RecordKey {
    /// Records are in the order of the stream.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.sequence.to_be_bytes()[..], self.in_table.as_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let (sequence, in_table) = bytes.split_at(bytes.len().min(8));
        let mut number = [0; 8];
        number[..sequence.len()].copy_from_slice(sequence);
        Self {
            sequence: u64::from_be_bytes(number),
            in_table: String::from_utf8_lossy(in_table).into_owned(),
        }
    }
}

/// An event that is not in the views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is wrong with it.
    pub fault: Fault,
    /// The same in words.
    pub reason: String,
    /// Where it was published.
    pub subject: String,
    /// When, in nanoseconds since 1970.
    pub published: i128,
    /// Whose it is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The view that it should change, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewId>,
    /// The program that could not apply it.
    pub program: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Its bytes, as text or in hexadecimal; `None` where it was too large to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// The bytes of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// As text.
    Text(String),
    /// In hexadecimal, where they are no text.
    Hex(String),
}

impl Body {
    /// The most that a record keeps of an event; the stream has the rest.
    pub const BYTES_MAX: usize = 64 << 10;

    /// Keeps `bytes`, if they are not too many.
    pub fn keep(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return None;
        }
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(hex(bytes)),
        })
    }

    /// The bytes that were kept.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Hex(hex) => {
                let digits = (0..hex.len() / 2).filter_map(|at| hex.get(2 * at..2 * at + 2));
                digits
                    .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
                    .collect()
            }
        }
    }
}

impl Record {
    /// The bytes that a store keeps.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are always JSON")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Whether the record of these bytes waits behind another one. The rest of it is not read.
    pub(crate) fn waits(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct OnlyFault {
            fault: Fault,
        }
        let found: Result<OnlyFault, _> = serde_json::from_slice(bytes);
        found.is_ok_and(|found| found.fault == Fault::Waiting)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_kept_as_they_are(bytes: Vec<u8>) {
            prop_assert_eq!(Body::keep(&bytes).unwrap().bytes(), bytes);
        }

        #[test]
        fn keys_of_records_are_in_the_order_of_the_stream(a: u64, b: u64, view in "[a-z:]{0,5}") {
            let key = |sequence| RecordKey { sequence, in_table: view.clone() };
            prop_assert_eq!(key(a).encode().cmp(&key(b).encode()), a.cmp(&b));
            prop_assert_eq!(RecordKey::decode(&key(a).encode()), key(a));
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_left_to_the_stream() {
        assert_eq!(Body::keep(&vec![0; Body::BYTES_MAX + 1]), None);
    }
}
