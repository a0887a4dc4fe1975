//! Spans by their ends, and the memory of those that wait to be sent.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gin_otlp::{Counts, Outcome};
use tokio::time::timeout;

use super::{Counter, counter, gauge};

/// Between two samples while spans wait, and while none does.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(15);

/// A counter for each end that a span comes to.
struct Spans {
    sent: Counter,
    refused: Counter,
    dropped: Counter,
    lost: Counter,
}

impl Counts for Spans {
    fn add(&self, outcome: Outcome, spans: u64) {
        let counter = match outcome {
            Outcome::Sent => &self.sent,
            Outcome::Refused => &self.refused,
            Outcome::Dropped => &self.dropped,
            Outcome::Lost => &self.lost,
        };
        counter.add(spans);
    }
}

/// Counts spans in metrics whose names begin with this namespace. All series are told from now on, with 0 at first.
pub(crate) fn counts(namespace: &str) -> Arc<dyn Counts> {
    let spans = counter(&format!("{namespace}_trace_spans"), "Spans that have ended, by what became of them");
    let of = |result| {
        let counter = spans.with(&[("result", result)]);
        counter.add(0);
        counter
    };
    Arc::new(Spans { sent: of("sent"), refused: of("refused"), dropped: of("dropped"), lost: of("lost") })
}

/// Runs the sender of spans to its end, and samples the bytes that wait meanwhile.
pub(crate) async fn sampled(namespace: &str, waiting: impl Fn() -> usize, sending: impl Future<Output = ()>) {
    let bytes = gauge(&format!("{namespace}_trace_waiting_bytes"), "Memory of spans that wait or are being sent");
    let mut sending = pin!(sending);
    loop {
        let now = waiting();
        bytes.set(now as f64);
        let pause = if now > 0 { BUSY } else { IDLE };
        if timeout(pause, sending.as_mut()).await.is_ok() {
            break;
        }
    }
    bytes.set(0.0);
}

#[cfg(test)]
mod tests {
    use gin_shared::metrics::{Format, encode};

    use super::super::application::Application;
    use super::*;

    /// The process's own metrics of this namespace, which no other test has.
    fn told(namespace: &str) -> Vec<String> {
        let all = Application::of_process().without_memory();
        let own = all.into_iter().filter(|family| family.name.starts_with(namespace)).collect();
        encode(own, Format::Prometheus).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn each_end_of_a_span_is_told_from_the_start_and_counted() {
        let counts = counts("of_spans");
        let lines = |sent, refused, dropped, lost| {
            let line = |result, count: u64| format!("of_spans_trace_spans_total{{result=\"{result}\"}} {count}");
            vec![line("dropped", dropped), line("lost", lost), line("refused", refused), line("sent", sent)]
        };
        let sorted = || {
            let mut all = told("of_spans");
            all.sort();
            all
        };
        assert_eq!(sorted(), lines(0, 0, 0, 0));
        for (outcome, spans) in
            [(Outcome::Sent, 4), (Outcome::Refused, 3), (Outcome::Dropped, 2), (Outcome::Lost, 1), (Outcome::Sent, 10)]
        {
            counts.add(outcome, spans);
        }
        assert_eq!(sorted(), lines(14, 3, 2, 1));
    }

    #[tokio::test]
    async fn bytes_that_wait_are_told_until_the_sender_ends() {
        let sending = async { assert_eq!(told("of_bytes"), ["of_bytes_trace_waiting_bytes 512"]) };
        sampled("of_bytes", || 512, sending).await;
        assert_eq!(told("of_bytes"), ["of_bytes_trace_waiting_bytes 0"]);
    }
}
