use jiff::{Timestamp, Unit};

/// Last second of the year 2199, Unix. An archive row holds microseconds, and a time beyond the life of any car is a
/// mistake: it is refused at the edge, so that one bad row can never make an archive file unreadable.
const LAST_SECOND: i64 = 7_258_118_399;

/// Whether `timestamp` can be archived: from 1970 to 2199.
pub fn is_archivable(timestamp: Timestamp) -> bool {
    (0..=LAST_SECOND).contains(&timestamp.as_second()) && timestamp.as_nanosecond() >= 0
}

/// `timestamp` without its nanoseconds. The archive stores microseconds (UTC); truncating at the edge keeps the record
/// in the lake equal to the one in memory.
pub fn truncate_to_micros(timestamp: Timestamp) -> Timestamp {
    timestamp
        .round(jiff::TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Floor))
        .unwrap_or(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_file_can_hold_are_refused() {
        for (text, archivable) in [
            ("1970-01-01T00:00:00Z", true),
            ("2199-12-31T23:59:59.999999Z", true),
            ("2200-01-01T00:00:00Z", false),
            ("1969-12-31T23:59:59.9Z", false),
            ("9999-12-30T22:00:00.999Z", false),
        ] {
            assert_eq!(is_archivable(text.parse().unwrap()), archivable, "{text}");
        }
    }
}
