use std::{collections::BTreeMap, path::Path};

use jiff::civil::Date;

use super::source::{self, Format, Table, find_column, need_column};
use crate::{RidesError, Weather};

const MM_PER_INCH: f64 = 25.4;

/// The weather of days, by local date.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DailyWeather {
    days: BTreeMap<Date, Weather>,
}

impl DailyWeather {
    /// Reads one station's daily summaries as NOAA delivers them in *standard units*: CSV (gzip-compressed or not) with
    /// `DATE` (local, `2018-01-31`), `PRCP` (inches of rain and melted snow), `SNOW` (inches of fresh snow), `TMAX` and
    /// `TMIN` (°F). Becomes mm and °C; the temperature is the mean of the two extremes. Empty fields are not known;
    /// other columns are ignored. Every row must be right.
    pub fn read(path: &Path) -> Result<Self, RidesError> {
        let source = source::open(path)?;
        if source.format == Format::Parquet {
            let (found, expected) = ("Parquet", "CSV");
            return Err(RidesError::UnsupportedFormat { file: path.to_owned(), found, expected });
        }
        let mut table = Table::new(path, source.text().0, true)?;
        let date = need_column(path, table.header(), "day", &["DATE"])?;
        let column = |name| find_column(table.header(), &[name]);
        let (prcp, snow, tmax, tmin) = (column("PRCP"), column("SNOW"), column("TMAX"), column("TMIN"));
        let mut days = BTreeMap::new();
        while let Some((line, _, record)) = table.next(path)? {
            let text =
                |column: usize| String::from_utf8_lossy(record.get(column).unwrap_or_default()).trim().to_owned();
            let bad = |field, value, expected: &str| RidesError::BadRow {
                file: path.to_owned(),
                line,
                field,
                value,
                expected: expected.to_owned(),
            };
            let number = |field, column: Option<usize>, range: std::ops::RangeInclusive<f64>| {
                let value = column.map(text).unwrap_or_default();
                if value.is_empty() {
                    return Ok(None);
                }
                let parsed = value.parse::<f64>().ok().filter(|number| range.contains(number));
                let expected = || format!("a number between {} and {}, or nothing", range.start(), range.end());
                parsed.map(Some).ok_or_else(|| bad(field, value, &expected()))
            };
            let day: Date = text(date).parse().map_err(|_| bad("DATE", text(date), "a day like 2018-01-31"))?;
            // Outside these inches and °F the file is in other units.
            let rain_in = number("PRCP", prcp, 0.0..=40.0)?;
            let snow_in = number("SNOW", snow, 0.0..=100.0)?;
            let max_f = number("TMAX", tmax, -90.0..=140.0)?;
            let min_f = number("TMIN", tmin, -90.0..=140.0)?;
            let mean_f = max_f.zip(min_f).map(|(max, min)| f64::midpoint(max, min));
            let weather = Weather {
                rain_mm: rain_in.map(|inches| inches * MM_PER_INCH),
                snow_mm: snow_in.map(|inches| inches * MM_PER_INCH),
                temperature_c: mean_f.map(|fahrenheit| (fahrenheit - 32.0) / 1.8),
            };
            if days.insert(day, weather).is_some() {
                return Err(bad("DATE", text(date), "each day once: keep the rows of one STATION"));
            }
        }
        Ok(Self { days })
    }

    /// The weather of a local day; nothing is known of days that the file does not have.
    pub fn on(&self, day: Date) -> Weather {
        self.days.get(&day).copied().unwrap_or_default()
    }

    /// The number of days.
    pub fn len(&self) -> usize {
        self.days.len()
    }

    /// Whether no day is known.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }
}
