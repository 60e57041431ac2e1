//! Medians, quartiles and percentiles.

use std::time::Duration;

/// Measured times in ascending order.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Requires at least one time.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    /// All times of several measurements.
    pub(crate) fn merged(measured: impl IntoIterator<Item = Self>) -> Self {
        Self::new(measured.into_iter().flat_map(|times| times.0).collect())
    }

    /// The given percentile.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The median with quartiles, in milliseconds.
    pub(crate) fn in_milliseconds(&self) -> String {
        let at = |percent| milliseconds(self.percentile(percent));
        format!("{} ({} – {})", at(50), at(25), at(75))
    }

    /// The median with quartiles, in seconds.
    pub(crate) fn in_seconds(&self) -> String {
        let at = |percent| format!("{:.2}", self.percentile(percent).as_secs_f64());
        format!("{} ({} – {})", at(50), at(25), at(75))
    }

    /// The ratio of the medians.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64()
    }
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
