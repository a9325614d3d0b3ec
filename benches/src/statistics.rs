//! The few figures that are made of many.

/// The value below which the given share of the samples lies. The samples must be sorted, and there must be one.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// The middle one of some measurements; there must be one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::{median, quantile};

    #[test]
    fn quantiles_stay_inside_the_samples() {
        let samples: Vec<u64> = (1..=1000).collect();
        assert_eq!(quantile(&samples, 0.0), 1);
        assert_eq!(quantile(&samples, 0.5), 501);
        assert_eq!(quantile(&samples, 0.999), 1000);
        assert_eq!(quantile(&samples, 1.0), 1000);
        assert_eq!(quantile(&[7], 0.99), 7);
    }

    #[test]
    fn the_median_does_not_care_for_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
    }
}
