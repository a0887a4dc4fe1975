//! The service is restarted while clients ask it, and nobody notices.
//!
//! gin-supervisor is looked for in GIN_SUPERVISOR, beside the program, and in PATH.

use gin_worker::testing::UnderLoad;

#[tokio::test]
async fn a_restart_hurts_nobody() {
    let service = UnderLoad::new(env!("CARGO_BIN_EXE_{{name}}"));
    let outcome = service.path("/api/v1/hello/gopher").run().await;
    outcome.assert_nobody_noticed();
}
