//! A file with a certificate or a key is read, or refused. Names of a certificate cannot look like others.
#![no_main]

use gin_shared::tls::certificate::{Facts, NAMES_MAX, common_name};
use gin_shared::tls::pem;
use gin_shared::tls::private_key::{may_belong, public_half};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let facts = Facts::of_der(bytes);
    if let Ok(facts) = &facts {
        assert!(facts.names.len() <= NAMES_MAX);
        let texts = [&facts.subject, &facts.issuer_name].into_iter().chain(&facts.names);
        assert!(texts.flat_map(|text| text.chars()).all(|character| !character.is_control()));
        let _ = (common_name(&facts.subject), facts.name());
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        let half = public_half(bytes, label);
        let _ = facts.as_ref().is_ok_and(|facts| may_belong(half.as_deref(), &facts.public_key));
    }
}

fuzz_target!(|data: &[u8]| {
    read(data);
    if let Ok(blocks) = pem::blocks(data) {
        blocks.iter().for_each(|block| read(block.contents.bytes()));
    }
});
