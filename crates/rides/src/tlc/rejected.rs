use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// How many places of each reason are remembered.
const FIRST: usize = 5;

/// Why a record was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A field that is missing, null, or not what its column holds.
    Unreadable,
    /// The drop-off is not after the pick-up.
    ZeroDuration,
    /// Shorter than the rules allow: a meter switched on and off.
    TooShort,
    /// Longer than the rules allow: a meter left running.
    TooLong,
    /// A pick-up or drop-off zone without a centroid, such as 264 and 265 (unknown).
    UnknownZone,
    /// A pick-up outside the rules' period: a meter with a wrong clock.
    OutOfPeriod,
    /// The same pick-up, drop-off and zones as another record: refunds are recorded like this.
    Duplicate,
}

impl Reason {
    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ZeroDuration => "zero_duration",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::UnknownZone => "unknown_zone",
            Self::OutOfPeriod => "out_of_period",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Where a record lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct At {
    /// The line of a CSV file, from 1 (the header); the row of a Parquet file, from 1.
    pub line: u64,
    /// Offset of its first byte in a CSV file (after decompression). Parquet rows have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
}

/// The records of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    /// How many.
    pub records: u64,
    /// Where the first few lie. Duplicates are found after the file was read and have no place.
    pub first: Vec<At>,
    /// What is wrong with the first one, in words.
    pub example: String,
}

/// The records that were left out, counted by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Rejected {
    /// By reason; reasons that did not occur are absent.
    pub by_reason: BTreeMap<Reason, Count>,
}

impl Rejected {
    /// All records that were left out.
    pub fn total(&self) -> u64 {
        self.by_reason.values().map(|count| count.records).sum()
    }

    /// The records left out for `reason`.
    pub fn count(&self, reason: Reason) -> u64 {
        self.by_reason.get(&reason).map_or(0, |count| count.records)
    }

    pub(crate) fn add(&mut self, reason: Reason, at: Option<At>, example: impl FnOnce() -> String) {
        let count = self.by_reason.entry(reason).or_default();
        if count.records == 0 {
            count.example = example();
        }
        count.records += 1;
        if let Some(at) = at.filter(|_| count.first.len() < FIRST) {
            count.first.push(at);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (reason, theirs) in other.by_reason {
            let ours = self.by_reason.entry(reason).or_default();
            if ours.records == 0 {
                *ours = theirs;
            } else {
                // Places of another file would mislead: those of the first file stay.
                ours.records += theirs.records;
            }
        }
    }
}

impl fmt::Display for Rejected {
    /// `12 left out: 10 too_long (first at line 7: …), 2 unreadable (…)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left out", self.total())?;
        for (index, (reason, count)) in self.by_reason.iter().enumerate() {
            write!(f, "{} {} {}", if index == 0 { ":" } else { "," }, count.records, reason.as_str())?;
            if let Some(at) = count.first.first() {
                write!(f, " (first at line {}: {})", at.line, count.example)?;
            }
        }
        Ok(())
    }
}
