//! Sufficient statistics of one arm: counts and sums of randomised units. Merging adds them.

/// What an estimate needs to know of one arm.
pub trait ArmStatistic {
    /// How many randomised units.
    fn n(&self) -> u64;
    /// The metric's estimate: a mean, a share, or a ratio of means.
    fn mean(&self) -> f64;
    /// The variance of one unit's contribution: the estimate's variance is this over [`ArmStatistic::n`].
    fn variance(&self) -> f64;
}

/// Units of which each did something or did not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Proportion {
    /// How many units.
    pub n: u64,
    /// How many of them did it.
    pub successes: f64,
}

/// Units with one number each.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeanSums {
    /// How many units.
    pub n: u64,
    /// Σx.
    pub sum: f64,
    /// Σx².
    pub sum_squares: f64,
}

/// Units with a numerator m and a denominator d each: a rider with the sum of their rides' errors and the number of their
/// rides. The metric is Σm/Σd, and the unit stays the one that was randomised.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RatioSums {
    /// How many units.
    pub n: u64,
    /// Σm.
    pub m_sum: f64,
    /// Σm².
    pub m_sum_squares: f64,
    /// Σd.
    pub d_sum: f64,
    /// Σd².
    pub d_sum_squares: f64,
    /// Σmd.
    pub m_d_sum_of_products: f64,
}

/// Units with a number y from the experiment and a number x from before it, which no arm can have changed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CupedSums {
    /// How many units.
    pub n: u64,
    /// Σy.
    pub post_sum: f64,
    /// Σy².
    pub post_sum_squares: f64,
    /// Σx.
    pub pre_sum: f64,
    /// Σx².
    pub pre_sum_squares: f64,
    /// Σyx.
    pub post_pre_sum_of_products: f64,
}

/// (Σxy − Σx·Σy/n)/(n − 1); 0 below two units.
fn sample_covariance(n: u64, sum_x: f64, sum_y: f64, sum_of_products: f64) -> f64 {
    if n <= 1 { 0.0 } else { (sum_of_products - sum_x * sum_y / n as f64) / (n - 1) as f64 }
}

fn mean(n: u64, sum: f64) -> f64 {
    if n == 0 { 0.0 } else { sum / n as f64 }
}

impl Proportion {
    /// Adds the units of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.successes += other.successes;
    }
}

impl ArmStatistic for Proportion {
    fn n(&self) -> u64 {
        self.n
    }

    fn mean(&self) -> f64 {
        mean(self.n, self.successes)
    }

    fn variance(&self) -> f64 {
        self.mean() * (1.0 - self.mean())
    }
}

impl MeanSums {
    /// Of one number a unit.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sums = Self::default();
        for value in values {
            sums.n += 1;
            sums.sum += value;
            sums.sum_squares += value * value;
        }
        sums
    }

    /// Adds the units of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.sum_squares += other.sum_squares;
    }
}

impl ArmStatistic for MeanSums {
    fn n(&self) -> u64 {
        self.n
    }

    fn mean(&self) -> f64 {
        mean(self.n, self.sum)
    }

    fn variance(&self) -> f64 {
        sample_covariance(self.n, self.sum, self.sum, self.sum_squares)
    }
}

impl RatioSums {
    /// Of one (numerator, denominator) a unit.
    pub fn of(units: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut sums = Self::default();
        for (m, d) in units {
            sums.merge(&Self {
                n: 1,
                m_sum: m,
                m_sum_squares: m * m,
                d_sum: d,
                d_sum_squares: d * d,
                m_d_sum_of_products: m * d,
            });
        }
        sums
    }

    /// Adds the units of `other`; no unit may be in both.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.m_sum += other.m_sum;
        self.m_sum_squares += other.m_sum_squares;
        self.d_sum += other.d_sum;
        self.d_sum_squares += other.d_sum_squares;
        self.m_d_sum_of_products += other.m_d_sum_of_products;
    }
}

impl ArmStatistic for RatioSums {
    fn n(&self) -> u64 {
        self.n
    }

    fn mean(&self) -> f64 {
        if self.d_sum == 0.0 { 0.0 } else { self.m_sum / self.d_sum }
    }

    /// By the delta method: (s²_M − 2R·s_MD + R²·s²_D)/D̄².
    fn variance(&self) -> f64 {
        let d_mean = mean(self.n, self.d_sum);
        if d_mean == 0.0 || self.n <= 1 {
            return 0.0;
        }
        let ratio = self.mean();
        let variance_m = sample_covariance(self.n, self.m_sum, self.m_sum, self.m_sum_squares);
        let variance_d = sample_covariance(self.n, self.d_sum, self.d_sum, self.d_sum_squares);
        let covariance = sample_covariance(self.n, self.m_sum, self.d_sum, self.m_d_sum_of_products);
        (variance_m - 2.0 * ratio * covariance + ratio * ratio * variance_d) / (d_mean * d_mean)
    }
}

impl CupedSums {
    /// Of one (y, x) a unit.
    pub fn of(units: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut sums = Self::default();
        for (post, pre) in units {
            sums.merge(&Self {
                n: 1,
                post_sum: post,
                post_sum_squares: post * post,
                pre_sum: pre,
                pre_sum_squares: pre * pre,
                post_pre_sum_of_products: post * pre,
            });
        }
        sums
    }

    /// Adds the units of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.post_sum += other.post_sum;
        self.post_sum_squares += other.post_sum_squares;
        self.pre_sum += other.pre_sum;
        self.pre_sum_squares += other.pre_sum_squares;
        self.post_pre_sum_of_products += other.post_pre_sum_of_products;
    }

    /// y alone.
    pub fn post(&self) -> MeanSums {
        MeanSums { n: self.n, sum: self.post_sum, sum_squares: self.post_sum_squares }
    }

    /// x alone.
    pub fn pre(&self) -> MeanSums {
        MeanSums { n: self.n, sum: self.pre_sum, sum_squares: self.pre_sum_squares }
    }

    /// cov(Y, X).
    pub fn covariance(&self) -> f64 {
        sample_covariance(self.n, self.post_sum, self.pre_sum, self.post_pre_sum_of_products)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_merge_is_the_statistics_of_both(
            units in prop::collection::vec((-1_000..1_000_i32, 1..20_i32), 0..30), cut: prop::sample::Index,
        ) {
            // Whole numbers: their sums are exact in any order.
            let units: Vec<(f64, f64)> = units.into_iter().map(|(m, d)| (f64::from(m), f64::from(d))).collect();
            let (left, right) = units.split_at(cut.index(units.len() + 1));
            let mut ratio = RatioSums::of(right.iter().copied());
            ratio.merge(&RatioSums::of(left.iter().copied()));
            prop_assert_eq!(ratio, RatioSums::of(units.iter().copied()));
            let mut cuped = CupedSums::of(right.iter().copied());
            cuped.merge(&CupedSums::of(left.iter().copied()));
            prop_assert_eq!(cuped, CupedSums::of(units.iter().copied()));
            let mut means = MeanSums::of(right.iter().map(|unit| unit.0));
            means.merge(&MeanSums::of(left.iter().map(|unit| unit.0)));
            prop_assert_eq!(means, cuped.post());
        }
    }

    #[test]
    fn a_ratio_over_ones_is_a_mean() {
        let values = [3.0, 5.0, 10.0, 2.0];
        let ratio = RatioSums::of(values.map(|value| (value, 1.0)));
        let means = MeanSums::of(values);
        assert_eq!(ratio.mean(), means.mean());
        assert!((ratio.variance() - means.variance()).abs() < 1e-12);
    }
}
