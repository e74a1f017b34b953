"""DuckDB computes what crates/features/examples/agreement wrote, and must agree: agree_with_duckdb.py LINES README

Floats agree within a relative 1e-12, everything else exactly. The deliberate differences must differ, and README.md must
list each of them.
"""

import json
import math
import sys
from pathlib import Path

import duckdb

TYPES = {"float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN", "string": "VARCHAR", "timestamp": "TIMESTAMPTZ"}
# What an expression's second writing uses: the listed differences, told to DuckDB.
MACROS = """
CREATE MACRO fin(x) AS CASE WHEN isfinite(x) THEN x END;
CREATE MACRO our_int(x) AS CASE WHEN regexp_full_match(trim(x), '[+-]?[0-9]+') THEN TRY_CAST(x AS BIGINT) END;
CREATE MACRO our_bool(x) AS CASE lower(trim(x)) WHEN 'true' THEN true WHEN 'false' THEN false END;
CREATE MACRO our_least(x, y) AS CASE WHEN x IS NOT NULL AND y IS NOT NULL THEN least(x, y) END;
CREATE MACRO our_greatest(x, y) AS CASE WHEN x IS NOT NULL AND y IS NOT NULL THEN greatest(x, y) END;
CREATE MACRO our_unix_seconds(x) AS
    (epoch_us(x) - (epoch_us(x) % 1000000 + 1000000) % 1000000) // 1000000;
CREATE MACRO our_substr(x, start, length) AS CASE WHEN length >= 0 AND start IS NOT NULL THEN substr(x,
    CASE WHEN start > 0 THEN start WHEN start < 0 THEN greatest(length(x) + start, 0) + 1 ELSE 1 END, length) END;
CREATE MACRO our_left(x, n) AS CASE WHEN n >= 0 THEN left(x, n) END;
CREATE MACRO our_right(x, n) AS CASE WHEN n >= 0 THEN right(x, n) END;
"""
PER_QUERY = 40
MASK = (1 << 64) - 1


def xxh64(text):
    """xxHash64 with seed 0 of the UTF-8 bytes (github.com/Cyan4973/xxHash, doc/xxhash_spec.md)."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
    rotate = lambda x, by: ((x << by) | (x >> (64 - by))) & MASK
    lane = lambda acc, value: rotate((acc + value * p2) & MASK, 31) * p1 & MASK
    data = text.encode()
    length, at = len(data), 0
    if length >= 32:
        accs = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while at + 32 <= length:
            accs = [lane(acc, int.from_bytes(data[at + 8 * n : at + 8 * n + 8], "little")) for n, acc in enumerate(accs)]
            at += 32
        hash_ = sum(rotate(acc, by) for acc, by in zip(accs, (1, 7, 12, 18))) & MASK
        for acc in accs:
            hash_ = ((hash_ ^ lane(0, acc)) * p1 + p4) & MASK
    else:
        hash_ = p5
    hash_ = (hash_ + length) & MASK
    while at + 8 <= length:
        hash_ ^= lane(0, int.from_bytes(data[at : at + 8], "little"))
        hash_, at = (rotate(hash_, 27) * p1 + p4) & MASK, at + 8
    if at + 4 <= length:
        hash_ ^= int.from_bytes(data[at : at + 4], "little") * p1 & MASK
        hash_, at = (rotate(hash_, 23) * p2 + p3) & MASK, at + 4
    for byte in data[at:]:
        hash_ = rotate(hash_ ^ (byte * p5 & MASK), 11) * p1 & MASK
    hash_ = (hash_ ^ hash_ >> 33) * p2 & MASK
    hash_ = (hash_ ^ hash_ >> 29) * p3 & MASK
    return hash_ ^ hash_ >> 32


def agree(ours, theirs):
    if ours is None or theirs is None:
        return ours is theirs
    if ours == theirs:
        return True
    # Numbers below the normal ones have fewer digits.
    return math.isfinite(theirs) and abs(ours - theirs) <= max(1e-12 * max(abs(ours), abs(theirs)), 1e-320)


def as_ours(value, is_text):
    if value is None:
        return None
    return float(xxh64(value) % 2147483647) if is_text else float(value)


def main(lines, readme):
    lines = [json.loads(line) for line in Path(lines).read_text().splitlines()]
    columns, rows = lines[0]["columns"], lines[0]["rows"]
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute(MACROS)
    declared = ", ".join(f"{name} {TYPES[of]}" for name, of in columns)
    database.execute(f"CREATE TABLE inputs (row INTEGER, {declared})")
    places = ", ".join("?" * (len(columns) + 1))
    for number, row in enumerate(rows):
        database.execute(f"INSERT INTO inputs VALUES ({places})", [number] + [row[name] for name, _ in columns])
    expressions = [line for line in lines if "theirs" in line]
    wrong, values, nulls = 0, 0, 0
    for start in range(0, len(expressions), PER_QUERY):
        chunk = expressions[start : start + PER_QUERY]
        listed = ", ".join(f"{line['theirs']} AS e{number}" for number, line in enumerate(chunk))
        try:
            found = database.execute(f"SELECT {listed} FROM inputs ORDER BY row").fetchall()
        except duckdb.Error:
            # Which one it is.
            for line in chunk:
                database.execute(f"SELECT {line['theirs']} FROM inputs").fetchall()
            raise
        for line, column in zip(chunk, zip(*found)):
            for row, (ours, theirs) in enumerate(zip(line["values"], column)):
                values, nulls = values + 1, nulls + (ours is None)
                if not agree(ours, as_ours(theirs, line["is_text"])):
                    wrong += 1
                    if wrong <= 40:
                        print(f"{line['ours']}\n  DuckDB: {line['theirs']}\n  ours {ours!r}, DuckDB {theirs!r}: {rows[row]}")
                    break
    same = sum(line["ours"] == line["theirs"] for line in expressions)
    print(
        f"{len(expressions)} expressions ({same} of them in the same words) of {len(rows)} rows: {values} values, "
        f"{nulls} of them NULL; {wrong} expressions disagree with DuckDB {duckdb.__version__}")

    listed, differences = Path(readme).read_text(), [line for line in lines if "difference" in line]
    for line in differences:
        sql = line["difference"]
        try:
            theirs = database.execute(f"SELECT {sql} FROM inputs LIMIT 1").fetchone()[0]
            differ = not agree(line["value"], None if theirs is None else float(theirs))
        except duckdb.Error:
            differ = True
        if not differ:
            wrong += 1
            print(f"no longer a difference: {sql}")
        if f"`{sql}`" not in listed or line["why"] not in listed:
            wrong += 1
            print(f"not listed in {readme}: `{sql}`: {line['why']}")
    print(f"{len(differences)} deliberate differences")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
