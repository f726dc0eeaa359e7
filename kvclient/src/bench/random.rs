//! Random numbers that follow a Zipf or a Gaussian distribution.
//!
//! Invariant: rank `k` of `n` is drawn with probability proportional to `1 / k^theta`, and a standard normal number with
//! the density `e^(-x^2/2)`; memory and time of a draw do not depend on `n`.

use fastrand::Rng;

/// Draws ranks by rejection-inversion: W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from
/// monotone discrete distributions", ACM TOMACS 6(3), 1996.
///
/// The density `h(x) = x^-theta` is inverted over the area under it, from 1.5 on; a rank is the number nearest to the
/// point found, and is rejected if the point lies outside of the rank's bar.
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    ranks: f64,
    theta: f64,
    area_begin: f64,
    area_end: f64,
    /// Points this near to their rank are always inside of its bar.
    always_inside: f64,
}

impl Zipf {
    /// Returns the distribution over `ranks` ranks (at least 1) with the exponent `theta` (more than 0).
    pub fn new(ranks: u64, theta: f64) -> Zipf {
        let mut zipf = Zipf { ranks: ranks as f64, theta, area_begin: 0.0, area_end: 0.0, always_inside: 0.0 };
        zipf.area_begin = zipf.area(1.5) - 1.0;
        zipf.area_end = zipf.area(zipf.ranks + 0.5);
        zipf.always_inside = 2.0 - zipf.point(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    /// Draws a rank, from 0: the most frequent one.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.area_end + rng.f64() * (self.area_begin - self.area_end);
            let point = self.point(area);
            let rank = point.round().clamp(1.0, self.ranks);
            if rank - point <= self.always_inside || area >= self.area(rank + 0.5) - self.height(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn height(&self, x: f64) -> f64 {
        x.powf(-self.theta)
    }

    /// The integral of the height, up to a constant: `(x^(1-theta) - 1) / (1-theta)`, or `ln x` where theta is 1.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        let exponent = (1.0 - self.theta) * log;
        // Near 0 the quotient would lose its digits.
        if exponent.abs() < 1e-8 { log * (1.0 + exponent / 2.0) } else { log * exponent.exp_m1() / exponent }
    }

    /// The inverse of [`Zipf::area`].
    fn point(&self, area: f64) -> f64 {
        // Rounding must not lead below the logarithm's domain.
        let scaled = (area * (1.0 - self.theta)).max(-1.0);
        let log = if scaled.abs() < 1e-8 { area * (1.0 - scaled / 2.0) } else { area * scaled.ln_1p() / scaled };
        log.exp()
    }
}

/// Draws a number of the Gaussian distribution with mean 0 and standard deviation 1 (Box and Muller's method).
pub fn standard_normal(rng: &mut Rng) -> f64 {
    // More than 0, for the logarithm.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares how often each of the first ranks is drawn with its probability.
    #[track_caller]
    fn check(ranks: u64, theta: f64) {
        const DRAWS: u32 = 200_000;
        let zipf = Zipf::new(ranks, theta);
        let mut rng = Rng::with_seed(7);
        let mut drawn = vec![0_u32; usize::try_from(ranks).unwrap()];
        for _ in 0..DRAWS {
            drawn[usize::try_from(zipf.draw(&mut rng)).unwrap()] += 1;
        }
        let weight = |rank: u64| (rank as f64).powf(-theta);
        let sum: f64 = (1..=ranks).map(weight).sum();
        for rank in 1..=ranks.min(20) {
            let expected = weight(rank) / sum * f64::from(DRAWS);
            let found = f64::from(drawn[usize::try_from(rank - 1).unwrap()]);
            // Six standard deviations; the seed is fixed, so it either always holds or never.
            assert!(
                (found - expected).abs() <= 6.0 * expected.sqrt() + 1.0,
                "n {ranks} theta {theta} rank {rank}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn ranks_are_drawn_by_their_probability() {
        for (ranks, theta) in [(1, 0.99), (2, 0.99), (1000, 0.99), (1000, 1.0), (1000, 0.2), (500, 1.5), (100, 3.0)] {
            check(ranks, theta);
        }
    }

    #[test]
    fn every_rank_is_within_its_bounds() {
        let mut rng = Rng::with_seed(1);
        for ranks in [1, 3, u64::from(u32::MAX) * 16] {
            for theta in [0.01, 0.99, 1.0, 10.0] {
                let zipf = Zipf::new(ranks, theta);
                assert!((0..2_000).all(|_| zipf.draw(&mut rng) < ranks), "{ranks} {theta}");
            }
        }
    }
}
