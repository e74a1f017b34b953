use jiff::{Timestamp, Unit};

/// `timestamp` without its nanoseconds. The archive stores microseconds (UTC); truncating at the edge keeps the record
/// in the lake equal to the one in memory.
pub fn truncate_to_micros(timestamp: Timestamp) -> Timestamp {
    timestamp
        .round(jiff::TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Floor))
        .unwrap_or(timestamp)
}
