//! The usual response times of one class of requests, from the most recent ones.

use std::time::Duration;

/// The number of recent response times: enough for p95, and few enough to follow a change within seconds.
const RECENT: usize = 128;

/// The minimum number of response times, before which no time is usual.
const MIN_TIMES: usize = 50;

/// The most recent response times.
#[derive(Debug)]
pub(super) struct ResponseTimes {
    /// In microseconds; the first `count` ones are measured.
    recent: [u32; RECENT],
    count: usize,
    next: usize,
}

impl Default for ResponseTimes {
    fn default() -> Self {
        Self { recent: [0; RECENT], count: 0, next: 0 }
    }
}

/// Usual response times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usual {
    pub(super) median: Duration,
    pub(super) p95: Duration,
}

impl ResponseTimes {
    /// Adds a response time in place of the oldest one.
    pub(super) fn add(&mut self, time: Duration) {
        self.recent[self.next] = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % RECENT;
        self.count = RECENT.min(self.count + 1);
    }

    /// The usual response times. `None` before there are enough.
    pub(super) fn usual(&self) -> Option<Usual> {
        if self.count < MIN_TIMES {
            return None;
        }
        let mut times = self.recent;
        let times = &mut times[..self.count];
        let mut at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100) - 1;
            let (_, time, _) = times.select_nth_unstable(rank);
            Duration::from_micros(u64::from(*time))
        };
        Some(Usual { median: at(50), p95: at(95) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn few_times_are_not_usual() {
        let mut times = ResponseTimes::default();
        (1..50).for_each(|time| times.add(milliseconds(time)));
        assert_eq!(times.usual(), None);
        times.add(milliseconds(50));
        assert_eq!(times.usual(), Some(Usual { median: milliseconds(25), p95: milliseconds(48) }));
    }

    #[test]
    fn old_times_are_forgotten() {
        let mut times = ResponseTimes::default();
        (0..1_000).for_each(|_| times.add(Duration::MAX));
        (0..RECENT).for_each(|_| times.add(milliseconds(7)));
        assert_eq!(times.usual().unwrap().p95, milliseconds(7));
    }

    /// A time that is only known to be longer than p95 is added as such: p95 must not shrink by that.
    #[test]
    fn times_that_were_cut_off_do_not_shorten_the_usual_ones() {
        let mut times = ResponseTimes::default();
        // Each 20th response takes a second, and is answered 25 ms after a second request at p95.
        let mut add = |number: u64| {
            let time = milliseconds(20 + number * 7 % 20);
            let is_slow = number % 20 == 19;
            let cut_off = times.usual().map(|usual| usual.p95 + milliseconds(25));
            times.add(if is_slow { cut_off.unwrap_or(milliseconds(1_000)) } else { time });
            times.usual().map(|usual| usual.p95)
        };
        let p95: Vec<_> = (0..10_000).filter_map(&mut add).skip(RECENT).collect();
        assert!(p95.iter().all(|p95| *p95 >= milliseconds(38)), "{:?}", p95.iter().min());
    }
}
