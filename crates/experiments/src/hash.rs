use crate::ExperimentsError;

/// Which of GrowthBook's two hashes places a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashVersion {
    /// `(fnv1a32(value + seed) mod 1000) / 1000`. Biased when two experiments run at once; kept for namespaces, which
    /// the spec defines with it.
    V1,
    /// `(fnv1a32(str(fnv1a32(seed + value))) mod 10000) / 10000`.
    V2,
}

impl HashVersion {
    /// How many points of [0, 1) a unit can hash to: `0/points`, `1/points`, …
    pub const fn points(self) -> u32 {
        match self {
            Self::V1 => 1_000,
            Self::V2 => 10_000,
        }
    }
}

impl TryFrom<u64> for HashVersion {
    type Error = ExperimentsError;

    fn try_from(version: u64) -> Result<Self, ExperimentsError> {
        match version {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            other => Err(ExperimentsError::UnknownHashVersion(other)),
        }
    }
}

/// FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), over UTF-16 code units instead of bytes: GrowthBook's
/// first SDK is JavaScript, where a string is code units. For ASCII both are the same.
pub fn fnv1a32(code_units: impl IntoIterator<Item = u16>) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    code_units.into_iter().fold(OFFSET_BASIS, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(PRIME))
}

/// Where `value` (the unit) lies in [0, 1), for the experiment salted with `seed`. Allocates nothing.
pub fn hash(seed: &str, value: &str, version: HashVersion) -> f64 {
    let hashed = match version {
        HashVersion::V1 => fnv1a32(value.encode_utf16().chain(seed.encode_utf16())),
        HashVersion::V2 => fnv1a32_of_decimal(fnv1a32(seed.encode_utf16().chain(value.encode_utf16()))),
    };
    f64::from(hashed % version.points()) / f64::from(version.points())
}

/// [`fnv1a32`] of `number` written in decimal.
fn fnv1a32_of_decimal(number: u32) -> u32 {
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = u16::from(b'0') + (rest % 10) as u16;
        rest /= 10;
        if rest == 0 {
            return fnv1a32(digits[first..].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fnv_of_known_texts() {
        // Test vectors of the FNV authors: http://www.isthe.com/chongo/src/fnv/test_fnv.c.
        for (text, expected) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv1a32(text.encode_utf16()), expected, "{text}");
        }
    }

    #[test]
    fn versions_outside_the_spec_are_refused() {
        assert_eq!(HashVersion::try_from(2), Ok(HashVersion::V2));
        let error = HashVersion::try_from(99).unwrap_err();
        assert_eq!(error.reason(), "unknown_hash_version");
        assert_eq!(error.to_string(), "hash version 99 is not known; use 1 or 2");
    }

    proptest! {
        #[test]
        fn decimals_are_written_as_the_standard_library_does(number: u32) {
            prop_assert_eq!(fnv1a32_of_decimal(number), fnv1a32(number.to_string().encode_utf16()));
        }

        #[test]
        fn points_lie_in_the_unit_interval(seed: String, value: String) {
            for version in [HashVersion::V1, HashVersion::V2] {
                prop_assert!((0.0..1.0).contains(&hash(&seed, &value, version)));
            }
        }
    }

    /// Pearson's χ² of `counts` against equal expected counts.
    fn chi_squared(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn sequential_units_spread_evenly() {
        let mut counts = [0; 100];
        for unit in 0..100_000 {
            counts[(hash("deeper-trees", &format!("rider-{unit}"), HashVersion::V2) * 100.0) as usize] += 1;
        }
        // The 99.9 % point of χ² with 99 degrees of freedom is 148.2.
        let statistic = chi_squared(&counts);
        assert!(statistic < 148.2, "χ² = {statistic}");
    }

    #[test]
    fn two_experiments_are_independent_of_each_other() {
        let mut counts = [0; 100];
        for unit in 0..100_000 {
            let unit = format!("rider-{unit}");
            let [row, column] =
                ["deeper-trees", "new-map"].map(|id| (hash(id, &unit, HashVersion::V2) * 10.0) as usize);
            counts[row * 10 + column] += 1;
        }
        let statistic = chi_squared(&counts);
        assert!(statistic < 148.2, "χ² = {statistic}");
    }
}
