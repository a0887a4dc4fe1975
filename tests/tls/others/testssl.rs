//! testssl.sh has no finding above "low", whichever kind of certificate is shown.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::tls_file;
use serde_json::Value;

use super::site;

/// A certificate as an authority of today gives it: those of the other tests are valid for a century, and name no list of revoked ones.
const REQUEST: &str = "\
[req]
distinguished_name = none
x509_extensions = own
[none]
[own]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost
crlDistributionPoints = URI:http://localhost/ca.crl
";

/// Puts a certificate of localhost for the key `NAME.key` where [`harness::put_pair`] would.
fn certify(name: &str, directory: &Path) {
    let (tls, request) = (directory.join("tls"), directory.join("request"));
    fs::copy(tls_file(&format!("{name}.key")), tls.join("shop.key")).unwrap();
    fs::write(&request, REQUEST).unwrap();
    let mut openssl = Command::new("/usr/bin/openssl");
    openssl.args(["req", "-x509", "-days", "90", "-subj", "/CN=localhost", "-config"]).arg(request);
    openssl.arg("-CA").arg(tls_file("ca.pem")).arg("-CAkey").arg(tls_file("ca.key"));
    openssl.arg("-key").arg(tls.join("shop.key")).arg("-out").arg(tls.join("shop.pem"));
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{openssl:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All that testssl.sh finds at a port of localhost. It asks no other host, and connects as none of the clients that it knows.
fn findings(port: u16, directory: &Path) -> Vec<Value> {
    let file = directory.join("findings.json");
    let mut testssl = Command::new("/usr/bin/testssl");
    testssl.args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]);
    testssl.args(["-p", "-s", "-f", "-P", "-S", "-h", "-U", "--add-ca"]).arg(tls_file("ca.pem"));
    testssl.arg("--jsonfile").arg(&file).arg(format!("https://localhost:{port}"));
    let output = testssl.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}: {said}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn has_no_finding(name: &str) {
    let builder = site();
    certify(name, builder.dir());
    let gin = builder.start();
    let all = findings(gin.https_socket().port(), gin.dir());
    let is_above_low =
        |finding: &&Value| ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&finding["severity"].as_str().unwrap());
    let bad: Vec<&Value> = all.iter().filter(is_above_low).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    // It has looked, from the first to the last.
    for id in ["TLS1_2", "TLS1_3", "cert_chain_of_trust", "HSTS_time", "heartbleed", "ROBOT", "RC4"] {
        let told = all.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id} in {all:#?}"));
        assert_eq!(told["severity"], "OK", "{told}");
    }
    assert_eq!(all.last().unwrap()["id"], "scanTime");
    gin.stop();
}

#[test]
#[ignore = "needs testssl.sh: tests/run --services"]
fn testssl_has_no_finding_above_low_with_a_key_of_an_elliptic_curve() {
    has_no_finding("server");
}

#[test]
#[ignore = "needs testssl.sh: tests/run --services"]
fn testssl_has_no_finding_above_low_with_an_rsa_key() {
    has_no_finding("rsa");
}
