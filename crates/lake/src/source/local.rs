//! Times and dates as sources note them: without a zone, or without signs between the digits.

use crate::kind::Kind;
use crate::time::ZonedTime;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The RFC 3339 form of a time without a zone, `YYYY-MM-DDThh:mm:ss`, in this zone. Of two instants
/// with the same local time it is the earlier one.
pub(super) fn zoned(text: &str, zone: &TimeZone) -> Option<String> {
    let zoned = text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?;
    let (local, offset) = (zoned.datetime(), zoned.offset());
    Some(zoned.timestamp().display_with_offset(offset).to_string()).filter(|_| local.year() > 0)
}

/// The zone with this name; catalogues hold only such as there are.
pub(super) fn zone(name: Option<&str>) -> Option<TimeZone> {
    TimeZone::get(name?).ok()
}

/// A time without a zone, of a source that does not say which.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoZone;

/// What HL7 and DICOM write as digits, in the form that the type has: `YYYYMMDD` as a date,
/// `YYYYMMDDhhmm[ss[.f]][±hhmm]` as a time. Anything else stays as it is.
pub(super) fn compact(kind: Kind, text: &str, zone: Option<&TimeZone>) -> Result<String, NoZone> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match kind {
        Kind::Date if digits == text.len() && digits == 8 => {
            Ok(format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]))
        }
        Kind::Time if digits == 12 || digits == 14 => {
            let seconds = if digits == 14 { &text[12..14] } else { "00" };
            let (rest, offset) = match text[digits..].find(['+', '-']) {
                Some(start) => text[digits..].split_at(start),
                None => (&text[digits..], ""),
            };
            let (date, hour) =
                (format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8]), &text[8..10]);
            let local = format!("{date}T{hour}:{}:{seconds}{rest}", &text[10..12]);
            if offset.len() == 5 && offset.is_ascii() {
                return Ok(format!("{local}{}:{}", &offset[..3], &offset[3..]));
            }
            let zone = zone.ok_or(NoZone)?;
            Ok(if offset.is_empty() { zoned(&local, zone) } else { None }
                .unwrap_or_else(|| text.to_owned()))
        }
        _ => Ok(text.to_owned()),
    }
}

/// What XML and FHIR write: RFC 3339, perhaps without a zone. Anything else stays as it is.
pub(super) fn plain(kind: Kind, text: String, zone: Option<&TimeZone>) -> Result<String, NoZone> {
    if kind != Kind::Time || text.parse::<ZonedTime>().is_ok() || !text.contains('T') {
        return Ok(text);
    }
    match (text.parse::<DateTime>(), zone) {
        (Ok(_), None) if !text.ends_with(['Z', 'z']) => Err(NoZone),
        (Ok(_), Some(zone)) => Ok(zoned(&text, zone).unwrap_or(text)),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_becomes_an_instant_with_its_offset() {
        let zone = zone(Some("Europe/Amsterdam")).unwrap();
        for (local, instant) in [
            ("2024-01-01T10:00:00", Some("2024-01-01T10:00:00+01:00")),
            ("2024-07-01T10:00:00.250", Some("2024-07-01T10:00:00.25+02:00")),
            ("2024-10-27T02:30:00", Some("2024-10-27T02:30:00+02:00")),
            ("2024-02-30T10:00:00", None),
            ("yesterday", None),
        ] {
            assert_eq!(zoned(local, &zone).as_deref(), instant, "{local}");
        }
    }

    #[test]
    fn digits_become_dates_and_times() {
        let amsterdam = zone(Some("Europe/Amsterdam"));
        for (kind, text, expected) in [
            (Kind::Date, "20240229", "2024-02-29"),
            (Kind::Date, "202402291000", "202402291000"),
            (Kind::Time, "202402291000", "2024-02-29T10:00:00+01:00"),
            (Kind::Time, "20240229100005.25-0930", "2024-02-29T10:00:05.25-09:30"),
            (Kind::Time, "20240229", "20240229"),
            (Kind::Time, "20240231100000", "20240231100000"),
            (Kind::Time, "202402291000+1é", "202402291000+1é"),
            (Kind::Text, "20240229", "20240229"),
        ] {
            assert_eq!(compact(kind, text, amsterdam.as_ref()).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(compact(Kind::Time, "202402291000", None), Err(NoZone));
    }
}
