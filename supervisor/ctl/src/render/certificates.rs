//! The table of certificates.

use comfy_table::Table;
use gin_shared::status::CertificateStatus;

use super::{table, time};

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;
/// The last millisecond that has a date of four digits for its year.
const LAST: u64 = 253_402_300_799_999;

/// True if it has not ended, is the one on disk, and every worker uses it.
#[must_use]
pub fn is_well(certificate: &CertificateStatus, now_ms: u64) -> bool {
    certificate.ends_ms > now_ms && certificate.bad.is_none() && certificate.refused.is_empty()
}

/// A row a certificate.
#[must_use]
pub fn rows(certificates: &[CertificateStatus], now_ms: u64) -> Table {
    let mut rows = table(&["NAME", "ISSUER", "ENDS", "FILE", ""]);
    for certificate in certificates {
        let CertificateStatus { name, issuer, ends_ms, file, .. } = certificate;
        let cells = [name.clone(), issuer.clone(), end(*ends_ms, now_ms), file.clone(), notes(certificate)];
        rows.add_row(cells.map(|cell| cell.replace(['\n', '\t'], " ")));
    }
    rows
}

/// "2027-03-01 (95 d)"
fn end(ends_ms: u64, now_ms: u64) -> String {
    let at = time(ends_ms.min(LAST));
    let date = at.split('T').next().unwrap_or_default();
    match ends_ms.checked_sub(now_ms) {
        Some(left @ 1..) => format!("{date} ({} d)", left / DAY),
        Some(0) | None => format!("{date} (ended)"),
    }
}

/// What is wrong.
fn notes(certificate: &CertificateStatus) -> String {
    let CertificateStatus { file, bad, refused, .. } = certificate;
    // The file stands in the row already.
    let bare = |text: &str| text.strip_prefix(&format!("{file}: ")).unwrap_or(text).to_owned();
    let bad = bad.iter().map(|text| format!("on disk: {}", bare(text)));
    let refused = refused.iter().map(|(worker, text)| format!("worker {worker}: {}", bare(text)));
    bad.chain(refused).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use gin_shared::generation::{Generation, Slot, WorkerId};

    use super::*;

    /// 2026-11-26.
    const NOW: u64 = 1_795_651_200_000;

    fn certificate(name: &str, days: u64) -> CertificateStatus {
        CertificateStatus {
            name: name.to_owned(),
            names: vec![name.to_owned()],
            issuer: "Let's Encrypt".to_owned(),
            ends_ms: NOW + days * DAY,
            file: format!("/etc/ssl/{name}.pem"),
            number: 1,
            bad: None,
            refused: Vec::new(),
        }
    }

    fn text(certificates: &[CertificateStatus]) -> Vec<String> {
        rows(certificates, NOW).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_row_has_name_issuer_end_and_file() {
        let shop = certificate("shop.example", 95);
        assert_eq!(
            text(std::slice::from_ref(&shop)),
            ["NAME ISSUER ENDS FILE", "shop.example Let's Encrypt 2027-03-01 (95 d) /etc/ssl/shop.example.pem"]
        );
        assert!(is_well(&shop, NOW));
    }

    #[test]
    fn what_is_wrong_stands_behind_it() {
        let ended = CertificateStatus { ends_ms: NOW, ..certificate("a", 0) };
        let bad = CertificateStatus {
            bad: Some("/etc/ssl/b.pem: the key in /etc/ssl/b.key is another certificate's".to_owned()),
            ..certificate("b", 9)
        };
        let worker = WorkerId { generation: Generation(3), slot: Slot(1), attempt: 0 };
        let refused = CertificateStatus { refused: vec![(worker, "no such curve".to_owned())], ..certificate("c", 9) };
        let all = [ended, bad, refused];
        assert!(!all.iter().any(|one| is_well(one, NOW)));
        let lines = text(&all);
        assert!(lines[1].contains("2026-11-26 (ended)"), "{lines:?}");
        assert!(
            lines[2].ends_with("/etc/ssl/b.pem on disk: the key in /etc/ssl/b.key is another certificate's"),
            "{lines:?}"
        );
        assert!(lines[3].ends_with(&format!("worker {worker}: no such curve")), "{lines:?}");
    }

    #[test]
    fn an_end_that_no_calendar_has_is_shown_all_the_same() {
        assert!(end(u64::MAX, NOW).starts_with("9999-12-31 ("));
    }

    #[test]
    fn json_has_all_of_it_and_an_older_supervisor_says_less() {
        let json = serde_json::to_string(&certificate("a", 1)).unwrap();
        assert_eq!(serde_json::from_str::<CertificateStatus>(&json).unwrap(), certificate("a", 1));
        let less = r#"{"name":"a","names":[],"issuer":"b","ends_ms":1,"file":"/a","number":1,"later":true}"#;
        assert_eq!(serde_json::from_str::<CertificateStatus>(less).unwrap().bad, None);
    }
}
