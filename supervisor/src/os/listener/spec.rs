//! A listener as it is configured, and the limit that the kernel sets to its backlog.

use gin_shared::listen::Address;
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};

/// The kernel's own limit for backlogs.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// A listener as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Its name, for LISTEN_FDNAMES and people.
    pub name: String,
    /// The address.
    pub address: Address,
    /// The number of connections that may wait.
    pub backlog: u32,
    /// For Unix sockets: the file's mode.
    #[serde(default)]
    pub mode: Option<u32>,
    /// For Unix sockets: the file's owner.
    #[serde(default, with = "ids::uid")]
    pub owner: Option<Uid>,
    /// For Unix sockets: the file's group.
    #[serde(default, with = "ids::gid")]
    pub group: Option<Gid>,
    /// O_NONBLOCK, which all that share the socket share.
    #[serde(default)]
    pub nonblocking: bool,
}

/// Users and groups by number.
mod ids {
    macro_rules! by_number {
        ($module:ident, $id:ident) => {
            pub(super) mod $module {
                use nix::unistd::$id;
                use serde::{Deserialize, Deserializer, Serialize, Serializer};

                pub(in super::super) fn serialize<S: Serializer>(id: &Option<$id>, to: S) -> Result<S::Ok, S::Error> {
                    id.map($id::as_raw).serialize(to)
                }

                pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<$id>, D::Error> {
                    Ok(Option::<u32>::deserialize(from)?.map($id::from_raw))
                }
            }
        };
    }
    by_number!(uid, Uid);
    by_number!(gid, Gid);
}

/// The most that the kernel grants.
#[must_use]
pub fn somaxconn() -> u32 {
    std::fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4096)
}

/// Something to tell about a backlog that is cut.
#[must_use]
pub fn backlog_warning(spec: &ListenerSpec) -> Option<String> {
    let limit = somaxconn();
    (spec.backlog > limit).then(|| {
        format!(
            "listener {}: backlog {} is cut to net.core.somaxconn = {limit}; raise that with sysctl",
            spec.name, spec.backlog
        )
    })
}
