//! Calls whose arguments are partly constants: classes, cells, zones, holidays, lookup tables.

use std::sync::Arc;

use sqlparser::{ast::Expr, tokenizer::Span};

use super::{Binder, Bound, Context, Result, Rows, syntax::place};
use crate::{
    FeatureError, Type, Value,
    catalogue::{CellSystem, FunctionKind},
    error::did_you_mean,
    graph::NodeId,
    holidays::{BUILT_IN, Calendar},
    lookup::LookupTable,
    op::{Cell, Op, TableIndex, ZoneIndex},
    pattern::Pattern,
    tables::{Ordinals, intern},
    zones::{ZoneIds, ZoneSet},
};

/// An argument and its place.
pub(super) type Argument = (Bound, Span);

impl Binder<'_> {
    pub(super) fn library(
        &mut self,
        kind: FunctionKind,
        arguments: &[Argument],
        span: Span,
        context: &Context<'_>,
    ) -> Result<Bound> {
        Ok(Bound::Node(match (kind, arguments) {
            (FunctionKind::Bucket, [x, boundaries @ ..]) => self.bucket(*x, boundaries, context)?,
            (FunctionKind::Clip, [x, low, high]) => return self.clip(*x, *low, *high, context),
            (FunctionKind::Standardize, [x, mean, sd]) => self.standardize(*x, *mean, *sd, context)?,
            (FunctionKind::Cycle { cosine }, [x, period]) => self.cycle(cosine, *x, *period, context)?,
            (FunctionKind::Project { east }, [lat, lon, lat0, lon0]) => {
                self.project(east, [*lat, *lon, *lat0, *lon0], context)?
            }
            (FunctionKind::HashBucket, [x, buckets]) => {
                let operand = match x.0 {
                    Bound::Node(node) if self.graph.type_of(node) == Type::Int => node,
                    Bound::Node(node) if self.graph.type_of(node) != Type::String => {
                        let message =
                            format!("an int or a string is needed here, this is {}", self.graph.type_of(node).named());
                        return Err(self.error_expecting(context, x.1, "type_mismatch", message, None));
                    }
                    bound => self.coerce(bound, Type::String, x.1, context)?,
                };
                let buckets = self.whole(*buckets, 1..=i64::from(i32::MAX), "n", context)?;
                self.graph.operator(Op::HashBucket(buckets as u32), vec![operand])
            }
            (FunctionKind::Ordinal, [x, values @ ..]) => self.ordinal(*x, values, context)?,
            (FunctionKind::Substring, arguments) => self.substring(arguments, span, context)?,
            (FunctionKind::End { right }, [x, count]) => self.text_end(right, *x, *count, context)?,
            (FunctionKind::Replace, [x, from, to]) => {
                let operands = [x, from, to].map(|(bound, span)| self.coerce(*bound, Type::String, *span, context));
                self.graph.operator(Op::Replace, operands.into_iter().collect::<Result<_>>()?)
            }
            (FunctionKind::MinuteOfWeek, [x, zone]) => {
                let (timestamp, zone) = self.local(*x, *zone, context)?;
                self.minute_of_week(timestamp, zone)
            }
            (FunctionKind::SecondsOfDay, [x, zone]) => {
                let (timestamp, zone) = self.local(*x, *zone, context)?;
                self.seconds_of_day(timestamp, zone)
            }
            (FunctionKind::IsHoliday, [x, zone, calendar]) => {
                let (timestamp, zone) = self.local(*x, *zone, context)?;
                let calendar = self.calendar(*calendar, context)?;
                self.graph.operator(Op::Holiday(zone, calendar), vec![timestamp])
            }
            (FunctionKind::Cell(system), [lat, lon, level]) => {
                let point = self.point(*lat, *lon, context)?;
                let (range, what) = match system {
                    CellSystem::Mesh => (1..=6, "the level"),
                    CellSystem::H3 => (0..=15, "the resolution"),
                    CellSystem::GeohashText | CellSystem::GeohashInt => (1..=12, "the precision"),
                };
                let level = self.whole(*level, range, what, context)? as u8;
                let op = match system {
                    CellSystem::Mesh => Op::Cell(Cell::Mesh(level)),
                    CellSystem::H3 => Op::Cell(Cell::H3(level)),
                    CellSystem::GeohashInt => Op::Cell(Cell::Geohash(level)),
                    CellSystem::GeohashText => Op::GeohashText(level),
                };
                self.graph.operator(op, point)
            }
            (FunctionKind::ZoneOf, [lat, lon, zones]) => {
                let point = self.point(*lat, *lon, context)?;
                let zones = self.zones(*zones, context)?;
                let of = match self.zone_set(zones).ids {
                    ZoneIds::Ints(_) => Type::Int,
                    ZoneIds::Texts(_) => Type::String,
                };
                self.graph.operator(Op::ZoneOf(zones, of), point)
            }
            (FunctionKind::InZone, [lat, lon, zones, id]) => {
                let point = self.point(*lat, *lon, context)?;
                let zones = self.zones(*zones, context)?;
                let id = self.zone_id(zones, *id, context)?;
                self.graph.operator(Op::InZone(zones, id), point)
            }
            (FunctionKind::Lookup, arguments) => self.lookup(arguments, span, context)?,
            // `arguments()` of the kind gives every function its number of arguments.
            _ => return Err(self.unsupported("this form of a function call", span, context)),
        }))
    }

    pub(super) fn bad_argument(&self, span: Span, message: impl AsRef<str>, context: &Context<'_>) -> FeatureError {
        self.error_expecting(context, span, "argument_invalid", message, None)
    }

    /// The value of an argument that must be a constant.
    fn constant(&self, (bound, span): Argument, what: &str, context: &Context<'_>) -> Result<Value> {
        let value = match bound {
            Bound::Node(node) => self.graph.constant_of(node),
            Bound::Null => None,
        };
        match value {
            Some(value) if !matches!(value, Value::Null(_)) => Ok(value.clone()),
            _ => Err(self.bad_argument(span, format!("{what} must be a constant"), context)),
        }
    }

    fn text(&self, argument: Argument, what: &str, context: &Context<'_>) -> Result<String> {
        match self.constant(argument, what, context)? {
            Value::String(text) => Ok(text),
            other => {
                let message = format!("{what} must be a text in single quotes, this is {}", other.type_of().named());
                Err(self.bad_argument(argument.1, message, context))
            }
        }
    }

    pub(super) fn number(&self, argument: Argument, context: &Context<'_>) -> Result<f64> {
        match self.constant(argument, "this argument", context)? {
            Value::Float(number) => Ok(number),
            Value::Int(number) => Ok(number as f64),
            other => {
                let message = format!("a constant number is needed here, this is {}", other.type_of().named());
                Err(self.bad_argument(argument.1, message, context))
            }
        }
    }

    fn whole(
        &self,
        argument: Argument,
        range: std::ops::RangeInclusive<i64>,
        what: &str,
        context: &Context<'_>,
    ) -> Result<i64> {
        match self.constant(argument, what, context)? {
            Value::Int(number) if range.contains(&number) => Ok(number),
            _ => {
                let message = format!("{what} must be a whole number, {} to {}", range.start(), range.end());
                Err(self.bad_argument(argument.1, message, context))
            }
        }
    }

    fn table(&self, index: Option<TableIndex>, span: Span, context: &Context<'_>) -> Result<TableIndex> {
        index.ok_or_else(|| self.bad_argument(span, "more than 65,536 different tables", context))
    }

    fn point(&mut self, lat: Argument, lon: Argument, context: &Context<'_>) -> Result<Vec<NodeId>> {
        Ok(vec![self.float(lat.0, lat.1, context)?, self.float(lon.0, lon.1, context)?])
    }

    fn bucket(&mut self, x: Argument, boundaries: &[Argument], context: &Context<'_>) -> Result<NodeId> {
        let mut numbers: Vec<f64> = Vec::with_capacity(boundaries.len());
        for &boundary in boundaries {
            let number = self.number(boundary, context)?;
            if numbers.last().is_some_and(|last| *last >= number) {
                return Err(self.bad_argument(boundary.1, "the boundaries must ascend", context));
            }
            numbers.push(number);
        }
        let table = intern(&mut self.graph.tables.boundaries, numbers);
        let table = self.table(table, x.1, context)?;
        let x = self.float(x.0, x.1, context)?;
        Ok(self.graph.operator(Op::Bucket(table), vec![x]))
    }

    fn ordinal(&mut self, x: Argument, values: &[Argument], context: &Context<'_>) -> Result<NodeId> {
        let (mut ints, mut texts) = (Vec::new(), Vec::new());
        for (&argument, number) in values.iter().zip(0..) {
            match self.constant(argument, "a value of ORDINAL", context)? {
                Value::Int(value) if texts.is_empty() => ints.push((value, number)),
                Value::String(value) if ints.is_empty() => texts.push((value, number)),
                _ => {
                    let message = "the values must all be texts or all be whole numbers";
                    return Err(self.bad_argument(argument.1, message, context));
                }
            }
        }
        ints.sort_unstable();
        texts.sort_unstable();
        if ints.windows(2).any(|pair| pair[0].0 == pair[1].0) || texts.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(self.bad_argument(x.1, "a value is there twice", context));
        }
        let (ordinals, of) =
            if texts.is_empty() { (Ordinals::Ints(ints), Type::Int) } else { (Ordinals::Texts(texts), Type::String) };
        let operand = self.coerce(x.0, of, x.1, context)?;
        let table = intern(&mut self.graph.tables.ordinals, ordinals);
        let table = self.table(table, x.1, context)?;
        Ok(self.graph.operator(Op::Ordinal(table), vec![operand]))
    }

    /// `SUBSTR(text, start[, length])`.
    pub(super) fn substring(&mut self, arguments: &[Argument], span: Span, context: &Context<'_>) -> Result<NodeId> {
        let [text, start, length @ ..] = arguments else {
            return Err(self.unsupported("SUBSTR without a start", span, context));
        };
        let text = self.coerce(text.0, Type::String, text.1, context)?;
        let start = self.coerce(start.0, Type::Int, start.1, context)?;
        let length = match length {
            [] => self.graph.constant(Value::Int(i64::MAX)),
            [length, ..] => self.coerce(length.0, Type::Int, length.1, context)?,
        };
        Ok(self.graph.operator(Op::Substring, vec![text, start, length]))
    }

    fn text_end(&mut self, right: bool, x: Argument, count: Argument, context: &Context<'_>) -> Result<NodeId> {
        let text = self.coerce(x.0, Type::String, x.1, context)?;
        let count = self.coerce(count.0, Type::Int, count.1, context)?;
        let start = if right {
            // The last 0 characters begin after the last; any start does, since none are taken.
            self.graph.operator(Op::Int1(crate::op::Int1::Negate), vec![count])
        } else {
            self.graph.constant(Value::Int(1))
        };
        Ok(self.graph.operator(Op::Substring, vec![text, start, count]))
    }

    pub(super) fn like(&mut self, text: &Expr, pattern: &Expr, context: &Context<'_>) -> Result<NodeId> {
        let bound = self.bind(text, context)?;
        let operand = self.coerce(bound, Type::String, place(text), context)?;
        let argument = (self.bind(pattern, context)?, place(pattern));
        let pattern = self.text(argument, "the pattern of LIKE", context)?;
        let Some(pattern) = Pattern::new(&pattern) else {
            return Err(self.bad_argument(argument.1, "the pattern ends in a backslash", context));
        };
        let table = intern(&mut self.graph.tables.patterns, pattern);
        let table = self.table(table, argument.1, context)?;
        Ok(self.graph.operator(Op::Like(table), vec![operand]))
    }

    pub(super) fn time_zone(&mut self, name: &str, span: Span, context: &Context<'_>) -> Result<ZoneIndex> {
        self.graph.zone(name).ok_or_else(|| {
            let expected = "use a name of the IANA time zone database, such as 'Asia/Tokyo'".to_owned();
            let message = format!("unknown time zone '{name}'");
            self.error_expecting(context, span, "unknown_time_zone", message, Some(expected))
        })
    }

    fn local(&mut self, x: Argument, zone: Argument, context: &Context<'_>) -> Result<(NodeId, ZoneIndex)> {
        let timestamp = self.coerce(x.0, Type::Timestamp, x.1, context)?;
        let name = self.text(zone, "the time zone", context)?;
        Ok((timestamp, self.time_zone(&name, zone.1, context)?))
    }

    fn unknown<'n>(
        &self,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str, IntoIter: Clone>,
        span: Span,
        context: &Context<'_>,
    ) -> FeatureError {
        let mut known = known.into_iter().peekable();
        let expected = match known.peek() {
            Some(_) => did_you_mean(name, known, what),
            None => format!("the spec declares no {what}"),
        };
        self.error_expecting(context, span, "unknown_name", format!("unknown {what} '{name}'"), Some(expected))
    }

    fn calendar(&mut self, argument: Argument, context: &Context<'_>) -> Result<TableIndex> {
        let name = self.text(argument, "the calendar", context)?;
        let declared = &self.spec.calendars;
        let calendar = match declared.iter().find(|calendar| calendar.name() == name) {
            Some(calendar) => calendar.clone(),
            None => match Calendar::built_in(&name) {
                Some(calendar) => calendar.into(),
                None => {
                    let known = declared.iter().map(|calendar| calendar.name()).chain(BUILT_IN);
                    return Err(self.unknown("holidays", &name, known, argument.1, context));
                }
            },
        };
        let table = intern(&mut self.graph.tables.calendars, calendar);
        self.table(table, argument.1, context)
    }

    fn zones(&mut self, argument: Argument, context: &Context<'_>) -> Result<TableIndex> {
        let name = self.text(argument, "the zones' name", context)?;
        let declared = &self.spec.zones;
        let Some(zones) = declared.iter().find(|zones| zones.name == name) else {
            let known = declared.iter().map(|zones| zones.name.as_str());
            return Err(self.unknown("zones", &name, known, argument.1, context));
        };
        let zones = zones.clone();
        let table = intern(&mut self.graph.tables.zone_sets, zones);
        self.table(table, argument.1, context)
    }

    fn zone_set(&self, zones: TableIndex) -> &ZoneSet {
        &self.graph.tables.zone_sets[usize::from(zones)]
    }

    fn zone_id(&self, zones: TableIndex, argument: Argument, context: &Context<'_>) -> Result<u32> {
        let value = self.constant(argument, "the zone's id", context)?;
        let set = self.zone_set(zones);
        let found = match (&set.ids, &value) {
            (ZoneIds::Ints(ids), Value::Int(id)) => ids.iter().position(|known| known == id),
            (ZoneIds::Texts(ids), Value::String(id)) => ids.iter().position(|known| known == id),
            (ZoneIds::Ints(_), _) => {
                return Err(self.bad_argument(argument.1, "the ids of these zones are whole numbers", context));
            }
            (ZoneIds::Texts(_), _) => {
                return Err(self.bad_argument(argument.1, "the ids of these zones are texts", context));
            }
        };
        found.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| match (&set.ids, value) {
            (ZoneIds::Texts(ids), Value::String(id)) => {
                self.unknown("zone", &id, ids.iter().map(String::as_str), argument.1, context)
            }
            (ids, _) => {
                let message = format!("none of the {} zones of '{}' has this id", ids.len(), set.name);
                self.error_expecting(context, argument.1, "unknown_name", message, None)
            }
        })
    }

    fn lookup(&mut self, arguments: &[Argument], span: Span, context: &Context<'_>) -> Result<NodeId> {
        let [name, keys @ .., column, default] = arguments else {
            return Err(self.unsupported("this form of LOOKUP", span, context));
        };
        let table_name = self.text(*name, "the table's name", context)?;
        let declared = &self.spec.lookups;
        let Some((_, declaration)) = declared.iter().find(|(_, declaration)| declaration.name == table_name) else {
            let known = declared.iter().map(|(_, declaration)| declaration.name.as_str());
            return Err(self.unknown("lookup tables", &table_name, known, name.1, context));
        };
        if keys.len() != declaration.keys.len() {
            let names: Vec<&str> = declaration.keys.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("'{table_name}' has {} key(s), not {}", names.len(), keys.len());
            let expected = format!("write LOOKUP('{table_name}', {}, column, default)", names.join(", "));
            return Err(self.error_expecting(context, span, "argument_count", message, Some(expected)));
        }
        let column_name = self.text(*column, "the column's name", context)?;
        let Some((_, of)) = declaration.values.iter().find(|(name, _)| *name == column_name) else {
            let known = declaration.values.iter().map(|(name, _)| name.as_str());
            return Err(self.unknown("columns", &column_name, known, column.1, context));
        };
        let mut operands = Vec::with_capacity(keys.len());
        for (&(bound, span), (_, of)) in keys.iter().zip(&declaration.keys) {
            operands.push(self.coerce(bound, (*of).into(), span, context)?);
        }
        // The plan has checked that every declared table is there and is as declared.
        let table = self
            .resources
            .lookup(&table_name)
            .cloned()
            .ok_or_else(|| self.bad_argument(name.1, format!("there is no table '{table_name}'"), context))?;
        let of = Type::from(*of);
        let default = self.coerce(default.0, of, default.1, context)?;
        let mut value = self.lookup_value(Arc::clone(&table), operands.clone(), &column_name, of, (span, context))?;
        if let (Rows::Training, Some(folds)) = (self.rows, table.folds()) {
            let fold = self.fold(&table_name, folds.expression(), context)?;
            operands.insert(0, fold);
            let others = self.lookup_value(Arc::clone(folds.table()), operands, &column_name, of, (span, context))?;
            // A row that the table was not built of sees what a request would.
            let is_outside = self.graph.operator(Op::IsNull, vec![fold]);
            value = self.graph.operator(Op::Select(of), vec![is_outside, value, others]);
        }
        Ok(self.graph.operator(Op::Coalesce(of), vec![value, default]))
    }

    /// The column's value in the row that has the keys.
    fn lookup_value(
        &mut self,
        table: Arc<LookupTable>,
        keys: Vec<NodeId>,
        column: &str,
        of: Type,
        (span, context): (Span, &Context<'_>),
    ) -> Result<NodeId> {
        let place = table.values().iter().position(|(name, _)| name == column);
        let place = self.table(place.and_then(|place| u16::try_from(place).ok()), span, context)?;
        let table = intern(&mut self.graph.tables.lookups, table);
        let table = self.table(table, span, context)?;
        let row = self.graph.operator(Op::LookupRow(table), keys);
        Ok(self.graph.operator(Op::LookupValue(table, place, of), vec![row]))
    }

    /// The fold of a training row, as the table tells it.
    fn fold(&mut self, table: &str, expression: &str, context: &Context<'_>) -> Result<NodeId> {
        let what = format!("the folds of lookup table `{table}`");
        let context = Context { span: context.span.clone(), what: &what, training: true };
        let parsed = self.parse(expression, &context)?;
        let bound = self.bind(&parsed, &context)?;
        self.coerce(bound, Type::Int, place(&parsed), &context)
    }
}
