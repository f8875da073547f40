//! Median and spread of a few numbers.

/// What a table cell says about the samples of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The smallest sample.
    pub min: f64,
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// The largest sample.
    pub max: f64,
}

impl Summary {
    /// Summarises `samples`; `None` if there are none.
    ///
    /// ```
    /// let three = harness::stats::Summary::of(&[3.0, 1.0, 2.0]).unwrap();
    /// assert_eq!((three.min, three.median, three.max), (1.0, 2.0, 3.0));
    /// ```
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self { min, median: f64::midpoint(lower, upper), max })
    }
}

/// The smallest element of `sorted` that at least the share `q` of all elements does not exceed
/// (nearest rank); `None` if it is empty.
///
/// ```
/// use harness::stats::quantile;
/// let hundred: Vec<u64> = (1..=100).collect();
/// assert_eq!(quantile(&hundred, 0.5), Some(50));
/// assert_eq!(quantile(&hundred, 0.99), Some(99));
/// assert_eq!(quantile(&hundred, 1.0), Some(100));
/// ```
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_samples_has_the_mean_of_the_middle() {
        let summary = Summary::of(&[4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!(summary.median, 3.0);
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(quantile::<u64>(&[], 0.5), None);
    }

    #[test]
    fn quantiles_of_one() {
        assert_eq!(quantile(&[7], 0.0), Some(7));
        assert_eq!(quantile(&[7], 0.999), Some(7));
    }
}
