//! Keys of session tickets: which there are at a moment. A client that comes back with a ticket skips the certificates.
//!
//! A key encrypts for one period and decrypts for three more, so a ticket is good for 12 hours at least. s2n keeps to that by the time at
//! which a key begins. The keys are the master's, which are random; or every worker of every host derives the same ones from a secret that
//! they share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use gin_shared::tls::material::{Material, Secret, TicketKey};
use s2n_tls::config::Builder;
use s2n_tls::error::Error;

/// Time for which a key encrypts.
const PERIOD: Duration = Duration::from_secs(4 * 60 * 60);
/// Number of periods for which a key decrypts after that.
const KEPT: u32 = 3;
/// Salt of the derivation. Another derivation is another number.
const SALT: &[u8] = b"gin ticket 1";

/// Keys at the moment `now`: those of the secret, if there is one, and else the master's. Past ones that decrypt still, the present one,
/// and the next.
pub(super) fn keys(material: &Material, now: SystemTime) -> Vec<TicketKey> {
    let now = seconds(now);
    match &material.ticket_secret {
        Some(secret) => derived(secret, now),
        None => material.tickets.iter().filter(|key| now < key.from.saturating_add(life())).cloned().collect(),
    }
}

/// Time until the keys are others. With keys of the master this tells nothing: it sends new ones.
pub(super) fn until_next(now: SystemTime) -> Duration {
    let period = PERIOD.as_secs();
    Duration::from_secs(period - seconds(now) % period)
}

/// Gives the keys to a configuration.
///
/// # Errors
/// If s2n does not take them.
pub(super) fn add(keys: &[TicketKey], builder: &mut Builder) -> Result<(), Error> {
    builder.set_ticket_key_encrypt_decrypt_lifetime(PERIOD)?.set_ticket_key_decrypt_lifetime(PERIOD * KEPT)?;
    for key in keys {
        let from = UNIX_EPOCH + Duration::from_secs(key.from);
        builder.add_session_ticket_key(&key.name, key.key.bytes(), from)?;
    }
    Ok(())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Seconds from a key's beginning to its end.
fn life() -> u64 {
    PERIOD.as_secs() * u64::from(1 + KEPT)
}

fn derived(secret: &Secret, now: u64) -> Vec<TicketKey> {
    let key = Salt::new(HKDF_SHA256, SALT).extract(secret.bytes());
    let present = now / PERIOD.as_secs();
    (present.saturating_sub(u64::from(KEPT))..=present + 1).map(|period| of_period(&key, period)).collect()
}

fn of_period(key: &Prk, period: u64) -> TicketKey {
    let mut name = [0; 16];
    name.copy_from_slice(&expand(key, b"name", period)[..16]);
    TicketKey { name, key: Secret::new(expand(key, b"key", period)), from: period * PERIOD.as_secs() }
}

/// 32 bytes for this use in this period.
fn expand(key: &Prk, label: &[u8], period: u64) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    let period = period.to_be_bytes();
    key.expand(&[label, &period], HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut bytes))
        .expect("SHA-256 gives 32 bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use gin_shared::tls::material::VERSION;

    use super::*;

    fn with(tickets: Vec<TicketKey>, secret: Option<&[u8]>) -> Material {
        let ticket_secret = secret.map(|secret| Secret::new(secret.to_vec()));
        Material { version: VERSION, number: 1, pairs: Vec::new(), authorities: Vec::new(), tickets, ticket_secret }
    }

    fn at(hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 / 14_400 * 14_400 + hours * 3600)
    }

    #[test]
    fn two_hosts_with_one_secret_have_the_same_keys_and_others_have_others() {
        let secret = [7; 32];
        let (one, two) = (keys(&with(Vec::new(), Some(&secret)), at(1)), keys(&with(Vec::new(), Some(&secret)), at(2)));
        assert_eq!(one, two);
        assert_eq!(one.len(), 5);
        let another = keys(&with(Vec::new(), Some(&[8; 32])), at(1));
        assert!(one.iter().all(|key| another.iter().all(|other| other.name != key.name && other.key != key.key)));
        assert!(one.iter().all(|key| key.key.bytes().len() == 32 && key.key.bytes()[..16] != key.name));
    }

    #[test]
    fn a_ticket_is_good_for_twelve_hours_and_the_next_key_is_there_before_its_time() {
        let material = with(Vec::new(), Some(&[7; 32]));
        for hour in 0..48 {
            let now = seconds(at(hour));
            let present = keys(&material, at(hour));
            let encrypts: Vec<_> =
                present.iter().filter(|key| key.from <= now && now < key.from + PERIOD.as_secs()).collect();
            assert_eq!(encrypts.len(), 1, "hour {hour}");
            let later = keys(&material, at(hour + 12));
            assert!(later.iter().any(|key| key.name == encrypts[0].name), "hour {hour}");
            let next = keys(&material, at(hour + 4));
            assert!(next.iter().filter(|key| key.from <= seconds(at(hour + 4))).all(|key| present.contains(key)));
        }
    }

    #[test]
    fn keys_of_the_master_count_until_their_end() {
        let key = |hours: u64| TicketKey { name: [1; 16], key: Secret::new(vec![2; 32]), from: seconds(at(hours)) };
        let material = with(vec![key(0), key(4)], None);
        assert_eq!(keys(&material, at(15)).len(), 2);
        assert_eq!(keys(&material, at(16)), [key(4)]);
        assert!(keys(&material, at(20)).is_empty());
    }

    #[test]
    fn the_next_look_is_at_the_end_of_the_period() {
        assert_eq!(until_next(at(0)), PERIOD);
        assert_eq!(until_next(at(3)), Duration::from_secs(3600));
    }
}
