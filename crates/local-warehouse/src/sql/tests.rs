//! The dialect: expressions and queries against BigQuery's documented values.

use serde_json::{Value as Json, json};

use crate::{Options, Schema, Warehouse, WriteDisposition};

fn warehouse() -> (tempfile::TempDir, Warehouse) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(Options::new(folder.path())).unwrap();
    let write = |name: &str, schema: &str, rows: Json| {
        let table = warehouse.table_ref(name).unwrap();
        let rows = rows.as_array().unwrap().clone();
        warehouse.write_rows(&table, &Schema::parse(schema).unwrap(), WriteDisposition::Truncate, rows).unwrap();
    };
    write(
        "d.rides",
        "id:INT64,zone:STRING,fare:NUMERIC,at:TIMESTAMP,km:FLOAT64",
        json!([
            { "id": 1, "zone": "a", "fare": "10.5", "at": "2024-03-01T00:30:00Z", "km": 1.5 },
            { "id": 2, "zone": "a", "fare": "9.25", "at": "2024-03-01T09:00:00Z", "km": 2.5 },
            { "id": 3, "zone": "b", "fare": "100", "at": "2024-03-02T10:00:00Z", "km": null },
            { "id": 4, "zone": null, "fare": null, "at": null, "km": 4.0 },
        ]),
    );
    write(
        "d.zones",
        "zone:STRING,name:STRING",
        json!([{ "zone": "a", "name": "Alpha" }, { "zone": "c", "name": "Gamma" }]),
    );
    (folder, warehouse)
}

/// A query's rows as plain JSON, without the columns' names.
fn rows(warehouse: &Warehouse, query: &str) -> Json {
    let found = warehouse.query(query, Some("d"), 1_000).unwrap_or_else(|error| panic!("{query}: {error}"));
    let names: Vec<_> = found.schema.0.iter().map(|field| field.name.clone()).collect();
    found.objects().iter().map(|row| names.iter().map(|name| row[name].clone()).collect::<Json>()).collect()
}

#[test]
fn expressions_have_bigquerys_values() {
    let (_folder, warehouse) = warehouse();
    let cases = [
        // Numbers.
        ("1 / 2", json!(0.5)),
        ("DIV(7, 2)", json!(3)),
        ("MOD(-7, 2)", json!(-1)),
        ("SAFE_DIVIDE(1, 0)", json!(null)),
        ("ROUND(2.5)", json!(3.0)),
        ("ROUND(1234.5678, -2)", json!(1200.0)),
        ("CAST(2.5 AS INT64)", json!(3)),
        ("CAST('12' AS INT64) + 1", json!(13)),
        ("SAFE_CAST('x' AS INT64)", json!(null)),
        ("NUMERIC '1.10' + 1", json!("2.1")),
        ("NUMERIC '10' > NUMERIC '9.5'", json!(true)),
        ("GREATEST(NUMERIC '10', NUMERIC '9')", json!("10")),
        ("-9223372036854775808", json!(i64::MIN)),
        ("0x1F + ABS(-1) + SIGN(-2)", json!(31)),
        ("5 & 6 | 1", json!(5)),
        ("POW(2, 10) = 1024", json!(true)),
        ("IEEE_DIVIDE(0, 0)", json!("NaN")),
        // Texts and bytes.
        ("CONCAT('a', 'b') || 'c'", json!("abc")),
        ("UPPER('straße ä')", json!("STRASSE Ä")),
        ("SUBSTR('apple', -3, 2)", json!("pl")),
        ("SUBSTR('apple', 0, 2)", json!("ap")),
        ("TRIM('  x ') || LTRIM('xxay', 'x')", json!("xay")),
        ("'Abc' LIKE 'a%'", json!(false)),
        ("'a_c' LIKE 'a\\\\_c' AND NOT 'abc' LIKE 'a\\\\_c'", json!(true)),
        ("SPLIT('a,b')", json!(["a", "b"])),
        ("TO_HEX(b'\\x00\\xff\\n')", json!("00ff0a")),
        ("'\\u3042\\x41\\'\\101' || \"\\t\"", json!("あA'A\t")),
        ("STRPOS('hello', 'l')", json!(3)),
        ("LENGTH('日本')", json!(2)),
        ("BYTE_LENGTH('日本')", json!(6)),
        ("STARTS_WITH('bar', 'b') AND ENDS_WITH('bar', 'r')", json!(true)),
        ("r'a\\b'", json!("a\\b")),
        // From BigQuery's documentation of FARM_FINGERPRINT: CONCAT(CAST(x AS STRING), y, CAST(z AS STRING)).
        ("FARM_FINGERPRINT('1footrue')", json!(-1541654101129638711_i64)),
        ("FARM_FINGERPRINT('2applefalse')", json!(2794438866806483259_i64)),
        ("JSON_VALUE('{\"a\": {\"b\": [1, true]}}', '$.a.b[1]')", json!("true")),
        // Conditions.
        ("NULL IS NULL AND NOT NULL IS NOT NULL", json!(true)),
        ("IF(1 > 2, 'a', NULL)", json!(null)),
        ("COALESCE(NULL, 2, 3)", json!(2)),
        ("CASE 3 WHEN 1 THEN 'x' WHEN 3 THEN 'y' END", json!("y")),
        ("NULLIF(1, 1)", json!(null)),
        ("3 BETWEEN 1 AND 2.5", json!(false)),
        ("2 IN (1, 2)", json!(true)),
        ("1 NOT IN (SELECT 2)", json!(true)),
        ("2 IN UNNEST([1, 2])", json!(true)),
        ("NULL IS NOT DISTINCT FROM NULL", json!(true)),
        // Dates and times.
        ("DATE '2024-02-29' + 1", json!("2024-03-01")),
        ("DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", json!("2024-02-29")),
        ("TIMESTAMP '2024-03-10 07:30:00 America/New_York'", json!("2024-03-10T11:30:00Z")),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-03-10 03:30:00+00', DAY, 'America/New_York')", json!("2024-03-09T05:00:00Z")),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-02', TIMESTAMP '2024-01-01 12:00:01', HOUR)", json!(11)),
        ("TIMESTAMP_SUB(TIMESTAMP '2024-01-01', INTERVAL 90 MINUTE)", json!("2023-12-31T22:30:00Z")),
        ("TIMESTAMP '2024-01-01' + INTERVAL 1 DAY", json!("2024-01-02T00:00:00Z")),
        ("EXTRACT(HOUR FROM TIMESTAMP '2024-07-01 00:00:00+00' AT TIME ZONE 'Asia/Tokyo')", json!(9)),
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-03-03')", json!(1)),
        ("EXTRACT(WEEK(MONDAY) FROM DATE '2017-11-05')", json!(44)),
        ("DATE_TRUNC(DATE '2024-03-31', WEEK(MONDAY))", json!("2024-03-25")),
        ("DATE(TIMESTAMP '2024-01-01 01:00:00+00', 'America/New_York')", json!("2023-12-31")),
        ("DATETIME(2024, 1, 2, 3, 4, 5)", json!("2024-01-02T03:04:05")),
        ("CAST(TIMESTAMP '2024-01-01 00:00:00.5+00' AS STRING)", json!("2024-01-01 00:00:00.500+00")),
        ("FORMAT_TIMESTAMP('%F %T', TIMESTAMP '2024-01-01', 'Asia/Tokyo')", json!("2024-01-01 09:00:00")),
        ("PARSE_DATE('%Y%m%d', '20240229')", json!("2024-02-29")),
        ("PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%E*S', '2024-01-01 00:00:00.25')", json!("2024-01-01T00:00:00.250Z")),
        ("UNIX_SECONDS(TIMESTAMP_MILLIS(1500))", json!(1)),
        ("LAST_DAY(DATE '2024-02-01')", json!("2024-02-29")),
        ("DATE '2024-01-01' < '2024-01-02'", json!(true)),
        // Arrays and structs.
        ("ARRAY_LENGTH(GENERATE_ARRAY(1, 10, 3))", json!(4)),
        ("[1, 2, 3][OFFSET(1)] + [1, 2, 3][ORDINAL(1)]", json!(3)),
        ("STRUCT(1 AS a, 'x' AS b)", json!({ "a": 1, "b": "x" })),
        ("STRUCT(STRUCT(TRUE AS t) AS s).s.t", json!(true)),
        ("[STRUCT(b'ab' AS y)][OFFSET(0)].y", json!("YWI=")),
        ("ARRAY(SELECT x * 2 FROM UNNEST([1, 2]) AS x)", json!([2, 4])),
        ("(SELECT SUM(x * o) FROM UNNEST([5, 6]) AS x WITH OFFSET AS o)", json!(6)),
        ("EXISTS (SELECT 1 FROM UNNEST([1]) AS x WHERE x > 1)", json!(false)),
    ];
    for (expression, wanted) in cases {
        assert_eq!(rows(&warehouse, &format!("SELECT {expression} AS x")), json!([[wanted]]), "{expression}");
    }
}

#[test]
fn queries_have_bigquerys_rows() {
    let (_folder, warehouse) = warehouse();
    let cases = [
        ("SELECT id FROM rides WHERE fare > 10 ORDER BY fare DESC", json!([[3], [1]])),
        ("SELECT id FROM rides ORDER BY fare LIMIT 2 OFFSET 1", json!([[2], [1]])),
        ("SELECT * EXCEPT (fare, at) REPLACE (id + 10 AS id) FROM rides WHERE id = 1", json!([[11, "a", 1.5]])),
        ("SELECT zone, COUNT(*) AS n FROM rides GROUP BY zone ORDER BY 1", json!([[null, 1], ["a", 2], ["b", 1]])),
        ("SELECT zone AS z, SUM(fare) AS s FROM rides GROUP BY z HAVING COUNT(*) > 1", json!([["a", "19.75"]])),
        (
            "SELECT MIN(fare) AS a, MAX(fare) AS b, AVG(km) AS c FROM rides",
            json!([["9.25", "100", 2.6666666666666665]]),
        ),
        ("SELECT COUNTIF(km > 2) AS a, COUNT(DISTINCT zone) AS b, COUNT(km) AS c FROM rides", json!([[2, 2, 3]])),
        ("SELECT STRING_AGG(zone, '-' ORDER BY id DESC) AS s FROM rides", json!([["b-a-a"]])),
        (
            "SELECT ARRAY_AGG(STRUCT(id, km) ORDER BY id) AS a FROM rides WHERE id < 3",
            json!([[[{ "id": 1, "km": 1.5 }, { "id": 2, "km": 2.5 }]]]),
        ),
        ("SELECT STDDEV_SAMP(id) AS s, VAR_POP(id) AS v FROM rides", json!([[1.2909944487358056, 1.25]])),
        (
            "SELECT r.id, name FROM rides AS r LEFT JOIN zones USING (zone) ORDER BY id",
            json!([[1, "Alpha"], [2, "Alpha"], [3, null], [4, null]]),
        ),
        ("SELECT z.name FROM rides r RIGHT JOIN zones z ON r.zone = z.zone WHERE r.id IS NULL", json!([["Gamma"]])),
        (
            "SELECT * FROM zones CROSS JOIN UNNEST([1, 2]) AS n WHERE name = 'Alpha' ORDER BY n",
            json!([["a", "Alpha", 1], ["a", "Alpha", 2]]),
        ),
        (
            "SELECT id FROM rides QUALIFY ROW_NUMBER() OVER (PARTITION BY zone ORDER BY km DESC) = 1 ORDER BY id",
            json!([[2], [3], [4]]),
        ),
        (
            "SELECT id, LAG(id) OVER (ORDER BY id) AS p, SUM(id) OVER w AS s FROM rides WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY id",
            json!([[1, null, 1], [2, 1, 3], [3, 2, 5], [4, 3, 7]]),
        ),
        (
            "WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT * FROM b UNION ALL SELECT * FROM a ORDER BY x",
            json!([[1], [2]]),
        ),
        ("SELECT 1 AS x UNION ALL SELECT 2.5", json!([[1.0], [2.5]])),
        ("SELECT DISTINCT zone FROM `mannen.d.rides` WHERE zone IS NOT NULL ORDER BY zone", json!([["a"], ["b"]])),
        (
            "SELECT id FROM d.rides WHERE zone IN (SELECT zone FROM zones) AND DATE(at) = '2024-03-01' ORDER BY id",
            json!([[1], [2]]),
        ),
        (
            "SELECT (SELECT name FROM zones AS z WHERE z.zone = r.zone) AS n FROM rides AS r WHERE id = 1",
            json!([["Alpha"]]),
        ),
        ("SELECT COUNT(*) AS n FROM rides FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()", json!([[4]])),
        ("SELECT r.id FROM rides AS r FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP() WHERE id = 1", json!([[1]])),
        (
            "SELECT EXTRACT(DATE FROM at) AS day, COUNT(*) AS n FROM rides WHERE at IS NOT NULL GROUP BY day ORDER BY day",
            json!([["2024-03-01", 2], ["2024-03-02", 1]]),
        ),
    ];
    let mut failed = Vec::new();
    for (query, wanted) in cases {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rows(&warehouse, query))) {
            Ok(found) if found == wanted => {}
            other => failed.push(format!("{query}\n  found {:?}\n  wanted {wanted}", other.map_err(|_| "see above"))),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn schemas_are_typed() {
    let (_folder, warehouse) = warehouse();
    let found = warehouse
        .query("SELECT id, 1, fare * 2 AS f, at, [id] AS a, NULL AS n, STRUCT(km) AS s, id FROM rides", Some("d"), 1)
        .unwrap_err();
    assert!(found.to_string().contains("Duplicate column names"), "{found}");
    let found = warehouse.query(
        "SELECT id, 1, fare * 2 AS f, at, [id] AS a, NULL AS n, STRUCT(km) AS s FROM rides",
        Some("d"),
        1,
    );
    let found = found.unwrap();
    let types: Vec<_> =
        found.schema.0.iter().map(|field| format!("{}:{}:{:?}", field.name, field.kind.name(), field.mode)).collect();
    assert_eq!(
        types,
        [
            "id:INT64:Nullable",
            "f0_:INT64:Nullable",
            "f:NUMERIC:Nullable",
            "at:TIMESTAMP:Nullable",
            "a:INT64:Repeated",
            "n:INT64:Nullable",
            "s:STRUCT:Nullable",
        ]
    );
    // Only what is read is billed: INT64 and TIMESTAMP of four rows, one of them NULL, and so on.
    assert_eq!(found.bytes, 4 * 8 + 3 * 16 + 3 * 8 + 3 * 8);
}

#[test]
fn the_past_can_be_read() {
    let (_folder, warehouse) = warehouse();
    let table = warehouse.table_ref("d.zones").unwrap();
    let before = jiff::Timestamp::now();
    let schema = Schema::parse("other:INT64").unwrap();
    warehouse.write_rows(&table, &schema, WriteDisposition::Truncate, [json!({ "other": 1 })]).unwrap();
    warehouse.write_rows(&table, &schema, WriteDisposition::Append, [json!({ "other": 2 })]).unwrap();
    assert_eq!(rows(&warehouse, "SELECT other FROM zones ORDER BY other"), json!([[1], [2]]));
    let past = format!("SELECT name FROM zones FOR SYSTEM_TIME AS OF TIMESTAMP '{before}' ORDER BY name");
    assert_eq!(rows(&warehouse, &past), json!([["Alpha"], ["Gamma"]]));
    for (time, why) in [("TIMESTAMP '2999-01-01'", "in the future"), ("TIMESTAMP '2020-01-01'", "7 days")] {
        let wrong = warehouse.query(&format!("SELECT 1 FROM zones FOR SYSTEM_TIME AS OF {time}"), Some("d"), 1);
        assert!(wrong.unwrap_err().to_string().contains(why));
    }
}
