"""The polynomials of crates/features/src/math: best relative fits (Remez exchange in 60 digits), printed as doubles.

    pip install mpmath && python3 benches/math_polynomials.py
"""

import mpmath as mp
from mpmath import mpf

mp.mp.dps = 60


def remez(function, weight, end, count, rounds=12):
    """`count` coefficients whose largest weighted error on [0, end] is least, and that error."""

    def spread(i, n):
        return end * (1 - mp.cos(mp.pi * i / n)) / 2

    points = [spread(2 * i + 1, 2 * (count + 1)) for i in range(count + 1)]
    for _ in range(rounds):
        matrix, right = mp.matrix(count + 1, count + 1), mp.matrix(count + 1, 1)
        for row, x in enumerate(points):
            for power in range(count):
                matrix[row, power] = x**power
            matrix[row, count] = (-1) ** row / weight(x)
            right[row] = function(x)
        solution = list(mp.lu_solve(matrix, right))[:count]

        def error(x):
            return (function(x) - mp.polyval(solution[::-1], x)) * weight(x)

        grid = [spread(i + mpf("0.001"), 60 * count) for i in range(60 * count + 1)]
        errors = [error(x) for x in grid]
        peaks, current = [], 0
        for i in range(1, len(grid)):
            if mp.sign(errors[i]) != mp.sign(errors[current]):
                peaks.append(current)
                current = i
            elif abs(errors[i]) > abs(errors[current]):
                current = i
        peaks.append(current)
        if len(peaks) < count + 1:
            break
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        points = [grid[i] for i in peaks]
    return solution, max(abs(e) for e in errors)


def show(name, coefficients, error):
    print(f"{name}: error 2^{float(mp.log(error, 2)):.1f}")
    print("    [" + ", ".join(repr(float(c)) for c in coefficients) + "]")


def ratio(function, order):
    """(function(x) / x - leading) / x² as a function of z = x²; a series where that would cancel."""
    leading, first, second = order

    def of(z):
        x = mp.sqrt(z)
        return (function(x) / x - leading) / z if z > mpf("1e-12") else first + second * z

    return of


TINY = mpf("1e-9")


def relative(function):
    return lambda z: (z * mp.sqrt(z) / function(mp.sqrt(z)) if z else 0) + TINY


quarter = (mp.pi / 4) ** 2 * mpf("1.001")
show("SIN", *remez(ratio(mp.sin, (1, -mpf(1) / 6, mpf(1) / 120)), relative(mp.sin), quarter, 6))


def cos_rest(z):
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2 if z > mpf("1e-10") else mpf(1) / 24 - z / 720


show("COS", *remez(cos_rest, lambda z: z**2 / mp.cos(mp.sqrt(z)) + TINY, quarter, 6))
show("ASIN", *remez(ratio(mp.asin, (1, mpf(1) / 6, mpf(3) / 40)), relative(mp.asin), mpf("0.2501"), 13))
end = (mpf(7) / 16) ** 2 * mpf("1.001")
show("ATAN", *remez(ratio(mp.atan, (1, -mpf(1) / 3, mpf(1) / 5)), relative(mp.atan), end, 11))
end = (3 - 2 * mp.sqrt(2)) ** 2 * mpf("1.001")
artanh2 = ratio(lambda s: 2 * mp.atanh(s), (2, mpf(2) / 3, mpf(2) / 5))
show("LOG", *remez(artanh2, lambda z: z + TINY, end, 7))

# On an interval around 0: fitted from its left end on, then moved.
half = mp.log(2) / 2 * mpf("1.001")


def exp_rest(r):
    return (mp.exp(r) - 1 - r) / r**2 if abs(r) > mpf("1e-12") else mpf(1) / 2 + r / 6


moved, error = remez(lambda t: exp_rest(t - half), lambda t: (t - half) ** 2 + TINY, 2 * half, 10)
coefficients = [
    mp.fsum(moved[k] * mp.binomial(k, j) * half ** (k - j) for k in range(j, len(moved))) for j in range(len(moved))
]
show("EXP", coefficients, error)


def piece(value, bits):
    """The leading part of a value, down to 2^-bits."""
    return mp.floor(value * mpf(2) ** bits) / mpf(2) ** bits


pi1 = piece(mp.pi / 2, 39)
pi2 = piece(mp.pi / 2 - pi1, 79)
print("HALF_PI", [float(pi1), float(pi2), float(mp.pi / 2 - pi1 - pi2)])
for name, value, bits in [("LN_2", mp.log(2), 40), ("LOG10_2", mp.log10(2), 40), ("LOG10_E", 1 / mp.log(10), 26)]:
    print(name, [float(piece(value, bits)), float(value - piece(value, bits))])
