//! Certificates are replaced all or nothing, and what is bad leaves the rest as it is.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use gin_shared::config::listen::PairFiles;
use gin_shared::generation::{Generation, Slot, WorkerId};
use gin_shared::tls::material;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A directory with pairs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn files(&self, name: &str) -> PairFiles {
        let at = |kind: &str| self.0.path().join(format!("{name}.{kind}"));
        PairFiles { cert: at("pem"), key: at("key") }
    }

    /// Puts certificate and key of the fixture `from` at the paths of `name`.
    fn put(&self, name: &str, from: &str) -> PairFiles {
        let files = self.files(name);
        std::fs::copy(fixture(&format!("{from}.pem")), &files.cert).unwrap();
        std::fs::copy(fixture(&format!("{from}.key")), &files.key).unwrap();
        files
    }

    fn wanted(&self, names: &[&str]) -> Wanted {
        Wanted { pairs: names.iter().map(|name| self.files(name)).collect(), ..Wanted::default() }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn admitted(wanted: &Wanted) -> Certificates {
    let mut certificates = Certificates::default();
    assert_eq!(certificates.admit(wanted, false, now()).unwrap(), Changed::Material);
    certificates
}

/// What workers are given.
fn given(certificates: &Certificates) -> Material {
    material::read(certificates.sealed().unwrap().as_fd()).unwrap()
}

fn look(certificates: &mut Certificates) -> Changed {
    let read = read_all(certificates.wanted(), now());
    certificates.look(read, now())
}

/// Time until there is something to do.
fn next(certificates: &Certificates, now: SystemTime) -> Option<Duration> {
    Some(certificates.next_at(now)?.duration_since(now).unwrap_or_default())
}

#[test]
fn a_generation_is_admitted_whole_or_not_at_all() {
    let place = Place::new();
    place.put("one", "server");
    place.put("two", "other");
    let mut certificates = admitted(&place.wanted(&["one"]));
    let before = given(&certificates);
    assert_eq!((before.pairs.len(), before.tickets.len()), (1, 2));
    std::fs::copy(fixture("mismatch.key"), place.files("two").key).unwrap();
    let error = certificates.admit(&place.wanted(&["one", "two"]), false, now()).unwrap_err().to_string();
    assert!(error.contains("two.pem: the key in"), "{error}");
    assert_eq!(given(&certificates), before);
    place.put("two", "other");
    assert_eq!(certificates.admit(&place.wanted(&["one", "two"]), false, now()).unwrap(), Changed::Material);
    let after = given(&certificates);
    assert!(after.number > before.number && after.pairs.len() == 2);
    assert_eq!(certificates.admit(&place.wanted(&["two"]), false, now()).unwrap(), Changed::Nothing);
}

#[test]
fn what_was_read_for_a_start_that_fails_for_want_of_memory_is_tried_again() {
    let place = Place::new();
    let names = ["one", "two", "three", "four", "five", "six", "seven"];
    names.iter().for_each(|name| drop(place.put(name, "server")));
    let wanted = place.wanted(&names);
    let mut certificates = admitted(&wanted);
    let before = given(&certificates);
    // Together they are more than workers read.
    let long = std::fs::read_to_string(fixture("server.pem")).unwrap().repeat(1000);
    names.iter().for_each(|name| std::fs::write(place.files(name).cert, &long).unwrap());
    let began = now();
    let error = certificates.admit(&wanted, false, began).unwrap_err();
    assert!(matches!(error, CertificateError::Memory(_)), "{error}");
    assert_eq!((given(&certificates), next(&certificates, began)), (before, Some(RETRY)));
}

#[test]
fn without_tls_there_is_no_memory() {
    let mut certificates = Certificates::default();
    assert_eq!(certificates.admit(&Wanted::default(), false, now()).unwrap(), Changed::Nothing);
    assert!(certificates.sealed().is_none() && next(&certificates, now()).is_none());
    assert_eq!(certificates.due(now()), Changed::Nothing);
}

#[test]
fn a_changed_pair_counts_and_a_bad_one_leaves_what_was_there() {
    let place = Place::new();
    place.put("one", "server");
    place.put("two", "rsa");
    let mut certificates = admitted(&place.wanted(&["one", "two"]));
    let first = given(&certificates);
    assert_eq!(look(&mut certificates), Changed::Nothing);
    // One is replaced, the other one spoilt: each counts by itself.
    place.put("one", "other");
    std::fs::write(place.files("two").cert, "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    assert_eq!(look(&mut certificates), Changed::Material);
    let second = given(&certificates);
    assert!(second.number > first.number);
    assert_eq!(second.pairs[1], first.pairs[1]);
    assert_ne!(second.pairs[0], first.pairs[0]);
    assert_eq!(second.tickets, first.tickets);
}

#[test]
fn a_certificate_that_does_not_count_yet_is_read_again_when_it_does() {
    let place = Place::new();
    place.put("one", "server");
    let mut certificates = admitted(&place.wanted(&["one"]));
    let files = place.put("one", "other");
    let starts = ReadPair::read(&files, now()).unwrap().facts.starts;
    let early = starts - HOUR;
    let read = read_all(certificates.wanted(), early);
    assert_eq!(certificates.look(read, early), Changed::Nothing);
    certificates.bad.values_mut().for_each(|bad| bad.is_told = true);
    // Keys of tickets of a later time are none.
    let _ = certificates.due(early);
    assert_eq!(next(&certificates, early), Some(HOUR));
    assert!(!certificates.looks_again(early + HOUR / 2));
    assert!(certificates.looks_again(starts) && !certificates.looks_again(starts), "it is said once");
    assert_eq!(look(&mut certificates), Changed::Material);
    assert!(certificates.look_at.is_none());
}

#[test]
fn a_bad_file_is_told_after_a_while_and_is_forgotten_when_it_is_good_again() {
    let place = Place::new();
    place.put("one", "server");
    let mut certificates = admitted(&place.wanted(&["one"]));
    std::fs::copy(fixture("mismatch.key"), place.files("one").key).unwrap();
    let began = now();
    let read = read_all(certificates.wanted(), began);
    assert_eq!(certificates.look(read, began), Changed::Nothing);
    assert!(certificates.problems(began, &[]).is_empty(), "the other file may come yet");
    let wait = next(&certificates, began).unwrap();
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    assert_eq!(certificates.due(began + wait), Changed::Nothing);
    let problems = certificates.problems(began, &[]);
    assert!(problems[0].contains("is another certificate's; the one until 2126-01-01 stays in use"), "{problems:?}");
    let told = certificates.told(&[]);
    assert!(told[0].bad.as_ref().is_some_and(|text| text.ends_with("is another certificate's")), "{told:?}");
    // The next thing to do is the rotation of the keys.
    assert!(next(&certificates, began + wait).unwrap() > HOUR);
    place.put("one", "other");
    assert_eq!(look(&mut certificates), Changed::Material);
    assert!(certificates.problems(now(), &[]).is_empty() && certificates.told(&[])[0].bad.is_none());
}

#[test]
fn a_rollback_goes_on_with_what_is_kept_unless_that_has_ended() {
    let place = Place::new();
    let files = place.put("one", "server");
    let wanted = place.wanted(&["one"]);
    let mut certificates = admitted(&wanted);
    let before = given(&certificates);
    std::fs::remove_file(&files.key).unwrap();
    assert!(certificates.admit(&wanted, false, now()).is_err());
    assert_eq!(certificates.admit(&wanted, true, now()).unwrap(), Changed::Nothing);
    assert_eq!(given(&certificates), before);
    let ends = certificates.ends_of(&Source::Pair(files)).unwrap();
    let error = certificates.admit(&wanted, true, ends + HOUR).unwrap_err().to_string();
    assert!(error.contains("one.pem: the certificate has ended on 2126-01-01"), "{error}");
    // Of what nobody has read before there is nothing to go on with.
    assert!(certificates.admit(&place.wanted(&["never"]), true, now()).is_err());
}

#[test]
fn what_no_generation_wants_is_dropped_with_its_key() {
    let place = Place::new();
    place.put("one", "server");
    place.put("two", "other");
    let mut certificates = admitted(&place.wanted(&["one", "two"]));
    let first = given(&certificates);
    assert_eq!(certificates.retain(place.wanted(&["one", "two"]), now()), Changed::Nothing);
    assert_eq!(certificates.retain(place.wanted(&["two"]), now()), Changed::Material);
    let second = given(&certificates);
    assert!(second.number > first.number && second.pairs.len() == 1);
    assert_eq!(certificates.retain(Wanted::default(), now()), Changed::Nothing);
    assert!(certificates.sealed().is_none());
}

#[test]
fn a_later_master_goes_on_with_the_memory_whatever_lies_on_disk() {
    let place = Place::new();
    let files = place.put("one", "server");
    let wanted = place.wanted(&["one"]);
    let before = admitted(&wanted);
    let memory =
        |of: &Certificates| SharedMemory::resume(of.sealed().unwrap().as_fd().try_clone_to_owned().unwrap()).unwrap();
    std::fs::remove_file(&files.cert).unwrap();
    let after = Certificates::resume(Some(memory(&before)), wanted.clone(), now());
    assert_eq!(given(&after), given(&before));
    assert_eq!(after.sealed().unwrap().inode(), before.sealed().unwrap().inode());
    // What has changed meanwhile counts.
    place.put("one", "other");
    let after = Certificates::resume(Some(memory(&before)), wanted.clone(), now());
    assert!(given(&after).number > given(&before).number);
    assert_eq!(given(&after).tickets, given(&before).tickets);
    // A memory that is lost, or is none.
    let anew = Certificates::resume(None, wanted.clone(), now());
    assert_eq!(given(&anew).pairs, given(&after).pairs);
    let other = SharedMemory::create("gin-tls", 4096).unwrap();
    assert_eq!(given(&Certificates::resume(Some(other), wanted, now())).pairs, given(&after).pairs);
}

#[test]
fn keys_of_tickets_change_by_themselves() {
    let place = Place::new();
    place.put("one", "server");
    let mut certificates = admitted(&place.wanted(&["one"]));
    let first = given(&certificates);
    let later = now() + next(&certificates, now()).unwrap() + Duration::from_secs(1);
    assert_eq!(certificates.due(later), Changed::Material);
    let second = given(&certificates);
    assert_eq!((second.tickets.len(), &second.tickets[..2]), (3, &first.tickets[..]));
    assert_eq!(certificates.due(later), Changed::Nothing);
}

#[test]
fn the_end_of_a_certificate_is_a_problem_and_refusals_are_told_with_their_file() {
    let place = Place::new();
    let (one, _) = (place.put("one", "server"), place.put("two", "other"));
    let mut certificates = admitted(&place.wanted(&["one", "two"]));
    let ends = certificates.ends_of(&Source::Pair(one.clone())).unwrap();
    let soon = certificates.problems(ends - HOUR * 24 * 13, &[]);
    assert!(soon.len() == 2 && soon[0].contains("certificate of localhost ends in 13 days: "), "{soon:?}");
    assert!(!certificates.has_ended(ends - HOUR) && certificates.has_ended(ends));
    assert_eq!(certificates.due(ends - HOUR * 24 * 13), Changed::Material);
    let worker = WorkerId { generation: Generation(3), slot: Slot(1), attempt: 0 };
    let refused = [(worker, format!("{}: S2N_ERR_KEY_MISMATCH", one.cert.display()))];
    let told = certificates.told(&refused);
    assert_eq!((told[0].refused.len(), told[1].refused.len()), (1, 0));
    assert!(certificates.problems(now(), &refused)[0].contains("goes on with other certificates"));
    let told = certificates.told(&[(worker, "no memory".to_owned())]);
    assert!(told.iter().all(|one| one.refused.len() == 1));
}
