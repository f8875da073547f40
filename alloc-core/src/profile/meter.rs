//! Counts bytes down to the next sample; the distances are exponential.
//!
//! An exponential distance is `−ln(u) · mean` for a uniform `u`. There is no logarithm without std, nor
//! is an exact one needed: `log₂` of the bits is their exponent plus a parabola over the mantissa, wrong by
//! less than 0.01 (Go's `fastlog2` is a table to the same end).

/// A cache's distance to its next sample.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes to go; negative if samples are owed. Only meaningful once `random` is not zero.
    left: i64,
    random: u64,
}

impl Meter {
    pub(crate) const fn new() -> Self {
        Meter { left: 0, random: 0 }
    }

    /// Charges the bytes of many cells; true if a sample is due. What is owed beyond it stays owed.
    pub(super) fn charge(&mut self, bytes: usize, every: usize) -> bool {
        self.start(every);
        self.left -= bytes as i64;
        let due = self.left <= 0;
        if due {
            // Owed samples are bounded: a refill can pay one only.
            self.left = (self.left + self.draw(every)).max(-(every as i64));
        }
        due
    }

    /// Charges the bytes of one block; true if it is a sample. One block is one sample at most.
    pub(super) fn charge_one(&mut self, bytes: usize, every: usize) -> bool {
        self.start(every);
        self.left -= bytes as i64;
        let due = self.left <= 0;
        if due {
            self.left = self.draw(every);
        }
        due
    }

    fn start(&mut self, every: usize) {
        if self.random == 0 {
            // Caches lie at different addresses, so they draw different numbers.
            self.random =
                (core::ptr::from_ref(self) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            self.left = self.draw(every);
        }
    }

    /// An exponential distance with mean `every`.
    fn draw(&mut self, every: usize) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // 1 to 2⁵³: the logarithm of 2⁵³/u is that of 1/uniform.
        let uniform = (self.random >> 11) + 1;
        let distance = (53.0 - log2(uniform)) * core::f64::consts::LN_2 * every as f64;
        distance as i64 + 1
    }
}

/// The logarithm to base 2, wrong by less than 0.01.
fn log2(n: u64) -> f64 {
    let exponent = n.ilog2();
    let mantissa = n as f64 / (1_u64 << exponent) as f64;
    // Through (1, 0) and (2, 1), with the smallest error between.
    let x = mantissa - 1.0;
    f64::from(exponent) + x + 0.338 * x * (1.0 - x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_good_to_a_hundredth() {
        for n in (1..1_000_000_u64).step_by(37).chain([u64::MAX >> 11, 1 << 53]) {
            assert!((log2(n) - (n as f64).log2()).abs() < 0.01, "{n}");
        }
    }

    #[test]
    fn samples_come_as_often_as_asked_and_not_regularly() {
        let (mut meter, every, step) = (Meter::new(), 100_000, 48);
        let (mut gaps, mut gap) = (std::vec::Vec::new(), 0_u64);
        for _ in 0..10_000_000 {
            gap += step;
            if meter.charge(step as usize, every) {
                gaps.push(core::mem::take(&mut gap) as f64);
            }
        }
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&(mean / every as f64)), "{mean}");
        // The deviation of an exponential distance is its mean.
        let deviation = (square - mean * mean).sqrt() / mean;
        assert!((0.9..1.1).contains(&deviation), "{deviation}");
    }

    #[test]
    fn a_large_block_is_nearly_always_one_sample() {
        let mut meter = Meter::new();
        let taken = (0..1_000).filter(|_| meter.charge_one(4_000, 1_000)).count();
        assert!((950..1_000).contains(&taken), "{taken}: 1 - e^-4 of them");
    }
}
