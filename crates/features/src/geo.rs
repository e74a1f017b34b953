//! Distances and directions on the sphere, as arithmetic of the graph.

use crate::{
    Type, Value,
    graph::{Graph, NodeId},
    op::{Compared, Comparison, Float1, Float2, Geo, Op},
};

/// Mean Earth radius R1 in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;
const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// The arithmetic of `function` over two points: latitude, longitude, latitude, longitude in degrees.
pub(crate) fn expand(graph: &mut Graph, function: Geo, points: [NodeId; 4]) -> NodeId {
    let mut build = Build { graph };
    match function {
        Geo::GreatCircle => build.great_circle_m(points),
        Geo::Manhattan => build.manhattan_m(points),
        Geo::Bearing => build.bearing_deg(points),
    }
}

struct Build<'a> {
    graph: &'a mut Graph,
}

impl Build<'_> {
    fn constant(&mut self, value: f64) -> NodeId {
        self.graph.constant(Value::Float(value))
    }

    fn of(&mut self, function: Float1, x: NodeId) -> NodeId {
        self.graph.operator(Op::Float1(function), vec![x])
    }

    fn with(&mut self, function: Float2, x: NodeId, y: NodeId) -> NodeId {
        self.graph.operator(Op::Float2(function), vec![x, y])
    }

    fn add(&mut self, x: NodeId, y: NodeId) -> NodeId {
        self.with(Float2::Add, x, y)
    }

    fn subtract(&mut self, x: NodeId, y: NodeId) -> NodeId {
        self.with(Float2::Subtract, x, y)
    }

    fn multiply(&mut self, x: NodeId, y: NodeId) -> NodeId {
        self.with(Float2::Multiply, x, y)
    }

    fn scale(&mut self, x: NodeId, by: f64) -> NodeId {
        let by = self.constant(by);
        self.multiply(x, by)
    }

    /// `x` where it is not below `than`, else `below`.
    fn unless_below(&mut self, x: NodeId, than: NodeId, below: NodeId) -> NodeId {
        let is_below = self.graph.operator(Op::Compare(Comparison::Less, Compared::Float), vec![x, than]);
        self.graph.operator(Op::Select(Type::Float), vec![is_below, below, x])
    }

    /// Haversine formula.
    fn great_circle_m(&mut self, [lat1, lon1, lat2, lon2]: [NodeId; 4]) -> NodeId {
        let (lat1, lat2) = (self.of(Float1::Radians, lat1), self.of(Float1::Radians, lat2));
        let lat = self.subtract(lat2, lat1);
        let lat = self.scale(lat, 0.5);
        let half_lat = self.of(Float1::Sin, lat);
        let lon = self.subtract(lon2, lon1);
        let lon = self.of(Float1::Radians, lon);
        let lon = self.scale(lon, 0.5);
        let half_lon = self.of(Float1::Sin, lon);
        let (cos1, cos2) = (self.of(Float1::Cos, lat1), self.of(Float1::Cos, lat2));
        let lat_part = self.multiply(half_lat, half_lat);
        let lon_part = self.multiply(cos1, cos2);
        let lon_part = self.multiply(lon_part, half_lon);
        let lon_part = self.multiply(lon_part, half_lon);
        let haversine = self.add(lat_part, lon_part);
        let root = self.of(Float1::Sqrt, haversine);
        // Rounding may carry antipodes past 1.
        let one = self.constant(1.0);
        let root = self.with(Float2::Least, root, one);
        let half_angle = self.of(Float1::Asin, root);
        self.scale(half_angle, 2.0 * EARTH_RADIUS_M)
    }

    fn manhattan_m(&mut self, [lat1, lon1, lat2, lon2]: [NodeId; 4]) -> NodeId {
        let mean_lat = self.add(lat1, lat2);
        let mean_lat = self.scale(mean_lat, 0.5);
        let mean_lat = self.of(Float1::Radians, mean_lat);
        let parallel = self.of(Float1::Cos, mean_lat);
        let lon = self.subtract(lon2, lon1);
        let lon = self.of(Float1::Abs, lon);
        // The shorter way round.
        let full = self.constant(360.0);
        let other_way = self.subtract(full, lon);
        let half = self.constant(180.0);
        let is_long = self.graph.operator(Op::Compare(Comparison::Less, Compared::Float), vec![half, lon]);
        let lon = self.graph.operator(Op::Select(Type::Float), vec![is_long, other_way, lon]);
        let lon = self.of(Float1::Abs, lon);
        let lat = self.subtract(lat2, lat1);
        let lat = self.of(Float1::Abs, lat);
        let lon = self.multiply(lon, parallel);
        let degrees = self.add(lat, lon);
        self.scale(degrees, EARTH_RADIUS_M * RADIANS_PER_DEGREE)
    }

    fn bearing_deg(&mut self, [lat1, lon1, lat2, lon2]: [NodeId; 4]) -> NodeId {
        let (lat1, lat2) = (self.of(Float1::Radians, lat1), self.of(Float1::Radians, lat2));
        let lon = self.subtract(lon2, lon1);
        let lon = self.of(Float1::Radians, lon);
        let (sin1, cos1) = (self.of(Float1::Sin, lat1), self.of(Float1::Cos, lat1));
        let (sin2, cos2) = (self.of(Float1::Sin, lat2), self.of(Float1::Cos, lat2));
        let (sin_lon, cos_lon) = (self.of(Float1::Sin, lon), self.of(Float1::Cos, lon));
        let east = self.multiply(sin_lon, cos2);
        let north = self.multiply(cos1, sin2);
        let back = self.multiply(sin1, cos2);
        let back = self.multiply(back, cos_lon);
        let north = self.subtract(north, back);
        let bearing = self.with(Float2::Atan2, east, north);
        let bearing = self.of(Float1::Degrees, bearing);
        let full = self.constant(360.0);
        let turned = self.add(bearing, full);
        let north = self.constant(0.0);
        self.unless_below(bearing, north, turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of constants: the graph folds them by the kernels that rows go through.
    fn at(function: Geo, points: [f64; 4]) -> f64 {
        let mut graph = Graph::default();
        let points = points.map(|point| graph.constant(Value::Float(point)));
        let result = expand(&mut graph, function, points);
        let Some(Value::Float(value)) = graph.constant_of(result) else { panic!("not folded") };
        *value
    }

    /// A degree of latitude is 111.195 km.
    #[test]
    fn distances_are_of_the_right_size() {
        let degree_m = 111_195.080_23;
        assert!((at(Geo::GreatCircle, [0.0, 0.0, 1.0, 0.0]) - degree_m).abs() < 0.01);
        let half_way_m = std::f64::consts::PI * EARTH_RADIUS_M;
        assert!((at(Geo::GreatCircle, [0.0, 0.0, 0.0, 180.0]) - half_way_m).abs() < 1e-6);
        let parallel = (0.5 * RADIANS_PER_DEGREE).cos();
        assert!((at(Geo::Manhattan, [0.0, 0.0, 1.0, 1.0]) - degree_m * (1.0 + parallel)).abs() < 0.01);
        assert!((at(Geo::Manhattan, [0.0, 179.0, 0.0, -179.0]) - 2.0 * degree_m).abs() < 0.1);
    }

    #[test]
    fn bearings_go_clockwise_from_north() {
        let bearings = [(1.0, 0.0, 0.0), (0.0, 1.0, 90.0), (-1.0, 0.0, 180.0), (0.0, -1.0, 270.0), (0.0, 0.0, 0.0)];
        for (lat, lon, bearing) in bearings {
            assert!((at(Geo::Bearing, [0.0, 0.0, lat, lon]) - bearing).abs() < 1e-9, "{lat} {lon}");
        }
    }
}
