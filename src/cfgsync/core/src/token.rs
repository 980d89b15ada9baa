//! Bearer token: the secret that a server may ask of its clients.

use std::fmt;

/// A secret that both sides know. Shown to nobody: neither `Debug` nor an error prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    /// A token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// A token that nobody can guess, for a server and its clients in one process.
    ///
    /// # Panics
    /// Where the system has no source of random numbers.
    #[cfg(feature = "server")]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has a source of random numbers");
        let digit = |bits: u8| char::from_digit(bits.into(), 16).unwrap_or('0');
        let digits = bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Self(digits.collect())
    }

    /// The token itself, for a header.
    #[cfg(feature = "client")]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this token. Takes as long for a wrong one as for the right one, so that it cannot be guessed letter by letter.
    #[cfg(feature = "server")]
    pub(crate) fn matches(&self, given: &[u8]) -> bool {
        let known = self.0.as_bytes();
        let differences = known.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        known.len() == given.len() && std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(hidden)")
    }
}

impl From<String> for BearerToken {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl From<&str> for BearerToken {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}
