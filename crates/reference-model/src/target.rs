use serde::{Deserialize, Serialize};

/// What is trained on instead of the label itself. Squared error on a compressed label pulls predictions from the mean
/// towards the median, which is what the mean absolute error of a long-tailed label (a duration) asks for.
///
/// The functions are `libm`'s: the same bits on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetTransform {
    /// The label itself.
    #[default]
    None,
    /// ln(1 + label), for labels above −1.
    Log1p,
    /// √label, for labels not below 0.
    Sqrt,
}

impl TargetTransform {
    /// The names a hyperparameter can have.
    pub const NAMES: [(&'static str, Self); 3] = [("none", Self::None), ("log1p", Self::Log1p), ("sqrt", Self::Sqrt)];

    /// Whether the transform is defined for `label`.
    pub fn takes(self, label: f64) -> bool {
        match self {
            Self::None => label.is_finite(),
            Self::Log1p => label.is_finite() && label > -1.0,
            Self::Sqrt => label.is_finite() && label >= 0.0,
        }
    }

    /// What is trained on.
    pub fn apply(self, label: f64) -> f64 {
        match self {
            Self::None => label,
            Self::Log1p => libm::log1p(label),
            Self::Sqrt => libm::sqrt(label),
        }
    }

    /// The label back.
    pub fn invert(self, transformed: f64) -> f64 {
        match self {
            Self::None => transformed,
            Self::Log1p => libm::expm1(transformed),
            // No label has a negative root.
            Self::Sqrt => transformed.max(0.0) * transformed.max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_come_back(label in 0.0..1e6_f64) {
            for (name, transform) in TargetTransform::NAMES {
                prop_assert!(transform.takes(label));
                let back = transform.invert(transform.apply(label));
                prop_assert!((back - label).abs() <= 1e-9 * (1.0 + label), "{name}: {back} for {label}");
            }
        }
    }

    #[test]
    fn labels_outside_the_domain_are_refused() {
        assert!(TargetTransform::None.takes(-5.0) && !TargetTransform::None.takes(f64::NAN));
        assert!(TargetTransform::Log1p.takes(-0.5) && !TargetTransform::Log1p.takes(-1.0));
        assert!(TargetTransform::Sqrt.takes(0.0) && !TargetTransform::Sqrt.takes(-0.5));
    }
}
