//! Families as text, in one of two formats.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::family::{Buckets, Family, Kind, Series, Value, without_total};

/// Below it every whole f64 is a number that can be told without a point.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4: counters have `_total` in their family's name, and no `# EOF` ends it.
    Prometheus,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics only if it is named, and not valued less than plain text. Prometheus' own
    /// format in all other cases, whatever the header says.
    ///
    /// ```
    /// use gin_shared::metrics::Format;
    ///
    /// let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    /// assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
    /// assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
    /// assert_eq!(Format::accepted(None), Format::Prometheus);
    /// ```
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let ranges: Vec<(String, f32)> = accept.unwrap_or("").split(',').map(range).collect();
        let quality = |media: &str| {
            let qualities = ranges.iter().filter(|(range, _)| range == media).map(|(_, quality)| *quality);
            qualities.reduce(f32::max)
        };
        let open = quality("application/openmetrics-text").unwrap_or(0.0);
        let plain = ["text/plain", "text/*", "*/*"].into_iter().find_map(quality).unwrap_or(0.0);
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Media type of the text.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A media range and its quality (RFC 9110, 12.5.1). One that cannot be read counts nothing.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or("").to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let read = |text: &str| text.parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0);
    (media, quality.map_or(1.0, read))
}

/// The text of these families, in their order. A family without series is left out, and so is a value that is not finite or not of its
/// family's kind.
///
/// Names must be those that [`super::is_name`] and [`super::is_label_name`] allow; help and labels' values may be anything.
#[must_use]
pub fn encode(families: Vec<Family>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Told { families, format }));
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = encode_registry(&mut text, &registry);
    if format == Format::OpenMetrics {
        let _ = encode_eof(&mut text);
    }
    text
}

/// The families, as the registry asks for them.
#[derive(Debug)]
struct Told {
    families: Vec<Family>,
    format: Format,
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families.iter().filter(|family| !family.series.is_empty()) {
            let name = name(family, self.format);
            let help = help(&family.help, self.format);
            let mut metric = encoder.encode_descriptor(&name, &help, None, metric_type(family.kind))?;
            for Series { labels, value } in &family.series {
                if labels.is_empty() {
                    tell(&mut metric, family.kind, value, self.format)?;
                } else {
                    tell(&mut metric.encode_family(labels)?, family.kind, value, self.format)?;
                }
            }
        }
        Ok(())
    }
}

/// Name of the family in the lines `# HELP` and `# TYPE`.
fn name(family: &Family, format: Format) -> String {
    match (family.kind, format) {
        (Kind::Counter, Format::OpenMetrics) => without_total(&family.name).to_owned(),
        (Kind::Counter, Format::Prometheus) => format!("{}_total", without_total(&family.name)),
        (Kind::Gauge | Kind::Histogram, _) => family.name.clone(),
    }
}

/// The formats escape line ends and backslashes, OpenMetrics quotes, too.
fn help(help: &str, format: Format) -> String {
    let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
    if format == Format::OpenMetrics { escaped.replace('"', "\\\"") } else { escaped }
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn tell(metric: &mut MetricEncoder<'_>, kind: Kind, value: &Value, format: Format) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Counter(value)) if value.is_finite() => match format {
            Format::OpenMetrics => counter(metric, *value),
            // Its name has `_total` already: the line is that of a gauge.
            Format::Prometheus => gauge(metric, *value),
        },
        (Kind::Gauge, Value::Gauge(value)) if value.is_finite() => gauge(metric, *value),
        (Kind::Histogram, Value::Histogram(buckets)) if buckets.sum.is_finite() => histogram(metric, buckets),
        (Kind::Counter | Kind::Gauge | Kind::Histogram, _) => Ok(()),
    }
}

/// The value, if it is a whole number.
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < WHOLE).then_some(value as i64)
}

fn counter(metric: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
    match whole(value).and_then(|value| u64::try_from(value).ok()) {
        Some(value) => metric.encode_counter::<NoLabelSet, u64, f64>(&value, None),
        None => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
    }
}

fn gauge(metric: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
    match whole(value) {
        Some(value) => metric.encode_gauge(&value),
        None => metric.encode_gauge(&value),
    }
}

fn histogram(metric: &mut MetricEncoder<'_>, buckets: &Buckets) -> fmt::Result {
    let bounds = buckets.bounds.iter().copied().chain([f64::INFINITY]);
    let told: Vec<(f64, u64)> = bounds.zip(buckets.counts.iter().copied()).collect();
    metric.encode_histogram::<NoLabelSet>(buckets.sum, buckets.counts.iter().sum(), &told, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        let labels = vec![("route".to_owned(), "/a\"\n\\".to_owned())];
        let buckets = Buckets { bounds: vec![0.005, 1.0], counts: vec![1, 2, 3], sum: 0.75 };
        vec![
            Family::counter("jobs", "Jobs \"done\".\nAll.").with(&[("kind", "a")], 3.0).with(&[], 0.5),
            Family::gauge("empty", "Nothing."),
            Family::gauge("queue", "Waiting.").with(&[], -2.0).with(&[("a", "b"), ("c", "d")], f64::NAN),
            Family {
                name: "time_seconds".to_owned(),
                help: "Time.".to_owned(),
                kind: Kind::Histogram,
                series: vec![Series { labels, value: Value::Histogram(buckets) }],
            },
        ]
    }

    const HISTOGRAM: &str = concat!(
        "# HELP time_seconds Time.\n",
        "# TYPE time_seconds histogram\n",
        "time_seconds_sum{route=\"/a\\\"\\n\\\\\"} 0.75\n",
        "time_seconds_count{route=\"/a\\\"\\n\\\\\"} 6\n",
        "time_seconds_bucket{le=\"0.005\",route=\"/a\\\"\\n\\\\\"} 1\n",
        "time_seconds_bucket{le=\"1.0\",route=\"/a\\\"\\n\\\\\"} 3\n",
        "time_seconds_bucket{le=\"+Inf\",route=\"/a\\\"\\n\\\\\"} 6\n",
    );

    #[test]
    fn open_metrics_names_the_family_without_total_and_has_an_end() {
        let jobs = concat!(
            "# HELP jobs Jobs \\\"done\\\".\\nAll.\n",
            "# TYPE jobs counter\n",
            "jobs_total{kind=\"a\"} 3\n",
            "jobs_total 0.5\n",
            "# HELP queue Waiting.\n",
            "# TYPE queue gauge\n",
            "queue -2\n",
        );
        assert_eq!(encode(families(), Format::OpenMetrics), format!("{jobs}{HISTOGRAM}# EOF\n"));
        assert_eq!(encode(Vec::new(), Format::OpenMetrics), "# EOF\n");
    }

    #[test]
    fn the_text_of_prometheus_names_the_family_with_total() {
        let jobs = concat!(
            "# HELP jobs_total Jobs \"done\".\\nAll.\n",
            "# TYPE jobs_total counter\n",
            "jobs_total{kind=\"a\"} 3\n",
            "jobs_total 0.5\n",
            "# HELP queue Waiting.\n",
            "# TYPE queue gauge\n",
            "queue -2\n",
        );
        assert_eq!(encode(families(), Format::Prometheus), format!("{jobs}{HISTOGRAM}"));
        assert_eq!(encode(Vec::new(), Format::Prometheus), "");
    }

    #[test]
    fn a_histogram_without_bounds_has_the_infinite_one() {
        let value = Value::Histogram(Buckets { bounds: Vec::new(), counts: vec![4], sum: 2.0 });
        let series = vec![Series { labels: Vec::new(), value }];
        let family = Family { name: "a".to_owned(), help: String::new(), kind: Kind::Histogram, series };
        let text = "# HELP a \n# TYPE a histogram\na_sum 2.0\na_count 4\na_bucket{le=\"+Inf\"} 4\n";
        assert_eq!(encode(vec![family], Format::Prometheus), text);
    }

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let open = |accept: &str| Format::accepted(Some(accept)) == Format::OpenMetrics;
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
            "text/plain;q=0.3, application/openmetrics-text;version=0.0.1;q=0.5",
            "application/openmetrics-text, */*",
            "application/openmetrics-text;q=0.1, text/plain;q=0, */*",
            "application/openmetrics-text;q=0.2, application/openmetrics-text;version=1.0.0;Q=0.9, text/*;q=0.8",
        ] {
            assert!(open(accept), "{accept:?}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/*",
            "application/json",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4,text/plain;q=0.5",
            "application/openmetrics-text;q=0.4,*/*",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=NaN",
            ";;,,q=",
        ] {
            assert!(!open(accept), "{accept:?}");
        }
        assert_eq!(Format::accepted(None), Format::Prometheus);
        assert!(Format::OpenMetrics.content_type().starts_with("application/openmetrics-text; version=1.0.0"));
        assert!(Format::Prometheus.content_type().starts_with("text/plain; version=0.0.4"));
    }
}
