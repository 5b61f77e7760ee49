//! Where wire values become checked ones and back: codes of centres, times, base 64.

use crate::problem::{Answer, Problem};
use aegle_centre::Names;
use aegle_model::{CentreId, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The member with this code.
pub(crate) fn centre(names: &Names, code: &str, field: &str) -> Answer<CentreId> {
    names.member(code).ok_or_else(|| {
        Problem::malformed(field, "no centre of the network has this code; see `/api/v1/centres`")
    })
}

/// RFC 3339 in UTC. Instants after the year 9999 are written as its end.
pub(crate) fn time(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// An instant in RFC 3339, from 1970 on.
pub(crate) fn instant(text: &str, field: &str) -> Answer<Timestamp> {
    let wrong =
        || Problem::malformed(field, "a time is written like `2026-11-22T12:00:00Z`, from 1970 on");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_millisecond()).map(Timestamp).map_err(|_| wrong())
}

/// Bytes in base 64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Exactly `N` bytes in base 64.
pub(crate) fn bytes<const N: usize>(text: &str, field: &str) -> Answer<[u8; N]> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .ok_or_else(|| Problem::malformed(field, format_args!("{N} bytes in base 64 are expected")))
}

/// Runs blocking work away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["1970-01-01T00:00:00Z", "2026-11-22T12:00:00.5Z"] {
            assert_eq!(instant(text, "from").map(time).unwrap(), text);
        }
        for text in ["1969-12-31T23:59:59Z", "2026-11-22", "tomorrow", ""] {
            assert!(instant(text, "from").is_err(), "{text}");
        }
        assert_eq!(time(Timestamp(u64::MAX)), jiff::Timestamp::MAX.to_string());
    }
}
