//! Keys as file names.
//!
//! Each part between slashes is one name. Bytes that a file system may not like are percent-encoded; a `%` that begins
//! no such code marks what has no other name: `%` alone is an empty part.

use std::path::PathBuf;

use crate::{encoding::push_hex, hash::hex};

/// Objects whose plain path is taken or too long are kept here, named by a hash; the journal knows their keys.
pub(crate) const ELSEWHERE: &str = "%elsewhere";

/// File systems allow 255 bytes for one name.
const LONGEST_NAME: usize = 255;

/// The path of a key below its bucket's folder, or `None` if a part would be too long a name.
pub(crate) fn path_of(key: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in key.split('/') {
        let name = encode(part);
        if name.len() > LONGEST_NAME {
            return None;
        }
        path.push(name);
    }
    Some(path)
}

/// Where a key goes that has no plain path.
pub(crate) fn elsewhere(key: &str) -> PathBuf {
    use s3s::crypto::{Checksum as _, Sha256};
    PathBuf::from(ELSEWHERE).join(hex(Sha256::checksum(key.as_bytes()).as_ref()))
}

fn encode(part: &str) -> String {
    if part.is_empty() {
        return "%".to_owned();
    }
    let dots = part == "." || part == "..";
    let mut name = String::with_capacity(part.len());
    for byte in part.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_=,@+~ ()!".contains(&byte) || (byte == b'.' && !dots);
        if plain {
            name.push(char::from(byte));
        } else {
            push_hex(&mut name, byte);
        }
    }
    name
}

/// The key part that a file name stands for; `None` for a name that no key part has.
pub(crate) fn decode(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_keys_stay_readable() {
        let key = "archive/model=pickup-eta/date=2026-02-14/hour=17/part-0.parquet";
        assert_eq!(path_of(key).unwrap().to_str().unwrap(), key);
        assert_eq!(path_of("a//b:c/../é").unwrap().to_str().unwrap(), "a/%/b%3Ac/%2E%2E/%C3%A9");
        assert!(path_of(&"x".repeat(300)).is_none());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(key in "\\PC{0,40}") {
            let path = path_of(&key);
            if let Some(path) = path {
                let parts: Option<Vec<_>> = path.to_str().unwrap().split('/').map(decode).collect();
                prop_assert_eq!(parts.unwrap().join("/"), key);
            }
        }
    }
}
