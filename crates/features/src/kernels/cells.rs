//! Cells of points: mesh codes, H3, geohash, zones. Points are degrees of latitude and longitude.

use super::{strict, with_nulls};
use crate::{
    column::{Column, Values, View},
    op::Cell,
    zones::{ZoneIds, ZoneSet},
};

pub(super) fn cell(cell: Cell, lat: &View<'_>, lon: &View<'_>, result: &mut Column) {
    strict(&[lat, lon], result);
    let of: &dyn Fn(f64, f64) -> Option<i64> = match cell {
        Cell::Mesh(level) => &move |lat, lon| mesh_code(lat, lon, level),
        Cell::H3(resolution) => &move |lat, lon| h3_cell(lat, lon, resolution),
        Cell::Geohash(precision) => &move |lat, lon| Some((geohash_bits(lat, lon)? >> (60 - 5 * precision)) as i64),
    };
    let (lat, lon) = (lat.floats(), lon.floats());
    let (values, mut nulls) = with_nulls(result, lat.len());
    let Values::Int(values) = values else { return };
    values.extend(lat.iter().zip(lon).enumerate().map(|(row, (&lat, &lon))| {
        of(lat, lon).unwrap_or_else(|| {
            nulls.set(row);
            0
        })
    }));
}

pub(super) fn geohash_text(precision: u8, lat: &View<'_>, lon: &View<'_>, result: &mut Column) {
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    strict(&[lat, lon], result);
    let (lat, lon) = (lat.floats(), lon.floats());
    let (values, mut nulls) = with_nulls(result, lat.len());
    let Values::Text(values) = values else { return };
    for (row, (&lat, &lon)) in lat.iter().zip(lon).enumerate() {
        match geohash_bits(lat, lon) {
            None => nulls.set(row),
            Some(bits) => {
                for place in 0..precision {
                    values.push_char(char::from(DIGITS[(bits >> (55 - 5 * place) & 31) as usize]));
                }
            }
        }
        values.end_text();
    }
}

pub(super) fn zone_of(zones: &ZoneSet, lat: &View<'_>, lon: &View<'_>, result: &mut Column) {
    strict(&[lat, lon], result);
    let (lat, lon) = (lat.floats(), lon.floats());
    let found = lat.iter().zip(lon).map(|(&lat, &lon)| zones.find(lat, lon));
    let (values, mut nulls) = with_nulls(result, lat.len());
    for (row, id) in found.enumerate() {
        if id.is_none() {
            nulls.set(row);
        }
        match (&mut *values, &zones.ids) {
            (Values::Int(values), ZoneIds::Ints(ids)) => values.push(id.map_or(0, |id| ids[id])),
            (Values::Text(values), ZoneIds::Texts(ids)) => values.push(id.map_or("", |id| &ids[id])),
            _ => {}
        }
    }
}

pub(super) fn in_zone(zones: &ZoneSet, id: usize, lat: &View<'_>, lon: &View<'_>, result: &mut Column) {
    strict(&[lat, lon], result);
    let Values::Bool(values) = &mut result.values else { return };
    values.extend(lat.floats().iter().zip(lon.floats()).map(|(&lat, &lon)| zones.has(id, lat, lon)));
}

/// Grid square code of JIS X 0410. Rows and columns are counted in the finest squares (125 m: 3.75″ by 5.625″) and cut into
/// levels by whole numbers, so that levels nest whatever the rounding.
fn mesh_code(lat: f64, lon: f64, level: u8) -> Option<i64> {
    const ROWS_PER_DEGREE: f64 = 960.0;
    const COLUMNS_PER_DEGREE: f64 = 640.0;
    const FINEST_PER_FIRST: i64 = 640;
    // Two digits each: from the equator to 66°40′ N, from 100° E to 180°.
    let (row, column) = (whole_steps(lat * ROWS_PER_DEGREE), whole_steps((lon - 100.0) * COLUMNS_PER_DEGREE));
    if !(0.0..64_000.0).contains(&row) || !(0.0..51_200.0).contains(&column) {
        return None;
    }
    let (row, column) = (row as i64, column as i64);
    let first = row / FINEST_PER_FIRST * 100 + column / FINEST_PER_FIRST;
    // A level's squares per square of the level before, and their size in finest squares.
    let digits = |size: i64, count: i64| (row / size % count, column / size % count);
    let tens = |code: i64, size: i64, count: i64| {
        let (row, column) = digits(size, count);
        code * 100 + row * 10 + column
    };
    // From 500 m on one digit: 1 south-west, 2 south-east, 3 north-west, 4 north-east.
    let quarter = |code: i64, size: i64| {
        let (row, column) = digits(size, 2);
        code * 10 + row * 2 + column + 1
    };
    let mut code = first;
    for level in 2..=level {
        code = match level {
            2 => tens(code, 80, 8),
            3 => tens(code, 8, 10),
            4 => quarter(code, 4),
            5 => quarter(code, 2),
            _ => quarter(code, 1),
        };
    }
    Some(code)
}

/// Rounded down; but a side is a side also where it is no binary fraction, as 139.7° is not: within a thousandth of a
/// millimetre of it a point is on it.
fn whole_steps(steps: f64) -> f64 {
    let nearest = steps.round();
    if (steps - nearest).abs() < 1e-8 { nearest } else { steps.floor() }
}

fn is_on_earth(lat: f64, lon: f64) -> bool {
    (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)
}

/// h3o is built without `std`, so its sines and cosines are libm's: the same cell on every machine.
fn h3_cell(lat: f64, lon: f64, resolution: u8) -> Option<i64> {
    if !is_on_earth(lat, lon) {
        return None;
    }
    let point = h3o::LatLng::new(lat, lon).ok()?;
    let resolution = h3o::Resolution::try_from(resolution).ok()?;
    i64::try_from(u64::from(point.to_cell(resolution))).ok()
}

/// The 60 bits of a geohash of 12 characters: longitude and latitude in turn, from the coarsest half on.
fn geohash_bits(lat: f64, lon: f64) -> Option<u64> {
    if !is_on_earth(lat, lon) {
        return None;
    }
    Some(spread(halvings(lon, 360.0)) << 1 | spread(halvings(lat, 180.0)))
}

/// In which of the 2³⁰ equal parts of -span/2..span/2 a value lies: what 30 halvings find.
fn halvings(value: f64, span: f64) -> u64 {
    const PARTS: f64 = 1_073_741_824.0;
    let start = |part: f64| span * (part / PARTS) - span / 2.0;
    let mut part = ((value + span / 2.0) * (PARTS / span)).floor().clamp(0.0, PARTS - 1.0);
    // The estimate is rounded; the parts' starts are exact.
    if value < start(part) {
        part -= 1.0;
    } else if part < PARTS - 1.0 && value >= start(part + 1.0) {
        part += 1.0;
    }
    part as u64
}

/// A zero before each of the lower 32 bits.
fn spread(bits: u64) -> u64 {
    let bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    let bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    let bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Type;

    fn point(lat: f64, lon: f64) -> (Column, Column) {
        let column = |value: f64| {
            let mut column = Column::new(Type::Float);
            column.push(&crate::Value::Float(value));
            column
        };
        (column(lat), column(lon))
    }

    fn geohash(lat: f64, lon: f64, precision: u8) -> String {
        let (lat, lon) = point(lat, lon);
        let mut result = Column::new(Type::String);
        geohash_text(precision, &lat.view(0, 1), &lon.view(0, 1), &mut result);
        result.view(0, 1).text(0).to_owned()
    }

    /// Tokyo station and Tokyo tower.
    #[test]
    fn meshes_are_as_published() {
        let tokyo = |level| mesh_code(35.681_236, 139.767_125, level).unwrap();
        assert_eq!((tokyo(1), tokyo(2), tokyo(3)), (5339, 533_946, 53_394_611));
        assert_eq!(mesh_code(35.658_581, 139.745_433, 3), Some(53_393_599));
        // The corners of mesh 5339: 35°20′ N, 139° E.
        assert_eq!(mesh_code(53.0 / 1.5 + 1e-9, 139.0, 3), Some(53_390_000));
        assert_eq!(mesh_code(54.0 / 1.5 - 1e-9, 139.999_999, 6), Some(53_397_799_444));
        // Sides in decimal degrees: 45°48′ N, 142°48′ E; 38°40′ N; 139°42′ E.
        assert_eq!(mesh_code(45.8, 142.8, 3), Some(68_425_664));
        assert_eq!(mesh_code(58.0 / 1.5, 139.7, 3), Some(58_390_506));
        for (lat, lon) in [(-0.1, 139.0), (66.7, 139.0), (35.0, 99.9), (35.0, 180.0)] {
            assert_eq!(mesh_code(lat, lon, 3), None, "{lat} {lon}");
        }
    }

    /// The example of H3's documentation, and of its README.
    #[test]
    fn h3_cells_are_as_published() {
        assert_eq!(h3_cell(37.361_559_3, -122.055_323_8, 5), Some(0x0852_8347_3fff_ffff));
        assert_eq!(h3_cell(37.775_270_215_195_9, -122.418_307_270_836, 9), Some(0x0892_8308_280f_ffff));
        assert_eq!(h3_cell(91.0, 0.0, 5), None);
    }

    /// Geohashes of Wikipedia's article and of the original site.
    #[test]
    fn geohashes_are_as_published() {
        assert_eq!(geohash(57.649_11, 10.407_44, 11), "u4pruydqqvj");
        assert_eq!(geohash(42.605, -5.603, 5), "ezs42");
        assert_eq!(geohash(-25.382_708, -49.265_506, 12), "6gkzwgjzn820");
        assert_eq!(
            (geohash(90.0, 180.0, 12), geohash(-90.0, -180.0, 3)),
            ("zzzzzzzzzzzz".to_owned(), "000".to_owned())
        );
        assert_eq!(geohash_bits(0.0, 180.1), None);
    }

    /// Thirty halvings, as the definition says.
    fn halvings_slowly(value: f64, span: f64) -> u64 {
        let (mut low, mut high) = (-span / 2.0, span / 2.0);
        (0..30).fold(0, |bits, _| {
            let middle = f64::midpoint(low, high);
            if value >= middle {
                low = middle;
            } else {
                high = middle;
            }
            bits << 1 | u64::from(value >= middle)
        })
    }

    proptest! {
        /// The double nearest to a side is on it.
        #[test]
        fn sides_belong_to_the_square_north_east_of_them(row in 0i64..64_000, column in 0i64..51_200) {
            let (lat, lon) = (row as f64 / 960.0, (column + 64_000) as f64 / 640.0);
            let finest = |lat, lon| mesh_code(lat, lon, 6);
            prop_assert_eq!(finest(lat, lon), finest(lat + 1e-4, lon + 1e-4));
            prop_assert!(row == 0 || finest(lat, lon) != finest(lat - 1e-4, lon));
            prop_assert!(column == 0 || finest(lat, lon) != finest(lat, lon - 1e-4));
        }

        #[test]
        fn mesh_levels_nest(lat in 20.0..46.0f64, lon in 122.0..154.0f64) {
            let code = |level| mesh_code(lat, lon, level).unwrap();
            for (level, factor) in [(2, 100), (3, 100), (4, 10), (5, 10), (6, 10)] {
                prop_assert_eq!(code(level) / factor, code(level - 1));
            }
            // The square has the point: south-western corner of the third level, by the standard's own steps.
            let (third, degrees) = (code(3), |minutes: f64| minutes / 60.0);
            let digit = |place: i64| (third / place % 10) as f64;
            let south = (third / 1_000_000) as f64 / 1.5 + digit(1000) * degrees(5.0) + digit(10) * degrees(0.5);
            let west = 100.0 + (third / 10_000 % 100) as f64 + digit(100) * degrees(7.5) + digit(1) * degrees(0.75);
            prop_assert!((-1e-9..degrees(0.5) + 1e-9).contains(&(lat - south)), "{} {}", lat, south);
            prop_assert!((-1e-9..degrees(0.75) + 1e-9).contains(&(lon - west)), "{} {}", lon, west);
        }

        #[test]
        fn a_shorter_geohash_begins_a_longer_one(lat in -90.0..=90.0f64, lon in -180.0..=180.0f64, steps in 0u32..(1 << 30)) {
            let whole = geohash(lat, lon, 12);
            for precision in 1..12 {
                prop_assert_eq!(&whole[..usize::from(precision)], geohash(lat, lon, precision));
            }
            prop_assert_eq!(halvings(lat, 180.0), halvings_slowly(lat, 180.0));
            prop_assert_eq!(halvings(lon, 360.0), halvings_slowly(lon, 360.0));
            let edge = f64::from(steps) / 1_073_741_824.0 * 360.0 - 180.0;
            for value in [edge, edge.next_up(), edge.next_down().max(-180.0)] {
                prop_assert_eq!(halvings(value, 360.0), halvings_slowly(value, 360.0));
            }
        }

        /// A cell's centre is in the cell, at every resolution.
        #[test]
        fn h3_finds_its_own_cells(lat in -89.0..89.0f64, lon in -180.0..180.0f64, resolution in 0u8..=15) {
            let cell = h3_cell(lat, lon, resolution).unwrap();
            let index = h3o::CellIndex::try_from(cell as u64).unwrap();
            let centre = h3o::LatLng::from(index);
            prop_assert_eq!(h3_cell(centre.lat(), centre.lng(), resolution), Some(cell));
        }
    }
}
