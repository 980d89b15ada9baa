//! Keys: the one place where the text of a key is composed, parsed and escaped.
//!
//! Parts are joined by `:`. Within a part, `:` is written `%3A` and `%` is written `%25`, and nothing else is escaped.
//! So no two different tuples share a key, and no tenant's prefix contains the key of another tenant.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use thiserror::Error;

use super::{TenantId, ViewId, ViewType};

/// The longest key that is composed. MDBX takes 2,022 bytes at its page size; the rest is room for what stores add.
pub const KEY_BYTES_MAX: usize = 1_900;

/// Why a key cannot be composed, or a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A view without a name cannot be asked for.
    #[error("the view id is empty")]
    EmptyId,
    /// A view without a type belongs to no projection.
    #[error("the view type is empty")]
    EmptyType,
    /// Stores have a bound on keys.
    #[error("the key has {bytes} bytes, more than {KEY_BYTES_MAX}")]
    TooLong {
        /// How many it would have.
        bytes: usize,
    },
    /// The text has another form than keys have.
    #[error("{text:?} is not a key of the form {form}")]
    Malformed {
        /// The text.
        text: String,
        /// The form that was wanted.
        form: &'static str,
    },
}

/// Names one view: `view:{tenant}:{type}:{id}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewKey {
    tenant: TenantId,
    view_type: ViewType,
    id: ViewId,
}

impl ViewKey {
    const FORM: &str = "view:{tenant}:{type}:{id}";

    /// The key of the view `id`.
    ///
    /// # Errors
    /// An empty type or id, or parts that are too long together.
    pub fn new(tenant: TenantId, view_type: ViewType, id: ViewId) -> Result<Self, KeyError> {
        if view_type.as_str().is_empty() {
            return Err(KeyError::EmptyType);
        }
        if id.as_str().is_empty() {
            return Err(KeyError::EmptyId);
        }
        let parts = [tenant.as_str(), view_type.as_str(), id.as_str()];
        let bytes = "view:::".len() + parts.map(escaped_len).iter().sum::<usize>();
        if bytes > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { bytes });
        }
        Ok(Self {
            tenant,
            view_type,
            id,
        })
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What kind of view it is.
    pub fn view_type(&self) -> &ViewType {
        &self.view_type
    }

    /// Which of its kind it is.
    pub fn id(&self) -> &ViewId {
        &self.id
    }

    /// The key that [`ViewKey::in_table`] has written; `None` where it cannot have.
    pub(crate) fn from_table(view_type: &ViewType, in_table: &str) -> Option<Self> {
        let (tenant, id) = in_table.split_once(':')?;
        Self::new(
            unescape(tenant)?.into(),
            view_type.clone(),
            unescape(id)?.into(),
        )
        .ok()
    }

    /// The key within the table of its type: `{tenant}:{id}`.
    pub(crate) fn in_table(&self) -> String {
        [
            &*escape(self.tenant.as_str()),
            ":",
            &*escape(self.id.as_str()),
        ]
        .concat()
    }
}

/// Without the type: keys that are looked up among each other have it in common.
impl Hash for ViewKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.tenant.hash(state);
    }
}

impl fmt::Display for ViewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tenant, view_type, id] = [
            self.tenant.as_str(),
            self.view_type.as_str(),
            self.id.as_str(),
        ]
        .map(escape);
        write!(f, "view:{tenant}:{view_type}:{id}")
    }
}

impl FromStr for ViewKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed {
            text: text.to_owned(),
            form: Self::FORM,
        };
        let [tenant, view_type, id] = parts(text, "view").ok_or_else(malformed)?;
        Self::new(tenant.into(), view_type.into(), id.into())
    }
}

/// Names how far the views of one type have come for one tenant: `checkpoint:{tenant}:{type}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckpointKey {
    tenant: TenantId,
    view_type: ViewType,
}

impl CheckpointKey {
    const FORM: &str = "checkpoint:{tenant}:{type}";

    /// The key of the checkpoint of `view_type` for `tenant`.
    ///
    /// # Errors
    /// An empty type, or parts that are too long together.
    pub fn new(tenant: TenantId, view_type: ViewType) -> Result<Self, KeyError> {
        if view_type.as_str().is_empty() {
            return Err(KeyError::EmptyType);
        }
        let parts = escaped_len(tenant.as_str()) + escaped_len(view_type.as_str());
        let bytes = "checkpoint::".len() + parts;
        if bytes > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { bytes });
        }
        Ok(Self { tenant, view_type })
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What kind of view it is about.
    pub fn view_type(&self) -> &ViewType {
        &self.view_type
    }
}

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tenant, view_type] = [self.tenant.as_str(), self.view_type.as_str()].map(escape);
        write!(f, "checkpoint:{tenant}:{view_type}")
    }
}

impl FromStr for CheckpointKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed {
            text: text.to_owned(),
            form: Self::FORM,
        };
        let [tenant, view_type] = parts(text, "checkpoint").ok_or_else(malformed)?;
        Self::new(tenant.into(), view_type.into())
    }
}

/// The views of one tenant, the only range that a scan can be opened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantScope {
    prefix: String,
}

impl TenantScope {
    /// What belongs to `tenant` and nothing else.
    pub fn new(tenant: &TenantId) -> Self {
        Self {
            prefix: format!("{}:", escape(tenant.as_str())),
        }
    }

    /// How keys in a table begin that belong to the tenant.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key in a table of the view `id`.
    pub(crate) fn in_table(&self, id: &ViewId) -> String {
        format!("{}{}", self.prefix, escape(id.as_str()))
    }

    /// The view that a key in a table names; `None` where it is not of this tenant, or not a key.
    pub(crate) fn id_of(&self, in_table: &[u8]) -> Option<ViewId> {
        let rest = std::str::from_utf8(in_table)
            .ok()?
            .strip_prefix(&self.prefix)?;
        Some(unescape(rest)?.into())
    }
}

/// `text` as a part of a key.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if text.contains([':', '%']) {
        text.replace('%', "%25").replace(':', "%3A").into()
    } else {
        text.into()
    }
}

fn escaped_len(text: &str) -> usize {
    let escaped = text
        .bytes()
        .filter(|byte| matches!(byte, b':' | b'%'))
        .count();
    text.len() + 2 * escaped
}

/// What was escaped into `part`; `None` where nothing can have been.
pub(crate) fn unescape(part: &str) -> Option<String> {
    let mut pieces = part.split('%');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        // One spelling for one text: `%3a` is refused, or two keys would name one view.
        let (sign, rest) = match piece.get(..2)? {
            "3A" => (':', &piece[2..]),
            "25" => ('%', &piece[2..]),
            _ => return None,
        };
        text.push(sign);
        text.push_str(rest);
    }
    (!text.is_empty() || part.is_empty()).then_some(text)
}

/// The `N` parts after `family:`, without their escapes.
fn parts<const N: usize>(text: &str, family: &str) -> Option<[String; N]> {
    let rest = text.strip_prefix(family)?.strip_prefix(':')?;
    let parts = rest.split(':').map(unescape).collect::<Option<Vec<_>>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text with what could break keys in it, more often than chance would put it there.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(":".to_owned()),
            Just("%".to_owned()),
            Just("%3A".to_owned()),
            Just("%25".to_owned()),
            Just("@".to_owned()),
            Just("\0".to_owned()),
            "[a-c]{0,2}",
            "\\PC{0,2}",
        ];
        proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    fn key() -> impl Strategy<Value = ViewKey> {
        (hostile(), hostile(), hostile()).prop_filter_map("empty", |(tenant, kind, id)| {
            ViewKey::new(tenant.into(), kind.into(), id.into()).ok()
        })
    }

    proptest! {
        #[test]
        fn a_view_key_is_read_back_as_it_was_composed(key in key()) {
            prop_assert_eq!(key.to_string().parse::<ViewKey>().unwrap(), key);
        }

        #[test]
        fn no_two_tuples_share_a_key(one in key(), other in key()) {
            prop_assert_eq!(one == other, one.to_string() == other.to_string());
        }

        #[test]
        fn no_two_checkpoints_share_a_key(a in hostile(), b in "[a:%]{1,3}", c in hostile(), d in "[a:%]{1,3}") {
            let one = CheckpointKey::new(a.into(), b.into()).unwrap();
            let other = CheckpointKey::new(c.into(), d.into()).unwrap();
            prop_assert_eq!(one == other, one.to_string() == other.to_string());
            prop_assert_eq!(one.to_string().parse::<CheckpointKey>().unwrap(), one);
        }

        #[test]
        fn no_tenants_prefix_contains_the_key_of_another(tenant in hostile(), key in key()) {
            let tenant = TenantId::from(tenant);
            let scope = TenantScope::new(&tenant);
            let within = key.in_table().starts_with(scope.prefix());
            prop_assert_eq!(within, &tenant == key.tenant());
            prop_assert_eq!(scope.id_of(key.in_table().as_bytes()).is_some(), within);
        }

        #[test]
        fn what_is_read_as_a_key_is_written_the_same_way_again(text in "view:[a:%325A]{0,12}") {
            if let Ok(key) = text.parse::<ViewKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn the_length_of_a_key_is_known_before_it_is_written(key in key()) {
            let bytes = key.to_string().len();
            let parts = [key.tenant.as_str(), key.view_type.as_str(), key.id.as_str()];
            prop_assert_eq!(bytes, 7 + parts.map(escaped_len).iter().sum::<usize>());
        }
    }

    #[test]
    fn the_pair_that_leaks_without_escapes_does_not() {
        let of_a = ViewKey::new("a".into(), "b".into(), "c:1".into()).unwrap();
        let of_ab = ViewKey::new("a:b".into(), "c".into(), "1".into()).unwrap();
        assert_eq!(of_a.to_string(), "view:a:b:c%3A1");
        assert_eq!(of_ab.to_string(), "view:a%3Ab:c:1");
    }

    #[test]
    fn what_no_store_can_hold_is_refused_when_the_key_is_composed() {
        let long = "x".repeat(KEY_BYTES_MAX);
        let key = |kind: &str, id: &str| ViewKey::new(TenantId::default(), kind.into(), id.into());
        assert_eq!(key("account", ""), Err(KeyError::EmptyId));
        assert_eq!(key("", "1"), Err(KeyError::EmptyType));
        assert!(
            matches!(key("account", &long), Err(KeyError::TooLong { bytes }) if bytes > KEY_BYTES_MAX)
        );
    }
}
