//! The programs' own configurations, as README and their heads say to start them.

use std::os::unix::fs::symlink;
use std::process::Command;

use harness::binary;

use crate::docs::root;

const FILES: [&str; 5] =
    ["auth/auth.toml", "chat/chat.toml", "full/full.toml", "rest_api/rest_api.toml", "upload/upload.toml"];

#[test]
#[ignore = "needs the programs: tests/run --services"]
fn each_program_has_a_configuration_that_is_fine() {
    // The files name programs below the repository's root, as a release build leaves them there.
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let supervisor = binary("gin-supervisor");
    std::fs::create_dir(place.path().join("target")).unwrap();
    symlink(supervisor.parent().unwrap(), place.path().join("target/release")).unwrap();
    for file in FILES {
        let output = Command::new(&supervisor)
            .args(["-t", "-c"])
            .arg(root().join("worker/examples").join(file))
            .current_dir(place.path())
            .env_remove("NOTIFY_SOCKET")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("the configuration is fine"), "{file}: {said}");
    }
}
