"""Largest errors of the elementary functions, in units in the last place, against 140-bit arithmetic (MPFR).

    MATH_SAMPLE=/tmp/sample cargo test --release -p features --lib math -- --ignored write_sample
    pip install gmpy2 && python3 benches/math_accuracy.py /tmp/sample
"""

import math
import struct
import sys

import gmpy2
from gmpy2 import mpfr

gmpy2.get_context().precision = 140
REFERENCES = {"ln": gmpy2.log, "ln1p": gmpy2.log1p}


def double(bits: str) -> float:
    return struct.unpack(">d", bytes.fromhex(bits))[0]


worst = {}
for line in open(sys.argv[1]):
    name, *bits = line.split()
    x, y, found = map(double, bits)
    reference = REFERENCES.get(name) or getattr(gmpy2, name)
    exact = reference(mpfr(x), mpfr(y)) if name == "atan2" else reference(mpfr(x))
    if not gmpy2.is_finite(exact) or not math.isfinite(float(exact)) or abs(exact) < sys.float_info.min:
        continue
    error = float(abs(mpfr(found) - exact) / mpfr(math.ulp(float(exact))))
    if not error <= worst.get(name, (-1.0,))[0]:
        worst[name] = (error, x, y)
for name, (error, x, y) in worst.items():
    print(f"{name:6} {error:.3f} ulp at {x!r}" + (f", {y!r}" if name == "atan2" else ""))
