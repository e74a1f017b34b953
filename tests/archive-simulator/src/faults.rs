//! What goes wrong, how often, and how often it did.

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

macro_rules! faults {
    ($($name:ident: $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $text] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// In words.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

faults! {
    NotifiedTwice: "notification sent twice",
    Delayed: "notification delayed by minutes",
    Reordered: "message received after a younger one",
    DeliveredTwice: "message delivered to two receivers at once",
    DeliveredAfterDelete: "message delivered again after it was deleted",
    PartialBatch: "part of a batch handed back",
    WholeBatch: "whole batch handed back",
    DeadLettered: "message moved to the dead-letter queue",
    Conflict: "409, a conflicting write in flight",
    Precondition: "412, the condition did not hold",
    Internal: "500",
    Unavailable: "503",
    Throttled: "503 SlowDown (throttling)",
    LostResponse: "response lost after the commit",
    RepeatedByClient: "response lost, call repeated by the client below the port",
    ClockSkew: "clock of a process wrong by minutes",
    OutOfTime: "no time left for another round",
    Overlap: "two compactions of the same segments at once",
    SentAgain: "request sent again by its caller",
    Crash: "process killed at an await point",
    CallLost: "its call never arrived",
    CallDone: "its call was carried out, unseen",
    CallLate: "its write arrived after its death",
}

/// Counts by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Counts {
    /// How often one kind struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds another history's.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &fault in Fault::ALL {
            writeln!(f, "{:>12}  {}", self.of(fault), fault.as_str())?;
        }
        Ok(())
    }
}

/// The faults of one history.
#[derive(Debug)]
pub(crate) struct Faults {
    random: ChaCha8Rng,
    /// How likely each is at each occasion, 0 to 1. Zero: nothing goes wrong.
    rate: f64,
    pub(crate) counts: Counts,
}

impl Faults {
    /// Some histories are calm, some stormy.
    pub(crate) fn new(mut random: ChaCha8Rng) -> Self {
        let rate = random.random_range(0.005..0.12);
        Self { random, rate, counts: Counts::default() }
    }

    pub(crate) fn none(random: ChaCha8Rng) -> Self {
        Self { random, rate: 0.0, counts: Counts::default() }
    }

    pub(crate) fn stop(&mut self) {
        self.rate = 0.0;
    }

    pub(crate) fn are_over(&self) -> bool {
        self.rate == 0.0
    }

    /// Whether it happens now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.rate > 0.0 && self.random.random_bool(self.rate);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    /// Whether a process that begins now is to die: it may be done before.
    pub(crate) fn kills(&mut self) -> bool {
        self.rate > 0.0 && self.random.random_bool(3.0 * self.rate)
    }

    /// A number below `most`, for how it happens.
    pub(crate) fn draw(&mut self, most: i64) -> i64 {
        self.random.random_range(0..most)
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.count_many(fault, 1);
    }

    pub(crate) fn count_many(&mut self, fault: Fault, many: u64) {
        self.counts.0[fault as usize] += many;
    }
}
