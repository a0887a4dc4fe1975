//! Addresses as people write them: `127.0.0.1:8080`, `[::]:8080`, `:8080`, `unix:/path`, `udp:127.0.0.1:53`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest path that a Unix socket's address holds, without its closing NUL (unix(7)).
pub const UNIX_PATH_MAX: usize = 107;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// TCP over IPv4 or IPv6; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// UDP over IPv4 or IPv6.
    Udp(SocketAddr),
    /// A Unix stream socket at an absolute path.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither form fits.
    #[error("\"{0}\" is not an address; write 127.0.0.1:8080, [::]:8080, :8080, unix:/path or udp:127.0.0.1:53")]
    Form(String),
    /// The port does not fit 16 bits.
    #[error("port {0} is out of range; it must be 0 to 65535")]
    Port(String),
    /// A relative path would depend on the directory the master was started in.
    #[error("unix socket path \"{0}\" is not absolute")]
    Relative(String),
    /// `sun_path` is full.
    #[error("unix socket path \"{0}\" is longer than {UNIX_PATH_MAX} bytes")]
    TooLong(String),
    /// A host name would be resolved differently from one start to the next.
    #[error("\"{0}\" is a host name; write an IP address (\"localhost\" is 127.0.0.1)")]
    Name(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                p if !p.starts_with('/') => Err(AddressError::Relative(p.to_owned())),
                p if p.len() > UNIX_PATH_MAX => Err(AddressError::TooLong(p.to_owned())),
                p => Ok(Self::Unix(PathBuf::from(p))),
            };
        }
        if let Some(rest) = text.strip_prefix("udp:") {
            return match rest.parse()? {
                Self::Tcp(address) => Ok(Self::Udp(address)),
                Self::Udp(_) | Self::Unix(_) => Err(AddressError::Form(text.to_owned())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Form(text.to_owned()))?;
        let port = parse_port(port, text)?;
        Self::from_host_port(host, port).map_err(|error| match error {
            AddressError::Form(_) => AddressError::Form(text.to_owned()),
            other @ (AddressError::Port(_)
            | AddressError::Relative(_)
            | AddressError::TooLong(_)
            | AddressError::Name(_)) => other,
        })
    }
}

impl Address {
    /// Whether the kernel is to choose the port.
    #[must_use]
    pub fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) | Self::Udp(address) if address.port() == 0)
    }

    /// A TCP address from a host and a port; an empty host is every IPv4 address.
    ///
    /// # Errors
    /// If `host` is not an IP address (in brackets or not) or `localhost`.
    pub fn from_host_port(host: &str, port: u16) -> Result<Self, AddressError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let ip = match bare {
            "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            text => text.parse().map_err(|_| {
                let name = !text.contains([' ', ':', '/']) && text.contains(|c: char| c.is_ascii_alphabetic());
                if name { AddressError::Name(text.to_owned()) } else { AddressError::Form(text.to_owned()) }
            })?,
        };
        Ok(Self::Tcp(SocketAddr::new(ip, port)))
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, AddressError> {
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::Form(text.to_owned()));
    }
    port.parse().map_err(|_| AddressError::Port(port.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::]:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:80", "0.0.0.0:80"),
            ("localhost:0", "127.0.0.1:0"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("udp:[::1]:53", "udp:[::1]:53"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn an_address_reads_back_as_it_is_shown(text in "\\PC{0,40}|(udp:)?[0-9.:\\[\\]a-f]{1,40}|unix:/.{0,200}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }

    #[test]
    fn what_is_not_an_address_says_why() {
        let error = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(error("127.0.0.1:70000"), AddressError::Port("70000".into()));
        assert_eq!(error("example.org:80"), AddressError::Name("example.org".into()));
        assert_eq!(error("unix:run/x"), AddressError::Relative("run/x".into()));
        assert_eq!(error("8080"), AddressError::Form("8080".into()));
        assert_eq!(error("127.0.0.1:+80"), AddressError::Form("127.0.0.1:+80".into()));
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
        assert!(matches!(error(&long), AddressError::TooLong(_)));
    }
}
