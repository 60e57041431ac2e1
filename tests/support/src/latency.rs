//! A seeded distribution of response times with a long tail, for benchmarks of the tail.

use std::time::Duration;

/// Response times by the number of nines of their quantile: 1 is p90, 2 is p99, 3 is p99.9.
/// Between two points, the logarithm of the time is linear.
const POINTS: [(f64, f64); 5] = [
    (0.0, 12.0),
    // The median: -log10(0.5) nines.
    (std::f64::consts::LOG10_2, 25.0),
    (2.0, 120.0),
    (3.0, 600.0),
    (3.5, 1_200.0),
];
/// One connection of this many is slow.
const CONNECTIONS_PER_SLOW_ONE: u64 = 50;
/// How many times as long each response takes on a slow connection.
const SLOWNESS: u32 = 4;

/// Response times of a store: median 25 ms, p99 120 ms, p99.9 600 ms, at most 1.2 s. On one
/// connection in 50, every response takes four times as long.
#[derive(Debug)]
pub struct ResponseTimes {
    random: SplitMix64,
    factor: u32,
}

impl ResponseTimes {
    /// The response times of one connection, counted from 0. Equal seeds give equal times.
    pub fn of_connection(seed: u64, connection: u64) -> Self {
        let mut random = SplitMix64(seed ^ connection.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let is_slow = random.next().is_multiple_of(CONNECTIONS_PER_SLOW_ONE);
        Self { random, factor: if is_slow { SLOWNESS } else { 1 } }
    }

    /// Whether every response on this connection takes longer.
    pub fn are_slow(&self) -> bool {
        self.factor > 1
    }

    /// The time of the next response.
    pub fn sample(&mut self) -> Duration {
        at_quantile(self.random.fraction()) * self.factor
    }
}

/// The response time that a share of all responses does not exceed.
fn at_quantile(share: f64) -> Duration {
    let nines = -(1.0 - share).log10();
    let last = POINTS[POINTS.len() - 1];
    let milliseconds =
        POINTS.windows(2).find(|points| nines < points[1].0).map_or(last.1, |points| {
            let [(from, low), (to, high)] = [points[0], points[1]];
            low * (high / low).powf((nines - from) / (to - from))
        });
    Duration::from_secs_f64(milliseconds / 1_000.0)
}

/// The generator SplitMix64 (Steele, Lea and Flood, 2014): enough for a benchmark.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1, with all 53 bits of precision.
    fn fraction(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 1;

    fn sorted_sample(connection: u64) -> Vec<Duration> {
        let mut times = ResponseTimes::of_connection(SEED, connection);
        let mut sample: Vec<_> = (0..200_000).map(|_| times.sample()).collect();
        sample.sort();
        sample
    }

    /// The first connection that is slow, or is not.
    fn connection(is_slow: bool) -> u64 {
        let mut connections = 0..10_000;
        connections
            .find(|number| ResponseTimes::of_connection(SEED, *number).are_slow() == is_slow)
            .unwrap_or_default()
    }

    #[test]
    fn sample_has_the_quantiles_of_the_distribution() {
        let ordinary = sorted_sample(connection(false));
        let slow = sorted_sample(connection(true));
        for (share, milliseconds) in [(0.5, 25.0), (0.99, 120.0), (0.999, 600.0)] {
            let index = (ordinary.len() as f64 * share) as usize;
            let measured = ordinary[index].as_secs_f64() * 1_000.0;
            let difference = (measured / milliseconds - 1.0).abs();
            assert!(difference < 0.15, "p{}: {measured} ms", share * 100.0);
            let ratio = slow[index].as_secs_f64() / ordinary[index].as_secs_f64();
            assert!((3.4..4.6).contains(&ratio), "p{}: {ratio} times as slow", share * 100.0);
        }
        assert!(ordinary[0] >= Duration::from_millis(12), "{:?}", ordinary[0]);
        assert!(ordinary[ordinary.len() - 1] <= Duration::from_millis(1_200));
    }

    #[test]
    fn one_connection_in_fifty_is_slow() {
        let times = (0..50_000).map(|connection| ResponseTimes::of_connection(SEED, connection));
        let slow = times.filter(ResponseTimes::are_slow).count();
        assert!((900..1_100).contains(&slow), "{slow} of 50,000");
    }

    #[test]
    fn equal_seeds_give_equal_times() {
        let times = |seed, connection| {
            let mut times = ResponseTimes::of_connection(seed, connection);
            (0..100).map(|_| times.sample()).collect::<Vec<_>>()
        };
        assert_eq!(times(1, 7), times(1, 7));
        assert_ne!(times(1, 7), times(1, 8));
        assert_ne!(times(1, 7), times(2, 7));
    }
}
