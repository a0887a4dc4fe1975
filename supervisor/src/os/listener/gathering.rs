//! The sockets that a generation asks for: found among those that are open, or made.

use std::rc::Rc;

use gin_shared::inherit::set_nonblocking;
use gin_shared::listen::Address;
use nix::errno::Errno;

use super::Listener;
use super::error::ListenError;
use super::spec::ListenerSpec;

/// A socket as one generation has it: under this name, and with these settings.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The listener as it is configured.
    pub spec: ListenerSpec,
    /// Shared with the generations that have it, too.
    pub socket: Rc<Listener>,
}

/// A socket that there is, and the names that generations have it under.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Shared with them.
    pub socket: Rc<Listener>,
    /// Maybe none yet.
    pub names: Vec<String>,
}

/// A new address may overlap one that is held here: 0.0.0.0 and 127.0.0.1 of one port cannot stand side by side.
fn ours(error: ListenError, existing: &[Existing]) -> ListenError {
    let ListenError::InUse { address: Address::Tcp(wanted), .. } = &error else { return error };
    let overlaps = |held: &&Existing| {
        matches!(&held.socket.address, Address::Tcp(held) if held.port() == wanted.port()
            && (held.ip().is_unspecified() || wanted.ip().is_unspecified()))
    };
    match existing.iter().find(overlaps) {
        Some(held) => {
            let holder = format!(
                "this supervisor's own listener on {}, which it overlaps; take another port, or start the supervisor anew",
                held.socket.address
            );
            ListenError::InUse { address: Address::Tcp(*wanted), holder }
        }
        None => error,
    }
}

/// The sockets that `specs` ask for: those of `existing` where they fit, the others made anew. All or none.
///
/// # Errors
/// See [`ListenError`]; what was made is gone again.
pub fn gather(specs: &[ListenerSpec], existing: &[Existing]) -> Result<Vec<Listening>, ListenError> {
    let mut taken: Vec<Listening> = Vec::new();
    for spec in specs {
        let is = |other: &Rc<Listener>, socket: &Rc<Listener>| Rc::ptr_eq(other, socket);
        let free = |socket: &&Existing| !taken.iter().any(|other| is(&other.socket, &socket.socket));
        // One that clients cannot connect to any more is made anew.
        let serves = |socket: &Listener| {
            socket.reopen();
            socket.is_open() && socket.is_reachable()
        };
        let fits = |socket: &&Existing| socket.socket.asked == spec.address && serves(&socket.socket);
        let mut fitting = existing.iter().filter(free).filter(fits);
        // Two of port 0 differ by name alone.
        let named = fitting.clone().find(|socket| socket.names.contains(&spec.name));
        let socket = match named.or_else(|| fitting.next()) {
            Some(socket) => {
                // One that was passed, and that nobody accepts from yet.
                if socket.names.is_empty() && spec.nonblocking {
                    let failed = |_| ListenError::System {
                        address: spec.address.clone(),
                        step: "O_NONBLOCK",
                        error: Errno::last(),
                    };
                    set_nonblocking(&socket.socket.fd, true).map_err(failed)?;
                }
                Rc::clone(&socket.socket)
            }
            None => Rc::new(Listener::bind(spec).map_err(|error| ours(error, existing))?),
        };
        taken.push(Listening { spec: spec.clone(), socket });
    }
    Ok(taken)
}
