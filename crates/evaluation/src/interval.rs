use serde::{Deserialize, Serialize};

/// How answered intervals met the truth, mergeable exactly. Sums are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IntervalStatistics {
    /// Rides whose answer had an interval and whose car arrived.
    pub n: u64,
    /// Cars that came before the lower end.
    pub below: u64,
    /// Cars that came after the upper end.
    pub above: u64,
    #[serde(with = "crate::decimal")]
    sum_width_us: i128,
    /// By how much the truth lay outside, summed.
    #[serde(with = "crate::decimal")]
    sum_outside_us: i128,
}

impl IntervalStatistics {
    /// `lower` and `upper` in seconds; an interval that is none is left out.
    pub(crate) fn add(&mut self, [lower_s, upper_s]: [f64; 2], actual_us: i64) {
        let to_us = |seconds: f64| (seconds * 1e6).round() as i64;
        if !(lower_s <= upper_s && lower_s.abs() <= 1e9 && upper_s.abs() <= 1e9) {
            return;
        }
        let (lower, upper) = (to_us(lower_s), to_us(upper_s));
        self.n += 1;
        self.below += u64::from(actual_us < lower);
        self.above += u64::from(actual_us > upper);
        self.sum_width_us += i128::from(upper - lower);
        self.sum_outside_us += i128::from((lower - actual_us).max(actual_us - upper).max(0));
    }

    /// Adds the rides of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.below = self.below.saturating_add(other.below);
        self.above = self.above.saturating_add(other.above);
        self.sum_width_us = self.sum_width_us.saturating_add(other.sum_width_us);
        self.sum_outside_us = self.sum_outside_us.saturating_add(other.sum_outside_us);
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.below.saturating_add(self.above) > self.n || self.sum_width_us < 0 || self.sum_outside_us < 0 {
            return Err("more rides lie outside of their interval than have one".to_owned());
        }
        Ok(())
    }

    /// The figures; `None` without intervals.
    pub fn figures(&self) -> Option<IntervalFigures> {
        let n = self.n as f64;
        (self.n > 0).then(|| {
            let coverage = (self.n - self.below - self.above) as f64 / n;
            IntervalFigures {
                n: self.n,
                coverage,
                coverage_interval: wilson(coverage, n),
                share_below: self.below as f64 / n,
                share_above: self.above as f64 / n,
                mean_width_s: self.sum_width_us as f64 / n / 1e6,
                mean_outside_s: self.sum_outside_us as f64 / n / 1e6,
            }
        })
    }
}

/// The 95 % score interval of a share (Wilson 1927).
fn wilson(share: f64, n: f64) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let z2 = Z * Z / n;
    let middle = share + z2 / 2.0;
    let half = Z * ((share * (1.0 - share) + z2 / 4.0) / n).sqrt();
    [((middle - half) / (1.0 + z2)).max(0.0), ((middle + half) / (1.0 + z2)).min(1.0)]
}

/// How answered intervals met the truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IntervalFigures {
    /// Rides whose answer had an interval.
    pub n: u64,
    /// The share whose truth lay within, 0–1.
    pub coverage: f64,
    /// Its 95 % interval (Wilson; takes the rides as independent).
    pub coverage_interval: [f64; 2],
    /// The share of cars that came before the interval.
    pub share_below: f64,
    /// The share of cars that came after it.
    pub share_above: f64,
    /// Its mean width, seconds.
    pub mean_width_s: f64,
    /// By how much the truth lay outside, on average over all rides, seconds. The Winkler score for the miss rate α is
    /// `mean_width_s + 2/α · mean_outside_s`.
    pub mean_outside_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_width_and_misses() {
        let mut intervals = IntervalStatistics::default();
        for actual_s in [50, 100, 150, 200, 230] {
            intervals.add([100.0, 200.0], actual_s * 1_000_000);
        }
        intervals.add([200.0, 100.0], 150_000_000);
        intervals.add([f64::NAN, 100.0], 150_000_000);
        let figures = intervals.figures().unwrap();
        assert_eq!((figures.n, figures.coverage, figures.share_below, figures.share_above), (5, 0.6, 0.2, 0.2));
        assert_eq!((figures.mean_width_s, figures.mean_outside_s), (100.0, 16.0));
        let [low, high] = figures.coverage_interval;
        // statsmodels' proportion_confint(3, 5, method="wilson").
        assert!((low - 0.230724).abs() < 1e-6 && (high - 0.882379).abs() < 1e-6, "{low} {high}");
        assert_eq!(IntervalStatistics::default().figures(), None);
    }
}
