//! Description of a series by its writer.

/// A family, as the process that counts in it describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Name ([`super::is_name`]). A `_total` at the end of a counter's name is taken away.
    pub name: String,
    /// Meaning, in one line for people.
    pub help: String,
    /// Kind of the values, and how they are kept.
    pub shape: Shape,
}

/// Kind of the values of a family, and how they are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A count that only grows, up to 2^53.
    Counter,
    /// A whole number that goes up and down, from -2^53 to 2^53. It is told as a gauge.
    IntGauge,
    /// Any finite number. It has one shard.
    Gauge,
    /// Observations, counted by size.
    Histogram {
        /// Upper bounds of the buckets, ascending and finite: at most 1,024. An infinite bound, and all after it, is left out.
        bounds: Vec<f64>,
        /// The sum is kept as a whole number of 1/`scale`. For durations in seconds 1,000,000,000: nanoseconds. Not 0.
        scale: u64,
        /// Name and help of a counter that tells the number of the observations, beside the histogram.
        count_as: Option<(String, String)>,
    },
}
