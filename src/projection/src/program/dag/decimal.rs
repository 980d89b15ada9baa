//! Decimals: amounts as texts such as `-12.50`, with exact arithmetic. What does not fit is refused, never rounded in silence.

use std::{cmp::Ordering, fmt, str::FromStr};

/// How many digits a decimal may have behind its point.
pub(super) const SCALE_MAX: u32 = 28;

/// A number of units of 10 to the power of `-scale`.
///
/// The scale is kept as money is written: 1.50 and 1.5 are equal, and 1.50 + 1.5 is 3.00.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let (one, other, scale) = self.aligned(other)?;
        let units = one.checked_add(other)?;
        Some(Self { units, scale })
    }

    /// What is left of it without `other`.
    pub(super) fn minus(self, other: Self) -> Option<Self> {
        let (one, other, scale) = self.aligned(other)?;
        let units = one.checked_sub(other)?;
        Some(Self { units, scale })
    }

    /// The product of both, with the digits of both behind its point.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        let scale = Some(self.scale + other.scale).filter(|scale| *scale <= SCALE_MAX)?;
        let units = self.units.checked_mul(other.units)?;
        Some(Self { units, scale })
    }

    /// The quotient with `scale` digits behind its point: the nearest, and of two that are as near the even one.
    pub(super) fn divided_by(self, other: Self, scale: u32) -> Option<Self> {
        let (up, down) = (other.scale + scale, self.scale);
        let shift = power(up.abs_diff(down))?;
        let (numerator, denominator) = if up >= down {
            (self.units.checked_mul(shift)?, other.units)
        } else {
            (self.units, other.units.checked_mul(shift)?)
        };
        let units = nearest(numerator, denominator)?;
        Some(Self { units, scale })
    }

    /// The same with `scale` digits behind its point, rounded as a quotient is.
    pub(super) fn rounded(self, scale: u32) -> Option<Self> {
        self.divided_by(Self::from(1), scale)
    }

    /// How it compares; `None` where they are too far apart in size to be brought to one scale.
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        let (one, other, _) = self.aligned(other)?;
        Some(one.cmp(&other))
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let units = |decimal: Self| decimal.units.checked_mul(power(scale - decimal.scale)?);
        Some((units(self)?, units(other)?, scale))
    }
}

fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

fn nearest(numerator: i128, denominator: i128) -> Option<i128> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?.unsigned_abs();
    let half = denominator.unsigned_abs() - rest;
    let away = match rest.cmp(&half) {
        Ordering::Less => false,
        Ordering::Equal => quotient % 2 != 0,
        Ordering::Greater => true,
    };
    let step = if (numerator < 0) == (denominator < 0) {
        1
    } else {
        -1
    };
    quotient.checked_add(if away { step } else { 0 })
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self {
            units: whole.into(),
            scale: 0,
        }
    }
}

/// The text is no decimal, or has more digits than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoDecimal;

impl FromStr for Decimal {
    type Err = NoDecimal;

    fn from_str(text: &str) -> Result<Self, NoDecimal> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(NoDecimal),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let scale = u32::try_from(fraction.len()).map_err(|_| NoDecimal)?;
        if whole.is_empty() || scale > SCALE_MAX {
            return Err(NoDecimal);
        }
        let mut units: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10);
            let digit = i128::from(digit.ok_or(NoDecimal)?);
            let longer = units.checked_mul(10).and_then(|units| {
                // Downwards where it is negative: the least number has no positive twin.
                units.checked_add(if negative { -digit } else { digit })
            });
            units = longer.ok_or(NoDecimal)?;
        }
        Ok(Self { units, scale })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = self.units.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let unit = 10_u128.pow(self.scale);
        let width = self.scale as usize;
        write!(f, "{sign}{}.{:0width$}", digits / unit, digits % unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(result: Option<Decimal>, wanted: &str) {
        assert_eq!(result.unwrap().to_string(), wanted);
    }

    #[test]
    fn arithmetic_is_exact_and_keeps_the_digits_that_money_has() {
        check(decimal("0.1").plus(decimal("0.2")), "0.3");
        check(decimal("1.50").plus(decimal("1.5")), "3.00");
        check(decimal("1").minus(decimal("1.005")), "-0.005");
        check(decimal("-0.25").times(decimal("0.5")), "-0.125");
        check(decimal("2").divided_by(decimal("3"), 4), "0.6667");
        check(decimal("-2").divided_by(decimal("3"), 4), "-0.6667");
        check(decimal("1.00").divided_by(decimal("0.003"), 0), "333");
        assert_eq!(decimal("1.50").order(decimal("1.5")), Some(Ordering::Equal));
        assert_eq!(decimal("-2").order(decimal("1.5")), Some(Ordering::Less));
    }

    #[test]
    fn of_two_that_are_as_near_the_even_one_is_taken() {
        for (text, wanted) in [
            ("0.5", "0"),
            ("1.5", "2"),
            ("2.5", "2"),
            ("-0.5", "0"),
            ("-1.5", "-2"),
            ("2.51", "3"),
        ] {
            check(decimal(text).rounded(0), wanted);
        }
        check(decimal("2.5").rounded(2), "2.50");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let most = decimal(&i128::MAX.to_string());
        assert!(most.plus(decimal("1")).is_none());
        assert!(most.times(decimal("2")).is_none());
        assert!(most.plus(decimal("0.1")).is_none());
        assert!(decimal("1").divided_by(decimal("0.00"), 2).is_none());
        let small = format!("0.{}", "1".repeat(28));
        assert!(decimal(&small).times(decimal("0.1")).is_none());
        assert!(format!("{small}1").parse::<Decimal>().is_err());
        for text in [
            "", "-", ".5", "5.", "+1", "1e3", "1_000", " 1", "1.2.3", "٣",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_back_as_it_was_written(units: i128, scale in 0..=SCALE_MAX) {
            let text = Decimal { units, scale }.to_string();
            let read = decimal(&text);
            prop_assert_eq!((read.units, read.scale), (units, scale));
        }

        #[test]
        fn what_is_added_can_be_taken_away(a: i64, b: i64, one in 0..9_u32, other in 0..9_u32) {
            let (a, b) = (Decimal { units: a.into(), scale: one }, Decimal { units: b.into(), scale: other });
            let back = a.plus(b).unwrap().minus(b).unwrap();
            prop_assert_eq!(back.order(a), Some(Ordering::Equal));
        }

        #[test]
        fn a_quotient_is_the_nearest(a in -1_000_000_i128..1_000_000, b in 1_i128..1_000, scale in 0..5_u32) {
            let quotient = Decimal { units: a, scale: 2 }.divided_by(Decimal { units: b, scale: 1 }, scale).unwrap();
            // Twice the distance to a * 10 ^ (scale - 1) / b is at most one unit.
            let exact = a * 10_i128.pow(scale + 1);
            prop_assert!((quotient.units * b * 100 - exact).abs() * 2 <= b * 100);
        }
    }
}
