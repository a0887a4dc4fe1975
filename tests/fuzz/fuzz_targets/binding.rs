//! Whatever is sent is bound, or refused with 400.
#![no_main]

use std::cell::OnceCell;

use garde::Validate;
use gin_worker::axum::Router;
use gin_worker::axum::body::Body;
use gin_worker::axum::extract::Request;
use gin_worker::binding::{Bind, ShouldBindJson};
use gin_worker::{Config, Result, Server};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

#[derive(Debug, serde::Deserialize, Validate)]
struct Order {
    #[garde(length(min = 1, max = 10))]
    name: String,
    #[serde(default)]
    #[garde(range(min = -5, max = 5))]
    count: i32,
    #[serde(default)]
    #[garde(skip)]
    tags: Vec<String>,
    #[serde(default)]
    #[garde(skip)]
    gift: Option<bool>,
}

async fn bound(Bind(order): Bind<Order>) -> String {
    check(&order)
}

async fn json(ShouldBindJson(order): ShouldBindJson<Order>) -> Result<String> {
    Ok(check(&order?))
}

fn check(order: &Order) -> String {
    assert!((1..=10).contains(&order.name.len()) && (-5..=5).contains(&order.count));
    format!("{} {:?} {:?}", order.name, order.tags, order.gift)
}

thread_local!(static SERVICE: OnceCell<(Runtime, Router)> = const { OnceCell::new() });

fn service() -> (Runtime, Router) {
    let server: Server = Server::bare(&Config::<()>::default()).post("/bind", bound).post("/json", json);
    (Builder::new_current_thread().build().expect("a runtime"), server.into_router().expect("routes"))
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"];
    let path = if first & 4 == 0 { "/bind" } else { "/json" };
    let (query, body) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&[][..], rest),
    };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let request = Request::post(format!("{path}?{query}")).header("content-type", kinds[usize::from(first & 3)]);
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    SERVICE.with(|cell| {
        let (runtime, router) = cell.get_or_init(service);
        let response = runtime.block_on(router.clone().oneshot(request)).expect("infallible");
        assert!([200, 400].contains(&response.status().as_u16()), "{}", response.status());
    });
});
