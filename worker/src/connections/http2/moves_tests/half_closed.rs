//! Clients that close their side behind a request.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::raw::{GET_10, GET_AGAIN, Raw, WHOLE};
use super::*;
use crate::connections::activity::Activity;
use crate::connections::bounds::Bounds;
use crate::connections::http2::frame::Kind;
use crate::connections::http2::{OwnSettings, Tap, TappedIo};
use crate::connections::io::Io;
use crate::connections::progress::Progress;
use crate::connections::room::Room;
use crate::connections::transport::Stream;

/// A connection that hyper serves by itself: nobody but the test closes and opens the gate. `held` ends each request but the first.
fn served(held: Arc<Notify>) -> (UnixStream, TappedIo) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut place = Room::new(Life::default(), 1, None).take_over().unwrap();
    place.own();
    let activity = Arc::new(Activity::resume(&Progress::fresh()));
    let io = Io::new(Stream::Unix(far), place, Bytes::new(), activity, &Bounds::default());
    let own = OwnSettings { max_streams: 100, window: 65_536, connection_window: 6_553_600, head_list: 65_536 };
    let tapped = TappedIo::new(io, Tap::fresh(own));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(own.max_streams).max_header_list_size(own.head_list);
    builder.initial_connection_window_size(own.connection_window).initial_stream_window_size(own.window);
    let is_first = AtomicBool::new(true);
    let service = service_fn(move |_: Request<Incoming>| {
        let (waits, held) = (!is_first.swap(false, Ordering::Relaxed), Arc::clone(&held));
        async move {
            if waits {
                held.notified().await;
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"0123456789"))))
        }
    });
    let (connection, turns) = (builder.serve_connection(TokioIo::new(tapped.clone()), service), tapped.clone());
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let step = connection.as_mut().poll(cx);
            let _ = turns.poll_turn(cx);
            step
        })
        .await
    });
    (near, tapped)
}

#[tokio::test]
async fn a_request_that_waits_at_the_gate_is_answered_though_its_client_closes_its_side() {
    let held = Arc::new(Notify::new());
    let (wire, tapped) = served(Arc::clone(&held));
    let mut client = Raw::over(wire, b"").await;
    assert_eq!(client.request(1, GET_10).await, 10);
    tapped.close_gate();
    for stream in [3, 5] {
        client.send_frame(Kind::Headers, WHOLE, stream, GET_AGAIN).await;
    }
    client.closes_its_side().await;
    // Its end is read by now, or comes behind the requests.
    held.notify_one();
    let first = client.first_whole().await;
    held.notify_one();
    let second = client.first_whole().await;
    assert_eq!((first.min(second), first.max(second)), (3, 5));
    // Then the connection ends.
    client.ended().await;
}
