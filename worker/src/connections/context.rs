//! The worker as a protocol sees it, and the connection as a request's handler sees it.
//!
//! A [`Context`] has the application's router, the state of the drain, and the way back to the hub, which only an upgraded connection
//! uses: a protocol returns its connection instead. It has neither the parked connections nor the room of the worker.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Instant;

use axum::Router;

use crate::config;
use crate::connections::connection::{
    ActiveConnection, ConnectionInfo, IdleConnection, ListenerFacts, Protection, WebSocketSession,
};
use crate::connections::drain_state::DrainState;
use crate::connections::machine::State;
use crate::connections::room::Place;
use crate::connections::streams::Streams;
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use crate::tls::{Profile, TlsContext};

/// Gives connections to the owners of their next states. The hub does; those below it know no more of it.
pub(crate) trait Dispatch: Send + Sync + 'static {
    /// The state of the drain.
    fn drain(&self) -> &DrainState;
    /// The facts about the listener of this name: see [`Context::facts`].
    fn facts(&self, name: &str, protection: Protection) -> Option<Arc<ListenerFacts>>;
    /// Counts a connection as one of this client's. False if the client has as many as it may have.
    fn admit(&self, place: &mut Place, client: IpAddr) -> bool;
    /// Gives a connection to the owner of this state.
    fn dispatch(self: Arc<Self>, state: State, connection: IdleConnection);
    /// Goes on with a session here: its connection cannot leave at this moment.
    fn resume(self: Arc<Self>, connection: ActiveConnection, session: WebSocketSession);
}

/// The listeners of a worker, and the settings of those that speak TLS.
#[derive(Debug)]
pub(crate) struct Entrances {
    listeners: Vec<Arc<ListenerFacts>>,
    tls: Arc<TlsContext>,
}

impl Entrances {
    /// These listeners. `tls`: `None` if none of them speaks it.
    pub(crate) fn new(listeners: Vec<Arc<ListenerFacts>>, tls: Option<Arc<TlsContext>>) -> Self {
        Self { listeners, tls: tls.unwrap_or_else(|| Arc::new(TlsContext::none())) }
    }

    /// No listener that is known: cleartext.
    pub(crate) fn none() -> Self {
        Self::new(Vec::new(), None)
    }
}

/// Everything that serving a connection takes.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) drain: DrainState,
    pub(crate) router: Router,
    pub(crate) websocket: config::WebSocket,
    pub(crate) tls: Arc<TlsContext>,
    listeners: Vec<Arc<ListenerFacts>>,
    hub: Weak<dyn Dispatch>,
}

impl Context {
    pub(crate) fn new(
        drain: DrainState,
        router: Router,
        websocket: config::WebSocket,
        entrances: Entrances,
        hub: Weak<dyn Dispatch>,
    ) -> Self {
        let Entrances { listeners, tls } = entrances;
        Self { drain, router, websocket, tls, listeners, hub }
    }

    /// The facts about the listener of this name, for a connection that another worker has accepted. A listener that this worker does
    /// not have has its name, and the TLS of another one, for a client whose handshake is still to come. `None`: the connection is not
    /// served, because it would go on with less protection than its client expects.
    pub(crate) fn facts(&self, name: &str, protection: Protection) -> Option<Arc<ListenerFacts>> {
        facts_of(&self.listeners, name, protection)
    }

    /// Counts a connection whose client is known only now. False if the client has as many as it may have.
    pub(crate) fn admit(&self, place: &mut Place, client: IpAddr) -> bool {
        self.hub.upgrade().is_none_or(|hub| hub.admit(place, client))
    }

    /// Gives back a connection whose handler has left it.
    pub(crate) fn give_back(&self, connection: IdleConnection) {
        // The hub lives until the cut; after it nothing is kept.
        if let Some(hub) = self.hub.upgrade() {
            hub.dispatch(State::Resting, connection);
        }
    }

    /// Goes on with a session whose handler has left it, because its connection cannot leave at this moment.
    pub(crate) fn serve_on(&self, connection: ActiveConnection, session: WebSocketSession) {
        if let Some(hub) = self.hub.upgrade() {
            hub.resume(connection, session);
        }
    }
}

fn facts_of(listeners: &[Arc<ListenerFacts>], name: &str, protection: Protection) -> Option<Arc<ListenerFacts>> {
    if let Some(own) = listeners.iter().find(|facts| &*facts.name == name) {
        return Some(Arc::clone(own));
    }
    let tls = match protection {
        Protection::Settled => None,
        Protection::Handshake => Some(strictest(listeners)?),
        // Nobody here knows whose certificate, or whether the client waits for a handshake.
        Protection::Certificate | Protection::Untold => return None,
    };
    Some(Arc::new(ListenerFacts { tls, ..ListenerFacts::named(name) }))
}

/// The TLS for clients of a listener that this worker does not have. A worker of an earlier build does not tell that it has required a
/// certificate: its clients do not come in without, if any listener here requires one.
fn strictest(listeners: &[Arc<ListenerFacts>]) -> Option<Profile> {
    let all = || listeners.iter().filter_map(|facts| facts.tls.as_ref());
    all().find(|profile| profile.requires_certificate()).or_else(|| all().next()).cloned()
}

/// A connection, as an extension of its requests: `Extension<Connection>`.
///
/// axum's `ConnectInfo<SocketAddr>` works, too, also for a connection that another worker has accepted. Over a Unix socket there is no
/// address: `ConnectInfo<SocketAddr>` answers 500 there, [`Self::peer`] and [`crate::ClientIp`] give `None`.
///
/// ```
/// use gin_worker::axum::Extension;
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Connection, Server};
///
/// async fn age(Extension(connection): Extension<Connection>) -> String {
///     format!("{} since {:?}", connection.listener(), connection.opened().elapsed())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/age", age)).await;
/// app.get("/age").send().await.assert_status(200);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    info: ConnectionInfo,
    context: Arc<Context>,
    /// Of HTTP/2.
    streams: Option<Arc<Streams>>,
}

impl Connection {
    /// A connection; `streams` if it speaks HTTP/2.
    pub(crate) fn new(info: ConnectionInfo, context: &Arc<Context>, streams: Option<Arc<Streams>>) -> Self {
        Self(Arc::new(Inner { info, context: Arc::clone(context), streams }))
    }

    /// Name of the listener that accepted the connection.
    #[must_use]
    pub fn listener(&self) -> &str {
        &self.0.info.listener.name
    }

    /// The moment at which the connection was accepted, by whichever worker.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.0.info.opened
    }

    /// The client's address, over TCP: the proxy's, if there is one that does not tell the client's by a PROXY header
    /// (`proxy_protocol` of the listener). See [`crate::ClientIp`].
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.info.peer
    }

    /// Facts that the handshake has settled, whichever worker made it. `None` over cleartext: behind a proxy that speaks TLS, too.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.0.info.tls.as_deref()
    }

    /// True if another worker had the connection before.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.0.info.is_taken_over
    }

    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.0.info
    }

    /// Streams of the connection, if it speaks HTTP/2.
    pub(crate) fn streams(&self) -> Option<&Arc<Streams>> {
        self.0.streams.as_ref()
    }

    /// Bytes to read ahead for one more piece of a response; `usual` if nothing speaks against it.
    pub(crate) fn read_ahead(&self, usual: u64) -> u64 {
        self.0.streams.as_ref().map_or(usual, |streams| streams.read_ahead().min(usual))
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use gin_shared::config::listen::{ClientAuth, TlsSettings};

    use super::*;
    use crate::tls::test_pair::{authority, listener, settings};

    #[test]
    fn clients_of_a_listener_that_is_gone_need_a_certificate_if_any_listener_requires_one() {
        let (cleartext, open) = (Arc::new(ListenerFacts::named("http")), listener(settings(&["server"])));
        let client = Some((authority(), ClientAuth::Required));
        let strict = listener(TlsSettings { client, ..settings(&["server"]) });
        assert_eq!(strictest(&[Arc::clone(&cleartext), Arc::clone(&open), Arc::clone(&strict)]), strict.tls);
        assert_eq!(strictest(&[Arc::clone(&cleartext), Arc::clone(&open)]), open.tls);
        assert!(strictest(&[cleartext]).is_none());
    }

    #[test]
    fn no_client_goes_on_with_less_protection_where_its_listener_is_gone() {
        let (cleartext, open) = (Arc::new(ListenerFacts::named("http")), listener(settings(&["server"])));
        let all = [Arc::clone(&cleartext), Arc::clone(&open)];
        let tls = |listeners: &[Arc<ListenerFacts>], protection| {
            facts_of(listeners, "admin", protection).map(|facts| facts.tls.clone())
        };
        for (protection, beside_tls, alone) in [
            (Protection::Settled, Some(None), Some(None)),
            (Protection::Handshake, Some(open.tls.clone()), None),
            (Protection::Certificate, None, None),
            (Protection::Untold, None, None),
        ] {
            assert_eq!(tls(&all, protection), beside_tls, "{protection:?}");
            assert_eq!(tls(&all[..1], protection), alone, "{protection:?}");
        }
    }

    #[test]
    fn the_listener_of_that_name_counts_whatever_it_was_before() {
        let all = [Arc::new(ListenerFacts::named("http")), listener(settings(&["server"]))];
        for protection in [Protection::Settled, Protection::Handshake, Protection::Certificate, Protection::Untold] {
            for own in &all {
                // The operator has said of this very listener that it asks for none any more.
                assert!(facts_of(&all, &own.name, protection).is_some_and(|facts| Arc::ptr_eq(&facts, own)));
            }
        }
    }
}
