//! The languages of the report: words in a table each, numbers and times as people write them.

mod en;
mod ja;
#[macro_use]
mod table;

use std::{fmt, str::FromStr};

use domain::Hour;
use jiff::Timestamp;
pub(crate) use table::Words;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Japanese];

    /// The code of ISO 639-1: `en`, `ja`.
    pub fn code(self) -> &'static str {
        self.words().code
    }

    pub(crate) fn words(self) -> &'static Words {
        match self {
            Self::English => &en::ENGLISH,
            Self::Japanese => &ja::JAPANESE,
        }
    }

    /// What stands between two sentences.
    pub(crate) fn gap(self) -> &'static str {
        match self {
            Self::English => " ",
            Self::Japanese => "",
        }
    }

    /// Seconds: `92 s`.
    pub(crate) fn seconds(self, value_s: f64) -> String {
        fill(self.words().seconds, &[("n", &number(value_s))])
    }

    /// A share as a percentage: `35 %`, `−4 %`.
    pub(crate) fn percent(self, share: f64) -> String {
        let percent = (share * 100.0).round() as i64;
        self.percentage(&format!("{}{}", if percent < 0 { "−" } else { "" }, count(percent.unsigned_abs())))
    }

    /// With one decimal, for shares that differ by little.
    pub(crate) fn percent_fine(self, share: f64) -> String {
        self.percentage(&format!("{:.1}", 100.0 * share))
    }

    /// A share of which "all" and "none" must be meant: 99.7 % is `99 %`, 0.2 % is `<1 %`.
    pub(crate) fn percent_landed(self, share: f64) -> String {
        match (share * 100.0).floor() as u64 {
            0 if share > 0.0 => self.percentage("<1"),
            percent => self.percentage(&percent.to_string()),
        }
    }

    /// A number as a percentage.
    pub(crate) fn percentage(self, number: &str) -> String {
        fill(self.words().percent, &[("n", number)])
    }

    /// `20 Nov 2026, 07:00`, UTC.
    pub(crate) fn hour(self, hour: Hour) -> String {
        hour.start().strftime(self.words().hour_format).to_string()
    }

    /// `20 Nov`, UTC.
    pub(crate) fn day(self, hour: Hour) -> String {
        hour.start().strftime(self.words().day_format).to_string()
    }

    /// `20 Nov 2026, 07:12 UTC`.
    pub(crate) fn instant(self, at: Timestamp) -> String {
        format!("{} UTC", at.strftime(self.words().hour_format))
    }

    /// `20 Nov 2026, 07:00 – 23 Nov 2026, 24:00 UTC` for the hours 07 to 23, both included.
    pub(crate) fn span(self, first: Hour, last: Hour) -> String {
        let end = format!("{:02}", last.hour_of_day() + 1);
        let until = if first.date() == last.date() {
            format!("{end}:00")
        } else {
            let day = last.start().strftime(self.words().date_format).to_string();
            fill(self.words().span_end, &[("day", &day), ("hour", &end)])
        };
        fill(self.words().span, &[("from", &self.hour(first)), ("until", &until)])
    }

    /// `a to b`.
    pub(crate) fn range(self, low: &str, high: &str) -> String {
        fill(self.words().range, &[("low", low), ("high", high)])
    }

    /// An age: `20 min`, `3 h`, `2 d`.
    pub(crate) fn age(self, age_s: u32) -> String {
        let (template, unit_s) = match age_s {
            86_400.. => (self.words().age_d, 86_400),
            3_600.. => (self.words().age_h, 3_600),
            _ => (self.words().age_min, 60),
        };
        fill(template, &[("n", &number_short(f64::from(age_s) / f64::from(unit_s)))])
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|language| language.code() == text);
        found.ok_or_else(|| "it must be en or ja".to_owned())
    }
}

/// A template with `{name}` filled in. What is filled in is text: braces in it stay.
pub(crate) fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        let name = &rest[start + 1..start + length];
        out.push_str(&rest[..start]);
        out.push_str(parts.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out
}

/// A template of `one|many`, by a number, with `{n}` as the number.
pub(crate) fn counted(n: u64, template: &str) -> String {
    fill(plural(n, template), &[("n", &count(n))])
}

/// The half of `one|many` that a number wants.
pub(crate) fn plural(n: u64, template: &str) -> &str {
    match template.split_once('|') {
        Some((one, _)) if n == 1 => one,
        Some((_, many)) => many,
        None => template,
    }
}

/// [`fill`] by the names of variables or expressions.
macro_rules! say {
    ($template:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::report::language::fill($template, &[$((stringify!($name), $value.as_ref() as &str)),*])
    };
}
pub(crate) use say;

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

/// A number with a true minus sign, and one decimal below ten: `92`, `9.3`, `−1,204`.
pub(crate) fn number(value: f64) -> String {
    let abs = value.abs();
    let text = if abs < 9.95 { format!("{abs:.1}") } else { count(abs.round() as u64) };
    if value < 0.0 && text != "0.0" { format!("−{text}") } else { text }
}

/// A number without needless decimals: `2`, `1.5`.
fn number_short(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { format!("{value:.1}") }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EN: Language = Language::English;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1912, 1_234_567].map(count), ["0", "999", "1,912", "1,234,567"]);
        assert_eq!([92.4, 9.34, 9.96, -1204.2, -0.01].map(number), ["92", "9.3", "10", "−1,204", "0.0"]);
        assert_eq!([0.354, -0.041, -0.001].map(|share| EN.percent(share)), ["35 %", "−4 %", "0 %"]);
        assert_eq!([1.0, 0.997, 0.002, 0.0].map(|share| EN.percent_landed(share)), ["100 %", "99 %", "<1 %", "0 %"]);
        assert_eq!([-300.0, 0.0, 90.0].map(|s| signed(s, 60.0)), ["−5", "0", "+1.5"]);
        assert_eq!(counted(1, EN.words().rides), "1 ride");
        assert_eq!(counted(1912, Language::Japanese.words().rides), "1,912 乗車");
        assert_eq!([300, 5_400, 172_800].map(|age| EN.age(age)), ["5 min", "1.5 h", "2 d"]);
    }

    #[test]
    fn spans_include_their_last_hour() {
        let hour = |text: &str| text.parse::<Hour>().unwrap();
        assert_eq!(EN.span(hour("2026-11-20T07"), hour("2026-11-20T07")), "20 Nov 2026, 07:00 – 08:00 UTC");
        let days = |language: Language| language.span(hour("2026-11-20T07"), hour("2026-11-23T23"));
        assert_eq!(days(EN), "20 Nov 2026, 07:00 – 23 Nov 2026, 24:00 UTC");
        assert_eq!(days(Language::Japanese), "2026年11月20日 07:00 ～ 2026年11月23日 24:00 UTC");
    }

    #[test]
    fn every_language_fills_in_the_same() {
        let names = |template: &str| -> BTreeSet<String> {
            let parts = template.split('{').skip(1).filter_map(|part| part.split('}').next());
            parts.map(str::to_owned).collect()
        };
        for ((name, en), (_, ja)) in EN.words().all().into_iter().zip(Language::Japanese.words().all()) {
            assert_eq!(names(en), names(ja), "{name}");
            assert!(!ja.is_empty() && !en.is_empty(), "{name}");
        }
        assert_eq!(fill("{a} of {b} {c}", &[("a", "{b}"), ("b", "2")]), "{b} of 2 ");
        assert_eq!("ja".parse(), Ok(Language::Japanese));
        assert!("fr".parse::<Language>().is_err());
    }
}
