//! CSV rows of numbers, in files and in requests.

use std::io::Read;

/// Splits headerless rows of any width. Quotation marks have no meaning to it: no number holds a comma or a line break,
/// and a stray mark must not swallow the lines that follow.
pub(crate) fn rows<R: Read>(reader: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).quoting(false).from_reader(reader)
}

/// The number in `bytes`, which may stand in quotation marks; NaN where it is missing: empty, or written as NaN.
/// Otherwise the text that is no finite number, quoted.
pub(crate) fn parse(bytes: &[u8]) -> Result<f64, String> {
    let trimmed = bytes.trim_ascii();
    let inner = trimmed.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(trimmed);
    if inner.is_empty() {
        return Ok(f64::NAN);
    }
    match std::str::from_utf8(inner).ok().and_then(|text| text.parse::<f64>().ok()) {
        Some(number) if !number.is_infinite() => Ok(number),
        _ => Err(quoted(&String::from_utf8_lossy(inner))),
    }
}

/// `text` in quotation marks, its end left off where it is long: error messages travel in headers and logs.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN {
        format!("`{text}`")
    } else {
        format!("`{}…`", text.chars().take(SHOWN).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_missing_values_and_neither() {
        assert_eq!(parse(b" -1.5e3 "), Ok(-1500.0));
        assert_eq!(parse(b"\"7\""), Ok(7.0));
        for missing in ["", "  ", "NaN", "nan", "\"\""] {
            assert!(parse(missing.as_bytes()).unwrap().is_nan(), "{missing:?}");
        }
        for text in ["abc", "1,5", "inf", "1e400", "0x10", "1_000", "null", "\"7"] {
            assert_eq!(parse(text.as_bytes()), Err(format!("`{text}`")));
        }
        assert!(parse(&[0xff]).is_err());
        assert!(parse("9".repeat(500).as_bytes()).unwrap_err().chars().count() < 50);
    }

    proptest! {
        #[test]
        fn numbers_come_back_with_the_same_bits(number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
            prop_assert_eq!(parse(number.to_string().as_bytes()).unwrap().to_bits(), number.to_bits());
        }
    }
}
