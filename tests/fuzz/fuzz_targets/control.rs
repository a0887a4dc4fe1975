//! Requests to the control API, by its own routes: each is answered as a caller's mistake or request can be, and reaches the loop only if
//! it was accepted. Besides: bodies, packets of the channel, and snapshots of the machine.
#![no_main]

use std::cell::OnceCell;

use gin_shared::channel::{FromMaster, FromWorker, decode};
use gin_shared::control::{CancelRequest, LogLevel, RestartRequest, RollbackRequest, ScaleRequest, StopRequest};
use gin_shared::metrics::Memory;
use gin_supervisor::control::scrapes::Scrapes;
use gin_supervisor::control::{Caller, acting, looking};
use gin_supervisor::inbox::{Handle, Message};
use gin_supervisor::machine::{Machine, snapshot};
use gin_worker::axum::Extension;
use gin_worker::axum::body::Body;
use gin_worker::axum::extract::Request;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tower::ServiceExt;

/// A panic would be none of these. 503: nobody answers here for the loop.
const KNOWN: [u16; 8] = [200, 202, 400, 403, 404, 405, 413, 503];

thread_local!(static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() });

/// A request: a line with its method and its path, and its body. A `-` before the method: over the socket that may only look.
fn request(data: &[u8]) -> Option<(bool, Request)> {
    let (may_act, data) = data.strip_prefix(b"-").map_or((true, data), |rest| (false, rest));
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (method, path) = std::str::from_utf8(&data[..end]).ok()?.split_once(' ')?;
    let request = Request::builder().method(method).uri(path).header("host", "gin");
    Some((may_act, request.body(Body::from(data[end + 1..].to_vec())).ok()?))
}

/// Asks. Returns the status, and how many messages reached the loop that act.
async fn ask(may_act: bool, request: Request) -> (u16, usize) {
    let (handle, mut inbox) = Handle::new();
    let scrapes = Scrapes::new(handle.clone(), Memory::own(16), "fuzz".to_owned());
    let router = if may_act { acting(handle, scrapes) } else { looking(handle, scrapes) };
    let caller = Caller { user: "fuzz".to_owned(), uid: 1, pid: None };
    let mut answer = std::pin::pin!(router.layer(Extension(caller)).oneshot(request));
    let mut acts = 0;
    loop {
        tokio::select! {
            biased;
            // Whoever waits for an answer of the loop hears that there is none.
            Some(message) = inbox.recv() => acts += usize::from(matches!(message, Message::Event(_) | Message::Reload(_))),
            response = &mut answer => {
                while let Ok(message) = inbox.try_recv() {
                    acts += usize::from(matches!(message, Message::Event(_) | Message::Reload(_)));
                }
                return (response.expect("infallible").status().as_u16(), acts);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<RestartRequest>(data);
    let _ = serde_json::from_slice::<RollbackRequest>(data);
    let _ = serde_json::from_slice::<CancelRequest>(data);
    let _ = serde_json::from_slice::<ScaleRequest>(data);
    let _ = serde_json::from_slice::<StopRequest>(data);
    let _ = serde_json::from_slice::<LogLevel>(data);
    let _ = decode::<FromMaster>(data);
    let _ = decode::<FromWorker>(data);
    if let Ok(machine) = snapshot::read::<Machine>(data, "boot") {
        assert_eq!(
            snapshot::read(&snapshot::write(&machine, "boot").expect("it can be written"), "boot").ok(),
            Some(machine)
        );
    }
    let Some((may_act, request)) = request(data) else { return };
    RUNTIME.with(|cell| {
        let runtime = cell.get_or_init(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
        // Answers that last are written by tasks of the same thread.
        let (status, acts) = LocalSet::new().block_on(runtime, ask(may_act, request));
        assert!(KNOWN.contains(&status), "{status}");
        assert_eq!(acts, usize::from(status == 202), "status {status}");
        assert!(may_act || acts == 0, "the socket may only look");
    });
});
