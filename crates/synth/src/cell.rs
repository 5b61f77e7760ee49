//! One value on its way into a CSV field.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, civil::Date};
use std::borrow::Cow;
use std::fmt::Write;

/// A value of one of the catalogue's column types, or nothing.
#[derive(Debug, Clone)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    /// `units` times ten to the power of minus `places`.
    Decimal {
        units: i64,
        places: u32,
    },
    Date(Date),
    Time(Timestamp),
    Text(Cow<'a, str>),
    Boolean(bool),
    Bytes(Vec<u8>),
}

/// A decimal with one digit after the point.
pub(crate) fn tenths(units: i64) -> Cell<'static> {
    Cell::Decimal { units, places: 1 }
}

/// A decimal without digits after the point.
pub(crate) fn whole(units: i64) -> Cell<'static> {
    Cell::Decimal { units, places: 0 }
}

/// A decimal with two digits after the point.
pub(crate) fn hundredths(units: i64) -> Cell<'static> {
    Cell::Decimal { units, places: 2 }
}

impl Cell<'_> {
    /// The catalogue's name for this type; nothing for null, which fits every type.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Null => return None,
            Self::Integer(_) => "integer",
            Self::Decimal { .. } => "decimal",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Text(_) => "text",
            Self::Boolean(_) => "boolean",
            Self::Bytes(_) => "bytes",
        })
    }

    /// Writes the field as the lake reads it; null is the empty field.
    pub(crate) fn write(&self, field: &mut String) {
        let written = match self {
            Self::Null => Ok(()),
            Self::Integer(value) => write!(field, "{value}"),
            Self::Decimal { units, places } => write_decimal(field, *units, *places),
            Self::Date(date) => write!(field, "{date}"),
            Self::Time(time) => write!(field, "{time}"),
            Self::Text(text) => field.write_str(text),
            Self::Boolean(value) => write!(field, "{value}"),
            Self::Bytes(bytes) => {
                STANDARD.encode_string(bytes, field);
                Ok(())
            }
        };
        written.expect("a string takes everything");
    }
}

fn write_decimal(field: &mut String, units: i64, places: u32) -> std::fmt::Result {
    let one = 10_u64.pow(places);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    write!(field, "{sign}{whole}")?;
    if places > 0 { write!(field, ".{rest:0width$}", width = places as usize) } else { Ok(()) }
}

macro_rules! from {
    ($($type:ty => $variant:ident;)*) => {$(
        impl From<$type> for Cell<'_> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    i64 => Integer;
    Date => Date;
    Timestamp => Time;
    String => Text;
    bool => Boolean;
    Vec<u8> => Bytes;
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cell: &Cell<'_>) -> String {
        let mut field = String::new();
        cell.write(&mut field);
        field
    }

    #[test]
    fn decimals_keep_every_digit() {
        let cells = [tenths(705), tenths(-3), hundredths(7), hundredths(12_340), whole(98)];
        assert_eq!(cells.map(|cell| written(&cell)), ["70.5", "-0.3", "0.07", "123.40", "98"]);
    }

    #[test]
    fn null_is_the_empty_field_and_bytes_are_base64() {
        assert_eq!(written(&Cell::from(None::<i64>)), "");
        assert_eq!(written(&vec![0_u8, 255].into()), "AP8=");
    }
}
