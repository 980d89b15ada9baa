//! Amount: coins as the wire writes them (decimals), counted in the smallest unit.
//!
//! The digits are read as they were sent, and are never a float in between: `0.1 + 0.2` of
//! coins is `0.3`. That takes `RawValue` and so works on text, not on a `serde_json::Value`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;
use thiserror::Error;

/// How many decimal places a coin has: 100,000,000 of the smallest unit.
const PLACES: i32 = 8;
/// Exponents beyond this are no amounts, whatever their digits.
const EXPONENT_MAX: i32 = 100;

/// Why a text is no amount.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmountError {
    /// Not a decimal number.
    #[error("{text:?} is not a decimal number")]
    NotDecimal {
        /// What it is.
        text: String,
    },
    /// More decimal places than a coin has.
    #[error("{text} has more than {PLACES} decimal places")]
    TooFine {
        /// What it is.
        text: String,
    },
    /// More than fits, or less than nothing where that cannot be.
    #[error("{text} is out of range")]
    OutOfRange {
        /// What it is.
        text: String,
    },
}

/// An amount of coins, in the smallest unit (satoshi, litoshi).
///
/// ```
/// use trellis_chain::bitcoin::Amount;
///
/// let amount: Amount = "10.39068020".parse()?;
/// assert_eq!(amount.units(), 1_039_068_020);
/// assert_eq!(amount.to_string(), "10.39068020");
/// # Ok::<_, trellis_chain::bitcoin::AmountError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

/// An amount that may be negative, as what a wallet paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedAmount(i64);

impl Amount {
    /// This many of the smallest unit.
    pub const fn from_units(units: u64) -> Self {
        Self(units)
    }

    /// How many of the smallest unit.
    pub const fn units(self) -> u64 {
        self.0
    }
}

impl SignedAmount {
    /// How many of the smallest unit.
    pub const fn units(self) -> i64 {
        self.0
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        let units = units(text)?;
        let out_of_range = |_| AmountError::OutOfRange { text: text.into() };
        units.try_into().map(Self).map_err(out_of_range)
    }
}

impl FromStr for SignedAmount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        let units = units(text)?;
        let out_of_range = |_| AmountError::OutOfRange { text: text.into() };
        units.try_into().map(Self).map_err(out_of_range)
    }
}

/// The units that `text` is. An exponent only moves the point: some nodes write `5.52e-05`.
fn units(text: &str) -> Result<i128, AmountError> {
    let not_decimal = || AmountError::NotDecimal { text: text.into() };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| not_decimal())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.all(|digit| digit.is_ascii_digit()) {
        return Err(not_decimal());
    }
    let out_of_range = || AmountError::OutOfRange { text: text.into() };
    let places = i32::try_from(fraction.len()).map_err(|_| out_of_range())?;
    if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
        return Err(out_of_range());
    }
    let digits = format!("{whole}{fraction}");
    let units = shifted(&digits, PLACES + exponent - places, text)?;
    Ok(if text.starts_with('-') { -units } else { units })
}

/// The number that `digits` are with the point moved by `places`, if that is a whole one.
fn shifted(digits: &str, places: i32, text: &str) -> Result<i128, AmountError> {
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Ok(0);
    }
    let zeros = i64::try_from(digits.len() - kept.len()).unwrap_or(i64::MAX);
    let zeros = zeros.saturating_add(i64::from(places));
    let too_fine = |_| AmountError::TooFine { text: text.into() };
    let zeros = u32::try_from(zeros.max(i64::from(i32::MIN))).map_err(too_fine)?;
    let scaled = || {
        let kept: i128 = kept.parse().ok()?;
        kept.checked_mul(10_i128.checked_pow(zeros)?)
    };
    scaled().ok_or_else(|| AmountError::OutOfRange { text: text.into() })
}

/// The digits of a JSON number, or of a number in a JSON text.
fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(raw.get().trim_matches('"').to_owned())
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        digits(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SignedAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        digits(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// As text, which nodes take as an amount.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_coins(f, self.0)
    }
}

impl fmt::Display for SignedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        f.write_str(sign)?;
        write_coins(f, self.0.unsigned_abs())
    }
}

fn write_coins(f: &mut fmt::Formatter<'_>, units: u64) -> fmt::Result {
    let coin = 100_000_000;
    write!(f, "{}.{:08}", units / coin, units % coin)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> u64 {
        serde_json::from_str::<Amount>(json).unwrap().units()
    }

    #[test]
    fn amounts_are_read_digit_by_digit_and_not_as_floats() {
        // As a float this is 20999999.97690000 or 20999999.976899999, by who prints it.
        assert_eq!(read("20999999.97690001"), 2_099_999_997_690_001);
        assert_eq!(read("0.00000001"), 1);
        assert_eq!(read("10"), 1_000_000_000);
        assert_eq!(read("10.39068020"), 1_039_068_020);
        assert_eq!(read("\"3.00000000\""), 300_000_000);
        // More units than a float has integers for.
        assert_eq!(read("184467440737.09551615"), u64::MAX);
    }

    #[test]
    fn an_exponent_moves_the_point() {
        assert_eq!(read("5.52e-05"), 5_520);
        assert_eq!(read("1E-8"), 1);
        assert_eq!(read("2.5e+2"), 25_000_000_000);
        assert_eq!(read("0e99"), 0);
    }

    #[test]
    fn what_is_no_amount_says_why() {
        let why = |text: &str| text.parse::<Amount>().unwrap_err().to_string();

        assert_eq!(
            why("0.000000001"),
            "0.000000001 has more than 8 decimal places"
        );
        assert_eq!(why("1e-9"), "1e-9 has more than 8 decimal places");
        assert_eq!(why("-1"), "-1 is out of range");
        assert_eq!(
            why("184467440737.09551616"),
            "184467440737.09551616 is out of range"
        );
        assert_eq!(why("1e101"), "1e101 is out of range");
        for text in ["", ".", ".5", "1.2.3", "ten", "+1", "1e", "0x10"] {
            assert_eq!(why(text), format!("{text:?} is not a decimal number"));
        }
    }

    #[test]
    fn what_a_wallet_paid_is_negative() {
        let paid: SignedAmount = serde_json::from_str("-3.00005520").unwrap();

        assert_eq!(paid.units(), -300_005_520);
        assert_eq!(paid.to_string(), "-3.00005520");
    }

    proptest! {
        #[test]
        fn an_amount_survives_the_wire(units in any::<u64>()) {
            let amount = Amount::from_units(units);

            prop_assert_eq!(read(&amount.to_string()), units);
            prop_assert_eq!(read(&serde_json::to_string(&amount).unwrap()), units);
        }
    }
}
