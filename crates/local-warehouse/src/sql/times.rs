//! Functions of dates and times.

use sqlparser::ast::Expr;

use super::{
    Translator,
    operators::{civil, days_of, no_signature},
    typed::{Scope, Typed, text_literal},
    unsupported,
};
use crate::{
    calendar::Part,
    error::{Result, WarehouseError},
    types::Kind,
};

impl Translator<'_> {
    pub(super) fn time_function(
        &mut self,
        name: &str,
        arguments: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>> {
        let now = self.setting.now_us;
        let (prefix, suffix) = name.split_once('_').unwrap_or((name, ""));
        let kind = Kind::parse(prefix)
            .filter(|kind| matches!(kind, Kind::Date | Kind::DateTime | Kind::Time | Kind::Timestamp));
        if let (Some(kind), false) = (&kind, arguments.is_empty()) {
            match suffix {
                "" => return self.constructor(kind, arguments, scope).map(Some),
                "ADD" | "SUB" => {
                    return self.add_to(kind, if suffix == "ADD" { 1 } else { -1 }, arguments, scope).map(Some);
                }
                "DIFF" | "TRUNC" => return self.diff_or_trunc(kind, suffix, arguments, scope).map(Some),
                _ => {}
            }
        }
        let of = |translator: &mut Self, index: usize, kind: &Kind| -> Result<String> {
            let argument =
                arguments.get(index).ok_or_else(|| unsupported(format_args!("{name} without its argument")))?;
            Ok(translator.of_kind(argument, kind, scope)?.sql)
        };
        let zone = |translator: &mut Self, index: usize| -> Result<String> {
            arguments
                .get(index)
                .map_or(Ok("'UTC'".to_owned()), |zone| Ok(translator.of_kind(zone, &Kind::String, scope)?.sql))
        };
        Ok(Some(match name {
            "CURRENT_TIMESTAMP" => Typed::new(now.to_string(), Kind::Timestamp),
            "CURRENT_DATETIME" => Typed::new(format!("bq_civil({now}, {})", zone(self, 0)?), Kind::DateTime),
            "CURRENT_DATE" => Typed::new(days_of(&format!("bq_civil({now}, {})", zone(self, 0)?)), Kind::Date),
            "CURRENT_TIME" => {
                Typed::new(format!("bq_cast(bq_civil({now}, {}), 'DATETIME', 'TIME', 0)", zone(self, 0)?), Kind::Time)
            }
            "UNIX_SECONDS" => {
                Typed::new(format!("bq_timestamp_diff({}, 0, 'SECOND')", of(self, 0, &Kind::Timestamp)?), Kind::Int64)
            }
            "UNIX_MILLIS" => Typed::new(
                format!("bq_timestamp_diff({}, 0, 'MILLISECOND')", of(self, 0, &Kind::Timestamp)?),
                Kind::Int64,
            ),
            "UNIX_MICROS" => Typed::new(of(self, 0, &Kind::Timestamp)?, Kind::Int64),
            "UNIX_DATE" => Typed::new(of(self, 0, &Kind::Date)?, Kind::Int64),
            "DATE_FROM_UNIX_DATE" => Typed::new(of(self, 0, &Kind::Int64)?, Kind::Date),
            "TIMESTAMP_SECONDS" => Typed::new(format!("({} * 1000000)", of(self, 0, &Kind::Int64)?), Kind::Timestamp),
            "TIMESTAMP_MILLIS" => Typed::new(format!("({} * 1000)", of(self, 0, &Kind::Int64)?), Kind::Timestamp),
            "TIMESTAMP_MICROS" => Typed::new(of(self, 0, &Kind::Int64)?, Kind::Timestamp),
            "LAST_DAY" if arguments.len() == 1 => {
                let value = self.expression(arguments[0], scope)?;
                let civil = civil(&value, "'UTC'")?;
                let next = format!("bq_add(bq_truncate({civil}, 'MONTH'), 1, 'MONTH')");
                Typed::new(format!("({} - 1)", days_of(&next)), Kind::Date)
            }
            "FORMAT_TIMESTAMP" | "FORMAT_DATE" | "FORMAT_DATETIME" | "FORMAT_TIME" => {
                let kind = Kind::parse(&name[7..]).unwrap_or(Kind::Timestamp);
                let (format, value) = (of(self, 0, &Kind::String)?, of(self, 1, &kind)?);
                let zone = zone(self, 2)?;
                let civil = civil(&Typed::new(value, kind), &zone)?;
                Typed::new(format!("bq_format_time({format}, {civil}, {zone})"), Kind::String)
            }
            "PARSE_TIMESTAMP" | "PARSE_DATE" | "PARSE_DATETIME" | "PARSE_TIME" => {
                let kind = Kind::parse(&name[6..]).unwrap_or(Kind::Timestamp);
                let (format, value) = (of(self, 0, &Kind::String)?, of(self, 1, &Kind::String)?);
                let parsed = format!("bq_parse_time({format}, {value}, {})", zone(self, 2)?);
                Typed::new(if kind == Kind::Date { days_of(&parsed) } else { parsed }, kind)
            }
            _ => return Ok(None),
        }))
    }

    /// `TIMESTAMP(…)`, `DATE(…)`, `DATETIME(…)`, `TIME(…)`.
    fn constructor(&mut self, kind: &Kind, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let all = arguments.iter().map(|value| self.expression(value, scope)).collect::<Result<Vec<_>>>()?;
        let wrong = || no_signature(&format!("function {}", kind.name()), &all.iter().collect::<Vec<_>>());
        let [first, rest @ ..] = all.as_slice() else { return Err(wrong()) };
        let zone = rest.first().map_or("'UTC'", |zone| zone.sql.as_str());
        let whole = all.iter().all(|part| part.ty.kind == Kind::Int64);
        let parts: Vec<_> = all.iter().map(|part| part.sql.as_str()).collect();
        let sql = match (kind, &first.ty.kind) {
            (Kind::Date, Kind::Int64) if whole && all.len() == 3 => format!("bq_make_date({})", parts.join(", ")),
            (Kind::Time, Kind::Int64) if whole && all.len() == 3 => format!("bq_make_time({})", parts.join(", ")),
            (Kind::DateTime, Kind::Int64) if whole && all.len() == 6 => {
                format!(
                    "(bq_make_date({}) * 86400000000 + bq_make_time({}))",
                    parts[..3].join(", "),
                    parts[3..].join(", ")
                )
            }
            (Kind::DateTime, Kind::Date) if rest.first().is_some_and(|time| time.ty.kind == Kind::Time) => {
                format!("({} * 86400000000 + {})", first.sql, rest[0].sql)
            }
            (Kind::Timestamp, Kind::String) => format!("bq_timestamp({}, {zone})", first.sql),
            (Kind::Timestamp, Kind::Date | Kind::DateTime) => format!("bq_instant({}, {zone})", civil(first, "'UTC'")?),
            (Kind::DateTime, Kind::Timestamp | Kind::Date | Kind::DateTime) => civil(first, zone)?,
            (Kind::Date, Kind::Date) | (Kind::Time, Kind::Time) | (Kind::Timestamp, Kind::Timestamp) => {
                first.sql.clone()
            }
            (Kind::Date, Kind::Timestamp | Kind::DateTime) => days_of(&civil(first, zone)?),
            (Kind::Time, Kind::Timestamp | Kind::DateTime) => {
                format!("bq_cast({}, 'DATETIME', 'TIME', 0)", civil(first, zone)?)
            }
            (_, Kind::String) => format!("bq_cast({}, 'STRING', '{}', 0)", first.sql, kind.name()),
            _ => return Err(wrong()),
        };
        Ok(Typed::new(sql, kind.clone()))
    }

    fn add_to(&mut self, kind: &Kind, sign: i64, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let [value, Expr::Interval(interval)] = arguments else {
            return Err(WarehouseError::InvalidQuery(format!(
                "{}_ADD and _SUB take a value and an INTERVAL",
                kind.name()
            )));
        };
        let value = self.of_kind(value, kind, scope)?;
        self.add_interval(value, interval, sign, scope)
    }

    fn diff_or_trunc(&mut self, kind: &Kind, what: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let part_of = |argument: &Expr| {
            let part = argument.to_string().to_uppercase();
            let known = Part::parse(&part).is_some();
            if known {
                Ok(text_literal(&part))
            } else {
                Err(WarehouseError::InvalidQuery(format!("A valid date part name is required but found {part}")))
            }
        };
        match (what, arguments) {
            ("DIFF", [until, from, part]) => {
                let (until, from) = (self.of_kind(until, kind, scope)?, self.of_kind(from, kind, scope)?);
                let function = if *kind == Kind::Timestamp { "bq_timestamp_diff" } else { "bq_boundaries" };
                let (until, from) = (civil(&until, "'UTC'")?, civil(&from, "'UTC'")?);
                Ok(Typed::new(format!("{function}({until}, {from}, {})", part_of(part)?), Kind::Int64))
            }
            ("TRUNC", [value, part, rest @ ..]) if rest.len() < 2 => {
                // DATE_TRUNC and the others take each other's types.
                let value = self.expression(value, scope)?;
                let value = if value.ty.kind == Kind::String {
                    value.coerced(kind).ok_or_else(|| unsupported("this date"))?
                } else {
                    value
                };
                let zone = match rest.first() {
                    Some(zone) => self.of_kind(zone, &Kind::String, scope)?.sql,
                    None => "'UTC'".to_owned(),
                };
                let sql = format!("bq_truncate({}, {})", civil(&value, &zone)?, part_of(part)?);
                let sql = match value.ty.kind {
                    Kind::Date => days_of(&sql),
                    Kind::Timestamp if zone != "'UTC'" => format!("bq_instant({sql}, {zone})"),
                    _ => sql,
                };
                Ok(Typed::of(sql, value.ty))
            }
            _ => Err(WarehouseError::InvalidQuery(format!("{}_{what} has not such arguments", kind.name()))),
        }
    }
}

pub(super) fn add_part(value: Typed, number: &str, part: &str) -> Result<Typed> {
    let valid =
        Part::parse(part).filter(|part| part.us().is_none_or(|_| value.ty.kind != Kind::Date || *part == Part::Day));
    if valid.is_none() {
        return Err(WarehouseError::InvalidQuery(format!("{} has no INTERVAL of {part}", value.type_name())));
    }
    let sum = format!("bq_add({}, {number}, {})", civil(&value, "'UTC'")?, text_literal(part));
    let sql = match value.ty.kind {
        Kind::Date => days_of(&sum),
        Kind::Time => format!("bq_cast({sum}, 'DATETIME', 'TIME', 0)"),
        _ => sum,
    };
    Ok(Typed::of(sql, value.ty))
}
