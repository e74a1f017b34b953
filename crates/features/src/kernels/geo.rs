//! Distances and directions on the sphere.

use libm::{asin, atan2, cos, sin};

use super::{
    float::{RADIANS_PER_DEGREE, null_where_not_finite},
    strict,
};
use crate::{
    column::{Column, Values, View},
    op::Geo,
};

/// Mean Earth radius R1 in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

pub(super) fn geo(function: Geo, points: [&View<'_>; 4], result: &mut Column) {
    strict(&points, result);
    let [lat1, lon1, lat2, lon2] = points.map(View::floats);
    let Values::Float(values) = &mut result.values else { return };
    let compute = match function {
        Geo::GreatCircle => great_circle_m,
        Geo::Manhattan => manhattan_m,
        Geo::Bearing => bearing_deg,
    };
    values.extend(lat1.iter().zip(lon1).zip(lat2.iter().zip(lon2)).map(|((&a, &b), (&c, &d))| compute(a, b, c, d)));
    null_where_not_finite(result);
}

/// Haversine formula.
fn great_circle_m(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (lat1, lat2) = (lat1 * RADIANS_PER_DEGREE, lat2 * RADIANS_PER_DEGREE);
    let half_lat = sin((lat2 - lat1) * 0.5);
    let half_lon = sin((lon2 - lon1) * RADIANS_PER_DEGREE * 0.5);
    let h = half_lat * half_lat + cos(lat1) * cos(lat2) * half_lon * half_lon;
    // Rounding may carry antipodes past 1.
    2.0 * EARTH_RADIUS_M * asin(h.sqrt().min(1.0))
}

fn manhattan_m(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let mean_lat = (lat1 + lat2) * 0.5 * RADIANS_PER_DEGREE;
    // The shorter way round.
    let mut lon = (lon2 - lon1).abs();
    if lon > 180.0 {
        lon = 360.0 - lon;
    }
    EARTH_RADIUS_M * RADIANS_PER_DEGREE * ((lat2 - lat1).abs() + lon.abs() * cos(mean_lat))
}

fn bearing_deg(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (lat1, lat2) = (lat1 * RADIANS_PER_DEGREE, lat2 * RADIANS_PER_DEGREE);
    let lon = (lon2 - lon1) * RADIANS_PER_DEGREE;
    let (cos1, cos2) = (cos(lat1), cos(lat2));
    let bearing = atan2(sin(lon) * cos2, cos1 * sin(lat2) - sin(lat1) * cos2 * cos(lon)) / RADIANS_PER_DEGREE;
    if bearing < 0.0 { bearing + 360.0 } else { bearing }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokyo station to Shin-Osaka: 396.8 km by the same formula in public calculators; a degree of latitude is 111.195 km.
    #[test]
    fn distances_are_of_the_right_size() {
        assert!((great_circle_m(0.0, 0.0, 1.0, 0.0) - 111_195.08).abs() < 0.01);
        assert!((great_circle_m(0.0, 0.0, 0.0, 180.0) - std::f64::consts::PI * EARTH_RADIUS_M).abs() < 1e-6);
        assert!((manhattan_m(0.0, 0.0, 1.0, 1.0) - 111_195.08 * (1.0 + cos(0.5 * RADIANS_PER_DEGREE))).abs() < 0.01);
        assert!((manhattan_m(0.0, 179.0, 0.0, -179.0) - 2.0 * 111_195.08).abs() < 0.1);
    }

    #[test]
    fn bearings_go_clockwise_from_north() {
        let bearings = [(1.0, 0.0, 0.0), (0.0, 1.0, 90.0), (-1.0, 0.0, 180.0), (0.0, -1.0, 270.0), (0.0, 0.0, 0.0)];
        for (lat, lon, bearing) in bearings {
            assert!((bearing_deg(0.0, 0.0, lat, lon) - bearing).abs() < 1e-9, "{lat} {lon}");
        }
    }
}
