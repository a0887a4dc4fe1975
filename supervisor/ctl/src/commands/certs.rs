//! `gin-ctl certs`

use std::time::{SystemTime, UNIX_EPOCH};

use gin_shared::exit;
use gin_shared::status::CertificateStatus;

use super::print_json;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::certificates::{is_well, rows};
use crate::render::print_table;

/// All certificates that workers use, by their files.
pub(super) async fn show(client: &Client, json: bool) -> Result<u8, Failure> {
    let certificates: Vec<CertificateStatus> = client.get("/v1/certificates").await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    if json {
        print_json(&certificates);
    } else if certificates.is_empty() {
        crate::say!("  no listener speaks TLS");
    } else {
        print_table(&rows(&certificates, now_ms));
    }
    let all_well = certificates.iter().all(|certificate| is_well(certificate, now_ms));
    Ok(if all_well { exit::DONE } else { exit::FAILED })
}
