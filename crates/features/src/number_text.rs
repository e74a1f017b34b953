//! Numbers as the text that models read.

/// Writes doubles in the shortest form that reads back as the same bits: `7`, not `7.0`; zero keeps its sign. Training views and
/// rows to endpoints use the same, so that a model sees the same text in both.
#[derive(Default)]
pub struct NumberText {
    whole: itoa::Buffer,
    double: zmij::Buffer,
}

impl NumberText {
    /// The text of a number that is not NaN.
    pub fn of(&mut self, value: f64) -> &str {
        if value.fract() == 0.0 && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
            self.whole.format(value as i64)
        } else {
            self.double.format(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_as_the_same_bits(bits in any::<u64>(), whole in -1_000_000_i64..1_000_000) {
            for value in [f64::from_bits(bits), whole as f64, -0.0] {
                if value.is_finite() {
                    let text = NumberText::default().of(value).to_owned();
                    prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
                }
            }
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (value, text) in [(7.0, "7"), (-41.0, "-41"), (0.0, "0"), (0.5, "0.5"), (-0.0, "-0.0")] {
            assert_eq!(NumberText::default().of(value), text);
        }
    }
}
