//! Instants that remember the zone they were written in.

use jiff::Timestamp;
use jiff::tz::Offset;
use std::fmt;
use std::str::FromStr;

/// The time by this machine's clock.
pub(crate) fn now() -> aegle_model::Timestamp {
    let now = Timestamp::now().as_millisecond();
    aegle_model::Timestamp(u64::try_from(now).unwrap_or_default())
}

/// A time as people read it; none beyond the year 9999.
pub(crate) fn civil(aegle_model::Timestamp(ms): aegle_model::Timestamp) -> Option<Timestamp> {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

/// An RFC 3339 time: an instant to the nanosecond, and the offset at which it was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZonedTime {
    at: Timestamp,
    /// Nothing stands for `Z`.
    offset: Option<Offset>,
}

/// Text that is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as RFC 3339 with a zone, such as 2026-11-22T12:00:00+01:00")]
pub struct NotATime;

impl ZonedTime {
    /// Bytes of the encoded form: seconds, nanoseconds, offset.
    pub(crate) const ENCODED: usize = 16;
    const ZULU: i32 = i32::MIN;

    /// An instant, noted as `Z`.
    pub(crate) fn zulu(at: Timestamp) -> Self {
        Self { at, offset: None }
    }

    /// The instant, whatever the zone.
    pub fn instant(self) -> Timestamp {
        self.at
    }

    /// The year as it was written: at midnight of a new year it is another one elsewhere.
    pub(crate) fn year(self) -> i16 {
        self.offset.unwrap_or(Offset::UTC).to_datetime(self.at).year()
    }

    pub(crate) fn encode(self) -> [u8; Self::ENCODED] {
        let offset = self.offset.map_or(Self::ZULU, Offset::seconds);
        let mut bytes = [0; Self::ENCODED];
        bytes[..8].copy_from_slice(&self.at.as_second().to_le_bytes());
        bytes[8..12].copy_from_slice(&self.at.subsec_nanosecond().to_le_bytes());
        bytes[12..].copy_from_slice(&offset.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; Self::ENCODED]) -> Option<Self> {
        let (seconds, rest) = bytes.split_at(8);
        let (nanoseconds, offset) = rest.split_at(4);
        let seconds = i64::from_le_bytes(seconds.try_into().ok()?);
        let nanoseconds = i32::from_le_bytes(nanoseconds.try_into().ok()?);
        let offset = match i32::from_le_bytes(offset.try_into().ok()?) {
            Self::ZULU => None,
            seconds => Some(Offset::from_seconds(seconds).ok()?),
        };
        Some(Self { at: Timestamp::new(seconds, nanoseconds).ok()?, offset })
    }
}

impl FromStr for ZonedTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (time, zone) = split_zone(text).ok_or(NotATime)?;
        let (whole, fraction) = time.split_once('.').map_or((time, None), |(a, b)| (a, Some(b)));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !has_shape(whole, "dddd-dd-ddTdd:dd:dd") || !fraction.is_none_or(digits) {
            return Err(NotATime);
        }
        let at = text.parse().map_err(|_| NotATime)?;
        Ok(Self { at, offset: offset(zone)? })
    }
}

/// The part before the zone, and the zone.
fn split_zone(text: &str) -> Option<(&str, &str)> {
    let length = if text.ends_with(['Z', 'z']) { 1 } else { 6 };
    text.split_at_checked(text.len().checked_sub(length)?)
}

fn offset(zone: &str) -> Result<Option<Offset>, NotATime> {
    if zone.len() == 1 {
        return Ok(None);
    }
    let east = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return Err(NotATime),
    };
    if !has_shape(&zone[1..], "dd:dd") {
        return Err(NotATime);
    }
    let hours: i32 = zone[1..3].parse().map_err(|_| NotATime)?;
    let minutes: i32 = zone[4..].parse().map_err(|_| NotATime)?;
    Offset::from_seconds(east * (hours * 3600 + minutes * 60)).map(Some).map_err(|_| NotATime)
}

/// Whether `text` matches `shape`, where `d` is any digit and `T` may be small.
fn has_shape(text: &str, shape: &str) -> bool {
    let matches = |(byte, sign): (u8, u8)| match sign {
        b'd' => byte.is_ascii_digit(),
        sign => byte.eq_ignore_ascii_case(&sign),
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(matches)
}

impl fmt::Display for ZonedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            None => self.at.fmt(f),
            Some(offset) => self.at.display_with_offset(offset).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_zone() {
        for text in [
            "2024-02-29T10:00:00Z",
            "2024-02-29T10:00:00+01:00",
            "2024-02-29T10:00:00-09:30",
            "2024-02-29T10:00:00+00:00",
            "1890-01-01T00:00:00.123456789Z",
        ] {
            let time: ZonedTime = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(ZonedTime::decode(time.encode()), Some(time));
        }
    }

    #[test]
    fn what_rfc_3339_does_not_allow_is_refused() {
        for text in [
            "",
            "Z",
            "2024-02-29T10:00Z",
            "2024-02-29T10:00:00",
            "2024-02-29T10:00:00+01",
            "2024-02-29T10:00:00+0100",
            "2024-02-29T10:00:00.Z",
            "20240229T100000Z",
            "2024-02-30T10:00:00Z",
            "2024-02-29T25:00:00Z",
            "2024-02-29T10:00:00+01:00[Europe/Amsterdam]",
            "２024-02-29T10:00:00Z",
            "2024-02-29T10:00:00é1:00",
        ] {
            assert_eq!(text.parse::<ZonedTime>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn bytes_that_no_time_has_are_refused() {
        assert_eq!(ZonedTime::decode([0x7f; 16]), None);
    }
}
