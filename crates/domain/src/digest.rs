//! Digests in lower-case hexadecimal: content addresses, and keyed hashes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes`, 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The HMAC-SHA256 (RFC 2104) of `bytes` under `key`, 64 hexadecimal digits.
pub fn hmac_sha256_hex(key: &[u8], bytes: &[u8]) -> String {
    // A key of any length is taken; the error is of other kinds of keyed hashes.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(bytes).finalize());
    mac.map(|mac| hex::encode(mac.into_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn keyed_hashes_are_the_published_ones() {
        let short = hmac_sha256_hex(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(short, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac_sha256_hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }
}
