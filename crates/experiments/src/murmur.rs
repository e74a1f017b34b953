//! The buckets of two other services, so that an assignment of theirs can be recomputed beside ours: both hash with
//! MurmurHash3 (x86, 32 bits).

use std::io::Cursor;

fn murmur3(text: &str, seed: u32) -> u32 {
    // Reading from memory does not fail.
    murmur3::murmur3_32(&mut Cursor::new(text.as_bytes()), seed).unwrap_or_default()
}

/// Optimizely's bucket, 0 to 9,999: ⌊murmur3(unit + experiment, seed 1)/2³²·10,000⌋.
pub fn optimizely_bucket(bucketing_id: &str, experiment_id: &str) -> u32 {
    let hashed = murmur3(&format!("{bucketing_id}{experiment_id}"), 1);
    ((u64::from(hashed) * 10_000) >> 32) as u32
}

/// The variant that flagd's `fractional` gives to `key` (the flag's key and the targeting key): the first whose cumulative
/// weight exceeds murmur3(key, seed 0)·total/2³². `None` without weight, or where the weights sum to 2³² or more.
pub fn flagd_variant(key: &str, weights: &[u32]) -> Option<usize> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if total > u64::from(u32::MAX) {
        return None;
    }
    let point = (u64::from(murmur3(key, 0)) * total) >> 32;
    let mut cumulative = 0;
    weights.iter().position(|weight| {
        cumulative += u64::from(*weight);
        cumulative > point
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_published_vectors() {
        // https://en.wikipedia.org/wiki/MurmurHash
        assert_eq!(murmur3("", 1), 0x514e_28b7);
        assert_eq!(murmur3("test", 0), 0xba6b_d213);
        assert_eq!(murmur3("Hello, world!", 0), 0xc036_3e43);
    }

    #[test]
    fn no_weight_gives_no_variant() {
        assert_eq!(flagd_variant("a", &[]), None);
        assert_eq!(flagd_variant("a", &[0, 0]), None);
        assert_eq!(flagd_variant("a", &[0, 1, 0]), Some(1));
    }
}
