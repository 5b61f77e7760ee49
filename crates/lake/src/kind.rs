//! The types a column can have, and how each is written in a CSV field.

use crate::time::ZonedTime;
use crate::value::Value;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use borsh::BorshSerialize;
use rust_decimal::Decimal;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub enum Kind {
    /// A whole number of 64 bits.
    Integer,
    /// An exact decimal of at most 28 digits; its trailing zeros are kept.
    Decimal,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// An instant with its zone, RFC 3339.
    Time,
    /// UTF-8 text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// Bytes, base64 with padding (RFC 4648, section 4).
    Bytes,
}

impl Kind {
    /// Every type, in the order in which messages list them.
    pub const ALL: [Self; 7] = [
        Self::Integer,
        Self::Decimal,
        Self::Date,
        Self::Time,
        Self::Text,
        Self::Boolean,
        Self::Bytes,
    ];

    /// The name that catalogues and parts use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Time => "time",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Bytes => "bytes",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What a field of this type looks like, for messages.
    pub(crate) const fn shape(self) -> &'static str {
        match self {
            Self::Integer => "a whole number",
            Self::Decimal => "a decimal number of at most 28 digits",
            Self::Date => "a date (YYYY-MM-DD)",
            Self::Time => "a time with zone (RFC 3339)",
            Self::Text => "text",
            Self::Boolean => "`true` or `false`",
            Self::Bytes => "base64",
        }
    }

    /// The value of a field; nothing when it is not of this type. An empty field is null.
    pub fn parse(self, field: &str) -> Option<Value> {
        if field.is_empty() {
            return Some(Value::Null);
        }
        match self {
            Self::Integer => field.parse().ok().map(Value::Integer),
            Self::Decimal => decimal(field).map(Value::Decimal),
            Self::Date => date(field).map(Value::Date),
            Self::Time => field.parse::<ZonedTime>().ok().map(Value::Time),
            Self::Text => Some(Value::Text(field.to_owned())),
            Self::Boolean => field.parse().ok().map(Value::Boolean),
            Self::Bytes => BASE64_STANDARD.decode(field).ok().map(Value::Bytes),
        }
    }
}

/// Digits, an optional sign and point; never rounded.
pub(crate) fn decimal(field: &str) -> Option<Decimal> {
    let digits = field.strip_prefix(['-', '+']).unwrap_or(field);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| Decimal::from_str_exact(field).ok()).flatten()
}

/// `YYYY-MM-DD` and nothing else that a lenient reader might take for a date.
pub(crate) fn date(field: &str) -> Option<jiff::civil::Date> {
    field.parse::<jiff::civil::Date>().ok().filter(|date| date.to_string() == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_by_its_type() {
        for (kind, field, json) in [
            (Kind::Integer, "-42", "-42"),
            (Kind::Integer, "9223372036854775807", "9223372036854775807"),
            (Kind::Decimal, "1.50", "\"1.50\""),
            (Kind::Decimal, "-0.001", "\"-0.001\""),
            (Kind::Date, "2024-02-29", "\"2024-02-29\""),
            (Kind::Time, "2024-02-29T10:00:00+01:00", "\"2024-02-29T10:00:00+01:00\""),
            (Kind::Text, "zoë, \"x\"", "\"zoë, \\\"x\\\"\""),
            (Kind::Boolean, "true", "true"),
            (Kind::Bytes, "AAEC", "\"AAEC\""),
            (Kind::Text, "", "null"),
            (Kind::Integer, "", "null"),
        ] {
            let value = kind.parse(field).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), json, "{}", kind.name());
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        for (kind, field) in [
            (Kind::Integer, "1.0"),
            (Kind::Integer, "9223372036854775808"),
            (Kind::Integer, " 1"),
            (Kind::Decimal, "1e3"),
            (Kind::Decimal, "1_000"),
            (Kind::Decimal, "0.00000000000000000000000000001"),
            (Kind::Decimal, "NaN"),
            (Kind::Date, "29-02-2024"),
            (Kind::Date, "20240229"),
            (Kind::Date, "2023-02-29"),
            (Kind::Date, "2024-02-29T10:00:00"),
            (Kind::Time, "2024-02-29T10:00:00"),
            (Kind::Time, "2024-02-29"),
            (Kind::Boolean, "yes"),
            (Kind::Boolean, "TRUE"),
            (Kind::Bytes, "AA"),
            (Kind::Bytes, "???"),
        ] {
            assert_eq!(kind.parse(field), None, "{} `{field}`", kind.name());
        }
    }

    #[test]
    fn every_type_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("varchar"), None);
    }
}
