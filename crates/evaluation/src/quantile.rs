/// The quantile `q` (0 to 1) of `sorted` values, linear between its neighbours (type 7 of Hyndman and Fan, numpy's
/// default). `None` of nothing.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * q.clamp(0.0, 1.0);
    let below = place.floor();
    let share = place - below;
    let (a, b) = (sorted[below as usize], sorted[(below as usize + 1).min(last)]);
    // From the nearer neighbour, as numpy: values that are equal stay exactly so.
    Some(if share >= 0.5 { b - (b - a) * (1.0 - share) } else { a + (b - a) * share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.9), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
    }
}
