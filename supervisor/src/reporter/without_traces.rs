//! In place of the traces of restarts: there are none without the feature `otel`.

use gin_shared::generation::WorkerId;
use gin_shared::trace_context::TraceContext;

use crate::machine::action::Report;
use crate::moment::Moment;
use crate::view::View;

/// No traces.
#[derive(Debug)]
pub(super) struct Traces;

impl Traces {
    /// Traces nothing.
    #[must_use]
    pub(super) fn new(_: Moment) -> Self {
        Self
    }

    /// Needs no start.
    pub(super) fn set_first_started(&mut self, _: Moment) {}

    /// Traces nothing.
    pub(super) fn report(&mut self, _: Moment, _: View<'_>, _: &Report) {}

    /// Knows no span.
    #[must_use]
    pub(super) fn of_worker(&self, _: WorkerId) -> Option<TraceContext> {
        None
    }

    /// Knows no span.
    #[must_use]
    pub(super) fn of_drain(&self, _: WorkerId) -> Option<TraceContext> {
        None
    }

    /// Has nothing to send.
    pub(super) fn hand_on(&mut self) {}

    /// Has nothing to send.
    pub(super) async fn end(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::Traces;

    #[test]
    fn traces_that_are_left_out_take_no_room() {
        assert_eq!(size_of::<Traces>(), 0);
    }
}
