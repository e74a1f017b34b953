//! The city's map and how fast its streets are.
//!
//! A rectangle of 10 × 12 zones about (40.75, -73.98), numbered from 1, row by row from the south-west. Streets run
//! north-south and east-west. A river runs from north to south, with three bridges. The centre is slow, the more so in
//! the rush hours; the outskirts are fast.

use crate::{
    Place,
    clock::LocalTime,
    draw::{Draw, Purpose},
};

pub(crate) const COLUMNS: usize = 10;
pub(crate) const ROWS: usize = 12;
pub(crate) const ZONES: usize = COLUMNS * ROWS;

const ZONE_WIDTH_M: f64 = 1250.0;
const ZONE_HEIGHT_M: f64 = 1200.0;
const WIDTH_M: f64 = COLUMNS as f64 * ZONE_WIDTH_M;
const HEIGHT_M: f64 = ROWS as f64 * ZONE_HEIGHT_M;

const CENTRE_LAT_DEG: f64 = 40.75;
const CENTRE_LON_DEG: f64 = -73.98;
/// On a sphere of 6,371,008.8 m: 2πr / 360.
const METRES_PER_LAT_DEG: f64 = 111_195.08;
/// The same at latitude 40.75°.
const METRES_PER_LON_DEG: f64 = 84_238.66;

/// The busiest point.
const DOWNTOWN: Point = Point { x_m: 4.2 * ZONE_WIDTH_M, y_m: 6.0 * ZONE_HEIGHT_M };
/// The river's west-east position: the eastern edge of the seventh column.
const RIVER_X_M: f64 = 7.0 * ZONE_WIDTH_M;
const BRIDGES_Y_M: [f64; 3] = [2.5 * ZONE_HEIGHT_M, 6.3 * ZONE_HEIGHT_M, 10.2 * ZONE_HEIGHT_M];

/// A traffic light every so many metres of the way.
const METRES_PER_LIGHT: f64 = 320.0;
/// Seconds for a driver to accept, turn and find the door.
const START_S: f64 = 35.0;
/// Spread of what nobody knows beforehand: the standard deviation of the logarithm of the moving time.
const NOISE_SIGMA: f64 = 0.22;

/// A point of the plane: metres east and north of the city's south-west corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x_m: f64,
    pub(crate) y_m: f64,
}

impl Point {
    /// The zone around it, from 0.
    pub(crate) fn zone(self) -> usize {
        let cell = |metres: f64, size_m: f64, count: usize| ((metres / size_m) as usize).min(count - 1);
        cell(self.y_m, ZONE_HEIGHT_M, ROWS) * COLUMNS + cell(self.x_m, ZONE_WIDTH_M, COLUMNS)
    }

    /// A random point of a zone.
    pub(crate) fn within(zone: usize, draw: &mut Draw) -> Self {
        let along = |cell: usize, size_m: f64, draw: &mut Draw| (cell as f64 + draw.unit()) * size_m;
        let x_m = along(zone % COLUMNS, ZONE_WIDTH_M, draw);
        Self { x_m, y_m: along(zone / COLUMNS, ZONE_HEIGHT_M, draw) }
    }

    /// The point on the globe, to the millionth of a degree (11 cm), as phones report it.
    pub(crate) fn place(self) -> Place {
        let degrees = |centre: f64, metres: f64, per_degree: f64| ((centre + metres / per_degree) * 1e6).round() / 1e6;
        Place {
            lat_deg: degrees(CENTRE_LAT_DEG, self.y_m - HEIGHT_M / 2.0, METRES_PER_LAT_DEG),
            lon_deg: degrees(CENTRE_LON_DEG, self.x_m - WIDTH_M / 2.0, METRES_PER_LON_DEG),
            zone: u32::try_from(self.zone() + 1).ok(),
        }
    }

    /// North-south plus east-west distance, as if there were no river.
    pub(crate) fn blocks_m(self, other: Self) -> f64 {
        (self.x_m - other.x_m).abs() + (self.y_m - other.y_m).abs()
    }
}

/// How central each zone is: 1 downtown, falling to about 0.1 at the edges.
pub(crate) fn centrality(zone: usize) -> f64 {
    let x_m = ((zone % COLUMNS) as f64 + 0.5) * ZONE_WIDTH_M - DOWNTOWN.x_m;
    let y_m = ((zone / COLUMNS) as f64 + 0.5) * ZONE_HEIGHT_M - DOWNTOWN.y_m;
    1.0 / (1.0 + (x_m * x_m + y_m * y_m) / (2600.0 * 2600.0))
}

/// How full the streets are, 0 (empty) to about 1: rush hours on working days, a mild afternoon at weekends.
pub(crate) fn rush(local: LocalTime) -> f64 {
    let hill = |at_h: f64, width_h: f64| {
        let off = (local.hour - at_h) / width_h;
        libm::exp(-0.5 * off * off)
    };
    if local.is_weekend() {
        0.12 + 0.4 * hill(14.5, 3.2) + 0.3 * hill(21.5, 2.0)
    } else {
        0.08 + 0.85 * hill(8.4, 1.2) + 0.42 * hill(12.8, 2.6) + 0.9 * hill(17.6, 1.7)
    }
}

/// A way through the streets at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Route {
    /// Length, m.
    pub(crate) length_m: f64,
    /// Expected moving time, s, without lights.
    pub(crate) moving_s: f64,
}

/// The streets' speeds.
#[derive(Debug, Clone)]
pub(crate) struct Streets {
    /// m/s of each zone's empty streets.
    free_mps: Vec<f64>,
    /// The part of that speed that a rush of 1 takes away.
    rush_share: Vec<f64>,
}

impl Streets {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, Purpose::Streets, 0, 0);
        let free_mps = (0..ZONES).map(|zone| (11.0 - 6.0 * centrality(zone)) * draw.between(0.85, 1.15)).collect();
        let rush_share = (0..ZONES).map(|zone| 0.22 + 0.38 * centrality(zone) + draw.between(-0.06, 0.06)).collect();
        Self { free_mps, rush_share }
    }

    /// The shortest way, and its moving time in a rush of `rush` with speeds multiplied by `speed_factor`.
    pub(crate) fn route(&self, from: Point, to: Point, rush: f64, speed_factor: f64) -> Route {
        let pace = |zone: usize| 1.0 / (self.free_mps[zone] * (1.0 - self.rush_share[zone] * rush) * speed_factor);
        if (from.x_m < RIVER_X_M) == (to.x_m < RIVER_X_M) {
            return Route { length_m: from.blocks_m(to), moving_s: corner_s(from, to, &pace) };
        }
        let by_length = |bridge: &Point| from.blocks_m(*bridge) + bridge.blocks_m(to);
        let bridges = BRIDGES_Y_M.map(|y_m| Point { x_m: RIVER_X_M, y_m });
        let bridge = bridges.into_iter().min_by(|a, b| by_length(a).total_cmp(&by_length(b))).unwrap_or(bridges[0]);
        // Bridges are where the queues are.
        let queue_s = (15.0 + 150.0 * rush) / speed_factor;
        Route {
            length_m: by_length(&bridge),
            moving_s: corner_s(from, bridge, &pace) + queue_s + corner_s(bridge, to, &pace),
        }
    }

    /// What a drive over `route` really takes, s: lights and luck included.
    pub(crate) fn drive_s(route: Route, draw: &mut Draw) -> f64 {
        let lights = (route.length_m / METRES_PER_LIGHT) as usize;
        let waiting_s: f64 = (0..lights).map(|_| (draw.between(-40.0, 40.0)).max(0.0)).sum();
        START_S + waiting_s + route.moving_s * draw.log_normal(NOISE_SIGMA)
    }
}

/// Seconds along `from.y` first, then along `to.x`, zone by zone; `pace` is s/m of a zone.
fn corner_s(from: Point, to: Point, pace: &impl Fn(usize) -> f64) -> f64 {
    let row = from.zone() / COLUMNS;
    let column = to.zone() % COLUMNS;
    line_s(from.x_m, to.x_m, ZONE_WIDTH_M, COLUMNS, |column| pace(row * COLUMNS + column))
        + line_s(from.y_m, to.y_m, ZONE_HEIGHT_M, ROWS, |row| pace(row * COLUMNS + column))
}

fn line_s(from_m: f64, to_m: f64, size_m: f64, count: usize, pace: impl Fn(usize) -> f64) -> f64 {
    let (low_m, high_m) = if from_m <= to_m { (from_m, to_m) } else { (to_m, from_m) };
    let cell = |metres: f64| ((metres / size_m) as usize).min(count - 1);
    let mut seconds = 0.0;
    for index in cell(low_m)..=cell(high_m) {
        let begin_m = low_m.max(index as f64 * size_m);
        let end_m = high_m.min((index + 1) as f64 * size_m);
        seconds += (end_m - begin_m).max(0.0) * pace(index);
    }
    seconds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NIGHT: f64 = 0.08;
    const RUSH: f64 = 1.0;

    fn point(column: f64, row: f64) -> Point {
        Point { x_m: column * ZONE_WIDTH_M, y_m: row * ZONE_HEIGHT_M }
    }

    #[test]
    fn the_map_lies_about_new_york() {
        let centre = point(5.0, 6.0).place();
        assert_eq!((centre.lat_deg, centre.lon_deg, centre.zone), (40.75, -73.98, Some(66)));
        assert_eq!(point(0.0, 0.0).place().zone, Some(1));
        assert_eq!(point(10.0, 12.0).place().zone, Some(120));
        let one_row = point(5.0, 7.0).place().lat_deg - centre.lat_deg;
        assert!((one_row * METRES_PER_LAT_DEG - ZONE_HEIGHT_M).abs() < 0.2);
    }

    #[test]
    fn rush_hours_centre_and_river_slow_down() {
        let streets = Streets::new(1);
        let seconds = |from, to, rush| streets.route(from, to, rush, 1.0).moving_s;
        // The same length downtown and at the edge, by night and in the rush.
        let downtown = (point(3.5, 5.5), point(4.5, 6.5));
        let edge = (point(0.5, 0.5), point(1.5, 1.5));
        assert!(seconds(downtown.0, downtown.1, NIGHT) > 1.4 * seconds(edge.0, edge.1, NIGHT));
        assert!(seconds(downtown.0, downtown.1, RUSH) > 1.5 * seconds(downtown.0, downtown.1, NIGHT));
        // Across the river, far from a bridge.
        let across = streets.route(point(6.6, 8.2), point(7.4, 8.2), NIGHT, 1.0);
        assert!(across.length_m > 4.0 * point(6.6, 8.2).blocks_m(point(7.4, 8.2)), "{across:?}");
        // At a bridge there is no detour.
        let at_bridge = streets.route(point(6.6, 6.3), point(7.4, 6.3), NIGHT, 1.0);
        assert!((at_bridge.length_m - 0.8 * ZONE_WIDTH_M).abs() < 1e-6);
        // Half the speed, twice the time.
        let slow = streets.route(downtown.0, downtown.1, NIGHT, 0.5).moving_s;
        assert!((slow / seconds(downtown.0, downtown.1, NIGHT) - 2.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn time_is_length_over_a_speed_of_the_city(x1 in 0.0..=10.0, y1 in 0.0..=12.0, x2 in 0.0..=10.0, y2 in 0.0..=12.0, rush in 0.0..1.1, seed: u64) {
            let (from, to) = (point(x1, y1), point(x2, y2));
            let route = Streets::new(seed).route(from, to, rush, 1.0);
            prop_assert!(route.length_m >= from.blocks_m(to) - 1e-6);
            // The queue on a bridge aside.
            let moving_s = route.moving_s - if (x1 < 7.0) == (x2 < 7.0) { 0.0 } else { 15.0 + 150.0 * rush };
            prop_assert!(moving_s <= route.length_m / 1.1 + 1e-6, "{route:?}");
            prop_assert!(moving_s >= route.length_m / 12.7 - 1e-6, "{route:?}");
        }
    }
}
