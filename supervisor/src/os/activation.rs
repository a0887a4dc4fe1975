//! Sockets that a service manager passes (`sd_listen_fds(3)`): used instead of binding, by name and address, by address, by
//! name.

#![allow(unsafe_code, reason = "adopting inherited descriptors is what the compiler cannot check")]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use gin_shared::inherit::LISTEN_FDNAMES;
use gin_shared::listen::Address;
use nix::sys::socket::{SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, getsockname, getsockopt, sockopt};

use super::listener::{Listener, ListenerSpec};

/// True if a listener is meant by a socket.
type Fits<'a> = &'a dyn Fn(&ListenerSpec, &Passed) -> bool;

/// A socket that a service manager passed and that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// LISTEN_FDS names a descriptor that is not there.
    #[error("socket activation: {0}")]
    Receive(#[from] libsystemd::errors::SdError),
    /// The descriptor is no socket that a listener can be.
    #[error("socket activation: \"{0}\" is not a TCP, UDP or Unix stream socket with an address")]
    NotAListener(String),
    /// No listener is meant by the socket: its clients would wait for ever.
    #[error(
        "the service manager passed \"{name}\" ({address}), and no listener has that name or address; give one of \
         [[supervisor.listen]] that name, or remove it from the .socket unit"
    )]
    Unassigned {
        /// The socket's name.
        name: String,
        /// Where it is bound.
        address: Address,
    },
}

/// A socket that was passed.
#[derive(Debug)]
pub struct Passed {
    /// By `FileDescriptorName=`; by default the socket unit's name.
    pub name: String,
    /// Where it is bound.
    pub address: Address,
    fd: OwnedFd,
}

impl Passed {
    /// One that was passed.
    ///
    /// # Errors
    /// If it is no socket that a listener can be.
    pub fn new(name: String, fd: OwnedFd) -> Result<Self, ActivationError> {
        match address(&fd) {
            Some(address) => Ok(Self { name, address, fd }),
            None => Err(ActivationError::NotAListener(name)),
        }
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Passed> for OwnedFd {
    fn from(passed: Passed) -> Self {
        passed.fd
    }
}

/// Takes what was passed. The variables stay as they are: workers never see them (`inherit::STRIPPED`).
///
/// # Errors
/// If a descriptor is not there.
pub fn take() -> Result<Vec<(String, OwnedFd)>, ActivationError> {
    let descriptors = libsystemd::activation::receive_descriptors(false)?;
    let names = std::env::var(LISTEN_FDNAMES).unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let passed = descriptors.into_iter().map(|descriptor| {
        let name = names.next().unwrap_or("unknown").to_owned();
        // SAFETY: LISTEN_FDS names it as ours, libsystemd has just marked it close-on-exec (so it is open), and this is
        // called once, before anything else could own it.
        let fd = unsafe { OwnedFd::from_raw_fd(descriptor.into_raw_fd()) };
        (name, fd)
    });
    Ok(passed.collect())
}

fn address(fd: &OwnedFd) -> Option<Address> {
    let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    let kind = getsockopt(fd, sockopt::SockType).ok()?;
    let v4 = bound.as_sockaddr_in().map(|a: &SockaddrIn| SocketAddr::V4(SocketAddrV4::from(*a)));
    let ip = v4.or(bound.as_sockaddr_in6().map(|a: &SockaddrIn6| SocketAddr::V6((*a).into())));
    match (ip, kind) {
        (Some(ip), SockType::Stream) => Some(Address::Tcp(ip)),
        (Some(ip), SockType::Datagram) => Some(Address::Udp(ip)),
        (None, SockType::Stream) => {
            let path = bound.as_unix_addr()?.path()?;
            Some(Address::Unix(PathBuf::from(path)))
        }
        _ => None,
    }
}

/// The listeners that the passed sockets are, for those of `specs` that they fit. `default`: nobody asked for these
/// specs, so whatever was passed is what was meant; then they are replaced.
///
/// # Errors
/// If a socket fits none: its clients would wait for ever.
pub fn assign(
    passed: Vec<Passed>,
    specs: &mut Vec<ListenerSpec>,
    default: bool,
) -> Result<Vec<Rc<Listener>>, ActivationError> {
    if passed.is_empty() {
        return Ok(Vec::new());
    }
    let template = specs.first().cloned();
    let mut left: Vec<usize> = (0..specs.len()).collect();
    let mut listeners = Vec::new();
    let mut without = passed;
    // The surest first: one name may stand for several sockets of a unit, and one address for several names.
    let both = |spec: &ListenerSpec, one: &Passed| spec.name == one.name && same(&spec.address, &one.address);
    let name = |spec: &ListenerSpec, one: &Passed| spec.name == one.name;
    let address = |spec: &ListenerSpec, one: &Passed| same(&spec.address, &one.address);
    for fits in [&both as Fits<'_>, &address, &name] {
        for one in std::mem::take(&mut without) {
            match left.iter().position(|index| fits(&specs[*index], &one)) {
                Some(place) => {
                    let spec = &specs[left.remove(place)];
                    listeners.push(Rc::new(Listener::adopt(one.fd, spec.address.clone(), one.address)));
                }
                None => without.push(one),
            }
        }
    }
    if default && let Some(template) = template {
        let keep: Vec<ListenerSpec> =
            specs.drain(..).enumerate().filter(|(index, _)| !left.contains(index)).map(|(_, spec)| spec).collect();
        *specs = keep;
        for one in without {
            specs.push(ListenerSpec { name: one.name, address: one.address.clone(), ..template.clone() });
            listeners.push(Rc::new(Listener::adopt(one.fd, one.address.clone(), one.address)));
        }
        return Ok(listeners);
    }
    match without.into_iter().next() {
        None => Ok(listeners),
        Some(Passed { name, address, .. }) => Err(ActivationError::Unassigned { name, address }),
    }
}

/// systemd binds `ListenStream=8080` to [::], for both families.
fn same(asked: &Address, passed: &Address) -> bool {
    let everywhere = |ip: &SocketAddr| ip.ip().is_unspecified();
    match (asked, passed) {
        (Address::Tcp(asked), Address::Tcp(passed)) | (Address::Udp(asked), Address::Udp(passed)) => {
            asked == passed
                || asked.port() == passed.port()
                    && everywhere(asked)
                    && everywhere(passed)
                    && asked.ip() == std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED)
        }
        (asked, passed) => asked == passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(name: &str) -> Passed {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = OwnedFd::from(socket);
        Passed { name: name.to_owned(), address: address(&fd).unwrap(), fd }
    }

    fn spec(name: &str, address: Address) -> ListenerSpec {
        ListenerSpec {
            name: name.to_owned(),
            address,
            backlog: 1,
            mode: None,
            owner: None,
            group: None,
            nonblocking: false,
        }
    }

    #[test]
    fn by_name_then_by_address_and_nothing_is_left_over() {
        let (one, two) = (passed("web"), passed("x.socket"));
        let (first, second) = (one.address.clone(), two.address.clone());
        let elsewhere: Address = "127.0.0.1:1".parse().unwrap();
        let mut specs = vec![spec("api", second.clone()), spec("web", elsewhere.clone())];
        let found = assign(vec![one, two], &mut specs, false).unwrap();
        let pairs: Vec<_> = found.iter().map(|l| (l.asked.clone(), l.address.clone())).collect();
        assert_eq!(pairs, [(second.clone(), second), (elsewhere.clone(), first)]);
        let error =
            assign(vec![passed("odd")], &mut vec![spec("web", elsewhere.clone())], false).unwrap_err().to_string();
        assert!(error.contains("passed \"odd\" (127.0.0.1:"), "{error}");
    }

    #[test]
    fn one_name_for_two_sockets_is_told_apart_by_address() {
        let (one, two) = (passed("http"), passed("http"));
        let (first, second) = (one.address.clone(), two.address.clone());
        let mut specs = vec![spec("http", second.clone()), spec("https", first.clone())];
        let found = assign(vec![one, two], &mut specs, false).unwrap();
        assert!(found.iter().all(|listener| listener.asked == listener.address), "{first} {second}");
    }

    #[test]
    fn without_a_word_about_listeners_whatever_was_passed_is_meant() {
        let one = passed("gin-server.socket");
        let address = one.address.clone();
        let mut specs = vec![spec("http", "127.0.0.1:8080".parse().unwrap())];
        assert_eq!(assign(vec![one], &mut specs, true).unwrap().len(), 1);
        assert_eq!((specs.len(), &specs[0].address), (1, &address));
    }

    #[test]
    fn an_address_for_all_is_one_for_both_families() {
        let parse = |text: &str| text.parse::<Address>().unwrap();
        assert!(same(&parse(":8080"), &parse("[::]:8080")));
        assert!(!same(&parse("127.0.0.1:8080"), &parse("[::]:8080")));
        assert!(!same(&parse("udp:0.0.0.0:53"), &parse("[::]:53")));
    }
}
