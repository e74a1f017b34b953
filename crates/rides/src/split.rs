use jiff::Timestamp;

use crate::Ride;

/// Something that was asked for at a moment.
pub trait Requested {
    /// The moment, UTC.
    fn requested_at(&self) -> Timestamp;
}

impl Requested for Ride {
    fn requested_at(&self) -> Timestamp {
        self.requested_at
    }
}

/// Splits into an earlier part with `fraction` (0–1) of all and a later part, both in time order. A model must be
/// judged on rides later than those that it learnt from: a random split would let it see the hour that it is asked
/// about. What was asked for at one instant stays together, on the later side.
pub fn split_by_time<R: Requested>(mut rides: Vec<R>, fraction: f64) -> (Vec<R>, Vec<R>) {
    // A stable sort: equal times keep their order.
    rides.sort_by_key(Requested::requested_at);
    let wanted = ((rides.len() as f64) * fraction.clamp(0.0, 1.0)).round() as usize;
    let at = match rides.get(wanted).map(Requested::requested_at) {
        Some(boundary) => rides.partition_point(|ride| ride.requested_at() < boundary),
        None => rides.len(),
    };
    let later = rides.split_off(at);
    (rides, later)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct At(i64);

    impl Requested for At {
        fn requested_at(&self) -> Timestamp {
            Timestamp::from_second(self.0).unwrap()
        }
    }

    proptest! {
        #[test]
        fn nothing_learnt_from_is_later_than_what_is_judged(seconds in prop::collection::vec(0i64..50, 0..60), fraction in 0.0..=1.0) {
            let (earlier, later) = split_by_time(seconds.iter().map(|&s| At(s)).collect(), fraction);
            prop_assert_eq!(earlier.len() + later.len(), seconds.len());
            let wanted = (seconds.len() as f64 * fraction).round() as usize;
            prop_assert!(earlier.len() <= wanted);
            // Short of the wanted number only by what belongs to the same instant.
            prop_assert!(later.iter().take(wanted - earlier.len()).all(|at| at.0 == later[0].0));
            if let (Some(last), Some(first)) = (earlier.last(), later.first()) {
                prop_assert!(last.0 < first.0);
            }
            prop_assert!(later.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        }
    }

    #[test]
    fn all_or_nothing() {
        let rides = || vec![At(3), At(1), At(2)];
        assert_eq!(split_by_time(rides(), 1.0).1.len(), 0);
        assert_eq!(split_by_time(rides(), 0.0).0.len(), 0);
        assert_eq!(split_by_time(rides(), 0.7).1[0].0, 3);
        assert_eq!(split_by_time(rides(), f64::NAN).0.len(), 0);
    }
}
