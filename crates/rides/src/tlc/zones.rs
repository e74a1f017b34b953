use std::{collections::BTreeMap, path::Path};

use super::source::{self, Format, Table, find_column, need_column};
use crate::{Place, RidesError};

/// How many zones a table can have.
const MAX_ZONES: usize = u16::MAX as usize;

/// A zone of the city.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The TLC's number.
    pub location_id: u32,
    /// Its borough; empty where the file does not say.
    pub borough: String,
    /// Its name; empty where the file does not say.
    pub name: String,
    /// The centroid, whose zone is this one.
    pub centroid: Place,
}

/// The zones that trips refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Zones {
    zones: Vec<Zone>,
    by_id: BTreeMap<u32, u16>,
}

impl Zones {
    /// Reads a CSV file (gzip-compressed or not) with the columns `location_id`, `centroid_lon`, `centroid_lat`
    /// (degrees) and perhaps `borough` and `zone` (the name), in any order. Every row must be right.
    pub fn read(path: &Path) -> Result<Self, RidesError> {
        let source = source::open(path)?;
        if source.format == Format::Parquet {
            let (found, expected) = ("Parquet", "CSV");
            return Err(RidesError::UnsupportedFormat { file: path.to_owned(), found, expected });
        }
        let mut table = Table::new(path, source.text().0, true)?;
        let id = need_column(path, table.header(), "zone's number", &["location_id", "LocationID"])?;
        let lon = need_column(path, table.header(), "centroid's longitude", &["centroid_lon"])?;
        let lat = need_column(path, table.header(), "centroid's latitude", &["centroid_lat"])?;
        let borough = find_column(table.header(), &["borough"]);
        let name = find_column(table.header(), &["zone"]);
        let (mut zones, mut by_id): (Vec<Zone>, _) = (Vec::new(), BTreeMap::new());
        while let Some((line, _, record)) = table.next(path)? {
            let text =
                |column: usize| String::from_utf8_lossy(record.get(column).unwrap_or_default()).trim().to_owned();
            let bad = |field, value, expected: &str| RidesError::BadRow {
                file: path.to_owned(),
                line,
                field,
                value,
                expected: expected.to_owned(),
            };
            let degrees = |field, column, limit: f64| {
                let value = text(column);
                let parsed = value.parse::<f64>().ok().filter(|degrees| degrees.abs() <= limit);
                parsed.ok_or_else(|| bad(field, value, &format!("degrees between -{limit} and {limit}")))
            };
            let location_id: u32 =
                text(id).parse().map_err(|_| bad("location_id", text(id), "a zone's number, 0 or more"))?;
            let index = u16::try_from(zones.len()).ok().filter(|_| zones.len() < MAX_ZONES);
            let index = index.ok_or_else(|| bad("location_id", text(id), "at most 65,535 zones"))?;
            if by_id.insert(location_id, index).is_some() {
                return Err(bad("location_id", text(id), "a number that no other zone has"));
            }
            let optional = |column: Option<usize>| column.map(text).unwrap_or_default();
            zones.push(Zone {
                location_id,
                borough: optional(borough),
                name: optional(name),
                centroid: Place {
                    lat_deg: degrees("centroid_lat", lat, 90.0)?,
                    lon_deg: degrees("centroid_lon", lon, 180.0)?,
                    zone: Some(location_id),
                },
            });
        }
        Ok(Self { zones, by_id })
    }

    /// All zones, in the file's order.
    pub fn as_slice(&self) -> &[Zone] {
        &self.zones
    }

    /// The zone with this number.
    pub fn get(&self, location_id: u32) -> Option<&Zone> {
        self.by_id.get(&location_id).map(|&index| &self.zones[usize::from(index)])
    }

    pub(crate) fn index_of(&self, location_id: u32) -> Option<u16> {
        self.by_id.get(&location_id).copied()
    }

    /// For each zone, up to `count` other zones, the nearest first.
    pub(crate) fn neighbours(&self, count: usize) -> Vec<Vec<u16>> {
        let squared = |a: Place, b: Place| {
            // Good enough to tell near from far: a degree of longitude is shorter by the cosine of the latitude.
            let east = (a.lon_deg - b.lon_deg) * libm::cos(a.lat_deg.to_radians());
            let north = a.lat_deg - b.lat_deg;
            east * east + north * north
        };
        let around = self.zones.iter().map(|zone| {
            let others = self.zones.iter().enumerate().filter(|(_, other)| other.location_id != zone.location_id);
            let mut others: Vec<(f64, u16)> =
                others.map(|(index, other)| (squared(zone.centroid, other.centroid), index as u16)).collect();
            others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            others.into_iter().take(count).map(|(_, index)| index).collect()
        });
        around.collect()
    }
}
