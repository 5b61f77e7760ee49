//! The question as it is written: JSON with known fields only.

use super::error::DecideError;
use super::ordered::{Object, Ordered};
use aegle_access::{Effect, Purpose};
use aegle_model::{Name, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// The whole question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub(super) now: Time,
    pub(super) catalogues: Ordered<Text, Object<Catalogue>>,
    pub(super) requester: Object<Requester>,
    #[serde(default)]
    pub(super) purpose: Option<Word<Purpose>>,
    pub(super) request: Ordered<Text, Vec<Text>>,
    pub(super) rules: Vec<Object<Rule>>,
}

/// One centre's tables, each column with its tags.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    pub(super) tables: Ordered<Text, Ordered<Text, Vec<Text>>>,
}

/// Either `patient` or the other three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requester {
    pub(super) patient: Option<bool>,
    pub(super) centre: Option<Text>,
    pub(super) professional: Option<Text>,
    pub(super) departments: Option<Vec<Text>>,
}

/// One rule of the patient.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) effect: Word<Effect>,
    pub(super) grantee: Grantee,
    pub(super) scope: Vec<Object<Scoped>>,
    pub(super) from: Option<Time>,
    pub(super) until: Option<Time>,
    pub(super) purposes: Option<Vec<Word<Purpose>>>,
}

/// To whom a rule speaks.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grantee {
    Professional(Object<Member>),
    Department(Object<Member>),
    Organisation(Object<Organisation>),
}

/// A number within a centre.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) centre: Text,
    pub(super) id: Text,
}

/// A whole centre.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Organisation {
    pub(super) centre: Text,
}

/// A tag of a centre.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scoped {
    pub(super) centre: Text,
    pub(super) tag: Text,
}

/// Reads the question; what is wrong with its shape is named with its place.
pub(super) fn parse(text: &str) -> Result<Input, DecideError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Object(input) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        DecideError::Json { place, source: error.into_inner() }
    })?;
    json.end().map_err(|source| DecideError::Json { place: ".".to_owned(), source })?;
    Ok(input)
}

/// A [`Name`] whose error says which text is none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(pub(super) Name);

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = Name::new(text.as_str());
        name.map(Self).map_err(|error| D::Error::custom(format_args!("`{text}`: {error}")))
    }
}

/// One of a few words.
#[derive(Clone, Copy)]
pub(super) struct Word<T>(pub(super) T);

impl<'de> Deserialize<'de> for Word<Effect> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer, "effect", &[("allow", Effect::Allow), ("deny", Effect::Deny)])
    }
}

impl<'de> Deserialize<'de> for Word<Purpose> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = [
            ("treatment", Purpose::Treatment),
            ("emergency", Purpose::Emergency),
            ("research", Purpose::Research),
            ("administration", Purpose::Administration),
        ];
        word(deserializer, "purpose", &words)
    }
}

fn word<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    what: &str,
    words: &[(&str, T)],
) -> Result<Word<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let meant = words.iter().find(|(word, _)| *word == text);
    meant.map(|(_, value)| Word(*value)).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        D::Error::custom(format_args!("unknown {what} `{text}`, use one of {}", known.join(", ")))
    })
}

/// An RFC 3339 instant in the ledger's grain: milliseconds, rounded down.
pub(super) struct Time {
    pub(super) at: Timestamp,
    /// As it is written.
    pub(super) text: String,
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match time(&text) {
            Ok(at) => Ok(Self { at, text }),
            Err(what) => Err(D::Error::custom(format_args!("`{text}` {what}"))),
        }
    }
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    const SHAPE: &str = "is not an RFC 3339 time, such as 2026-11-22T12:00:00Z";
    const EARLY: &str = "lies before 1970, where the ledger's time begins";
    let instant = Some(text).filter(|text| is_rfc3339(text)).and_then(|text| text.parse().ok());
    let since: jiff::SignedDuration = instant.map(jiff::Timestamp::as_duration).ok_or(SHAPE)?;
    let since = std::time::Duration::try_from(since).map_err(|_| EARLY)?;
    Ok(Timestamp(u64::try_from(since.as_millis()).map_err(|_| SHAPE)?))
}

/// The shape of RFC 3339 section 5.6; the values are checked by the parser, which would take more
/// shapes than these.
fn is_rfc3339(text: &str) -> bool {
    let Some((clock, rest)) = text.as_bytes().split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let digits = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let shaped = clock.iter().zip(b"0000-00-00T00:00:00").all(|(sign, model)| match model {
        b'0' => sign.is_ascii_digit(),
        other => sign.eq_ignore_ascii_case(other),
    });
    let zone = rest.iter().position(|sign| !matches!(sign, b'.' | b'0'..=b'9'));
    let Some((fraction, zone)) = zone.map(|at| rest.split_at(at)) else { return false };
    let fraction = fraction.is_empty() || fraction.strip_prefix(b".").is_some_and(digits);
    let zone = match zone {
        b"Z" | b"z" => true,
        [b'+' | b'-', hour @ .., b':', m1, m2] => {
            hour.len() == 2 && digits(&[hour, &[*m1, *m2]].concat()) && hour < b"24".as_slice()
        }
        _ => false,
    };
    shaped && fraction && zone
}
