use crate::{BucketRange, HashVersion, hash};

/// A part of a namespace. Experiments that own disjoint parts of one namespace exclude each other: no unit is in two.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// The namespace's name.
    pub id: String,
    /// The part of [0, 1) that this experiment owns.
    pub range: BucketRange,
}

impl Namespace {
    /// Whether `unit` lies in this part (GrowthBook's `inNamespace`: hash v1 with the seed `__<id>`).
    pub fn contains(&self, unit: &str) -> bool {
        in_part(&self.id, self.range, unit)
    }
}

/// Whether `unit` lies in the part `range` of namespace `id`.
pub(crate) fn in_part(id: &str, range: BucketRange, unit: &str) -> bool {
    // v1 appends the seed to the unit: unit + "__" + id.
    let mut seed = String::with_capacity(2 + id.len());
    seed.push_str("__");
    seed.push_str(id);
    range.contains(hash(&seed, unit, HashVersion::V1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_that_share_a_boundary_share_no_unit_and_lose_none(unit: String, boundary in 0.0..=1.0) {
            let part = |start, end| Namespace { id: "eta".to_owned(), range: BucketRange { start, end } };
            prop_assert!(part(0.0, boundary).contains(&unit) != part(boundary, 1.0).contains(&unit));
        }
    }
}
