//! Numbers and times in words.

use domain::Hour;
use jiff::Timestamp;

/// A whole number with thousands separators: `1,912`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 ride`, `1,912 rides`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A number with a true minus sign, and one decimal below ten: `92`, `9.3`, `−1,204`.
pub(crate) fn number(value: f64) -> String {
    let abs = value.abs();
    let text = if abs < 9.95 { format!("{abs:.1}") } else { count(abs.round() as u64) };
    if value < 0.0 && text != "0.0" { format!("−{text}") } else { text }
}

/// Seconds: `92 s`.
pub(crate) fn seconds(value_s: f64) -> String {
    format!("{} s", number(value_s))
}

/// A share as a percentage: `35 %`, `−4 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 100.0).round() as i64;
    format!("{}{} %", if percent < 0 { "−" } else { "" }, count(percent.unsigned_abs()))
}

/// A share of which "all" and "none" must be meant: 99.7 % is `99 %`, 0.2 % is `<1 %`.
pub(crate) fn percent_landed(share: f64) -> String {
    match (share * 100.0).floor() as u64 {
        0 if share > 0.0 => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// A difference of time on an axis in `unit_s`: `−5`, `0`, `+5`.
pub(crate) fn signed(value_s: f64, unit_s: f64) -> String {
    let value = value_s / unit_s;
    let abs = if value.fract() == 0.0 { count(value.abs() as u64) } else { format!("{:.1}", value.abs()) };
    match value {
        value if value < 0.0 => format!("−{abs}"),
        value if value > 0.0 => format!("+{abs}"),
        _ => abs,
    }
}

/// `20 Nov 2026, 07:00`, UTC.
pub(crate) fn hour(hour: Hour) -> String {
    hour.start().strftime("%-d %b %Y, %H:%M").to_string()
}

/// `20 Nov`, UTC.
pub(crate) fn day(hour: Hour) -> String {
    hour.start().strftime("%-d %b").to_string()
}

/// `20 Nov 2026, 07:12 UTC`.
pub(crate) fn instant(at: Timestamp) -> String {
    at.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// `20 Nov 2026, 07:00 – 23 Nov 2026, 24:00 UTC` for the hours 07 to 23, both included.
pub(crate) fn span(first: Hour, last: Hour) -> String {
    if first.date() == last.date() {
        return format!("{} – {:02}:00 UTC", hour(first), last.hour_of_day() + 1);
    }
    format!("{} – {}, {:02}:00 UTC", hour(first), last.start().strftime("%-d %b %Y"), last.hour_of_day() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1912, 1_234_567].map(count), ["0", "999", "1,912", "1,234,567"]);
        assert_eq!([92.4, 9.34, 9.96, -1204.2, -0.01].map(number), ["92", "9.3", "10", "−1,204", "0.0"]);
        assert_eq!([0.354, -0.041, -0.001].map(percent), ["35 %", "−4 %", "0 %"]);
        assert_eq!([1.0, 0.997, 0.002, 0.0].map(percent_landed), ["100 %", "99 %", "<1 %", "0 %"]);
        assert_eq!([-300.0, 0.0, 90.0].map(|s| signed(s, 60.0)), ["−5", "0", "+1.5"]);
        assert_eq!(counted(1, "ride", "rides"), "1 ride");
    }

    #[test]
    fn spans_include_their_last_hour() {
        let hour = |text: &str| text.parse::<Hour>().unwrap();
        assert_eq!(span(hour("2026-11-20T07"), hour("2026-11-20T07")), "20 Nov 2026, 07:00 – 08:00 UTC");
        let days = span(hour("2026-11-20T07"), hour("2026-11-23T23"));
        assert_eq!(days, "20 Nov 2026, 07:00 – 23 Nov 2026, 24:00 UTC");
    }
}
