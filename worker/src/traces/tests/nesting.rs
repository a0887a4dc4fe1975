//! The thread's current span, however polls, panics and spans of `tracing` are nested.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use gin_otlp::SpanKind;
use tracing_subscriber::layer::SubscriberExt;

use super::super::{Call, carry, context, ids, layer, root, span, task};
use super::captured::{named, spans};
use super::{asked, begun, tracer};

fn current() -> Option<String> {
    ids().map(|ids| ids.span.to_string())
}

fn is_done<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn breaks() {
    panic!("as told")
}

#[test]
fn a_poll_on_another_thread_keeps_the_span() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap();
    let mut polls = 0;
    let two_polls = poll_fn(move |_| {
        assert_ne!(ids().unwrap().span, own.span);
        assert_eq!(ids().unwrap().trace, own.trace);
        polls += 1;
        if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut future = request.within(|| Box::pin(span("work").around(two_polls)));
    assert!(!is_done(future.as_mut()));
    assert_eq!(current(), None);
    assert!(std::thread::spawn(move || is_done(future.as_mut())).join().unwrap());
    assert_eq!(named(tracer, "work").parent, own.span.bytes());
}

#[test]
fn a_panic_puts_the_one_before_back_and_its_span_has_failed() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    request.within(|| {
        let before = current();
        let outcome = catch_unwind(AssertUnwindSafe(|| span("breaks").within(breaks)));
        assert!(outcome.is_err());
        assert_eq!(current(), before);
    });
    assert_eq!(current(), None);
    assert_eq!(named(tracer, "breaks").error.as_deref(), Some("panicked"));
}

#[test]
fn calls_and_spans_within_one_another_are_children() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap().span.bytes();
    request.within(|| {
        span("outer").within(|| {
            let mut call = Call::begin(SpanKind::Client, || "call".into());
            let inner = call.around(async { span("inner").within(|| ()) });
            assert_eq!(inner.now_or_never(), Some(()));
            call.fail("timeout", || "no answer".to_owned());
        });
    });
    let (outer, call, inner) = (named(tracer, "outer"), named(tracer, "call"), named(tracer, "inner"));
    assert_eq!((outer.parent, &call.parent, &inner.parent), (own.to_vec(), &outer.id, &call.id));
    assert_eq!((call.error.as_deref(), call.attribute("error.type")), (Some("no answer"), Some("timeout")));
    assert_eq!((call.kind, inner.kind), (3, 1));
    assert!(outer.began_ns <= call.began_ns && call.ended_ns <= outer.ended_ns);
}

#[test]
fn spans_of_tracing_may_be_left_in_any_order() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap().span.to_string();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
        request.within(|| {
            let first = tracing::info_span!("first", order = 7);
            let in_first = first.enter();
            let of_first = current();
            let second = tracing::info_span!("second");
            let in_second = second.enter();
            let of_second = current();
            drop(in_first);
            assert_eq!(current(), of_second, "the one that is entered still");
            drop(in_second);
            assert_eq!(current().as_ref(), Some(&own));
            // Left in the middle of another frame.
            let in_first = first.enter();
            assert_eq!(current(), of_first);
            span("frame").within(|| {
                let of_frame = current();
                drop(in_first);
                assert_eq!(current(), of_frame);
            });
            assert_eq!(current().as_ref(), Some(&own));
            // A guard that nobody drops.
            let third = tracing::info_span!("third");
            span("frame").within(|| std::mem::forget(third.enter()));
            assert_eq!(current().as_ref(), Some(&own));
        });
        assert_eq!(current(), None);
    });
    let (first, second) = (named(tracer, "first"), named(tracer, "second"));
    assert_eq!((first.attribute("order"), &second.parent), (Some("7"), &first.id));
}

#[test]
fn a_task_that_is_carried_belongs_to_the_request() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap();
    let carried = request.within(|| carry(async { span("later").within(context) }));
    drop(request);
    let told = carried.now_or_never().flatten().unwrap();
    assert_eq!(told.trace, own.trace);
    assert_eq!(named(tracer, "later").parent, own.span.bytes());
}

#[test]
fn each_span_in_a_background_task_begins_a_trace() {
    let tracer = tracer(1.0);
    let work = async {
        let own = context().unwrap();
        for _ in 0..2 {
            let inner = span("round").within(|| span("step").within(context)).unwrap();
            assert_ne!(inner.trace, own.trace);
        }
        drop(Call::begin(SpanKind::Client, || "SELECT mails".into()));
        pending::<()>().await;
    };
    assert_eq!(task(tracer, Arc::from("mailer"), work).now_or_never(), None);
    let all = spans(tracer);
    let rounds: Vec<_> = all.iter().filter(|span| span.name == "round").collect();
    assert!(rounds.len() == 2 && rounds[0].trace != rounds[1].trace, "{all:?}");
    assert!(rounds.iter().all(|round| round.parent.is_empty() && round.attribute("gin.task") == Some("mailer")));
    assert!(
        all.iter().filter(|span| span.name == "step").all(|step| rounds.iter().any(|round| step.parent == round.id))
    );
    assert_eq!(named(tracer, "SELECT mails").attribute("gin.task"), Some("mailer"));
    assert_eq!(all.last().unwrap().name, "background mailer");
}

#[test]
fn a_background_task_that_panics_has_failed() {
    let tracer = tracer(1.0);
    let breaks = task(tracer, Arc::from("mailer"), async { breaks() });
    let outcome = catch_unwind(AssertUnwindSafe(|| breaks.now_or_never()));
    assert!(outcome.is_err());
    assert_eq!(named(tracer, "background mailer").error.as_deref(), Some("panicked"));
}

#[test]
fn a_root_asks_the_rate() {
    let (all, none) = (tracer(1.0), tracer(0.0));
    let within = |tracer, f: &dyn Fn()| {
        let _ = task(tracer, Arc::from("t"), async { f() }).now_or_never();
    };
    within(all, &|| assert!(root("nightly").is_sampled()));
    within(none, &|| assert!(!root("nightly").is_sampled()));
    assert!(named(all, "nightly").parent.is_empty());
    assert!(spans(none).is_empty());
}
