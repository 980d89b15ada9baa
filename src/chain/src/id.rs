//! Ids: the names of blocks, transactions, outputs and owners, the same for every wire.
//!
//! How an id is derived from what it names is the wire's.

use std::{
    borrow::Borrow,
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

/// Why a text is not an id of 32 bytes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// Too short or too long.
    #[error("an id has 64 hexadecimal digits, and this has {digits}")]
    Length {
        /// How many characters there were, after `0x`.
        digits: usize,
    },
    /// Something else than a digit.
    #[error("{found:?} is not a hexadecimal digit")]
    Digit {
        /// The first character that is none.
        found: char,
    },
}

fn from_hex(text: &str) -> Result<[u8; 32], IdError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if let Some(found) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(IdError::Digit { found });
    }
    if digits.len() != 64 {
        let digits = digits.len();
        return Err(IdError::Length { digits });
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The id of a block (of its header): 32 bytes in the order in which the wire shows them.
///
/// ```
/// use trellis_chain::BlockId;
///
/// let id: BlockId = format!("0x{}", "AB".repeat(32)).parse()?;
/// assert_eq!(id.to_string(), "ab".repeat(32));
/// assert_eq!(id.short(), "abababab");
/// # Ok::<_, trellis_chain::IdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId([u8; 32]);

/// The id of a transaction: 32 bytes in the order in which the wire shows them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxId([u8; 32]);

macro_rules! id_of_32_bytes {
    ($id:ident) => {
        impl $id {
            /// The id that these bytes are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Eight digits of it, for people. Ids of blocks with proof of work begin with zeros,
            /// so leading zero bytes are left out.
            pub fn short(&self) -> String {
                let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
                let from = zeros.min(28);
                self.to_string()[2 * from..2 * from + 8].to_owned()
            }
        }

        // Ids are hashes: the hash of a hash needs eight bytes of it. Those at the ends are not
        // taken, because work puts zeros there.
        impl Hash for $id {
            fn hash<H: Hasher>(&self, state: &mut H) {
                let middle = &self.0[12..20];
                state.write_u64(
                    middle
                        .iter()
                        .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
                );
            }
        }

        impl FromStr for $id {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                from_hex(text).map(Self)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($id), self.short())
            }
        }
    };
}

id_of_32_bytes!(BlockId);
id_of_32_bytes!(TxId);

macro_rules! shared_text {
    ($text:ident) => {
        impl $text {
            /// The text as the wire has it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $text {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl FromStr for $text {
            type Err = Infallible;

            fn from_str(text: &str) -> Result<Self, Infallible> {
                Ok(Self(text.into()))
            }
        }

        impl Borrow<str> for $text {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// The id of one output of a transaction, opaque: a note id in hex, or `txid:index`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(Arc<str>);

/// Who may spend an output: a public key or an address, in the one form that the wire uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<str>);

shared_text!(OutputId);
shared_text!(Owner);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_either_case_with_or_without_prefix_and_shown_in_one_way() {
        let text = "00ff".repeat(16);
        let plain: BlockId = text.parse().unwrap();
        let prefixed: BlockId = format!("0x{}", text.to_uppercase()).parse().unwrap();

        assert_eq!(plain, prefixed);
        assert_eq!(plain.to_string(), text);
        assert_eq!(BlockId::from_bytes(*plain.as_bytes()), plain);
    }

    #[test]
    fn what_is_no_id_says_why() {
        let short = "ab".parse::<TxId>().unwrap_err();
        let foreign = "zz".repeat(32).parse::<TxId>().unwrap_err();

        assert_eq!(
            short.to_string(),
            "an id has 64 hexadecimal digits, and this has 2"
        );
        assert_eq!(foreign.to_string(), "'z' is not a hexadecimal digit");
    }

    #[test]
    fn the_short_form_leaves_out_the_zeros_that_work_puts_in_front() {
        let worked: BlockId = format!("{}1234567890", "0".repeat(54)).parse().unwrap();
        let zero = BlockId::from_bytes([0; 32]);

        assert_eq!(worked.short(), "12345678");
        assert_eq!(zero.short(), "00000000");
    }
}
