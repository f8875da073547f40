//! How long a class's spans must be left alone before they get holes: longer if that was regretted.
//!
//! To give a page back costs a system call (0.5 µs), to take it again a fault (3 µs). A program whose
//! need goes up and down every other second would pay both each time, for memory that it is about to
//! use. So each class keeps two sums that fade with a half-life of some five steps: the bytes given back, and
//! those of them that were taken again. While the second is more than a half of the first, each step
//! in which more are taken doubles the wait, up to sixteen times the policy's; [`CALM`] steps
//! without halve it. A burst that comes once regrets once.
//!
//! Pure arithmetic, no clock: tested by simulation.

/// The wait is at most `1 << MOST` times the policy's.
const MOST: u32 = 4;

/// Steps without regret after which the wait is halved: 16 s of the default policy's.
const CALM: u32 = 64;

/// The sums lose one part in so many at each step.
const FADING: usize = 8;

/// What is remembered of a class.
#[derive(Debug)]
pub(crate) struct Thrift {
    given: usize,
    regretted: usize,
    /// Logarithm of the factor.
    wait: u32,
    calm: u32,
}

impl Thrift {
    pub(crate) const NEW: Self = Thrift { given: 0, regretted: 0, wait: 0, calm: 0 };

    /// A step is over that gave `given` bytes back, and beside which `taken` were taken again.
    pub(crate) fn step(&mut self, given: usize, taken: usize) {
        self.given = self.given - self.given / FADING + given;
        self.regretted = self.regretted - self.regretted / FADING + taken;
        if taken > 0 && self.regretted > self.given / 2 {
            self.wait = (self.wait + 1).min(MOST);
            self.calm = 0;
        } else {
            self.calm += 1;
        }
        if self.calm == CALM {
            self.wait = self.wait.saturating_sub(1);
            self.calm = 0;
        }
    }

    /// Steps to wait, for a policy that waits for `age`.
    pub(crate) fn steps(&self, age: u8) -> u8 {
        (u32::from(age) << self.wait).min(u32::from(u8::MAX)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program that needs its memory for one step in `period`, and says how many times in
    /// `steps` it was given back.
    fn given_back(period: u8, steps: usize) -> usize {
        let (mut thrift, mut idle, mut away, mut times) = (Thrift::NEW, 0_u8, false, 0);
        for step in 0..steps {
            let (mut given, mut taken) = (0, 0);
            if step % usize::from(period) == 0 {
                taken = if away { 1 << 20 } else { 0 };
                (idle, away) = (0, false);
            } else {
                idle = idle.saturating_add(1);
                if !away && idle >= thrift.steps(3) {
                    (away, given, times) = (true, 1 << 20, times + 1);
                }
            }
            thrift.step(given, taken);
        }
        times
    }

    #[test]
    fn memory_that_is_used_every_other_second_is_hardly_given_back() {
        let naive = 10_000 / 8;
        let times = given_back(8, 10_000);
        assert!(times < naive / 6, "{times} of {naive}");
    }

    #[test]
    fn memory_that_is_used_each_minute_goes_back_each_time() {
        assert_eq!(given_back(240, 240 * 20), 20);
    }

    #[test]
    fn calm_brings_the_short_wait_back() {
        let mut thrift = Thrift::NEW;
        (0..10).for_each(|_| thrift.step(100, 100));
        assert_eq!(thrift.steps(3), 48);
        (0..MOST * CALM).for_each(|_| thrift.step(0, 0));
        assert_eq!(thrift.steps(3), 3);
    }
}
