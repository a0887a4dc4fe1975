//! Connections of each client: an address of IPv4, or a /64 of IPv6, which is what one household or one server has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

/// Counts of all clients, with the most that one may have.
#[derive(Debug)]
pub(crate) struct Clients {
    most: u32,
    /// Their connections are those of many clients.
    proxies: Vec<IpNet>,
    counts: Mutex<HashMap<Client, u32>>,
}

/// A connection of a client, for as long as it is open. Each parked connection has one: so it is small, and takes no allocation.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    clients: Arc<Clients>,
    client: Client,
}

/// A client: the first half of an address of IPv6, or the whole of one of IPv4. No two clients are one: the halves that are as small as
/// an address of IPv4 are those of ::/32, which is reserved. Of these ::1 alone is used, and it is 0, which is no client of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(u64);

impl Client {
    /// The client to which an address belongs.
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
            IpAddr::V4(v4) => v4.to_bits().into(),
        })
    }
}

impl Clients {
    /// `proxies` may have any number.
    pub(crate) fn new(most: u32, proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { most, proxies, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Client, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that came. `None` if its client has as many as it may have.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ClientConnection> {
        self.count(address, self.most)
    }

    /// Counts a connection that another worker had: it is here already.
    pub(crate) fn take_over(self: &Arc<Self>, address: IpAddr) -> Option<ClientConnection> {
        self.count(address, u32::MAX)
    }

    fn count(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<ClientConnection> {
        let client = Client::of(address);
        let is_proxy = self.proxies.iter().any(|proxies| proxies.contains(&address.to_canonical()));
        let most = if is_proxy { u32::MAX } else { most };
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ClientConnection { clients: Arc::clone(self), client })
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let mut counts = self.clients.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn clients_of_both_versions_are_told_apart() {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "::1", "127.0.0.1"];
        let clients: HashSet<Client> = addresses.iter().map(|text| Client::of(text.parse().unwrap())).collect();
        assert_eq!(clients.len(), addresses.len());
    }

    #[test]
    fn a_connection_of_a_client_is_small() {
        assert!(size_of::<Option<ClientConnection>>() <= 16, "{}", size_of::<Option<ClientConnection>>());
    }

    #[test]
    fn a_client_has_so_many_connections_and_no_more() {
        let clients = Clients::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let from = |text: &str| clients.admit(text.parse().unwrap());
        let (first, second) = (from("192.0.2.1"), from("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && from("192.0.2.1").is_none());
        assert!(from("192.0.2.2").is_some(), "another one");
        let proxy = [(); 3].map(|()| from("10.0.0.1"));
        assert!(proxy.iter().all(Option::is_some), "it speaks for many");
        drop(proxy);
        drop(first);
        let again = from("192.0.2.1");
        assert!(again.is_some());
        // One that is handed over is there already.
        let over = clients.take_over("192.0.2.1".parse().unwrap());
        assert!(over.is_some());
        drop((second, again, over));
        let networks = ["2001:db8::1", "2001:db8::ffff:1"].map(from);
        assert!(networks.iter().all(Option::is_some) && from("2001:db8::2").is_none());
        assert!(from("2001:db8:0:1::1").is_some(), "another network");
        drop(networks);
        assert!(clients.counts().is_empty());
    }
}
