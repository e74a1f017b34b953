#!/usr/bin/env bash
# Instructions per call of the feature engine, counted by valgrind: the same on a busy machine as on an idle one.
#
#   benches/features_instructions.sh
#
# valgrind knows no AVX-512, so the counts are those of the AVX2 code.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(cargo bench -p features --bench features --no-run --message-format=json 2>/dev/null |
    grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4)

instructions() { # what, calls
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" repeat "$1" "$2" 2>&1 |
        sed -n 's/.*refs: *//p' | tr -d ,
}

# The difference of two runs leaves out what is done once.
per_call() { # what, calls
    echo $((($(instructions "$1" $((2 * $2))) - $(instructions "$1" "$2")) / $2))
}

row=$(per_call row 2000)
twenty=$(per_call rows20 1000)
batch=$(per_call batch 20)
echo "one row:      $row instructions"
echo "twenty rows:  $twenty instructions, $((twenty * 100 / row)) % of one row"
echo "10,000 rows:  $batch instructions, $((batch / 10000)) a row"
