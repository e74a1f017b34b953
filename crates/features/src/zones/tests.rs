use proptest::prelude::*;
use serde_json::json;

use super::*;

type Ring = Vec<(f64, f64)>;

fn collection(zones: &[(Json, &[Ring])]) -> String {
    let features: Vec<Json> = zones
        .iter()
        .map(|(id, rings)| {
            let rings: Vec<Vec<[f64; 2]>> = rings
                .iter()
                .map(|ring| ring.iter().chain(ring.first()).map(|&(lon, lat)| [lon, lat]).collect())
                .collect();
            json!({"type": "Feature", "properties": {"id": id}, "geometry": {"type": "Polygon", "coordinates": rings}})
        })
        .collect();
    json!({"type": "FeatureCollection", "features": features}).to_string()
}

fn square(west: f64, south: f64, side: f64) -> Ring {
    vec![(west, south), (west + side, south), (west + side, south + side), (west, south + side)]
}

#[test]
fn holes_are_outside_and_multipolygons_are_one_zone() {
    let text = json!({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"id": 7}, "geometry": {"type": "MultiPolygon", "coordinates": [
            [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]],
            [[[10, 10, 5.5], [11, 10, 0], [11, 11, 0], [10, 10, 5.5]]]
        ]}},
        {"type": "Feature", "properties": {"id": 8}, "geometry": {"type": "Polygon", "coordinates":
            [[[3, 3], [5, 3], [5, 5], [3, 5], [3, 3]]]}}
    ]});
    let zones = ZoneSet::read("z", &text.to_string(), "id").unwrap();
    assert_eq!(zones.ids, ZoneIds::Ints(vec![7, 8]));
    let cases = [(0.5, 0.5, Some(0)), (1.5, 1.5, None), (10.2, 10.7, Some(0)), (4.5, 4.5, Some(1)), (9.0, 9.0, None)];
    for (lat, lon, id) in cases {
        assert_eq!(zones.find(lat, lon), id, "{lat} {lon}");
    }
    // Where zones overlap the first is found, and both have the point.
    assert_eq!((zones.find(3.5, 3.5), zones.has(0, 3.5, 3.5), zones.has(1, 3.5, 3.5)), (Some(0), true, true));
    // West and south belong to it, east and north do not.
    assert!(zones.has(1, 3.0, 3.0) && zones.has(1, 4.0, 3.0) && zones.has(1, 3.0, 4.0));
    assert!(!zones.has(1, 5.0, 4.0) && !zones.has(1, 4.0, 5.0));
}

#[test]
fn bad_documents_are_told() {
    let cases = [
        ("{".to_owned(), "cannot be read"),
        ("{}".to_owned(), "FeatureCollection"),
        (r#"{"type":"FeatureCollection","features":[]}"#.to_owned(), "no features"),
        (
            collection(&[(json!(1), &[square(0., 0., 1.)]), (json!("b"), &[square(0., 0., 1.)])]),
            "feature 1: property `id`",
        ),
        (collection(&[(json!(1.5), &[square(0., 0., 1.)])]), "feature 0: property `id`"),
        (collection(&[(json!(1), &[square(179.5, 0., 1.)])]), "within -180..180"),
        (collection(&[(json!(1), &[vec![(0., 0.), (1., 1.)]])]), "at least 4"),
        (collection(&[(json!(1), &[])]), "no rings"),
        (collection(&[(json!(1), &[square(0., 0., 1.)])]).replace("Polygon", "Point"), "MultiPolygon"),
    ];
    for (text, expected) in cases {
        let error = ZoneSet::read("z", &text, "id").unwrap_err();
        assert!(error.message.contains(expected), "{expected}: {}", error.message);
    }
}

/// Whether the ring winds around the point: the sum of the angles to its corners is not zero.
fn winds_around(ring: &[(f64, f64)], lon: f64, lat: f64) -> bool {
    let angle = |&(x, y): &(f64, f64)| f64::atan2(y - lat, x - lon);
    let turns: f64 = ring
        .iter()
        .zip(ring.iter().cycle().skip(1))
        .map(|(a, b)| {
            let turn = angle(b) - angle(a);
            turn - std::f64::consts::TAU * (turn / std::f64::consts::TAU).round()
        })
        .sum();
    turns.abs() > 1.0
}

proptest! {
    /// Star-shaped rings of any form: even-odd is the winding number.
    #[test]
    fn agrees_with_the_winding_number(
        radii in prop::collection::vec(0.5..5.0f64, 3..12),
        lon in -6.0..6.0f64,
        lat in -6.0..6.0f64,
    ) {
        let count = radii.len() as f64;
        let ring: Ring = radii.iter().enumerate().map(|(corner, radius)| {
            let angle = std::f64::consts::TAU * corner as f64 / count;
            (radius * angle.cos(), radius * angle.sin())
        }).collect();
        let zones = ZoneSet::read("z", &collection(&[(json!(1), std::slice::from_ref(&ring))]), "id").unwrap();
        prop_assert_eq!(zones.find(lat, lon).is_some(), winds_around(&ring, lon, lat));
    }

    /// Triangles that share slanted edges cover a square: each of its points is in exactly one, also on the edges.
    #[test]
    fn neighbours_never_share_a_point(
        inner in (0.1..0.9f64, 0.1..0.9f64),
        grid in (0u8..=64, 0u8..=64),
        along in 0.0..1.0f64,
        corner in 0usize..4,
    ) {
        let corners = square(0.0, 0.0, 1.0);
        let triangles: Vec<Ring> =
            (0..4).map(|i| vec![corners[i], corners[(i + 1) % 4], inner]).collect();
        let rings: Vec<[Ring; 1]> = triangles.into_iter().map(|triangle| [triangle]).collect();
        let zones: Vec<(Json, &[Ring])> = rings.iter().enumerate().map(|(id, rings)| (json!(id), &rings[..])).collect();
        let zones = ZoneSet::read("z", &collection(&zones), "id").unwrap();
        let (x, y) = corners[corner];
        let points = [
            (f64::from(grid.0) / 65.0, f64::from(grid.1) / 65.0),
            inner,
            (x + (inner.0 - x) * along, y + (inner.1 - y) * along),
        ];
        for (lon, lat) in points {
            if (0.0..1.0).contains(&lon) && (0.0..1.0).contains(&lat) {
                let having = (0..4).filter(|&id| zones.has(id, lat, lon)).count();
                prop_assert_eq!(having, 1, "{} {}", lon, lat);
            }
        }
    }
}
