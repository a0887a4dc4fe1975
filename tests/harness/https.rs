//! The client's side of TLS: rustls, which is not the library of the server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{authority, certificate, key};

/// Both versions of TLS, for tests that are the same with each.
pub static VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A server that speaks TLS, and how its client does.
#[derive(Debug, Clone)]
pub struct Https {
    address: SocketAddr,
    host: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Https {
    /// A client of either version that believes the tests' authority, asks for `localhost` and speaks HTTP/1.1. It resumes no session.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::with(address, &VERSIONS, None)
    }

    /// The same with these versions, and with the certificate of this name to show.
    ///
    /// # Panics
    /// If there is no such certificate.
    #[must_use]
    pub fn with(address: SocketAddr, versions: &[&'static SupportedProtocolVersion], client: Option<&str>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(authority());
        let mut config = match client {
            Some(name) => builder.with_client_auth_cert(vec![certificate(name)], key(name)).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Self { address, host: ServerName::try_from("localhost").unwrap(), config: Arc::new(config) }
    }

    /// Asks for this host. An address is not told to the server.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        Self { host: ServerName::try_from(host.to_owned()).unwrap(), ..self }
    }

    /// The same client, at another server.
    #[must_use]
    pub fn moved_to(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Changes the client's settings.
    #[must_use]
    pub fn configured(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// The socket's address.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// The client's settings.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The host that it asks for.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.host.clone()
    }

    /// A handshake to its end, with a client that speaks HTTP/2.
    pub(crate) async fn secure(&self, socket: tokio::net::TcpStream) -> io::Result<TlsStream<tokio::net::TcpStream>> {
        let https = self.clone().configured(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        TlsConnector::from(https.config).connect(https.host, socket).await
    }

    /// A handshake that has not begun.
    ///
    /// # Panics
    /// If rustls does not take the settings.
    #[must_use]
    pub fn handshake(&self) -> ClientConnection {
        ClientConnection::new(Arc::clone(&self.config), self.host.clone()).unwrap()
    }
}

/// A connection over TLS.
#[derive(Debug)]
pub struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Ends a handshake.
    ///
    /// # Errors
    /// Those of the socket; `InvalidData` if the two sides do not come to terms.
    pub fn finish(mut connection: ClientConnection, mut socket: TcpStream) -> io::Result<Self> {
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    /// The certificate that the server has shown.
    ///
    /// # Panics
    /// If it has shown none.
    #[must_use]
    pub fn shown(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// True if an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Makes records of these bytes, and sends none of them.
    ///
    /// # Panics
    /// If rustls does not take them.
    pub fn records(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.conn.writer().write_all(bytes).unwrap();
        let mut records = Vec::new();
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Changes its keys with the next record, and asks the server to change its own (TLS 1.3).
    ///
    /// # Panics
    /// If the version knows no such thing.
    pub fn change_keys(&mut self) {
        self.0.conn.refresh_traffic_keys().unwrap();
    }

    /// Sends bytes as they are: records, parts of them, or anything else.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.sock.write_all(bytes)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Reads what has come, without waiting. Returns whether something waits to be read, be it the end, and whether it is the end. Tickets
    /// and changed keys are nothing to read.
    pub(crate) fn look(&mut self) -> (bool, bool) {
        match self.read_arrived() {
            Ok((waiting, is_over)) => (waiting > 0 || is_over, waiting == 0 && is_over),
            Err(_) => (true, true),
        }
    }

    fn read_arrived(&mut self) -> io::Result<(usize, bool)> {
        self.0.sock.set_nonblocking(true)?;
        let has_ended = self.read_until_blocked();
        self.0.sock.set_nonblocking(false)?;
        let (has_ended, state) = (has_ended?, self.0.conn.process_new_packets().map_err(io::Error::other)?);
        Ok((state.plaintext_bytes_to_read(), has_ended || state.peer_has_closed()))
    }

    /// Gives whether the socket's end has come.
    fn read_until_blocked(&mut self) -> io::Result<bool> {
        let StreamOwned { conn, sock } = &mut self.0;
        while conn.wants_read() {
            match conn.read_tls(sock) {
                Ok(0) => return Ok(true),
                Ok(_) => conn.process_new_packets().map(drop).map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Says that no more will come.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut self.0.sock)?;
        }
        self.0.sock.shutdown(Shutdown::Write)
    }
}

impl Read for Secure {
    /// The server's end is an end only if it has said so (`close_notify`), and else an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
