//! TLS for clients that speak none: what they send, well-formed or not, goes over it as it is.

use std::net::TcpStream;

use tokio::io::copy_bidirectional;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::https::Https;

/// Bytes that the kernel keeps for each side of a socket. They are few, so that a server soon notices a client that takes nothing.
const BUFFER: u32 = 64 << 10;

/// Threads of the tunnel. One alone would let a connection wait for all others that are flooded.
const THREADS: usize = 4;

/// Connections over TLS, each behind a socket that speaks cleartext.
#[derive(Debug)]
pub struct Tunnel {
    runtime: Runtime,
    https: Https,
}

impl Tunnel {
    /// Leads to this server.
    ///
    /// # Panics
    /// If there is no room for a thread.
    #[must_use]
    pub fn to(https: Https) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
        Self { runtime, https }
    }

    /// A socket behind which a handshake has been made, which has settled this protocol. When one side ends, the other does.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn connect(&self, protocol: &str) -> TcpStream {
        let https = self.https.clone().configured(|config| config.alpn_protocols = vec![protocol.into()]);
        let near = self.runtime.block_on(async {
            let far = socket().connect(self.https.socket()).await.unwrap();
            far.set_nodelay(true).unwrap();
            let connector = TlsConnector::from(https.config());
            let mut far = connector.connect(https.server_name(), far).await.unwrap();
            let (near, mut inner) = pair().await;
            tokio::spawn(async move { copy_bidirectional(&mut inner, &mut far).await });
            near.into_std().unwrap()
        });
        near.set_nonblocking(false).unwrap();
        near
    }
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket
}

/// Two ends of a connection.
async fn pair() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listening = socket();
    listening.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listening.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(socket().connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
