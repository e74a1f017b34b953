//! Trip files in every format, with the dirt that such files have.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, io::Write, path::PathBuf, sync::Arc};

use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use parquet::{arrow::ArrowWriter, basic, file::properties::WriterProperties};
use rides::{
    MAX_CARS, Ride, RidesError, split_by_time,
    tlc::{At, DailyWeather, Progress, Reason, Recording, TripRules, Trips, Zones},
};
use tempfile::TempDir;

const ZONES: &str = "\
zone,location_id,borough,centroid_lat,centroid_lon,area_km2
Newark Airport,1,EWR,40.69183,-74.174002,7.343
Jamaica Bay,2,Queens,40.616746,-73.8313,13.3697
\"Allerton, Pelham\",3,Bronx,40.864474,-73.847422,2.9437
Yorkville East,262,Manhattan,40.775932,-73.94651,0.6464
";

/// A folder that is gone after the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn zones(&self) -> Zones {
        Zones::read(&self.write("zones.csv", ZONES)).unwrap()
    }

    fn read(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<Trips, RidesError> {
        Trips::read(&self.write(name, bytes), &self.zones(), &TripRules::default(), &mut |_| {})
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn counts(trips: &Trips) -> Vec<(&'static str, u64)> {
    trips.rejected().by_reason.iter().map(|(reason, count)| (reason.as_str(), count.records)).collect()
}

const DIRTY: &str = "\
VendorID,tpep_dropoff_datetime,tpep_pickup_datetime,trip_distance,DOLocationID,PULocationID
2,2018-01-11 18:35:02,2018-01-11 18:24:44,1.65,2,1
2,2018-01-11 18:24:44,2018-01-11 18:24:44,0,2,1
2,2018-01-11 18:24:43,2018-01-11 18:24:44,0,2,1
2,2018-01-11 18:25:43,2018-01-11 18:24:44,0,2,1
2,2018-01-11 18:25:44,2018-01-11 18:24:44,0,2,1
2,2018-01-11 20:24:44,2018-01-11 18:24:44,0,2,1
2,2018-01-11 20:24:45,2018-01-11 18:24:44,0,2,1
2,2018-01-11 18:35:02,2018-01-11 18:24:44,0,265,1
2,2018-01-11 18:35:02,2018-01-11 18:24:44,0,2,264
2,2018-01-11 18:35:02,,0,2,1
2,2018-01-11 18:35:02,2018-01-11 18:24:44,\"1.65,2,1
2,2018-01-11 18:35:02
2,2018-01-11 18:35:02,2018-01-11 18:24:44,0,two,1
2,2008-12-31 23:59:59,2008-12-31 23:24:44,0,2,1

2,2018-01-11 18:35:02,2018-01-11 18:24:44,-1.65,2,1
2,\"2018-01-12T18:35:02.500\",\"2018-01-12T18:24:44.000\",0,3.0,\"262\"
";

#[test]
fn dirt_is_counted_by_reason_and_the_rest_goes_on() {
    let folder = Folder::new();
    let trips = folder.read("trips.csv", DIRTY).unwrap();
    assert_eq!(trips.len(), 4);
    assert_eq!(
        counts(&trips),
        [
            ("unreadable", 3),
            ("zero_duration", 2),
            ("too_short", 1),
            ("too_long", 1),
            ("unknown_zone", 2),
            ("out_of_period", 1),
            ("duplicate", 2)
        ]
    );
    let unreadable = &trips.rejected().by_reason[&Reason::Unreadable];
    // Line and byte lead to the record; the stray quote in line 12 swallows nothing.
    assert_eq!(unreadable.first.iter().map(|at| at.line).collect::<Vec<_>>(), [11, 13, 14]);
    for (at, begins) in unreadable.first.iter().zip([
        "2,2018-01-11 18:35:02,,",
        "2,2018-01-11 18:35:02\n",
        "2,2018-01-11 18:35:02,2018-01-11 18:24:44,0,two",
    ]) {
        assert!(DIRTY[at.byte.unwrap() as usize..].starts_with(begins), "{at:?}");
    }
    let text = trips.rejected().to_string();
    assert!(text.starts_with("12 left out: 3 unreadable (first at line 11: `` is not a time like"), "{text}");
    assert_eq!(trips.rejected().count(Reason::Duplicate), 2);
    let json = serde_json::to_value(trips.rejected()).unwrap();
    assert_eq!(json["by_reason"]["too_long"]["first"][0]["line"], 8);
}

#[test]
fn one_trip_becomes_one_ride() {
    let folder = Folder::new();
    let weather = folder.write(
        "weather.csv",
        "STATION,NAME,DATE,PRCP,SNOW,TMAX,TMIN\nUSW1,\"NEW YORK, NY\",2018-01-11,0.5,1.0,50,32\nUSW1,\"NEW YORK, NY\",2018-01-12,,,50,\n",
    );
    let weather = DailyWeather::read(&weather).unwrap();
    let trips = folder.read("trips.csv", DIRTY).unwrap();
    let recording = Recording::new(folder.zones(), weather, 7).unwrap();
    let rides: Vec<Ride> = recording.rides(trips.as_slice()).collect();
    assert_eq!(rides.len(), 4);
    let last = &rides[3];
    assert_eq!(last.requested_at.to_string(), "2018-01-12T23:24:44Z");
    assert_eq!((last.rider.zone, last.rider.lat_deg, last.rider.lon_deg), (Some(3), 40.864474, -73.847422));
    let driven = &last.cars[last.driven];
    assert_eq!((driven.place.zone, driven.drive_s), (Some(262), Some(618.5)));
    assert_eq!(last.weather.rain_mm, None);
    let weather = rides[0].weather;
    assert_eq!((weather.rain_mm, weather.snow_mm, weather.temperature_c), (Some(12.7), Some(25.4), Some(5.0)));
    assert!(rides.windows(2).all(|pair| pair[0].requested_at <= pair[1].requested_at));
    for ride in &rides {
        check_recorded(ride);
        let shown: Vec<_> = ride.cars.iter().map(|car| (car.candidate_id.clone(), 100.0)).collect();
        let events = ride.outcome(ride.dispatch(&shown).unwrap()).unwrap();
        let micros = events[1].arrived_at.unwrap().as_microsecond() - ride.requested_at.as_microsecond();
        assert_eq!(micros as f64 / 1e6, ride.training_row().unwrap().drive_s);
    }
    // Another seed invents others; the same seed the same, whatever else the file holds.
    let other = Recording::new(folder.zones(), DailyWeather::default(), 8).unwrap();
    assert_ne!(other.rides(trips.as_slice()).next().unwrap().prediction_id, rides[0].prediction_id);
    let header = DIRTY.lines().next().unwrap();
    let alone = folder.read("one.csv", format!("{header}\n{}\n", DIRTY.lines().last().unwrap())).unwrap();
    assert_eq!(recording.rides(alone.as_slice()).next().unwrap(), *last);
}

fn check_recorded(ride: &Ride) {
    assert!((1..=MAX_CARS).contains(&ride.cars.len()) && ride.driven < ride.cars.len() && ride.patience.is_none());
    let ids: BTreeSet<_> = ride.cars.iter().map(|car| &car.candidate_id).collect();
    let zones: BTreeSet<_> = ride.cars.iter().map(|car| car.place.zone).collect();
    assert_eq!((ids.len(), zones.len()), (ride.cars.len(), ride.cars.len()));
    for (index, car) in ride.cars.iter().enumerate() {
        assert_eq!(car.drive_s.is_some(), index == ride.driven);
        assert!(index == ride.driven || car.place.zone != ride.rider.zone);
    }
}

const CLEAN: [(&str, &str, i64, i64); 3] = [
    ("2019-03-10 01:50:00", "2019-03-10 03:10:00", 1, 2),
    ("2019-03-11 08:00:00", "2019-03-11 08:20:30", 2, 3),
    ("2019-11-03 01:50:00", "2019-11-03 01:10:00", 3, 1),
];

fn clean_csv(names: [&str; 4]) -> String {
    let rows = CLEAN.map(|(pickup, dropoff, from, to)| format!("{pickup},{from},x,{to},{dropoff}\n"));
    format!("{},{},other,{},{}\n{}", names[0], names[2], names[3], names[1], rows.concat())
}

fn wall_us(text: &str) -> i64 {
    format!("{}Z", text.replace(' ', "T")).parse::<Timestamp>().unwrap().as_microsecond()
}

fn parquet(columns: Vec<(&str, ArrayRef)>, compression: basic::Compression) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn every_format_holds_the_same_trips() {
    let folder = Folder::new();
    let expected = folder
        .read("a", clean_csv(["pickup_datetime", "dropoff_datetime", "pickup_location_id", "dropoff_location_id"]))
        .unwrap();
    assert_eq!((expected.len(), expected.rejected().total()), (3, 0));
    let recording = Recording::new(folder.zones(), DailyWeather::default(), 1).unwrap();
    let drives: Vec<f64> =
        recording.rides(expected.as_slice()).map(|ride| ride.training_row().unwrap().drive_s).collect();
    assert_eq!(drives, [1200.0, 1230.0, 1200.0]);

    let green = clean_csv(["lpep_pickup_datetime", "Lpep_dropoff_datetime", "\u{feff}PULocationID", "DOlocationID"]);
    // The byte order mark belongs before the first column.
    let green = format!("\u{feff}{}", green.replace('\u{feff}', ""));
    assert_eq!(folder.read("b", green.as_bytes()).unwrap(), expected);
    let (head, tail) = green.split_at(100);
    // Two gzip members are one file.
    let members = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
    assert_eq!(folder.read("c.parquet", members).unwrap(), expected);

    let times = |which: fn(&(&'static str, &'static str, i64, i64)) -> &'static str| {
        CLEAN.iter().map(move |row| wall_us(which(row)))
    };
    let (pickups, dropoffs) = (|| times(|row| row.0), || times(|row| row.1));
    let ids = |which: fn(&(&'static str, &'static str, i64, i64)) -> i64| CLEAN.iter().map(which).collect::<Vec<i64>>();
    let (from, to) = (ids(|row| row.2), ids(|row| row.3));
    let int64 = |ids: &[i64]| Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef;
    let int32 =
        |ids: &[i64]| Arc::new(Int32Array::from(ids.iter().map(|&id| id as i32).collect::<Vec<_>>())) as ArrayRef;
    let float =
        |ids: &[i64]| Arc::new(Float64Array::from(ids.iter().map(|&id| id as f64).collect::<Vec<_>>())) as ArrayRef;
    let text = |which: fn(&(&'static str, &'static str, i64, i64)) -> &'static str| {
        Arc::new(StringArray::from(CLEAN.iter().map(which).collect::<Vec<_>>())) as ArrayRef
    };
    let micros = |us: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(us)) as ArrayRef;
    let millis = |us: Vec<i64>| {
        Arc::new(TimestampMillisecondArray::from(us.iter().map(|us| us / 1000).collect::<Vec<_>>())) as ArrayRef
    };
    let nanos = |us: Vec<i64>| {
        Arc::new(TimestampNanosecondArray::from(us.iter().map(|us| us * 1000).collect::<Vec<_>>())) as ArrayRef
    };
    let other = int64(&[9, 9, 9]);

    let yellow = |pickup, dropoff, from, to| {
        vec![
            ("VendorID", Arc::clone(&other)),
            ("DOLocationID", to),
            ("tpep_pickup_datetime", pickup),
            ("tpep_dropoff_datetime", dropoff),
            ("PULocationID", from),
        ]
    };
    let snake = |pickup, dropoff, from, to| {
        vec![
            ("dropoff_location_id", to),
            ("pickup_datetime", pickup),
            ("x", Arc::clone(&other)),
            ("dropoff_datetime", dropoff),
            ("pickup_location_id", from),
        ]
    };
    for (name, bytes) in [
        (
            "us",
            parquet(
                yellow(micros(pickups().collect()), micros(dropoffs().collect()), int64(&from), int64(&to)),
                basic::Compression::SNAPPY,
            ),
        ),
        (
            "ns",
            parquet(
                snake(nanos(pickups().collect()), nanos(dropoffs().collect()), int32(&from), int64(&to)),
                basic::Compression::ZSTD(basic::ZstdLevel::default()),
            ),
        ),
        (
            "ms",
            parquet(
                snake(millis(pickups().collect()), millis(dropoffs().collect()), float(&from), float(&to)),
                basic::Compression::GZIP(basic::GzipLevel::default()),
            ),
        ),
        (
            "text",
            parquet(
                yellow(text(|row| row.0), text(|row| row.1), int64(&from), int32(&to)),
                basic::Compression::UNCOMPRESSED,
            ),
        ),
    ] {
        assert_eq!(folder.read("whatever.csv", bytes).unwrap(), expected, "{name}");
    }
    // Columns that say that they are UTC are instants, not wall clocks.
    let instants =
        Arc::new(TimestampMicrosecondArray::from(pickups().collect::<Vec<_>>()).with_timezone("UTC")) as ArrayRef;
    let later = pickups().map(|us| us + 90_000_000).collect();
    let later =
        Arc::new(TimestampMicrosecondArray::from_iter_values::<Vec<i64>>(later).with_timezone("UTC")) as ArrayRef;
    let trips = folder
        .read("utc", parquet(yellow(instants, later, int64(&from), int64(&to)), basic::Compression::SNAPPY))
        .unwrap();
    assert_eq!(recording.rides(trips.as_slice()).next().unwrap().requested_at.to_string(), "2019-03-10T01:50:00Z");
}

#[test]
fn nulls_and_wrong_types_in_parquet() {
    let folder = Folder::new();
    let pickup = wall_us("2019-03-11 08:00:00");
    let columns = |from: ArrayRef| {
        let times = |add_s: i64| {
            Arc::new(TimestampMicrosecondArray::from(vec![Some(pickup + add_s * 1_000_000), None, Some(pickup)]))
                as ArrayRef
        };
        vec![
            ("pickup_datetime", times(0)),
            ("dropoff_datetime", times(300)),
            ("PULocationID", from),
            ("DOLocationID", Arc::new(Float64Array::from(vec![1.0, 1.0, 1.5])) as ArrayRef),
        ]
    };
    let bytes = parquet(columns(Arc::new(Int64Array::from(vec![1, 1, 1]))), basic::Compression::SNAPPY);
    let trips = folder.read("x", &bytes).unwrap();
    assert_eq!((trips.len(), counts(&trips)), (1, vec![("unreadable", 2)]));
    assert_eq!(
        trips.rejected().by_reason[&Reason::Unreadable].first,
        [At { line: 2, byte: None }, At { line: 3, byte: None }]
    );
    let names = Arc::new(StringArray::from(vec!["1", "1", "1"]));
    let error = folder.read("x", parquet(columns(names), basic::Compression::SNAPPY)).unwrap_err();
    assert_eq!(error.reason(), "column_type");
    assert!(
        error.to_string().contains("column `PULocationID` has type Utf8; expected an integer or a float"),
        "{error}"
    );
    assert_eq!(folder.read("x", &bytes[..bytes.len() - 20]).unwrap_err().reason(), "damaged_parquet");
}

#[test]
fn errors_say_what_to_do() {
    let folder = Folder::new();
    let error = folder.read("x.csv", "a,b\n1,2\n").unwrap_err();
    assert_eq!(error.reason(), "missing_column");
    assert!(error.to_string().contains("no column for the pick-up time; expected one named pickup_datetime or tpep_pickup_datetime or lpep_pickup_datetime, found a, b"), "{error}");
    for (bytes, found) in [(&b"PK\x03\x04...."[..], "ZIP"), (b"\x28\xb5\x2f\xfd..", "Zstandard"), (b"", "empty")] {
        let error = folder.read("x", bytes).unwrap_err();
        assert_eq!(error.reason(), "unsupported_format");
        assert!(error.to_string().contains(found), "{error}");
    }
    // A download that broke off.
    let whole = gzip(DIRTY.repeat(50).as_bytes());
    assert_eq!(folder.read("x.gz", &whole[..whole.len() / 2]).unwrap_err().reason(), "unreadable_file");
    let missing =
        Trips::read("/no/such/file".as_ref(), &folder.zones(), &TripRules::default(), &mut |_| {}).unwrap_err();
    assert_eq!(missing.reason(), "unreadable_file");

    let zones = |text: &str| Zones::read(&folder.write("z.csv", text)).unwrap_err();
    let error = zones(&ZONES.replace("40.616746", "n/a"));
    assert!(
        error.to_string().contains("z.csv, line 3: centroid_lat is `n/a`; expected degrees between -90 and 90"),
        "{error}"
    );
    assert!(zones(&ZONES.replace(",262,", ",1,")).to_string().contains("line 5: location_id is `1`"));
    let weather = |text: &str| DailyWeather::read(&folder.write("w.csv", text)).unwrap_err();
    assert!(
        weather("DATE,PRCP\n2018-01-01,T\n").to_string().contains("PRCP is `T`; expected a number between 0 and 40")
    );
    assert!(weather("DATE,PRCP\n2018-01-01,0\n2018-01-01,0\n").to_string().contains("STATION"));
    assert_eq!(weather("DATE\n01/02/2018\n").reason(), "bad_row");
}

#[test]
fn several_files_become_one() {
    let folder = Folder::new();
    let one = folder.read("a.csv", DIRTY).unwrap();
    let both = one.clone().merge(
        folder
            .read("b.csv", clean_csv(["pickup_datetime", "dropoff_datetime", "pulocationid", "dolocationid"]))
            .unwrap(),
    );
    assert_eq!(both.len(), 7);
    let twice = one.clone().merge(one);
    assert_eq!((twice.len(), twice.rejected().count(Reason::Duplicate), twice.rejected().total()), (4, 2 + 2 + 4, 28));
    let (earlier, later) = split_by_time(both.into_vec(), 0.5);
    // Of seven trips three began at one instant, and stay together.
    assert_eq!((earlier.len(), later.len()), (4, 3));
}

#[test]
fn progress_reaches_the_end() {
    let folder = Folder::new();
    let header = DIRTY.lines().next().unwrap();
    let row = |row| {
        let (day, minute, second, zone) = (1 + row % 3, row % 60, row / 60 % 60, 1 + row % 2);
        format!("2,2018-01-{day:02} 10:{minute:02}:{second:02},2018-01-01 08:10:00,1,2,{zone}\n")
    };
    let rows = (0..40_000).map(row).collect::<Vec<_>>().concat();
    for bytes in [format!("{header}\n{rows}").into_bytes(), gzip(format!("{header}\n{rows}").as_bytes())] {
        let path = folder.write("long.csv", &bytes);
        let mut seen: Vec<Progress> = Vec::new();
        Trips::read(&path, &folder.zones(), &TripRules::default(), &mut |progress| seen.push(progress)).unwrap();
        assert_eq!(
            seen.last(),
            Some(&Progress { rows: 40_000, bytes: bytes.len() as u64, bytes_total: bytes.len() as u64 })
        );
        assert!(
            seen.len() >= 3
                && seen.windows(2).all(|pair| pair[0].rows <= pair[1].rows && pair[0].bytes <= pair[1].bytes)
        );
    }
}

/// The public records beside the repository, where they are.
#[test]
fn new_york_2018_and_2019() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.join("trips_dev.csv.gz").exists() {
        println!("skipped: no {}", data.display());
        return;
    }
    let zones = Zones::read(&data.join("zones.csv")).unwrap();
    let weather = DailyWeather::read(&data.join("weather_central_park_daily_2018_2020.csv")).unwrap();
    assert_eq!((zones.as_slice().len(), weather.len()), (260, 1096));
    let started = std::time::Instant::now();
    let trips = Trips::read(&data.join("trips_dev.csv.gz"), &zones, &TripRules::default(), &mut |_| {}).unwrap();
    println!("{} trips in {:?}; {}", trips.len(), started.elapsed(), trips.rejected());
    assert_eq!(trips.len() as u64 + trips.rejected().total(), 190_000);
    assert_eq!(
        counts(&trips),
        [("zero_duration", 153), ("too_short", 1605), ("too_long", 464), ("unknown_zone", 2931)]
    );
    let recording = Recording::new(zones, weather, 1).unwrap();
    let mut sum_s = 0.0;
    let mut sizes = [0; MAX_CARS + 1];
    for ride in recording.rides(trips.as_slice()).step_by(20) {
        check_recorded(&ride);
        assert!(ride.weather.rain_mm.is_some());
        sizes[ride.cars.len()] += 1;
        sum_s += ride.training_row().unwrap().drive_s;
    }
    let mean_s = sum_s / trips.len().div_ceil(20) as f64;
    assert!((700.0..1000.0).contains(&mean_s), "{mean_s}");
    assert!(sizes[0] == 0 && sizes[1..].iter().all(|&count| count > 300), "{sizes:?}");
}
