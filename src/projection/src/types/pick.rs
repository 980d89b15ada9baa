//! Picking: reads from the bytes of a stored view only what is asked for, without building the rest.
//!
//! A scan that looks at two members of each view spends its time here.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::{Number, Value};

use super::{
    FieldPath,
    datum::{Datum, Rank},
    path::position,
};

/// The paths that are picked, each with a slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picker {
    root: Node,
    paths: Vec<FieldPath>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    slot: Option<usize>,
    members: Vec<(Box<str>, Node)>,
}

/// What a stored view says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    pub(crate) last_seq: u64,
    pub(crate) applied: u64,
}

impl Picker {
    /// The slot of `path`, which is the same for equal paths.
    pub(crate) fn slot(&mut self, path: &FieldPath) -> usize {
        if let Some(slot) = self.paths.iter().position(|known| known == path) {
            return slot;
        }
        let slot = self.paths.len();
        self.paths.push(path.clone());
        let mut node = &mut self.root;
        for name in path.segments() {
            let at = node.members.iter().position(|(known, _)| &**known == name);
            let at = at.unwrap_or_else(|| {
                node.members.push((name.into(), Node::default()));
                node.members.len() - 1
            });
            node = &mut node.members[at].1;
        }
        node.slot = Some(slot);
        slot
    }

    /// Fills `slots` from the bytes of a stored view. What cannot be read is absent.
    pub(crate) fn pick<'b>(
        &self,
        bytes: &'b [u8],
        slots: &mut Vec<Datum<'b>>,
    ) -> Result<Origin, serde_json::Error> {
        slots.clear();
        slots.resize(self.paths.len(), Datum::Absent);
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let picked = deserializer.deserialize_map(StoredVisitor {
            root: &self.root,
            slots,
        });
        if picked.is_err() {
            slots.fill(Datum::Absent);
        }
        picked
    }
}

impl Node {
    fn member(&self, name: &str) -> Option<&Self> {
        let found = self.members.iter().find(|(known, _)| &**known == name);
        found.map(|(_, node)| node)
    }

    /// Fills the slots of all that is below, from a value that was built for another slot.
    fn fill_from(&self, value: &Value, slots: &mut [Datum<'_>]) {
        for (name, node) in &self.members {
            let member = match value {
                Value::Object(members) => members.get(&**name),
                Value::Array(items) => position(name).and_then(|at| items.get(at)),
                _ => None,
            };
            if let Some(member) = member {
                if let Some(slot) = node.slot {
                    slots[slot] = Datum::of(member).into_owned();
                }
                node.fill_from(member, slots);
            }
        }
    }
}

struct StoredVisitor<'p, 's, 'b> {
    root: &'p Node,
    slots: &'s mut [Datum<'b>],
}

impl<'b> Visitor<'b> for StoredVisitor<'_, '_, 'b> {
    type Value = Origin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored view")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Origin, A::Error> {
        let mut origin = Origin::default();
        while let Some(letter) = map.next_key_seed(LetterSeed)? {
            match letter {
                b'v' => map.next_value_seed(Pick {
                    node: self.root,
                    slots: &mut *self.slots,
                })?,
                b's' => origin.last_seq = map.next_value()?,
                b'n' => origin.applied = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(origin)
    }
}

/// The one letter that a member of a stored view is called; 0 for any other name.
struct LetterSeed;

impl<'b> DeserializeSeed<'b> for LetterSeed {
    type Value = u8;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<u8, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for LetterSeed {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u8, E> {
        Ok(match name.as_bytes() {
            [letter] => *letter,
            _ => 0,
        })
    }
}

/// Finds the node of a member's name without keeping the name.
struct MemberSeed<'p>(&'p Node);

impl<'b, 'p> DeserializeSeed<'b> for MemberSeed<'p> {
    type Value = Option<&'p Node>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'p> Visitor<'_> for MemberSeed<'p> {
    type Value = Option<&'p Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.member(name))
    }
}

/// Picks what a node wants from the value that comes next.
struct Pick<'p, 's, 'b> {
    node: &'p Node,
    slots: &'s mut [Datum<'b>],
}

impl<'b> Pick<'_, '_, 'b> {
    fn put(self, datum: Datum<'b>) {
        if let Some(slot) = self.node.slot {
            self.slots[slot] = datum;
        }
    }

    fn put_composite(self, value: Value) {
        self.node.fill_from(&value, self.slots);
        self.put(Datum::Composite(value));
    }
}

impl<'b> DeserializeSeed<'b> for Pick<'_, '_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Pick<'_, '_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Datum::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(Datum::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(Datum::Number(Rank::signed(value)));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(Datum::Number(Rank::unsigned(value)));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let datum = Number::from_f64(value);
        self.put(datum.map_or(Datum::Null, |number| Datum::Number(Rank::of(&number))));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.put(Datum::Text(text.to_owned().into()));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'b str) -> Result<(), E> {
        self.put(Datum::Text(text.into()));
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        if self.node.slot.is_some() {
            let value = Value::deserialize(MapAccessDeserializer::new(map))?;
            self.put_composite(value);
            return Ok(());
        }
        while let Some(member) = map.next_key_seed(MemberSeed(self.node))? {
            match member {
                Some(node) => map.next_value_seed(Pick {
                    node,
                    slots: &mut *self.slots,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<(), A::Error> {
        if self.node.slot.is_some() {
            let value = Value::deserialize(SeqAccessDeserializer::new(items))?;
            self.put_composite(value);
            return Ok(());
        }
        for at in 0.. {
            let is_wanted = |(name, _): &&(Box<str>, Node)| position(name) == Some(at);
            let node = self.node.members.iter().find(is_wanted);
            let more = match node {
                Some((_, node)) => items
                    .next_element_seed(Pick {
                        node,
                        slots: &mut *self.slots,
                    })?
                    .is_some(),
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::types::StoredView;

    /// The plain way: build it all, and walk.
    fn walked<'v>(view: &'v Value, path: &FieldPath) -> Datum<'v> {
        path.within(view).map_or(Datum::Absent, Datum::of)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\"\\\\\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[abc0]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_picked_is_what_is_found_in_the_whole_view(
            view in value(),
            paths in proptest::collection::vec("[abc01](\\.[abc01]){0,3}", 0..6),
        ) {
            let stored = StoredView { view, last_seq: 7, applied: 2, program: "p".into() };
            let bytes = stored.encode();
            let view = StoredView::decode(&bytes).unwrap().view;
            let paths: Vec<FieldPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            let mut picker = Picker::default();
            let slots: Vec<_> = paths.iter().map(|path| picker.slot(path)).collect();
            let mut picked = Vec::new();
            let origin = picker.pick(&bytes, &mut picked).unwrap();
            prop_assert_eq!(origin, Origin { last_seq: 7, applied: 2 });
            for (path, slot) in paths.iter().zip(slots) {
                prop_assert_eq!(&picked[slot], &walked(&view, path), "{}", path);
            }
        }
    }

    #[test]
    fn what_is_no_stored_view_has_nothing_to_pick() {
        let mut picker = Picker::default();
        picker.slot(&"a".parse().unwrap());
        let mut picked = Vec::new();
        assert!(picker.pick(b"{\"v\":{\"a\":1},", &mut picked).is_err());
        assert_eq!(picked, [Datum::Absent]);
    }
}
