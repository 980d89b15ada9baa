//! Readers: what a value is, be it written in the file or in a variable.

use std::{num::NonZeroUsize, ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use crate::ColorChoice;

/// A kind of value: how it is described, and how it is read.
pub(crate) struct Kind<T> {
    /// What is wanted, with an article.
    pub(crate) wanted: &'static str,
    /// From a text, as a variable gives it.
    pub(crate) of_text: fn(&str) -> Option<T>,
    /// From a value of the file.
    pub(crate) of_value: fn(&DeValue<'_>) -> Option<T>,
}

pub(crate) const TEXT: Kind<String> = Kind {
    wanted: "a text that is not empty",
    of_text: text,
    of_value: |value| text(value.as_str()?),
};

pub(crate) const FLAG: Kind<bool> = Kind {
    wanted: "true or false",
    of_text: |text| text.parse().ok(),
    of_value: |value| value.as_bool(),
};

pub(crate) const COUNT: Kind<NonZeroUsize> = Kind {
    wanted: "a whole number, 1 or more",
    of_text: |text| text.parse().ok(),
    of_value: |value| NonZeroUsize::new(whole_number(value)?),
};

pub(crate) const COUNT_OR_NONE: Kind<usize> = Kind {
    wanted: "a whole number, 0 or more",
    of_text: |text| text.parse().ok(),
    of_value: whole_number,
};

pub(crate) const DURATION: Kind<Duration> = Kind {
    wanted: "a duration such as \"3s\" or \"1m 30s\"",
    of_text: duration,
    of_value: |value| duration(value.as_str()?),
};

pub(crate) const PORTS: Kind<RangeInclusive<u16>> = Kind {
    wanted: "the first and the last port, such as \"20000-20999\"",
    of_text: ports,
    of_value: |value| ports(value.as_str()?),
};

pub(crate) const COLOR: Kind<ColorChoice> = Kind {
    wanted: "one of \"auto\", \"always\" and \"never\"",
    of_text: color,
    of_value: |value| color(value.as_str()?),
};

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn whole_number(value: &DeValue<'_>) -> Option<usize> {
    let integer = value.as_integer()?;
    usize::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

fn color(text: &str) -> Option<ColorChoice> {
    match text {
        "auto" => Some(ColorChoice::Auto),
        "always" => Some(ColorChoice::Always),
        "never" => Some(ColorChoice::Never),
        _ => None,
    }
}

/// The first and the last port of a range, both included.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_range() {
        assert_eq!(ports("20000-20999"), Some(20000..=20999));
        for bad in ["20000", "2-1", "0-5", "a-b", "1-70000"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }
}
