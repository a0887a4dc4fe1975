//! Facts of a handshake on their way to another worker, beside the keys.

use std::time::{Duration, UNIX_EPOCH};

use gin_shared::handover::{CarriedClient, CarriedTls, Malformed};

use super::facts::{ClientCertificate, TlsFacts, TlsVersion, protocol};

impl TlsFacts {
    /// The facts as they travel, with the length of the keys.
    pub(crate) fn carried(&self, keys: usize) -> CarriedTls {
        CarriedTls {
            keys,
            version: self.version.word().to_owned(),
            server_name: self.server_name.as_deref().map(str::to_owned),
            protocol: self.protocol.as_deref().map(str::to_owned),
            client: self.client.as_deref().map(carried_client),
            resumed: self.resumed,
        }
    }

    /// The facts of another worker's connection.
    ///
    /// # Errors
    /// A version of TLS that is not known here.
    pub(crate) fn of_carried(carried: &CarriedTls) -> Result<Self, Malformed> {
        let version = TlsVersion::of_word(&carried.version);
        let version = version.ok_or(Malformed::Unexpected("a version of TLS that is not known"))?;
        Ok(Self {
            version,
            server_name: carried.server_name.as_deref().map(Box::from),
            protocol: carried.protocol.as_deref().map(protocol),
            client: carried.client.as_ref().map(|client| Box::new(received_client(client))),
            resumed: carried.resumed,
        })
    }
}

fn carried_client(client: &ClientCertificate) -> CarriedClient {
    let ClientCertificate { subject, names, issuer, serial, ends } = client.clone();
    let ends = ends.duration_since(UNIX_EPOCH).map_or(0, |ends| ends.as_secs());
    CarriedClient { subject, names, issuer, serial, ends }
}

fn received_client(client: &CarriedClient) -> ClientCertificate {
    let CarriedClient { subject, names, issuer, serial, ends } = client.clone();
    let ends = UNIX_EPOCH.checked_add(Duration::from_secs(ends)).unwrap_or(UNIX_EPOCH);
    ClientCertificate { subject, names, issuer, serial, ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_travel_whole() {
        let client = CarriedClient {
            subject: "CN=client-7".to_owned(),
            names: vec!["client7.test".to_owned()],
            issuer: "CN=gin test".to_owned(),
            serial: "1f".to_owned(),
            ends: 4_900_000_000,
        };
        let full = CarriedTls {
            keys: 174,
            version: "1.3".to_owned(),
            server_name: Some("localhost".to_owned()),
            protocol: Some("h2".to_owned()),
            client: Some(client),
            resumed: true,
        };
        let bare = CarriedTls {
            version: "1.2".to_owned(),
            server_name: None,
            protocol: None,
            client: None,
            resumed: false,
            ..full.clone()
        };
        for carried in [full, bare] {
            assert_eq!(TlsFacts::of_carried(&carried).unwrap().carried(174), carried);
        }
    }

    #[test]
    fn a_version_that_is_not_known_is_refused() {
        let carried = CarriedTls {
            keys: 1,
            version: "1.4".to_owned(),
            server_name: None,
            protocol: None,
            client: None,
            resumed: false,
        };
        assert!(TlsFacts::of_carried(&carried).is_err());
    }
}
