//! URLs' ways of writing text.

/// Percent-encodes all but letters, digits, `-_.~` and the bytes in `plain`.
pub(crate) fn percent_encode(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_hex(&mut out, byte);
        }
    }
    out
}

/// `%` and two hex digits.
pub(crate) fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// A key as S3 writes it into notifications: form-encoded, slashes left as they are.
pub(crate) fn form_encode_key(key: &str) -> String {
    percent_encode(key, b"/* ").replace(' ', "+")
}

/// Undoes percent-encoding; `plus` says whether `+` is a space. What is not encoded properly stays as it is.
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) if plus => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_form_encoded_as_s3_does() {
        assert_eq!(form_encode_key("a b/c+d=e/é(1).json"), "a+b/c%2Bd%3De/%C3%A9%281%29.json");
        assert_eq!(percent_decode("a+b/c%2Bd%3De/%C3%A9", true), "a b/c+d=e/é");
        assert_eq!(percent_decode("100%+", false), "100%+");
    }
}
