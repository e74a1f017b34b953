//! A circuit breaker: an endpoint that fails again and again is left alone for a while, then probed.

use std::time::Duration;

use domain::BreakerPolicy;

/// One endpoint's breaker. Times are since any fixed moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Open until then; afterwards one probe at a time is let through.
    open_until: Option<Duration>,
    /// A probe is under way.
    probing: bool,
}

/// What a breaker says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go on.
    Admitted,
    /// Go on, as the only one: the answer decides whether others may.
    Probe,
    /// The endpoint is left alone.
    Refused,
}

impl Breaker {
    /// Asks for a call at `now`. A [`Admission::Probe`] must be followed by one of the three below.
    pub(crate) fn admit(&mut self, policy: BreakerPolicy, now: Duration) -> Admission {
        match self.open_until {
            // A release that turns the breaker off closes it.
            _ if policy.failures == 0 => Admission::Admitted,
            None => Admission::Admitted,
            Some(until) if now < until || self.probing => Admission::Refused,
            Some(_) => {
                self.probing = true;
                Admission::Probe
            }
        }
    }

    /// An admitted call went well.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An admitted call failed at `now`.
    pub(crate) fn failed(&mut self, policy: BreakerPolicy, now: Duration, admission: Admission) {
        self.failures = self.failures.saturating_add(1);
        let is_probe = admission == Admission::Probe;
        // A call that was under way when the breaker opened must not keep it open for longer.
        let opens = is_probe || self.open_until.is_none() && self.failures >= policy.failures;
        if policy.failures > 0 && opens {
            self.open_until = Some(now + Duration::from_millis(u64::from(policy.open_ms)));
        }
        if is_probe {
            self.probing = false;
        }
    }

    /// An admitted call ended without telling anything about the endpoint.
    pub(crate) fn abandoned(&mut self, admission: Admission) {
        if admission == Admission::Probe {
            self.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, open_ms: 100 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for at in 0..3 {
            let admission = breaker.admit(POLICY, ms(at));
            assert_eq!(admission, Admission::Admitted);
            breaker.failed(POLICY, ms(at), admission);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let mut breaker = Breaker::default();
        for at in 0..10 {
            breaker.failed(POLICY, ms(at), Admission::Admitted);
            breaker.failed(POLICY, ms(at), Admission::Admitted);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(POLICY, ms(10)), Admission::Admitted);
        assert_eq!(opened().admit(POLICY, ms(101)), Admission::Refused);
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(POLICY, ms(102)), Admission::Probe);
        assert_eq!(breaker.admit(POLICY, ms(102)), Admission::Refused);
        breaker.failed(POLICY, ms(110), Admission::Probe);
        assert_eq!(breaker.admit(POLICY, ms(209)), Admission::Refused);
        assert_eq!(breaker.admit(POLICY, ms(210)), Admission::Probe);
        breaker.abandoned(Admission::Probe);
        assert_eq!(breaker.admit(POLICY, ms(210)), Admission::Probe, "a lost probe does not block the next");
        breaker.succeeded();
        assert_eq!(breaker.admit(POLICY, ms(211)), Admission::Admitted);
    }

    #[test]
    fn stragglers_do_not_keep_it_open() {
        let mut breaker = opened();
        breaker.failed(POLICY, ms(90), Admission::Admitted);
        assert_eq!(breaker.admit(POLICY, ms(102)), Admission::Probe);
    }

    #[test]
    fn off_never_refuses() {
        let off = BreakerPolicy { failures: 0, ..POLICY };
        let mut breaker = opened();
        for at in 0..100 {
            assert_eq!(breaker.admit(off, ms(at)), Admission::Admitted);
            breaker.failed(off, ms(at), Admission::Admitted);
        }
    }

    proptest! {
        /// Whatever happens: an open breaker lets somebody through once its time is over and no probe is under way.
        #[test]
        fn it_is_never_stuck(steps in prop::collection::vec((0_u64..50, 0_u8..3), 0..100)) {
            let (mut breaker, mut now) = (Breaker::default(), ms(0));
            for (wait, what) in steps {
                now += ms(wait);
                let admission = breaker.admit(POLICY, now);
                match (admission, what) {
                    (Admission::Refused, _) => {}
                    (_, 0) => breaker.succeeded(),
                    (_, 1) => breaker.failed(POLICY, now, admission),
                    _ => breaker.abandoned(admission),
                }
            }
            prop_assert_ne!(breaker.admit(POLICY, now + ms(100)), Admission::Refused);
        }
    }
}
