//! Times and dates as sources note them: without a zone, or without signs between the digits.

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
}
