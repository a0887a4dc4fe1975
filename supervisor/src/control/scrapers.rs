//! The listener for scrapers (`supervisor.metrics`): HTTP over TCP, `GET` and `HEAD` of `/metrics`, and nothing else. Whoever reaches the
//! address may ask, so connections, their time and their heads are bounded; each is closed after its answer.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use gin_shared::exit;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use super::scrapes::{self, Scrapes};
use super::{Doors, FINISH, error, let_in};

/// Time for a scraper to send its head.
const HEAD: Duration = Duration::from_secs(5);
/// Time for all of an exchange: the head, the answer's gathering, and the answer.
const EXCHANGE: Duration = Duration::from_secs(20);

/// Serves scrapers until all is over.
pub async fn serve(listener: TcpListener, scrapes: Scrapes, doors: Doors) {
    let router = router(scrapes);
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    let connection = |stream, doors| exchange(stream, router.clone(), doors);
    let_in("supervisor.metrics", accept, doors, connection).await;
}

fn router(scrapes: Scrapes) -> Router {
    Router::new()
        .route("/metrics", get(scrapes::metrics))
        .fallback(|| async { error(StatusCode::NOT_FOUND, exit::USAGE, "only /metrics is here") })
        .with_state(scrapes)
}

async fn exchange(stream: TcpStream, router: Router, doors: Doors) {
    let Doors { mut over, mut paused, .. } = doors;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        // An idle connection would take a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(tokio::time::timeout(EXCHANGE, connection));
    // What a scraper does wrong is its own business.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        _ = over.wait_for(|over| *over) => {}
        _ = paused.wait_for(|paused| *paused) => {}
    }
    // An answer that is under way is finished.
    let _ = tokio::time::timeout(FINISH, connection).await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

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

    #[tokio::test]
    async fn a_scraper_is_told_where_the_numbers_are_and_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody reads the inbox: this handle's loop has ended.
        let (handle, _) = Handle::new();
        let scrapes = Scrapes::new(handle, Memory::own(16), "shop".to_owned());
        let (over, is_over) = watch::channel(false);
        let (_pause, paused) = watch::channel(false);
        let doors = Doors { slots: Arc::new(Semaphore::new(2)), over: is_over, paused };
        let servers = LocalSet::new();
        servers.spawn_local(serve(listener, scrapes, doors));
        servers
            .run_until(async {
                // The connection ends with the answer, or this would wait.
                let answer = ask(address, "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("only /metrics is here"), "{answer}");
                let answer = ask(address, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
                let answer = ask(address, "GET /metrics?by=slot HTTP/1.1\r\nhost: x\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
                let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("is leaving"), "{answer}");
                over.send_replace(true);
            })
            .await;
        servers.await;
    }
}
