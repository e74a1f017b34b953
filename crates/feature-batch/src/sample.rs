//! A uniform sample of the view's rows, for its distributions.

/// The most cells of a sample: 32 MB.
const MOST_CELLS: usize = 4_000_000;
/// The most rows of a sample: enough for a share of 1 % to be right within a tenth of it.
const MOST_ROWS: usize = 100_000;

/// Rows of a view, each as likely as any other. Which ones depends on the number of rows alone, so that the same view has the
/// same sample whatever made it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ViewSample {
    /// The label, then the model's columns; NaN is a missing value.
    pub columns: Vec<Vec<f64>>,
    hashes: Vec<u64>,
    /// Rows whose number hashes to less are in.
    below: u64,
    most_rows: usize,
    rows_seen: u64,
}

impl ViewSample {
    pub(crate) fn new(columns: usize) -> Self {
        Self::at_most(columns, (MOST_CELLS / columns.max(1)).clamp(1, MOST_ROWS))
    }

    fn at_most(columns: usize, most_rows: usize) -> Self {
        Self { columns: vec![Vec::new(); columns], hashes: Vec::new(), below: u64::MAX, most_rows, rows_seen: 0 }
    }

    /// Offers the view's next row; `cell` gives the value of a column.
    pub(crate) fn offer(&mut self, cell: impl Fn(usize) -> f64) {
        let hash = scramble(self.rows_seen);
        self.rows_seen += 1;
        if hash >= self.below {
            return;
        }
        self.hashes.push(hash);
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.push(cell(index));
        }
        if self.hashes.len() > self.most_rows {
            self.below /= 2;
            let (below, hashes) = (self.below, &self.hashes);
            for column in &mut self.columns {
                let mut row = 0;
                column.retain(|_| {
                    row += 1;
                    hashes[row - 1] < below
                });
            }
            self.hashes.retain(|hash| *hash < below);
        }
    }
}

/// SplitMix64's finalizer (Steele, Lea and Flood, 2014).
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_whole_rows_and_uniform() {
        let mut sample = ViewSample::at_most(2, 1_000);
        for row in 0..100_000 {
            sample.offer(|column| f64::from(row) + 0.5 * column as f64);
        }
        let [first, second] = &sample.columns[..] else { panic!() };
        assert!((400..=1_000).contains(&first.len()), "{}", first.len());
        assert!(first.iter().zip(second).all(|(a, b)| a + 0.5 == *b));
        // 100,000/√12 is the deviation of a row's number.
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        assert!((mean - 50_000.0).abs() < 4.0 * 28_900.0 / (first.len() as f64).sqrt(), "{mean}");
        let mut few = ViewSample::at_most(1, 1_000);
        (0..1_000).for_each(|row| few.offer(|_| f64::from(row)));
        assert_eq!(few.columns[0].len(), 1_000);
    }
}
