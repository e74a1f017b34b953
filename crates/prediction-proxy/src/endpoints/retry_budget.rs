//! A retry budget: retries and hedges stay a small share of the calls, so that they do not pile up on an endpoint that is
//! overloaded already.

/// Each call saves this share of a retry, in percent.
const PERCENT_OF_CALLS: u32 = 10;
/// Retries at once, after calls that needed none.
const MOST_RETRIES: u32 = 10;

/// A token bucket, in hundredths of a retry, after
/// <https://finagle.github.io/blog/2016/02/08/retry-budgets/>. It begins full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryBudget {
    hundredths: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { hundredths: MOST_RETRIES * 100 }
    }
}

impl RetryBudget {
    /// A call is made that is no retry.
    pub(crate) fn deposit(&mut self) {
        self.hundredths = (self.hundredths + PERCENT_OF_CALLS).min(MOST_RETRIES * 100);
    }

    /// Takes a retry, where there is one.
    pub(crate) fn withdraw(&mut self) -> bool {
        let left = self.hundredths.checked_sub(100);
        self.hundredths = left.unwrap_or(self.hundredths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn retries_are_a_tenth_of_the_calls_and_a_burst(steps in prop::collection::vec(any::<bool>(), 0..2_000)) {
            let mut budget = RetryBudget::default();
            let (mut calls, mut retries) = (0_u32, 0_u32);
            for is_call in steps {
                if is_call {
                    budget.deposit();
                    calls += 1;
                } else {
                    retries += u32::from(budget.withdraw());
                }
                prop_assert!(retries <= calls / 10 + MOST_RETRIES);
            }
        }
    }

    #[test]
    fn ten_calls_earn_a_retry() {
        let mut budget = RetryBudget::default();
        while budget.withdraw() {}
        for _ in 0..9 {
            budget.deposit();
        }
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());
    }
}
