//! A point in time as people write it in a query: RFC 3339, or how long ago it was.

use std::time::Duration;

use super::time::Timestamp;

/// The text is no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is 2026-11-21T12:00:00Z, with Z or an offset like +02:00, or how long ago, like -15m"
)]
pub struct NotAMoment;

/// Reads a time: RFC 3339 with any offset, or `-` and a duration before `now`. A `+` that became a space on its way
/// through a query is one. What lies before 1970 is 1970.
///
/// # Errors
/// [`NotAMoment`].
pub fn read(text: &str, now: Timestamp) -> Result<Timestamp, NotAMoment> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).map_err(|_| NotAMoment)?;
        return Ok(now.before(ago));
    }
    // The parser takes upper case and UTC only.
    let text = text.to_ascii_uppercase();
    if let Some(time) = text.strip_suffix('Z') {
        return utc(time);
    }
    let at = text.len().checked_sub(6).ok_or(NotAMoment)?;
    let (time, offset) = text.split_at_checked(at).ok_or(NotAMoment)?;
    let (back, length) = match offset.as_bytes().first() {
        Some(b'+' | b' ') => (true, distance(&offset[1..])?),
        Some(b'-') => (false, distance(&offset[1..])?),
        _ => return Err(NotAMoment),
    };
    let time = utc(time)?;
    Ok(if back {
        time.before(length)
    } else {
        time.after(length)
    })
}

/// Date and time of day, in UTC.
fn utc(text: &str) -> Result<Timestamp, NotAMoment> {
    match humantime::parse_rfc3339(&format!("{text}Z")) {
        Ok(time) => Ok(time.into()),
        Err(humantime::TimestampError::OutOfRange) if text < "1970" => Ok(Timestamp::default()),
        Err(_) => Err(NotAMoment),
    }
}

/// `hh:mm`
fn distance(text: &str) -> Result<Duration, NotAMoment> {
    let (hours, minutes) = text.split_once(':').ok_or(NotAMoment)?;
    let number = |digits: &str, below: u64| -> Option<u64> {
        match digits.as_bytes() {
            [b'0'..=b'9', b'0'..=b'9'] => digits.parse().ok().filter(|number| *number < below),
            _ => None,
        }
    };
    let hours = number(hours, 24).ok_or(NotAMoment)?;
    let minutes = number(minutes, 60).ok_or(NotAMoment)?;
    Ok(Duration::from_secs(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn times_are_read_in_every_offset_and_as_how_long_ago() {
        let noon = read("2026-11-21T12:00:00Z", NOW).unwrap();
        assert_eq!(noon.to_string(), "2026-11-21T12:00:00.000Z");
        for same in [
            "2026-11-21T12:00:00.000Z",
            "2026-11-21t12:00:00z",
            "2026-11-21T14:00:00+02:00",
            "2026-11-21T14:00:00 02:00",
            "2026-11-21T06:30:00-05:30",
        ] {
            assert_eq!(read(same, NOW), Ok(noon), "{same}");
        }
        assert_eq!(read("-15m", NOW), Ok(NOW.before(Duration::from_secs(900))));
        assert_eq!(
            read("-1h 30m", NOW),
            Ok(NOW.before(Duration::from_secs(5400)))
        );
        assert_eq!(read("1969-12-31T23:59:59Z", NOW), Ok(Timestamp::default()));
        assert_eq!(read("-9000years", NOW), Ok(Timestamp::default()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "15m",
            "-15",
            "-15 parsecs",
            "yesterday",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-11-21T12:00:00+2:00",
            "2026-11-21T12:00:00+25:00",
            "2026-11-21T12:00:00+02:60",
            "1790000000",
        ] {
            assert_eq!(read(text, NOW), Err(NotAMoment), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = read(&text, NOW);
        }

        #[test]
        fn a_time_as_it_is_written_is_read_back(millis in 0..253_402_300_799_000_u64) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(read(&time.to_string(), NOW), Ok(time));
        }
    }
}
