//! One typed value: its stored bytes and its JSON.
//!
//! Stored bytes: a tag byte, then the payload; numbers little endian, text and bytes after a `u32`
//! length. The form delimits itself, so that rows can be cut and joined without knowing more.

use crate::kind::Kind;
use crate::time::ZonedTime;
use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use std::path::Path;

/// A value of a column, or its absence.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing was noted.
    Null,
    /// See [`Kind::Integer`].
    Integer(i64),
    /// See [`Kind::Decimal`].
    Decimal(Decimal),
    /// See [`Kind::Date`].
    Date(Date),
    /// See [`Kind::Time`].
    Time(ZonedTime),
    /// See [`Kind::Text`].
    Text(String),
    /// See [`Kind::Boolean`].
    Boolean(bool),
    /// See [`Kind::Bytes`].
    Bytes(Vec<u8>),
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const DECIMAL: u8 = 2;
const DATE: u8 = 3;
const TIME: u8 = 4;
const TEXT: u8 = 5;
const FALSE: u8 = 6;
const TRUE: u8 = 7;
const BYTES: u8 = 8;
/// The path of a file whose content stands here; only inside an ingest.
const FILE: u8 = 9;
/// Where a document lies; see [`Reference`].
const DOCUMENT: u8 = 10;

/// The stored bytes of a value that is not there.
pub(crate) const ABSENT: &[u8] = &[NULL];

impl Value {
    /// Appends the stored bytes. Text and bytes are bounded by the record size, far below `u32`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(NULL),
            Self::Integer(number) => tagged(out, INTEGER, &number.to_le_bytes()),
            Self::Decimal(number) => tagged(out, DECIMAL, &number.serialize()),
            Self::Date(date) => {
                let [low, high] = date.year().to_le_bytes();
                let day = [low, high, date.month().cast_unsigned(), date.day().cast_unsigned()];
                tagged(out, DATE, &day);
            }
            Self::Time(time) => tagged(out, TIME, &time.encode()),
            Self::Text(text) => counted(out, TEXT, text.as_bytes()),
            Self::Boolean(truth) => out.push(if *truth { TRUE } else { FALSE }),
            Self::Bytes(bytes) => counted(out, BYTES, bytes),
        }
    }

    /// Takes one value off the front of `bytes`; nothing when they are not what
    /// [`encode`](Self::encode) writes.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let field = take(bytes)?;
        let (tag, payload) = field.split_first()?;
        Some(match *tag {
            NULL => Self::Null,
            INTEGER => Self::Integer(i64::from_le_bytes(payload.try_into().ok()?)),
            DECIMAL => Self::Decimal(Decimal::deserialize(payload.try_into().ok()?)),
            DATE => {
                let [low, high, month, day]: [u8; 4] = payload.try_into().ok()?;
                let (month, day) = (month.cast_signed(), day.cast_signed());
                Self::Date(Date::new(i16::from_le_bytes([low, high]), month, day).ok()?)
            }
            TIME => Self::Time(ZonedTime::decode(payload.try_into().ok()?)?),
            TEXT => Self::Text(String::from_utf8(payload.get(4..)?.to_vec()).ok()?),
            FALSE => Self::Boolean(false),
            TRUE => Self::Boolean(true),
            FILE | DOCUMENT => return None,
            _ => Self::Bytes(payload.get(4..)?.to_vec()),
        })
    }

    /// The value that `json` stands for in a column of this type; the inverse of the JSON form.
    pub(crate) fn from_json(kind: Kind, json: &serde_json::Value) -> Option<Self> {
        use serde_json::Value as Json;
        match (kind, json) {
            (_, Json::Null) => Some(Self::Null),
            (Kind::Integer, Json::Number(number)) => number.as_i64().map(Self::Integer),
            (Kind::Boolean, Json::Bool(truth)) => Some(Self::Boolean(*truth)),
            (Kind::Integer | Kind::Boolean, _) => None,
            (Kind::Text, Json::String(text)) => Some(Self::Text(text.clone())),
            (Kind::Bytes, Json::String(text)) if text.is_empty() => Some(Self::Bytes(Vec::new())),
            (kind, Json::String(text)) if !text.is_empty() => kind.parse(text),
            _ => None,
        }
    }
}

/// Takes the stored bytes of one value off the front of `bytes`, unread.
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let payload = match *bytes.first()? {
        NULL | FALSE | TRUE => 0,
        INTEGER => 8,
        DATE => 4,
        DECIMAL | TIME => 16,
        DOCUMENT => Reference::BYTES,
        TEXT | BYTES | FILE => {
            let length = bytes.get(1..5)?.try_into().ok()?;
            4 + usize::try_from(u32::from_le_bytes(length)).ok()?
        }
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(1 + payload)?;
    *bytes = rest;
    Some(value)
}

/// Where a document lies that was too large to stand among the values of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The object that holds it.
    pub(crate) object: [u8; 32],
    /// Its length, in bytes, before it was sealed.
    pub(crate) length: u64,
}

impl Reference {
    const BYTES: usize = 32 + 8;

    /// Appends the stored bytes, in the place of those of the document.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(DOCUMENT);
        out.extend_from_slice(&self.object);
        out.extend_from_slice(&self.length.to_le_bytes());
    }
}

/// What the stored bytes of one value stand for, as far as documents are concerned.
pub(crate) enum Stored<'a> {
    /// Bytes that stand there themselves.
    Bytes(&'a [u8]),
    /// The content of a file.
    File(&'a Path),
    /// A document elsewhere.
    Document(Reference),
    /// Any other value.
    Other,
}

/// Looks at the stored bytes of one value, as [`take`] yields them.
pub(crate) fn stored(field: &[u8]) -> Option<Stored<'_>> {
    let (tag, payload) = field.split_first()?;
    Some(match *tag {
        BYTES => Stored::Bytes(payload.get(4..)?),
        FILE => Stored::File(Path::new(std::str::from_utf8(payload.get(4..)?).ok()?)),
        DOCUMENT => {
            let (object, length) = payload.split_first_chunk()?;
            let length = u64::from_le_bytes(length.try_into().ok()?);
            Stored::Document(Reference { object: *object, length })
        }
        _ => Stored::Other,
    })
}

/// Appends what stands for the content of a file inside an ingest. Paths of sources are UTF-8.
pub(crate) fn encode_file(path: &Path, out: &mut Vec<u8>) {
    counted(out, FILE, path.to_str().unwrap_or_default().as_bytes());
}

/// Appends the stored bytes of bytes.
pub(crate) fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    counted(out, BYTES, bytes);
}

fn tagged(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    out.push(tag);
    out.extend_from_slice(payload);
}

fn counted(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("records are far below 4 GiB");
    tagged(out, tag, &length.to_le_bytes());
    out.extend_from_slice(payload);
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Decimal(number) => serializer.collect_str(number),
            Self::Date(date) => serializer.collect_str(date),
            Self::Time(time) => serializer.collect_str(time),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Boolean(truth) => serializer.serialize_bool(*truth),
            Self::Bytes(bytes) => {
                serializer.collect_str(&Base64Display::new(bytes, &BASE64_STANDARD))
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    /// Any value that a column of this type can hold. Empty text and bytes cannot come from a
    /// CSV file, where an empty field is null.
    pub(crate) fn value(kind: Kind) -> BoxedStrategy<Value> {
        let some = match kind {
            Kind::Integer => any::<i64>().prop_map(Value::Integer).boxed(),
            Kind::Decimal => (any::<i64>(), 0..20_u32)
                .prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale)))
                .boxed(),
            Kind::Date => (1..=9999_i16, 1..=12_i8, 1..=28_i8)
                .prop_map(|(year, month, day)| Value::Date(Date::new(year, month, day).unwrap()))
                .boxed(),
            Kind::Time => (1..=9999_u16, 0..1_000_000_000_u32, 0..=23_u8, any::<bool>())
                .prop_map(|(year, nanos, zone, zulu)| {
                    let zone = if zulu { "Z".to_owned() } else { format!("-{zone:02}:30") };
                    let text = format!("{year:04}-06-15T10:20:30.{nanos:09}{zone}");
                    Value::Time(text.parse().unwrap())
                })
                .boxed(),
            Kind::Text => "(?s).{1,40}".prop_map(Value::Text).boxed(),
            Kind::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            Kind::Bytes => {
                proptest::collection::vec(any::<u8>(), 1..40).prop_map(Value::Bytes).boxed()
            }
        };
        prop_oneof![1 => Just(Value::Null), 4 => some].boxed()
    }

    /// Any type with a value of it.
    pub(crate) fn typed() -> impl Strategy<Value = (Kind, Value)> {
        proptest::sample::select(&Kind::ALL).prop_flat_map(|kind| (Just(kind), value(kind)))
    }

    /// How a value is written in a CSV field.
    pub(crate) fn field(value: &Value) -> String {
        match serde_json::to_value(value).unwrap() {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::arbitrary::{field, typed};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_stored_is_read((_, value) in typed(), rest: Vec<u8>) {
            let mut stored = Vec::new();
            value.encode(&mut stored);
            stored.extend_from_slice(&rest);
            let mut bytes = stored.as_slice();
            prop_assert_eq!(Value::decode(&mut bytes), Some(value));
            prop_assert_eq!(bytes, rest);
        }

        #[test]
        fn a_value_survives_json_and_csv((kind, value) in typed()) {
            let json = serde_json::to_value(&value).unwrap();
            prop_assert_eq!(Value::from_json(kind, &json), Some(value.clone()));
            prop_assert_eq!(kind.parse(&field(&value)), Some(value));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while Value::decode(&mut rest).is_some() {}
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (kind, json) in [
            (Kind::Integer, "\"1\""),
            (Kind::Integer, "1.5"),
            (Kind::Decimal, "1"),
            (Kind::Decimal, "\"\""),
            (Kind::Boolean, "\"true\""),
            (Kind::Text, "1"),
            (Kind::Date, "\"tomorrow\""),
        ] {
            let json = serde_json::from_str(json).unwrap();
            assert_eq!(Value::from_json(kind, &json), None, "{json}");
        }
    }
}
