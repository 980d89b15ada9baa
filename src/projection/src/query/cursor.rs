//! Cursors: where an answer ended, as a text that only whoever made it can read and nobody else can make.
//!
//! A cursor belongs to one query of one tenant on one table, and says so in what it is signed with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::settings::Settings;

const FORM: u8 = 1;
const SEAL_BYTES: usize = 16;
const BLOCK_BYTES: usize = 64;
const ABSENT: u32 = u32::MAX;

/// What cursors are signed with. Nodes that answer each other's cursors have the same.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// The key that a secret text stands for.
    pub fn of_secret(secret: &str) -> Self {
        Self(Sha256::digest([b"projection cursor ", secret.as_bytes()].concat()).into())
    }

    /// The key of the secret that the settings have, or one that nobody else has.
    pub fn of(settings: &Settings) -> Self {
        let secret = settings.query_cursor_secret.as_ref();
        secret.map_or_else(Self::random, |secret| Self::of_secret(secret.expose()))
    }

    /// A key that nobody else has: cursors end with the process.
    pub fn random() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has random bytes");
        Self(key)
    }

    /// HMAC-SHA-256, shortened.
    fn seal(&self, context: &[u8], body: &[u8]) -> [u8; SEAL_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..self.0.len()].copy_from_slice(&self.0);
        let inner = Sha256::new()
            .chain_update(block.map(|byte| byte ^ 0x36))
            .chain_update((context.len() as u64).to_be_bytes())
            .chain_update(context)
            .chain_update(body)
            .finalize();
        let outer = Sha256::new()
            .chain_update(block.map(|byte| byte ^ 0x5c))
            .chain_update(inner)
            .finalize();
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(&outer[..SEAL_BYTES]);
        seal
    }
}

/// Where an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// The plan that is gone on with.
    pub(super) plan: String,
    /// The last key of it that was walked and is done with.
    pub(super) from: Option<Vec<u8>>,
    /// The last key of the piece that is sorted by itself.
    pub(super) through: Option<Vec<u8>>,
    /// The last view of that piece that was answered.
    pub(super) after: Option<After>,
}

/// Where a view is among those that are sorted: its keys, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct After {
    pub(super) values: Vec<u8>,
    pub(super) id: Vec<u8>,
}

impl Cursor {
    /// The text of it. `context` is everything that it belongs to.
    pub(super) fn write(&self, key: &CursorKey, context: &[u8]) -> String {
        let mut body = vec![FORM];
        put(&mut body, Some(self.plan.as_bytes()));
        put(&mut body, self.from.as_deref());
        put(&mut body, self.through.as_deref());
        put(
            &mut body,
            self.after.as_ref().map(|after| &after.values[..]),
        );
        put(&mut body, self.after.as_ref().map(|after| &after.id[..]));
        let seal = key.seal(context, &body);
        body.extend(seal);
        URL_SAFE_NO_PAD.encode(body)
    }

    /// Reads a text of [`Cursor::write`] with the same key and context; `None` for all else.
    pub(super) fn read(text: &str, key: &CursorKey, context: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        let expected = key.seal(context, body);
        // All bytes are looked at, so the time says nothing about which is wrong.
        let wrong = seal
            .iter()
            .zip(expected)
            .fold(0, |wrong, (a, b)| wrong | (a ^ b));
        let (form, mut rest) = body.split_first()?;
        if wrong != 0 || *form != FORM {
            return None;
        }
        let plan = take(&mut rest)??;
        let (from, through) = (take(&mut rest)?, take(&mut rest)?);
        let (values, id) = (take(&mut rest)?, take(&mut rest)?);
        Some(Self {
            plan: String::from_utf8(plan).ok()?,
            from,
            through,
            after: values.zip(id).map(|(values, id)| After { values, id }),
        })
    }
}

fn put(body: &mut Vec<u8>, part: Option<&[u8]>) {
    let len = part.map_or(ABSENT, |part| {
        u32::try_from(part.len()).expect("keys and values are short")
    });
    body.extend(len.to_be_bytes());
    body.extend(part.unwrap_or_default());
}

/// The next part, which may be absent; `None` where there is none.
#[expect(
    clippy::option_option,
    reason = "one says whether it can be read, the other whether it is there"
)]
fn take(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let (len, behind) = rest.split_first_chunk::<4>()?;
    let len = u32::from_be_bytes(*len);
    if len == ABSENT {
        *rest = behind;
        return Some(None);
    }
    let (part, behind) = behind.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(Some(part.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor() -> impl Strategy<Value = Cursor> {
        let part = || proptest::option::of(any::<Vec<u8>>());
        (".{0,9}", part(), part(), part()).prop_map(|(plan, from, through, values)| Cursor {
            plan,
            from,
            through,
            after: values.map(|values| After {
                id: values.clone(),
                values,
            }),
        })
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_with_its_key_and_context_and_with_no_others(cursor in cursor(), context: Vec<u8>) {
            let key = CursorKey::of_secret("s");
            let text = cursor.write(&key, &context);
            prop_assert_eq!(Cursor::read(&text, &key, &context), Some(cursor));
            prop_assert_eq!(Cursor::read(&text, &CursorKey::of_secret("t"), &context), None);
            prop_assert_eq!(Cursor::read(&text, &key, &[&context[..], b"x"].concat()), None);
        }

        #[test]
        fn a_cursor_with_any_byte_changed_is_refused(cursor in cursor(), at: prop::sample::Index, change in 1..=u8::MAX) {
            let key = CursorKey::random();
            let text = cursor.write(&key, b"c");
            let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_eq!(Cursor::read(&URL_SAFE_NO_PAD.encode(bytes), &key, b"c"), None);
            prop_assert_eq!(Cursor::read(&text[..at], &key, b"c"), None);
        }

        #[test]
        fn no_text_at_all_makes_reading_panic(text in ".{0,60}") {
            prop_assert_eq!(Cursor::read(&text, &CursorKey::random(), b"c"), None);
        }
    }

    #[test]
    fn the_seal_is_hmac_sha_256() {
        // The key is its own text of 32 bytes, as in no published example, so both sides are computed: HMAC by its definition over one message.
        let key = CursorKey([7; 32]);
        let mut message = 1_u64.to_be_bytes().to_vec();
        message.extend(b"cbody");
        let pad = |byte: u8| [[7 ^ byte; 32], [byte; 32]].concat();
        let inner = Sha256::digest([pad(0x36), message].concat());
        let outer = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
        assert_eq!(key.seal(b"c", b"body")[..], outer[..SEAL_BYTES]);
    }
}
