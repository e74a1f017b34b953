//! Cells as others have published them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::Inputs;
use jiff::Timestamp;
use serde_json::json;

mod common;
use common::{compile, evaluate};

/// Whether the expression is true at the point.
fn holds(expression: &str, lat: f64, lon: f64) -> bool {
    let row: Inputs = json!({"lat": lat, "lon": lon}).as_object().unwrap().clone();
    evaluate(&compile(&[expression]).unwrap(), Timestamp::UNIX_EPOCH, &[row])[0][0] == Some(1.0)
}

#[test]
fn h3_cells_are_the_published_ones() {
    let cells: [(f64, f64, u8, i64); 16] = [
        // h3geo.org, "Indexing functions", the example of `h3 latLngToCell`.
        (45.0, 40.0, 2, 0x822_d57f_ffff_ffff),
        // github.com/uber/h3-py, tests/test_basic_int.py.
        (37.7752702151959, -122.418307270836, 9, 0x892_8308_280f_ffff),
        // Snowflake's documentation of h3_latlng_to_cell.
        (52.516262, 13.377704, 8, 613_036_919_424_548_863),
        // The R package h3r, reference of latLngToCell.
        (-37.820197, 144.983324, 12, 0x8cb_e635_62a5_4bff),
        (-37.818476, 144.967354, 12, 0x8cb_e635_6311_03ff),
        // github.com/uber/h3, tests/inputfiles/res01ic.txt: centres; the second and third are of pentagons.
        (79.2423985098, 38.0234070080, 1, 0x810_03ff_ffff_ffff),
        (64.7000001279, 10.5361990755, 1, 0x810_83ff_ffff_ffff),
        (39.1000000340, 122.3000004078, 1, 0x813_03ff_ffff_ffff),
        (24.4865269886, -108.2246343020, 1, 0x814_83ff_ffff_ffff),
        // tests/inputfiles/rand10centers.txt; longitudes there go to 360.
        (-86.908669621, 144.073483944, 10, 0x8af_12cb_68c3_7fff),
        (89.130921364, 119.268586636, 10, 0x8a0_326c_a5c1_7fff),
        (-36.086574197, 215.140264034 - 360.0, 10, 0x8ac_74e2_244d_ffff),
        (-0.029042959, 68.888295293, 10, 0x8a8_54a4_c634_ffff),
        (30.376585722, 128.595539331, 10, 0x8a4_b764_e36a_7fff),
        (40.131716637, 235.239270066 - 360.0, 1, 0x812_83ff_ffff_ffff),
        (-2.395920753, 354.32199955 - 360.0, 10, 0x8a7_4f38_b236_7fff),
    ];
    for (lat, lon, resolution, cell) in cells {
        assert!(holds(&format!("H3_CELL(lat, lon, {resolution}) = {cell}"), lat, lon), "{cell:x}");
    }
}

#[test]
fn geohashes_are_the_published_ones() {
    let geohashes = [
        // The inventor's example (geohash.org), and the worked one of Wikipedia's article "Geohash".
        (57.64911, 10.40744, "u4pruydqqvj"),
        (42.6, -5.6, "ezs42"),
        // Rosetta Code, task "Geohash", outputs of its programs.
        (51.433718, -0.214126, "gcpue5hp4"),
        (51.433718, -0.214126, "gc"),
        (59.358639, 24.744778, "ud99"),
        (29.2021188, 81.5324561, "tv1y"),
        // geohash.org, as the tests of ClickHouse quote it.
        (-25.427, -49.315, "6gkzmg1u"),
        (-25.383, -49.266, "6gkzwgj"),
        // Algorithmia's documentation of its GeoHash.
        (47.599240004249054, -122.3333752155304, "c23nb1pt9v2n"),
    ];
    for (lat, lon, geohash) in geohashes {
        assert!(holds(&format!("GEOHASH(lat, lon, {}) = '{geohash}'", geohash.len()), lat, lon), "{geohash}");
    }
}

#[test]
fn mesh_codes_are_the_published_ones() {
    let codes = [
        // github.com/miettal/jismesh, tests: Tokyo Tower and Kyoto Tower, all levels.
        (35.658581, 139.745433, &[5339, 533935, 53393599, 533935992, 5339359921, 53393599212_i64][..]),
        (34.987574, 135.759363, &[5235, 523536, 52353680, 523536804, 5235368041, 52353680412]),
        // github.com/itch0323/jismeshcode, README.
        (36.2010417, 138.415625, &[5438, 543823]),
        // Tokyo Station (uiuifree.com on codes and coordinates).
        (35.6812, 139.7671, &[5339, 533946, 53394611]),
    ];
    for (lat, lon, codes) in codes {
        for (level, code) in (1..).zip(codes) {
            assert!(holds(&format!("MESH_CODE(lat, lon, {level}) = {code}"), lat, lon), "{code}");
        }
    }
    // Outside, by the same tests. (Their limit of 66.66° N itself is inside by the standard: code 9939.)
    for (lat, lon) in [(-0.1, 139.745433), (66.67, 139.745433), (35.658581, 99.99), (35.658581, 180.0)] {
        assert!(holds("MESH_CODE(lat, lon, 1) IS NULL", lat, lon), "{lat} {lon}");
    }
}
