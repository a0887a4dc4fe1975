//! A client of HTTP/2 that grants as little window as it is told to.

use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use tokio::runtime::Runtime;

/// A connection, on a runtime of its own: nothing happens on it but in [`Runtime::block_on`].
#[derive(Debug)]
pub struct Http2 {
    /// Runs the connection.
    pub runtime: Runtime,
    client: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// Connects. Each response may send `window` bytes.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connect(address: SocketAddr, window: u32) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), window)
    }

    /// The same over a connection that is open.
    ///
    /// # Panics
    /// If the server does not speak HTTP/2.
    #[must_use]
    pub fn over(stream: TcpStream, window: u32) -> Self {
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, ended) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            // As every client does: small frames at the end of a window would each wait for an acknowledgement.
            stream.set_nodelay(true).unwrap();
            let mut builder = Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(16 << 20);
            let (client, connection): (_, Connection<_, Bytes>) = builder.handshake(stream).await.unwrap();
            let ended = tokio::spawn(connection);
            (client.ready().await.unwrap(), ended)
        });
        Self { runtime, client, ended }
    }

    /// Sends a request; `ends` if it has no body.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn ask(&mut self, request: http::Request<()>, ends: bool) -> (ResponseFuture, h2::SendStream<Bytes>) {
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
        let request = http::Request::get(format!("http://x{path}")).body(()).unwrap();
        self.ask(request, true).0
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
}
