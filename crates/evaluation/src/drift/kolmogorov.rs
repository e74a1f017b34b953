//! Kolmogorov's distribution: of the largest distance between a distribution and n values of it.
//!
//! Which method is used where is after Simard and L'Ecuyer (2011), with scipy's limits.

use std::f64::consts::PI;

use experiments::statistics::special::ln_gamma;

/// Beyond this, no p-value is left in a double.
const LARGEST_SQUARE: f64 = 370.0;

/// P(D ≥ d) for n values, 0 ≤ d ≤ 1.
pub fn kolmogorov_sf(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let scaled = size * d;
    if n == 0 || d.is_nan() {
        return f64::NAN;
    }
    if d >= 1.0 {
        return 0.0;
    }
    if scaled <= 0.5 {
        return 1.0;
    }
    if scaled <= 1.0 {
        // Ruben and Gambino: n!·(2d − 1/n)^n.
        let log = ln_gamma(size + 1.0) - size * size.ln() + size * (2.0 * scaled - 1.0).ln();
        return 1.0 - log.exp();
    }
    if scaled >= size - 1.0 {
        return 2.0 * (1.0 - d).powf(size);
    }
    if d >= 0.5 {
        return (2.0 * one_sided_sf(size, d)).min(1.0);
    }
    let square = scaled * d;
    if n <= 140 {
        return if square <= 4.0 { 1.0 - exact_cdf(n, d) } else { (2.0 * one_sided_sf(size, d)).min(1.0) };
    }
    if square >= LARGEST_SQUARE {
        0.0
    } else if square >= 2.2 {
        // Both sides at once is next to impossible (Miller 1956).
        (2.0 * one_sided_sf(size, d)).min(1.0)
    } else if n <= 100_000 && size * d.powf(1.5) <= 1.4 {
        1.0 - exact_cdf(n, d)
    } else {
        (1.0 - pelz_good_cdf(size, d)).clamp(0.0, 1.0)
    }
}

/// P(D⁺ ≥ d): Smirnov's sum of positive terms.
fn one_sided_sf(n: f64, d: f64) -> f64 {
    let most = (n * (1.0 - d)).floor();
    let mut sum = 0.0;
    let mut j = 0.0;
    while j <= most {
        let at = d + j / n;
        let rest = 1.0 - at;
        if rest > 0.0 {
            let choose = ln_gamma(n + 1.0) - ln_gamma(j + 1.0) - ln_gamma(n - j + 1.0);
            sum += (choose + (j - 1.0) * at.ln() + (n - j) * rest.ln()).exp();
        }
        j += 1.0;
    }
    d * sum
}

/// P(D < d) by Marsaglia, Tsang and Wang's power of a matrix (2003).
fn exact_cdf(n: u64, d: f64) -> f64 {
    let scaled = n as f64 * d;
    let k = scaled.floor() as usize + 1;
    let h = k as f64 - scaled;
    let size = 2 * k - 1;
    let mut matrix = vec![0.0_f64; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            matrix[row * size + column] = 1.0;
        }
    }
    for index in 0..size {
        matrix[index * size] -= h.powi(index as i32 + 1);
        matrix[(size - 1) * size + index] -= h.powi((size - index) as i32);
    }
    if 2.0 * h > 1.0 {
        matrix[(size - 1) * size] += (2.0 * h - 1.0).powi(size as i32);
    }
    for row in 0..size {
        for column in 0..size.min(row + 1) {
            for factor in 1..=(row + 1 - column) {
                matrix[row * size + column] /= factor as f64;
            }
        }
    }
    let (power, mut exponent) = matrix_power(&matrix, size, n);
    let mut probability = power[(k - 1) * size + k - 1];
    for factor in 1..=n {
        probability *= factor as f64 / n as f64;
        if probability < 1e-140 {
            probability *= 1e140;
            exponent -= 140;
        }
    }
    probability * 10.0_f64.powi(exponent)
}

/// The matrix to the nth, and the power of ten that it is to be multiplied by.
fn matrix_power(matrix: &[f64], size: usize, n: u64) -> (Vec<f64>, i32) {
    let mut result: Vec<f64> = (0..size * size).map(|at| if at % (size + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let mut exponent = 0;
    let middle = (size / 2) * (size + 1);
    // From the highest bit down, so that only one growing matrix is there.
    for bit in (0..64 - n.leading_zeros()).rev() {
        result = product(&result, &result, size);
        exponent *= 2;
        if n >> bit & 1 == 1 {
            result = product(&result, matrix, size);
        }
        if result[middle] > 1e140 {
            for value in &mut result {
                *value *= 1e-140;
            }
            exponent += 140;
        }
    }
    (result, exponent)
}

fn product(left: &[f64], right: &[f64], size: usize) -> Vec<f64> {
    let mut result = vec![0.0; size * size];
    for row in 0..size {
        for inner in 0..size {
            let factor = left[row * size + inner];
            for column in 0..size {
                result[row * size + column] += factor * right[inner * size + column];
            }
        }
    }
    result
}

/// P(D < d) by Pelz and Good's expansion in 1/√n (1976), for n in the hundreds and more.
fn pelz_good_cdf(n: f64, d: f64) -> f64 {
    let z = n.sqrt() * d;
    let z2 = z * z;
    let pi2 = PI * PI;
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    for k in 1..=((16.0 * z / PI).ceil() as i32).max(4) {
        let odd2 = f64::from(2 * k - 1).powi(2);
        let weight = (-pi2 * odd2 / (8.0 * z2)).exp();
        let u = pi2 * odd2 / 4.0;
        k0 += weight;
        k1 += weight * (u - z2);
        k2 += weight
            * (6.0 * z2.powi(3) + 2.0 * z2.powi(2) + (2.0 * z2.powi(2) - 5.0 * z2) * u + (1.0 - 2.0 * z2) * u * u);
        k3 += weight
            * (-30.0 * z2.powi(3) - 90.0 * z2.powi(4)
                + (135.0 * z2.powi(2) - 96.0 * z2.powi(3)) * u
                + (212.0 * z2.powi(2) - 60.0 * z2) * u * u
                + (5.0 - 30.0 * z2) * u.powi(3));
    }
    let root = (2.0 * PI).sqrt();
    k0 *= root / z;
    k1 *= root / (6.0 * z2.powi(2));
    k2 *= root / (72.0 * z.powi(7));
    k3 *= root / (6480.0 * z.powi(10));
    for k in 1..=((16.0 * z / PI).ceil() as i32).max(4) {
        let kk = f64::from(k).powi(2);
        let weight = (-pi2 * kk / (2.0 * z2)).exp() * kk * pi2;
        k2 -= weight * root / (36.0 * z.powi(3));
        k3 += weight * (3.0 * z2 - pi2 * kk) * root / (216.0 * z2.powi(3));
    }
    k0 + k1 / n.sqrt() + k2 / n + k3 / n.powf(1.5)
}

/// P(√n·D ≥ z) in the limit of many values.
pub fn kolmogorov_limit_sf(z: f64) -> f64 {
    if z <= 0.0 {
        return 1.0;
    }
    if z < 0.82 {
        // Jacobi's transformation of the series, which converges slowly here.
        let sum: f64 = (1..=6).map(|k| (-f64::from(2 * k - 1).powi(2) * PI * PI / (8.0 * z * z)).exp()).sum();
        return 1.0 - (2.0 * PI).sqrt() / z * sum;
    }
    let term = |k: i32| (-2.0 * f64::from(k * k) * z * z).exp();
    2.0 * (1..=10).map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        // Marsaglia, Tsang and Wang's own example: P(D₁₀ < 0.274) = 0.6284796154565044.
        assert!((1.0 - kolmogorov_sf(10, 0.274) - 0.628_479_615_456_504_4).abs() < 1e-12);
        assert!((kolmogorov_limit_sf(1.358_098_862) - 0.05).abs() < 1e-6);
    }

    #[test]
    fn methods_meet_where_they_change_over() {
        for (n, square) in [(1_000_u64, 2.2_f64), (141, 2.2), (5_000, 2.2)] {
            let d = (square / n as f64).sqrt();
            let [below, above] = [d * (1.0 - 1e-9), d * (1.0 + 1e-9)].map(|d| kolmogorov_sf(n, d));
            assert!((below - above).abs() < 1e-5 * below.max(0.1), "{n}: {below} {above}");
        }
        let d = (1.4_f64 / 1_000.0).powf(2.0 / 3.0);
        let [below, above] = [d * (1.0 - 1e-9), d * (1.0 + 1e-9)].map(|d| kolmogorov_sf(1_000, d));
        assert!((below - above).abs() < 1e-6, "{below} {above}");
    }

    #[test]
    fn it_falls_from_one_to_zero() {
        for n in [1, 5, 100, 200, 2_000] {
            let mut before = 1.0;
            for step in 0..=200 {
                let now = kolmogorov_sf(n, f64::from(step) / 200.0);
                assert!(now <= before + 1e-7 && (0.0..=1.0).contains(&now), "{n} {step} {now} {before}");
                before = now;
            }
            assert_eq!(before, 0.0);
        }
    }
}
