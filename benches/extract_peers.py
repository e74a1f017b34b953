"""From the local warehouse's Read API to Parquet: our extractor beside Google's Python client and pyarrow.

    cargo build --release -p dataset-extractor --example extract_speed
    python3 benches/extract_peers.py [ROWS] [ROUNDS]     # with google-cloud-bigquery, google-cloud-bigquery-storage, pyarrow

Both ask the same server in the same run, in turn. Ours runs the query, reads the streams, checks uniqueness, and puts
immutable Parquet files (sorted by hash, with statistics) into a local S3; the peer runs the query, `to_arrow`, and writes one
Parquet file (zstd) to the disk. The server's own processor seconds are told too, since it is the same two cores.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

PEER = """
import resource, sys, time
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
usage = resource.getrusage(resource.RUSAGE_SELF)
print(table.num_rows, queried - began, time.monotonic() - queried, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
"""


def processor_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    rows, rounds = (int(text) for text in (sys.argv[1:] + ["1000000", "3"][len(sys.argv) - 1 :]))
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    program = target / "release" / "examples" / "extract_speed"
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([program, "serve", folder, str(rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _, url, *lake = server.stdout.readline().split()
        told = {"ours": [], "peer": []}
        for _ in range(rounds):
            before = processor_s(server.pid)
            ours = subprocess.run([program, "extract", url, *lake], capture_output=True, text=True, check=True).stdout
            query_s, read_s, write_s = (float(number) for number in re.search(r"query ([\d.]+) s; read ([\d.]+) s, write ([\d.]+) s", ours).groups())
            peak_mb = int(re.search(r"peak (\d+) kB", ours)[1]) / 1024
            told["ours"].append((query_s, read_s + write_s, peak_mb, processor_s(server.pid) - before))
            before = processor_s(server.pid)
            out = pathlib.Path(folder) / "peer.parquet"
            peer = subprocess.run([sys.executable, "-c", PEER, url, out], capture_output=True, text=True, check=True).stdout.split()
            assert int(peer[0]) == rows, peer
            told["peer"].append((float(peer[1]), float(peer[2]), float(peer[3]), processor_s(server.pid) - before))
        server.stdin.close()
        server.wait()
    for who, runs in told.items():
        query_s, extract_s, peak_mb, server_s = (statistics.median(column) for column in zip(*runs))
        print(json.dumps({"who": who, "rows": rows, "query_s": query_s, "extract_s": round(extract_s, 2), "rows_per_s": round(rows / extract_s), "peak_mb": round(peak_mb), "server_processor_s": round(server_s, 1)}))
    ratios = [peer[1] / ours[1] for ours, peer in zip(told["ours"], told["peer"])]
    print(json.dumps({"peer ÷ ours, extract": [round(ratio, 2) for ratio in sorted(ratios)]}))


main()
