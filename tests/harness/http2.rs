//! A client of HTTP/2, in cleartext or over TLS, that grants as little window as it is told to.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use crate::{Address, Failure, Https, PATIENCE, Response};

/// Window of a client that says nothing of it (RFC 9113, section 6.9.2).
pub const WINDOW: u32 = 65_535;

/// A connection. Nothing happens on it but in [`Runtime::block_on`].
#[derive(Debug)]
pub struct Http2 {
    /// Runs the connection, and maybe others.
    pub runtime: Arc<Runtime>,
    client: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) {
            return Self::GoingAway;
        }
        match error.get_io() {
            Some(error) => Self::from(io::Error::from(error.kind())),
            None => Self::Other(error.to_string()),
        }
    }
}

impl Http2 {
    /// Connects. Each response may send `window` bytes.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connect(address: SocketAddr, window: u32) -> Self {
        Self::open(&Address::Tcp(address), window, &Self::thread()).unwrap()
    }

    /// The same over a connection that is open.
    ///
    /// # Panics
    /// If the server does not speak HTTP/2.
    #[must_use]
    pub fn over(stream: TcpStream, window: u32) -> Self {
        Self::begin(stream, None, window, &Self::thread()).unwrap()
    }

    /// Connects, over TLS if the address says so, and waits until the server has taken the connection.
    ///
    /// # Errors
    /// The harm to the client.
    ///
    /// # Panics
    /// If the address is a Unix socket's.
    pub fn open(address: &Address, window: u32, runtime: &Arc<Runtime>) -> Result<Self, Failure> {
        let (socket, https) = match address {
            Address::Tcp(socket) => (*socket, None),
            Address::Https(https) => (https.socket(), Some(https)),
            Address::Unix(_) => panic!("a client of HTTP/2 connects over TCP"),
        };
        Self::begin(TcpStream::connect(socket)?, https, window, runtime)
    }

    /// Begins on a socket that is connected. `https`: its TLS.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn begin(
        socket: TcpStream,
        https: Option<&Https>,
        window: u32,
        runtime: &Arc<Runtime>,
    ) -> Result<Self, Failure> {
        // As every client does: small frames at the end of a window would each wait for an acknowledgement.
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let begun = runtime.block_on(in_time(async {
            let socket = tokio::net::TcpStream::from_std(socket)?;
            match https {
                Some(https) => shake_hands(https.secure(socket).await?, window).await,
                None => shake_hands(socket, window).await,
            }
        }));
        begun.map(|(client, ended)| Self { runtime: Arc::clone(runtime), client, ended })
    }

    /// A runtime of one thread: that of whoever waits.
    ///
    /// # Panics
    /// If there are no descriptors for it.
    #[must_use]
    pub fn thread() -> Arc<Runtime> {
        Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
    }

    /// Sends a request; `ends` if it has no body.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn ask(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, h2::SendStream<Bytes>) {
        self.runtime.block_on(async {
            self.client = self.client.clone().ready().await.unwrap();
            self.client.send_request(request, ends).unwrap()
        })
    }

    /// A GET.
    ///
    /// # Panics
    /// As [`Self::ask`].
    pub fn get(&mut self, path: &str) -> ResponseFuture {
        let request = Request::get(format!("http://x{path}")).body(()).unwrap();
        self.ask(request, true).0
    }

    /// Sends these requests at once, and takes their whole answers.
    ///
    /// # Panics
    /// If the client itself panics.
    #[must_use]
    pub fn exchange(&self, requests: Vec<Request<Bytes>>) -> Vec<Result<Response, Failure>> {
        self.runtime.block_on(async {
            let begin = |request| tokio::spawn(in_time(exchange(self.client.clone(), request)));
            let begun: Vec<_> = requests.into_iter().map(begin).collect();
            let mut answers = Vec::new();
            for one in begun {
                answers.push(one.await.unwrap());
            }
            answers
        })
    }

    /// Takes the whole answer to a request that was sent before.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn answer(&self, asked: ResponseFuture) -> Result<Response, Failure> {
        self.rest_of(self.head(asked)?)
    }

    /// Takes the head of an answer. Of its body comes a window, and the rest is not taken.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn head(&self, asked: ResponseFuture) -> Result<http::Response<RecvStream>, Failure> {
        self.runtime.block_on(in_time(async { Ok(asked.await?) }))
    }

    /// Takes the body of an answer whose head has come.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn rest_of(&self, head: http::Response<RecvStream>) -> Result<Response, Failure> {
        self.runtime.block_on(in_time(whole(head)))
    }

    /// Waits for the ends of these responses, of whose bodies nothing is taken. Returns the errors.
    pub fn ends_of(&self, asked: Vec<ResponseFuture>) -> Vec<h2::Error> {
        self.runtime.block_on(async {
            let (mut ends, mut bodies) = (Vec::new(), Vec::new());
            for one in asked {
                match one.await {
                    Ok(answer) => bodies.push(answer.into_body()),
                    Err(error) => ends.push(error),
                }
            }
            for mut body in bodies {
                // Without a release of its capacity the window stays closed.
                while let Some(data) = body.data().await {
                    if let Err(error) = data {
                        ends.push(error);
                        break;
                    }
                }
            }
            ends
        })
    }

    /// True if the connection has ended, as far as the runtime has run.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Reads what has come. True if the server takes no more requests on the connection.
    #[must_use]
    pub fn is_told(&self) -> bool {
        let client = self.client.clone();
        self.runtime.block_on(async {
            // In turn: the sockets are looked at, the connection reads, and this goes on.
            for _ in 0..4 {
                yield_now().await;
            }
            client.ready().await.is_err()
        })
    }
}

/// A connection, and the task that runs it.
type Begun = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

/// Ends after [`PATIENCE`].
async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.unwrap_or(Err(Failure::TimedOut))
}

async fn shake_hands<T>(stream: T, window: u32) -> Result<Begun, Failure>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(16 << 20);
    let (client, mut connection): (_, Connection<_, Bytes>) = builder.handshake(stream).await?;
    let mut pings = connection.ping_pong().expect("nobody has taken it before");
    let ended = tokio::spawn(connection);
    // Its answer comes behind the settings of the server.
    if let Err(error) = pings.ping(Ping::opaque()).await {
        // A server that has gone away has told the requests.
        client.ready().await?;
        return Err(error.into());
    }
    Ok((client, ended))
}

async fn exchange(client: SendRequest<Bytes>, request: Request<Bytes>) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let (answer, mut sender) = client.ready().await?.send_request(Request::from_parts(head, ()), body.is_empty())?;
    if !body.is_empty() {
        sender.send_data(body, true)?;
    }
    whole(answer.await?).await
}

/// Takes the body of an answer.
async fn whole(answer: http::Response<RecvStream>) -> Result<Response, Failure> {
    let (head, mut parts) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(part) = parts.data().await {
        let part = part?;
        parts.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Ok(Response { status: head.status.as_u16(), headers, body })
}
