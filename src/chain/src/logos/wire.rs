//! Wire: how ids are written, wherever they are in an answer.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Something with a text form, as JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        id(deserializer).map(Self)
    }
}

/// The same by `deserialize_with`.
pub(super) fn id<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

/// The ids in a list.
pub(super) fn plain<T>(ids: Vec<Id<T>>) -> Vec<T> {
    ids.into_iter().map(|Id(id)| id).collect()
}
