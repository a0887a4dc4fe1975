//! The listener for scrapers (`supervisor.metrics`): HTTP over TCP, `GET` and `HEAD` of `/metrics`, and nothing else. Whoever reaches the
//! address may ask, so connections, their time and their heads are bounded; each is closed after its answer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use gin_shared::exit;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::scrapes::{self, Scrapes};
use super::{Doors, FINISH, error, let_in};

/// Time for a scraper to send its head.
const HEAD: Duration = Duration::from_secs(5);
/// Time for all of an exchange: the head, the answer's gathering, and the answer.
const EXCHANGE: Duration = Duration::from_secs(20);

/// Serves scrapers until all is over.
pub async fn serve(listener: TcpListener, scrapes: Scrapes, doors: Doors) {
    let (router, silent) = (router(scrapes), Silent::default());
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    let connection = |stream, doors| exchange(stream, router.clone(), silent.clone(), doors);
    let_in("supervisor.metrics", accept, doors, connection).await;
}

/// The callers whose heads have not come, the oldest first.
#[derive(Debug, Clone, Default)]
struct Silent(Rc<RefCell<VecDeque<Rc<Notify>>>>);

impl Silent {
    /// Adds a caller. It is notified when it has to go.
    fn enter(&self) -> Rc<Notify> {
        let caller = Rc::new(Notify::new());
        self.0.borrow_mut().push_back(Rc::clone(&caller));
        caller
    }

    /// Its head has come, or it is gone.
    fn leave(&self, caller: &Rc<Notify>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, caller));
    }

    /// Has the oldest one go, if there is one.
    fn let_oldest_go(&self) {
        let oldest = self.0.borrow_mut().pop_front();
        oldest.iter().for_each(|oldest| oldest.notify_one());
    }
}

fn router(scrapes: Scrapes) -> Router {
    Router::new()
        .route("/metrics", get(scrapes::metrics))
        .fallback(|| async { error(StatusCode::NOT_FOUND, exit::USAGE, "only /metrics is here") })
        .with_state(scrapes)
}

async fn exchange(stream: TcpStream, router: Router, silent: Silent, doors: Doors) {
    let Doors { slots, mut over, mut paused } = doors;
    if slots.available_permits() == 0 {
        // The next caller may be one that asks.
        silent.let_oldest_go();
    }
    let caller = silent.enter();
    let (service, heard) = (TowerToHyperService::new(router), (silent.clone(), Rc::clone(&caller)));
    let service = service_fn(move |request: Request<Incoming>| {
        heard.0.leave(&heard.1);
        service.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        // An idle connection would take a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(tokio::time::timeout(EXCHANGE, connection));
    // What a scraper does wrong is its own business.
    let is_cut_short = tokio::select! {
        biased;
        _ = connection.as_mut() => false,
        () = caller.notified() => false,
        _ = over.wait_for(|over| *over) => true,
        _ = paused.wait_for(|paused| *paused) => true,
    };
    if is_cut_short {
        // An answer that is under way is finished.
        let _ = tokio::time::timeout(FINISH, connection).await;
    }
    silent.leave(&caller);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use gin_shared::metrics::Memory;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Semaphore, watch};
    use tokio::task::LocalSet;

    use super::*;
    use crate::inbox::Handle;

    /// Sends `request`, and gives everything that comes until the connection ends.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Serves the listener with so many places, while `callers` runs. The loop behind it has ended.
    async fn served(listener: TcpListener, places: usize, callers: impl Future<Output = ()>) {
        // Nobody reads the inbox.
        let (handle, _) = Handle::new();
        let scrapes = Scrapes::new(handle, Memory::own(16), "shop".to_owned());
        let (over, is_over) = watch::channel(false);
        let (_pause, paused) = watch::channel(false);
        let doors = Doors { slots: Arc::new(Semaphore::new(places)), over: is_over, paused };
        let servers = LocalSet::new();
        servers.spawn_local(serve(listener, scrapes, doors));
        servers.run_until(callers).await;
        over.send_replace(true);
        servers.await;
    }

    #[tokio::test]
    async fn callers_that_say_nothing_make_room_for_one_that_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        served(listener, 2, async {
            let began = Instant::now();
            let mut silent = Vec::new();
            for _ in 0..10 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(began.elapsed() < HEAD, "{:?}", began.elapsed());
            drop(silent);
        })
        .await;
    }

    #[tokio::test]
    async fn a_scraper_is_told_where_the_numbers_are_and_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        served(listener, 2, async {
            // The connection ends with the answer, or this would wait.
            let answer = ask(address, "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("only /metrics is here"), "{answer}");
            let answer = ask(address, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
            let answer = ask(address, "GET /metrics?by=slot HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("is leaving"), "{answer}");
        })
        .await;
    }
}
