//! Clients that speak HTTP/2, with a few requests at once.

use std::io;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use harness::{Address, Failure, PATIENCE};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Conversation, Then};
use crate::chaos::schedule::Random;

/// A connection of HTTP/2. Nothing happens on it between two exchanges.
pub struct Http2 {
    runtime: Runtime,
    /// The socket, until the first exchange.
    fresh: Option<TcpStream>,
    requests: Option<SendRequest<Bytes>>,
}

/// What an error says of the connection.
fn then(error: &h2::Error) -> Result<Then, Failure> {
    // The request was not processed, and the client knows it (RFC 9113, section 6.8).
    if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) {
        return Ok(Then::Announced);
    }
    Err(match error.get_io() {
        Some(error) => Failure::from(io::Error::from(error.kind())),
        None => Failure::Other(error.to_string()),
    })
}

/// A request and its whole answer; gives its status.
async fn get(requests: &SendRequest<Bytes>) -> Result<u16, h2::Error> {
    let mut ready = requests.clone().ready().await?;
    let request = http::Request::get("http://x/").body(()).expect("it is a request");
    let (response, _) = ready.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    while let Some(part) = body.data().await {
        let length = part?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(head.status.as_u16())
}

/// The same, judged.
async fn ask(requests: &SendRequest<Bytes>) -> Result<Then, Failure> {
    match get(requests).await {
        Ok(200) => Ok(Then::On),
        Ok(status) => Err(Failure::Status(status)),
        Err(error) => then(&error),
    }
}

/// Three requests at once.
async fn ask_thrice(fresh: &mut Option<TcpStream>, requests: &mut Option<SendRequest<Bytes>>) -> Result<Then, Failure> {
    if let Some(stream) = fresh.take() {
        let (sender, connection) = match h2::client::handshake(stream).await {
            Ok(both) => both,
            Err(error) => return then(&error),
        };
        // How it ends, each request is told.
        tokio::spawn(connection);
        *requests = Some(sender);
    }
    let requests = requests.as_ref().expect("the first exchange has made it");
    let (first, second, third) = tokio::join!(ask(requests), ask(requests), ask(requests));
    let all = [first?, second?, third?];
    Ok(if all.contains(&Then::Announced) { Then::Announced } else { Then::On })
}

impl Http2 {
    /// Connects; gives the client's port, too.
    pub fn connect(address: &Address) -> Result<(u16, Self), Failure> {
        let Address::Tcp(address) = address else { panic!("these clients connect over TCP") };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(TcpStream::connect(address))?;
        let port = stream.local_addr()?.port();
        Ok((port, Self { runtime, fresh: Some(stream), requests: None }))
    }
}

impl Conversation for Http2 {
    fn exchange(&mut self, _: &mut Random) -> Result<Then, Failure> {
        let Self { runtime, fresh, requests } = self;
        let asked = async { timeout(PATIENCE, ask_thrice(fresh, requests)).await };
        runtime.block_on(asked).unwrap_or(Err(Failure::TimedOut))
    }
}
