//! Programs of others: Chromium, OpenSSL's client, testssl.sh. What the ordinary run does not install, or has no time for, is left to
//! `tests/run --services`.

mod chromium;
mod openssl;
mod testssl;

use std::fs;

use harness::{Builder, binary, fixture, supervisor};

/// Bytes of the large file.
const LARGE: usize = 100_000;

/// gin-server, which serves the pages of `tests/fixtures/clicks` over TLS alone.
fn site() -> Builder {
    let program = binary("gin-server");
    let builder = supervisor().workers(2).set(&format!("command = [{program:?}]")).set("soak = \"0s\"");
    let files = builder.dir().join("site");
    fs::create_dir(&files).unwrap();
    for name in ["index.html", "page.js"] {
        fs::copy(fixture("clicks").join(name), files.join(name)).unwrap();
    }
    // Nobody compresses pictures, so all of it is sent.
    fs::write(files.join("large.png"), vec![0_u8; LARGE]).unwrap();
    builder.without_listener().https().section(&format!("[static]\ndir = {files:?}\nurl_prefix = \"/\""))
}
