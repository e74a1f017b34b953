use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// log2 of the buckets per power of two.
const PRECISION_BITS: u32 = 7;
const BUCKETS_PER_OCTAVE: u64 = 1 << PRECISION_BITS;
/// The bucket of `u64::MAX`.
const LAST_BUCKET: u16 = ((64 - PRECISION_BITS as u16) << PRECISION_BITS) + (BUCKETS_PER_OCTAVE as u16 - 1);

/// A quantile sketch of non-negative integers (here: microseconds) in fixed log-linear buckets, as in HDR histograms:
/// each power of two is cut into 128 equal buckets, and values below 256 have one each. The buckets do not depend on the
/// data, so merging is adding counts: exactly associative and commutative, unlike KLL or t-digest.
///
/// A bucket's middle is within 2⁻⁸ (0.39 %) of every value in it. In JSON: bucket number → count, sparse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<u16, u64>", into = "BTreeMap<u16, u64>")]
pub struct Histogram {
    /// Bucket and count, ascending, no zero counts: equal contents are equal values.
    buckets: Vec<(u16, u64)>,
}

/// A range of values, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    /// The least value in it.
    pub(crate) low: f64,
    /// The least value above it.
    pub(crate) high: f64,
    /// How many values lie in it.
    pub(crate) count: u64,
}

impl Histogram {
    /// The largest relative distance of a quantile from the true one.
    pub const RELATIVE_ERROR: f64 = 1.0 / (2 * BUCKETS_PER_OCTAVE) as f64;

    /// How many values it has seen.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// How many of them were zero, exactly.
    pub fn zeros(&self) -> u64 {
        self.buckets.first().filter(|&&(bucket, _)| bucket == 0).map_or(0, |&(_, count)| count)
    }

    /// The sum of two.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut buckets = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut left, mut right) = (self.buckets.iter().copied().peekable(), other.buckets.iter().copied().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(&(a, _)), Some(&(b, _))) if a == b => {
                    let counts = left.next().map_or(0, |(_, n)| n).saturating_add(right.next().map_or(0, |(_, n)| n));
                    Some((a, counts))
                }
                (Some((a, _)), Some((b, _))) if a < b => left.next(),
                (Some(_), None) => left.next(),
                _ => right.next(),
            };
            match next {
                Some(bucket) => buckets.push(bucket),
                None => return Self { buckets },
            }
        }
    }

    /// The quantile `q` (0–1), interpolated between the two nearest ranks (type 7: NumPy's default); `None` without
    /// values. Within [`Self::RELATIVE_ERROR`] of the same quantile of the values themselves.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last_rank = self.count().checked_sub(1)?;
        let rank = q.clamp(0.0, 1.0) * last_rank as f64;
        let below = self.at_rank(rank.floor() as u64)?;
        let above = self.at_rank((rank.ceil() as u64).min(last_rank))?;
        Some(below + (above - below) * rank.fract())
    }

    fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut seen = 0u64;
        let &(bucket, _) = self.buckets.iter().find(|&&(_, count)| {
            seen = seen.saturating_add(count);
            seen > rank
        })?;
        let (low, width) = bounds(bucket);
        // The values are whole numbers: the middle of 4, 5, 6, 7 is 5.5.
        Some(low as f64 + (width - 1) as f64 / 2.0)
    }

    /// The buckets that hold values, ascending.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.buckets.iter().map(|&(bucket, count)| {
            let (low, width) = bounds(bucket);
            Bucket { low: low as f64, high: low as f64 + width as f64, count }
        })
    }
}

impl FromIterator<u64> for Histogram {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut dense = DenseHistogram::default();
        values.into_iter().for_each(|value| dense.add(value));
        dense.finish()
    }
}

impl From<Histogram> for BTreeMap<u16, u64> {
    fn from(histogram: Histogram) -> Self {
        histogram.buckets.into_iter().collect()
    }
}

impl TryFrom<BTreeMap<u16, u64>> for Histogram {
    type Error = String;

    fn try_from(map: BTreeMap<u16, u64>) -> Result<Self, String> {
        match map.iter().find(|&(&bucket, &count)| bucket > LAST_BUCKET || count == 0) {
            Some((bucket, count)) => Err(format!("a histogram has no bucket {bucket} with {count} values")),
            None => Ok(Self { buckets: map.into_iter().collect() }),
        }
    }
}

/// One count per bucket from the lowest to the highest seen: quick to add to, larger to keep.
#[derive(Debug, Clone, Default)]
pub(crate) struct DenseHistogram {
    /// The bucket of the first count.
    first: u16,
    counts: Vec<u64>,
}

impl DenseHistogram {
    pub(crate) fn add(&mut self, value: u64) {
        let bucket = bucket_of(value);
        let place = usize::from(bucket.wrapping_sub(self.first));
        match self.counts.get_mut(place) {
            Some(count) if bucket >= self.first => *count += 1,
            _ => self.widen(bucket),
        }
    }

    /// By whole octaves, so that it happens seldom.
    fn widen(&mut self, bucket: u16) {
        let octave = BUCKETS_PER_OCTAVE as u16;
        let low = bucket / octave * octave;
        if self.counts.is_empty() {
            self.first = low;
        }
        if low < self.first {
            let more = usize::from(self.first - low);
            self.counts.splice(..0, std::iter::repeat_n(0, more));
            self.first = low;
        }
        let end = usize::from(low + octave - self.first);
        if end > self.counts.len() {
            self.counts.resize(end, 0);
        }
        self.counts[usize::from(bucket - self.first)] += 1;
    }

    pub(crate) fn finish(self) -> Histogram {
        let buckets = (self.first..).zip(self.counts).filter(|&(_, count)| count > 0).collect();
        Histogram { buckets }
    }
}

fn bucket_of(value: u64) -> u16 {
    if value < BUCKETS_PER_OCTAVE {
        return value as u16;
    }
    let shift = value.ilog2() - PRECISION_BITS;
    ((shift + 1) << PRECISION_BITS) as u16 + ((value >> shift) - BUCKETS_PER_OCTAVE) as u16
}

/// The least value of a bucket, and how many whole values it spans.
fn bounds(bucket: u16) -> (u64, u64) {
    let bucket = u64::from(bucket);
    if bucket < BUCKETS_PER_OCTAVE {
        return (bucket, 1);
    }
    let shift = (bucket >> PRECISION_BITS) - 1;
    ((BUCKETS_PER_OCTAVE + bucket % BUCKETS_PER_OCTAVE) << shift, 1 << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        values.iter().copied().collect()
    }

    /// NumPy's default quantile, of the values themselves.
    fn type_7(values: &mut [u64], q: f64) -> f64 {
        values.sort_unstable();
        let rank = q * (values.len() - 1) as f64;
        let (below, above) = (values[rank.floor() as usize] as f64, values[rank.ceil() as usize] as f64);
        below + (above - below) * rank.fract()
    }

    #[test]
    fn buckets_tile_the_numbers() {
        let mut next = 0u128;
        for bucket in 0..=LAST_BUCKET {
            let (low, width) = bounds(bucket);
            assert_eq!(u128::from(low), next);
            assert_eq!((bucket_of(low), bucket_of(low + (width - 1))), (bucket, bucket));
            next = u128::from(low) + u128::from(width);
        }
        assert_eq!(next, 1 << 64);
    }

    #[test]
    fn knows_nothing_without_values() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(of(&[0, 0, 9]).zeros(), 2);
    }

    #[test]
    fn refuses_buckets_that_do_not_exist() {
        assert!(serde_json::from_str::<Histogram>(r#"{"7423": 1}"#).is_ok());
        assert!(serde_json::from_str::<Histogram>(r#"{"7424": 1}"#).is_err());
        assert!(serde_json::from_str::<Histogram>(r#"{"3": 0}"#).is_err());
    }

    /// Values of every magnitude, not mostly huge ones.
    fn values(most: usize) -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec((any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift), 1..most)
    }

    proptest! {
        #[test]
        fn quantiles_keep_their_promise(mut values in values(60), q in 0f64..=1.0) {
            let quantile = of(&values).quantile(q).unwrap();
            let exact = type_7(&mut values, q);
            prop_assert!((quantile - exact).abs() <= exact * Histogram::RELATIVE_ERROR * (1.0 + 1e-9) , "{quantile} {exact}");
        }

        #[test]
        fn merging_is_adding(a in values(40), b in values(40), c in values(40)) {
            let whole: Histogram = a.iter().chain(&b).chain(&c).copied().collect();
            prop_assert_eq!(&of(&a).merged(&of(&b)).merged(&of(&c)), &whole);
            prop_assert_eq!(&of(&c).merged(&of(&b).merged(&of(&a))), &whole);
            prop_assert_eq!(&whole.merged(&Histogram::default()), &whole);
            let json = serde_json::to_string(&whole).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), whole);
        }
    }
}
