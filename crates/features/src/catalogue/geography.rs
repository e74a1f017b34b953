//! Functions of points. Latitudes and longitudes are in degrees (WGS 84, north and east positive).

use super::{CellSystem, Function, FunctionKind, geo};
use crate::op::Geo;

const fn of(
    name: &'static str,
    signature: &'static str,
    gives: &'static str,
    description: &'static str,
    example: &'static str,
    kind: FunctionKind,
) -> Function {
    Function { name, signature, gives, description, example, kind }
}

pub(super) const FUNCTIONS: &[Function] = &[
    of(
        "BEARING_DEG",
        "BEARING_DEG(lat1, lon1, lat2, lon2)",
        "float",
        "Initial bearing from the first point to the second, degrees clockwise from north, 0..360. 0 where they coincide.",
        "BEARING_DEG(lat, lon, lat2, lon2)",
        geo(Geo::Bearing),
    ),
    of(
        "GEOHASH",
        "GEOHASH(lat, lon, precision)",
        "string",
        "Geohash of the point, `precision` characters (a constant, 1..12). A shorter one is the beginning of a longer one. \
         NULL outside -90..90 and -180..180.",
        "GEOHASH(lat, lon, 6)",
        FunctionKind::Cell(CellSystem::GeohashText),
    ),
    of(
        "GEOHASH_INT",
        "GEOHASH_INT(lat, lon, precision)",
        "int",
        "The same cell as a number: its 5 bits per character. NULL as GEOHASH is. As a model's column, which is a double, it \
         is exact up to precision 10.",
        "GEOHASH_INT(lat, lon, 6)",
        FunctionKind::Cell(CellSystem::GeohashInt),
    ),
    of(
        "GREAT_CIRCLE_M",
        "GREAT_CIRCLE_M(lat1, lon1, lat2, lon2)",
        "float",
        "Great-circle distance in metres between two points (haversine, Earth radius 6,371,008.8 m).",
        "GREAT_CIRCLE_M(lat, lon, lat2, lon2)",
        geo(Geo::GreatCircle),
    ),
    of(
        "H3_CELL",
        "H3_CELL(lat, lon, resolution)",
        "int",
        "Index of the H3 cell that has the point; the resolution is a constant, 0 (about 1,100 km) to 15 (about 0.5 m). \
         NULL outside -90..90 and -180..180. A key for LOOKUP and HASH_BUCKET: as a model's column, which is a double, \
         cells are distinct up to resolution 12.",
        "H3_CELL(lat, lon, 9)",
        FunctionKind::Cell(CellSystem::H3),
    ),
    of(
        "IN_ZONE",
        "IN_ZONE(lat, lon, zones, id)",
        "bool",
        "Whether the point is in the zone of that id of [zones.NAME], also where zones overlap. Zones and id are constants. \
         For the boundary see ZONE_OF.",
        "IN_ZONE(lat, lon, 'airports', 'HND')",
        FunctionKind::InZone,
    ),
    of(
        "MANHATTAN_M",
        "MANHATTAN_M(lat1, lon1, lat2, lon2)",
        "float",
        "Metres along the meridian plus metres along the parallel of the mean latitude.",
        "MANHATTAN_M(lat, lon, lat2, lon2)",
        geo(Geo::Manhattan),
    ),
    of(
        "MESH_CODE",
        "MESH_CODE(lat, lon, level)",
        "int",
        "Grid square code of JIS X 0410; the level is a constant: 1 (about 80 km), 2 (10 km), 3 (1 km), 4 (500 m), 5 (250 m) or \
         6 (125 m). A square has its southern and western sides (a point within 0.002 mm of a side is on it). NULL outside latitudes 0..66.67 and longitudes 100..180.",
        "MESH_CODE(lat, lon, 3)",
        FunctionKind::Cell(CellSystem::Mesh),
    ),
    of(
        "PROJECT_X_M",
        "PROJECT_X_M(lat, lon, lat0, lon0)",
        "float",
        "Metres east of the origin (lat0, lon0) in the equirectangular projection that is true at lat0 (lat does not matter); the shorter way round the \
         Earth. Good within about 100 km.",
        "PROJECT_X_M(lat, lon, 35.68, 139.77)",
        FunctionKind::Project { east: true },
    ),
    of(
        "PROJECT_Y_M",
        "PROJECT_Y_M(lat, lon, lat0, lon0)",
        "float",
        "Metres north of the origin in the same projection; the longitudes do not matter.",
        "PROJECT_Y_M(lat, lon, 35.68, 139.77)",
        FunctionKind::Project { east: false },
    ),
    of(
        "ZONE_OF",
        "ZONE_OF(lat, lon, zones)",
        "int or string",
        "Id of the first zone of [zones.NAME] that has the point; NULL where none has it. The zones' name is a constant. Edges are \
         straight in latitude and longitude, holes are outside. A zone has its western and southern boundary and not its \
         eastern and northern one, so that neighbours never share a point.",
        "ORDINAL(ZONE_OF(lat, lon, 'airports'), 'HND', 'NRT')",
        FunctionKind::ZoneOf,
    ),
];
