//! The span that a thread works for at this moment.
//!
//! A future that has a span keeps it in a [`Frame`]. It puts the frame here for one poll, and takes it away again: many threads may poll
//! one future in turn. Spans of `tracing` are entered and left in any order, so each of them that is entered stands in a list, with the
//! depth of the frame in which it was entered. The last one of the uppermost frame is the current span, else the frame's own is.
//!
//! Nothing here logs, and no code of others runs while the thread's state is borrowed: a subscriber may come back here.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gin_shared::trace_context::TraceContext;

use super::open::Open;
use super::tracer::Tracer;

thread_local! {
    static THREAD: RefCell<Thread> = const { RefCell::new(Thread { frame: None, depth: 0, entered: Vec::new() }) };
}

/// A span in which others begin, sampled or not.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub(super) tracer: &'static Tracer,
    pub(super) context: TraceContext,
    /// The header `tracestate`.
    pub(super) state: Option<Arc<str>>,
    pub(super) clock: Clock,
    pub(super) place: Place,
}

impl Active {
    /// True if spans within belong to the same trace, and are recorded.
    pub(super) fn records(&self) -> bool {
        self.context.is_sampled && matches!(self.place, Place::Trace)
    }
}

/// Part of the process that a span is in.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A trace that comes to an end: spans within belong to it.
    Trace,
    /// A background task, which may live as long as the process: each span in it begins a trace.
    Task(Arc<str>),
}

/// Times of one trace: the wall clock is read once, the rest are differences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    at: Instant,
    wall_ns: u64,
}

impl Clock {
    /// Reads the wall clock for a trace that began at this moment.
    pub(super) fn read(at: Instant) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = now.saturating_sub(at.elapsed());
        Self { at, wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// The clock of a trace that nobody records.
    pub(super) fn unread(at: Instant) -> Self {
        Self { at, wall_ns: 0 }
    }

    /// Nanoseconds since 1970.
    pub(super) fn ns(self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.at);
        self.wall_ns.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A span that a future or a call works for.
#[derive(Debug)]
pub(super) enum Frame {
    /// The span is not recorded here.
    Bare(Active),
    /// The span is recorded, and ends when this is dropped.
    Recording(Box<Open>),
}

impl Frame {
    pub(super) fn active(&self) -> &Active {
        match self {
            Self::Bare(active) => active,
            Self::Recording(open) => &open.active,
        }
    }
}

struct Thread {
    frame: Option<Frame>,
    /// Number of the frames that were put here and not taken away yet.
    depth: u32,
    entered: Vec<Entered>,
}

/// A span of `tracing` that was entered.
struct Entered {
    span: u64,
    depth: u32,
    active: Active,
}

impl Thread {
    fn entered(&self) -> Option<&Entered> {
        self.entered.last().filter(|entered| entered.depth == self.depth)
    }

    fn active(&self) -> Option<&Active> {
        self.entered().map(|entered| &entered.active).or_else(|| self.frame.as_ref().map(Frame::active))
    }
}

/// Runs `f`, in which this thread works for the span of the slot. If `f` panics, the span has failed.
pub(super) fn within<T>(slot: &mut Option<Frame>, f: impl FnOnce() -> T) -> T {
    if slot.is_none() {
        return f();
    }
    let _swapped = Swapped::begin(slot);
    f()
}

/// The same for a span that is recorded.
pub(super) fn within_open<T>(open: &mut Option<Box<Open>>, f: impl FnOnce() -> T) -> T {
    struct PutBack<'a> {
        slot: Option<Frame>,
        open: &'a mut Option<Box<Open>>,
    }
    impl Drop for PutBack<'_> {
        fn drop(&mut self) {
            if let Some(Frame::Recording(open)) = self.slot.take() {
                *self.open = Some(open);
            }
        }
    }
    let slot = open.take().map(Frame::Recording);
    let mut back = PutBack { slot, open };
    within(&mut back.slot, f)
}

/// Puts a frame in the place of the one before, until it is dropped: also when the thread panics.
struct Swapped<'a> {
    slot: &'a mut Option<Frame>,
    was_panicking: bool,
}

impl<'a> Swapped<'a> {
    fn begin(slot: &'a mut Option<Frame>) -> Self {
        change(|thread| {
            std::mem::swap(&mut thread.frame, slot);
            thread.depth += 1;
        });
        Self { slot, was_panicking: std::thread::panicking() }
    }
}

impl Drop for Swapped<'_> {
    fn drop(&mut self) {
        change(|thread| {
            // A guard that was kept over an await: its span is entered no longer.
            while thread.entered().is_some() {
                thread.entered.pop();
            }
            std::mem::swap(&mut thread.frame, self.slot);
            thread.depth = thread.depth.saturating_sub(1);
        });
        if let Some(Frame::Recording(open)) = self.slot
            && std::thread::panicking()
            && !self.was_panicking
        {
            open.panicked();
        }
    }
}

/// Changes the thread's state. It fails at the end of a thread alone: nothing is polled there.
fn change<T>(f: impl FnOnce(&mut Thread) -> T) -> Option<T> {
    THREAD.try_with(|thread| thread.try_borrow_mut().ok().map(|mut thread| f(&mut thread))).ok().flatten()
}

/// Reads the current span, if there is one.
pub(super) fn with<T>(f: impl FnOnce(&Active) -> T) -> Option<T> {
    let read = |thread: &RefCell<Thread>| thread.try_borrow().ok().and_then(|thread| thread.active().map(f));
    THREAD.try_with(read).ok().flatten()
}

/// A span of `tracing` is entered.
pub(super) fn enter(span: u64, active: Active) {
    change(|thread| {
        let depth = thread.depth;
        thread.entered.push(Entered { span, depth, active });
    });
}

/// A span of `tracing` is left, perhaps before another one that was entered later.
pub(super) fn leave(span: u64) {
    change(|thread| {
        if let Some(at) = thread.entered.iter().rposition(|entered| entered.span == span) {
            thread.entered.remove(at);
        }
    });
}

/// Recorder of the current span's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorder {
    /// The span of `tracing` with this id.
    Tracing(u64),
    /// The current frame.
    Frame,
}

/// The recorder of the current span's events, if they are recorded.
pub(super) fn recorder() -> Option<Recorder> {
    let find = |thread: &mut Thread| match (thread.entered(), &thread.frame) {
        (Some(entered), _) => entered.active.context.is_sampled.then_some(Recorder::Tracing(entered.span)),
        (None, Some(Frame::Recording(_))) => Some(Recorder::Frame),
        (None, Some(Frame::Bare(_)) | None) => None,
    };
    change(find).flatten()
}

/// Changes the span of the current frame, if it is recorded. `f` must not log.
pub(super) fn record(f: impl FnOnce(&mut Open)) {
    change(|thread| {
        if let Some(Frame::Recording(open)) = &mut thread.frame {
            f(open);
        }
    });
}
