//! What operators refer to by number: time zones, zones, calendars, boundaries, patterns, lookup tables.

use std::sync::Arc;

use crate::{
    holidays::Calendar,
    kernels::Zone,
    lookup::LookupTable,
    op::{TableIndex, ZoneIndex},
    pattern::Pattern,
    zones::ZoneSet,
};

/// The tables of a plan. What is large is shared, so that a plan's programs can have one each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) time_zones: Vec<Zone>,
    pub(crate) zone_sets: Vec<Arc<ZoneSet>>,
    pub(crate) calendars: Vec<Arc<Calendar>>,
    /// Ascending.
    pub(crate) boundaries: Vec<Vec<f64>>,
    pub(crate) ordinals: Vec<Ordinals>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) lookups: Vec<Arc<LookupTable>>,
}

/// What ORDINAL numbers, with the numbers, sorted by what they number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ordinals {
    Ints(Vec<(i64, i64)>),
    Texts(Vec<(String, i64)>),
}

impl Tables {
    /// The time zone's index, or `None` where there is no such zone.
    pub(crate) fn time_zone(&mut self, name: &str) -> Option<ZoneIndex> {
        let known = self.time_zones.iter().position(|zone| zone.name() == name);
        let index = match known {
            Some(index) => index,
            None => {
                self.time_zones.push(Zone::new(name)?);
                self.time_zones.len() - 1
            }
        };
        ZoneIndex::try_from(index).ok()
    }
}

/// The index of `item`, which is added where it is not there yet: equal operators are then the same operator.
/// `None` beyond 65,536 of them.
pub(crate) fn intern<T: PartialEq>(items: &mut Vec<T>, item: T) -> Option<TableIndex> {
    let index = items.iter().position(|known| *known == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    });
    TableIndex::try_from(index).ok()
}
