//! Calls to other services, as the list of the requests that are alive tells them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, Response, Uri};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tower::{Layer, Service, service_fn};

use super::super::{ClientLayer, outgoing};
use super::{asked, begun, tracer};
use crate::observed::doing::Doing;
use crate::observed::requests::{Requests, Watch, What};

/// Longer than any poll of a test.
const NEVER: Duration = Duration::from_secs(3600);

fn list() -> (&'static Requests, Watch) {
    let requests = Requests::new(NEVER);
    (requests, requests.enter(What::Task { name: Arc::from("mailer") }))
}

fn waits(requests: &Requests) -> bool {
    requests.alive()[0].waits_for(Doing::Outgoing as u8)
}

#[test]
fn a_call_is_waited_for_until_it_ends_traced_or_not() {
    let (requests, watch) = list();
    let call = || watch.within(|| outgoing(&Method::GET, &Uri::from_static("http://prices.test/")));
    let untraced = call();
    assert!(waits(requests));
    untraced.answered(200);
    assert!(!waits(requests));
    let mut request = begun(tracer(1.0), &asked(&[]), false);
    let traced = request.within(call);
    assert!(waits(requests));
    traced.failed("refused");
    assert!(!waits(requests));
    let given_up = call();
    assert!(waits(requests));
    drop(given_up);
    assert!(!waits(requests));
}

#[test]
fn a_client_in_the_layer_is_waited_for_until_it_answers() {
    let (requests, watch) = list();
    let (answer, answered) = oneshot::channel::<Response<()>>();
    let mut answered = Some(answered);
    let mut client = ClientLayer.layer(service_fn(move |_: Request<()>| answered.take().expect("one call")));
    let mut call = watch.within(|| client.call(Request::new(())));
    assert!(watch.within(|| (&mut call).now_or_never()).is_none());
    assert!(waits(requests));
    answer.send(Response::new(())).unwrap();
    assert!(watch.within(|| (&mut call).now_or_never()).is_some());
    // The future is there still, and its owner may keep it.
    assert!(!waits(requests));
    drop(call);
}
