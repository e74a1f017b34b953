//! Lookup tables.

use super::{Function, FunctionKind};

pub(super) const FUNCTIONS: &[Function] = &[Function {
    name: "LOOKUP",
    signature: "LOOKUP(table, key, ..., column, default)",
    gives: "int or float",
    description: "The column's value in the row of [lookups.NAME] that has the keys, in the declared order; the default where \
                  there is no such row, a key is NULL or the value is. Table and column are constants. The default is any \
                  expression of the value's type: NULL, a number, or a LOOKUP in a coarser table.",
    example: "LOOKUP('zone_pair', pickup_zone, dropoff_zone, 'median_s', 600)",
    kind: FunctionKind::Lookup,
}];
