//! Zones: named areas of a GeoJSON FeatureCollection (RFC 7946), and the point in polygon.

use serde_json::Value as Json;

/// More corners than these are refused: they cost every request, and a spec is a small document.
const MAX_POSITIONS: usize = 200_000;

/// Areas with ids. Areas may have several polygons; zones may overlap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZoneSet {
    pub(crate) name: String,
    pub(crate) ids: ZoneIds,
    /// In the document's order.
    polygons: Vec<Polygon>,
}

/// The different ids, in the document's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ZoneIds {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl ZoneIds {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ints(ids) => ids.len(),
            Self::Texts(ids) => ids.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Polygon {
    /// Place of its id among the ids.
    id: usize,
    west: f64,
    south: f64,
    east: f64,
    north: f64,
    edges: Vec<Edge>,
}

/// An edge from its southern to its northern end, whichever way the ring goes round: two zones with a common border make
/// the very same edge of it, so that rounding cannot give a point to both or to neither. Level edges are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    south: (f64, f64),
    north: (f64, f64),
}

impl Polygon {
    /// Even-odd rule over all rings: holes are outside. Half-open, so that the western and southern boundary is inside
    /// and the eastern and northern is not.
    fn contains(&self, lon: f64, lat: f64) -> bool {
        if lat < self.south || lat >= self.north || lon < self.west || lon >= self.east {
            return false;
        }
        let is_crossed = |edge: &&Edge| {
            let ((x1, y1), (x2, y2)) = (edge.south, edge.north);
            y1 <= lat && lat < y2 && lon < x1 + (x2 - x1) * ((lat - y1) / (y2 - y1))
        };
        self.edges.iter().filter(is_crossed).count() % 2 == 1
    }
}

impl ZoneSet {
    /// Reads a FeatureCollection of polygons and multipolygons; property `id` of each feature is its id.
    ///
    /// # Errors
    /// What is wrong, with the feature's number from 0, and the place in the text where it is no JSON.
    pub(crate) fn read(name: &str, geojson: &str, id: &str) -> Result<Self, ZoneError> {
        let json: Json = serde_json::from_str(geojson).map_err(|error| ZoneError {
            line: error.line(),
            column: error.column(),
            message: format!("the GeoJSON cannot be read: {error}"),
        })?;
        if json["type"] != "FeatureCollection" {
            return Err(ZoneError::new("the GeoJSON must be a FeatureCollection"));
        }
        let features = json["features"].as_array().filter(|features| !features.is_empty());
        let Some(features) = features else { return Err(ZoneError::new("the FeatureCollection has no features")) };
        let mut set = Self { name: name.to_owned(), ids: ZoneIds::Ints(Vec::new()), polygons: Vec::new() };
        let mut positions = 0;
        for (number, feature) in features.iter().enumerate() {
            let wrong = |what: String| ZoneError::new(format!("feature {number}: {what}"));
            let id = set.id(&feature["properties"][id], number == 0).ok_or_else(|| {
                wrong(format!("property `{id}` must be there, and all of them texts or all whole numbers"))
            })?;
            let geometry = &feature["geometry"];
            let no_polygons = Vec::new();
            let polygons = match geometry["type"].as_str() {
                Some("Polygon") => std::slice::from_ref(&geometry["coordinates"]),
                Some("MultiPolygon") => geometry["coordinates"].as_array().unwrap_or(&no_polygons),
                _ => return Err(wrong("its geometry must be a Polygon or a MultiPolygon".to_owned())),
            };
            for polygon in polygons {
                let polygon = read_polygon(polygon, id, &mut positions).map_err(wrong)?;
                set.polygons.push(polygon);
            }
            if positions > MAX_POSITIONS {
                return Err(ZoneError::new(format!("more than {MAX_POSITIONS} positions; simplify the zones")));
            }
        }
        Ok(set)
    }

    /// The place of an id, which is added where it is new. `None` where it is of another type than the first.
    fn id(&mut self, id: &Json, is_first: bool) -> Option<usize> {
        fn place<T: PartialEq>(ids: &mut Vec<T>, id: T) -> usize {
            ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            })
        }
        if is_first && id.is_string() {
            self.ids = ZoneIds::Texts(Vec::new());
        }
        match (&mut self.ids, id) {
            (ZoneIds::Ints(ids), Json::Number(id)) => Some(place(ids, id.as_i64()?)),
            (ZoneIds::Texts(ids), Json::String(id)) => Some(place(ids, id.clone())),
            _ => None,
        }
    }

    /// The place of the id of the first zone that has the point.
    pub(crate) fn find(&self, lat: f64, lon: f64) -> Option<usize> {
        self.polygons.iter().find(|polygon| polygon.contains(lon, lat)).map(|polygon| polygon.id)
    }

    /// Whether the zone with the id of this place has the point.
    pub(crate) fn has(&self, id: usize, lat: f64, lon: f64) -> bool {
        self.polygons.iter().any(|polygon| polygon.id == id && polygon.contains(lon, lat))
    }

    /// What decides on a point, in one line: the same for any layout of the document.
    pub(crate) fn canonical(&self) -> String {
        use std::fmt::Write;

        let mut text = format!("{:?}", self.ids);
        for polygon in &self.polygons {
            _ = write!(text, " {}:", polygon.id);
            for Edge { south, north } in &polygon.edges {
                _ = write!(text, " {:?},{:?},{:?},{:?}", south.0, south.1, north.0, north.1);
            }
        }
        text
    }
}

/// What is wrong with zones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZoneError {
    /// In the GeoJSON, from 1.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl ZoneError {
    fn new(message: impl Into<String>) -> Self {
        Self { line: 1, column: 1, message: message.into() }
    }
}

fn read_polygon(rings: &Json, id: usize, positions: &mut usize) -> Result<Polygon, String> {
    let rings = rings.as_array().filter(|rings| !rings.is_empty()).ok_or("a polygon has no rings")?;
    let mut polygon = Polygon {
        id,
        west: f64::INFINITY,
        south: f64::INFINITY,
        east: f64::NEG_INFINITY,
        north: f64::NEG_INFINITY,
        edges: Vec::new(),
    };
    for ring in rings {
        let ring = ring.as_array().map(Vec::as_slice).unwrap_or_default();
        let points = ring.iter().map(read_position).collect::<Option<Vec<(f64, f64)>>>();
        let points = points.ok_or("positions must be [longitude, latitude] within -180..180 and -90..90")?;
        if points.len() < 4 || points.first() != points.last() {
            return Err("a ring needs at least 4 positions, the last the same as the first".to_owned());
        }
        *positions += points.len();
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            polygon.west = polygon.west.min(a.0);
            polygon.east = polygon.east.max(a.0);
            polygon.south = polygon.south.min(a.1);
            polygon.north = polygon.north.max(a.1);
            if a.1 < b.1 {
                polygon.edges.push(Edge { south: a, north: b });
            } else if b.1 < a.1 {
                polygon.edges.push(Edge { south: b, north: a });
            }
        }
    }
    Ok(polygon)
}

/// Longitude and latitude; a third number (the height) is left out.
fn read_position(position: &Json) -> Option<(f64, f64)> {
    let position = position.as_array().filter(|position| (2..=3).contains(&position.len()))?;
    let (lon, lat) = (position[0].as_f64()?, position[1].as_f64()?);
    // Adding zero makes -0.0 the same edge as 0.0.
    ((-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat)).then_some((lon + 0.0, lat + 0.0))
}

#[cfg(test)]
mod tests;
