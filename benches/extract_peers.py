"""From the local warehouse's Read API to Parquet: our extractor beside Google's Python client and pyarrow.

    pip install google-cloud-bigquery google-cloud-bigquery-storage pyarrow
    python3 benches/extract_peers.py [ROWS] [ROUNDS]

Both ask the same server in the same run, in turn. Ours runs the query, reads the streams, checks uniqueness, and puts
immutable Parquet files (sorted by hash, with statistics) into a local S3; the peer runs the query, `to_arrow`, and writes one
Parquet file (zstd) to the disk. The server's own processor seconds are told too, since it is the same two cores.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import peers

PEER = """
import sys, time
import grpc, pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
url, out = sys.argv[1], sys.argv[2]
began = time.monotonic()
client = bigquery.Client("mannen", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=url))
channel = grpc.insecure_channel(url.removeprefix("http://"))
reader = bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
result = client.query("SELECT * FROM city.rides").result()
queried = time.monotonic()
table = result.to_arrow(bqstorage_client=reader)
pq.write_table(table, out, compression="zstd")
print(table.num_rows, queried - began, time.monotonic() - queried)
"""


def processor_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    program = peers.built("dataset-extractor", "example", "extract_speed")
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([program, "serve", folder, str(rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _, *where = server.stdout.readline().split()

        def measured(command, environment=None):
            """What it printed, and what it took of the processor (the server beside it) and of memory."""
            before = processor_s(server.pid)
            told, own_s, peak = peers.ran(command, environment)
            return told, {"own_s": own_s, "peak_mib": peak / 2**20, "server_s": processor_s(server.pid) - before}

        def ours():
            # As infra/template.yaml sets it; the peer is measured with what is better for it, which is nothing.
            told, figures = measured([program, "extract", *where], {**os.environ, "MALLOC_ARENA_MAX": "1"})
            query_s, read_s, write_s = map(float, re.search(r"query ([\d.]+) s; read ([\d.]+) s, write ([\d.]+) s", told).groups())
            return {**figures, "query_s": query_s, "extract_s": read_s + write_s}

        def theirs():
            told, figures = measured([sys.executable, "-c", PEER, where[0], f"{folder}/peer.parquet"])
            found, query_s, extract_s = map(float, told.split())
            assert found == rows, told
            return {**figures, "query_s": query_s, "extract_s": extract_s}

        taken = peers.taken_in_turn({"ours": ours, "Google's client and pyarrow": theirs}, rounds, warm=0)
        server.stdin.close()
        server.wait()
    for measure, what, unit, aim in (
        ("extract_s", f"{rows:,} rows from the Read API to Parquet, clock", "s", 2),
        ("own_s", f"{rows:,} rows, the extracting process's processor time, query included", "s", None),
        ("peak_mib", f"{rows:,} rows, peak memory", "MiB", None),
    ):
        peers.tell("extract", what, unit, {name: [figures[measure] for figures in rounds] for name, rounds in taken.items()}, aim=aim)
    for name, figures in taken.items():
        query_s, server_s = (statistics.median(of[measure] for of in figures) for measure in ("query_s", "server_s"))
        print(f"{name}: the query took {query_s:.1f} s, and the server {server_s:.1f} s of the processors in all")
    print(peers.machine())


if __name__ == "__main__":
    main()
