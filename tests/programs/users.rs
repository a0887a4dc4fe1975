//! The documents' users (4.2), in memory and in a database, through restarts under load.

use gin_worker::testing::{Request, UnderLoad};
use harness::{binary, times};
use serde_json::json;

const USERS: &str = "/api/v1/users/";

/// Requests that each worker answers alike, whichever users it has in its memory.
fn asked(program: &str) -> UnderLoad {
    UnderLoad::new(binary(program))
        .path(format!("{USERS}?page=1&size=1"))
        .request(Request::get(format!("{USERS}1")))
        .request(Request::get(format!("{USERS}999999")).expects(404))
        .request(Request::get(format!("{USERS}x")).expects(400))
        .request(Request::get(format!("{USERS}?page=0")).expects(400))
        .request(Request::post(USERS).json(json!({ "name": "nobody" })).expects(400))
        .request_with(|number| {
            let user = json!({ "name": "somebody", "email": format!("{number}@example.com") });
            Request::post(USERS).json(user).expects(201)
        })
        .clients(4)
        .restarts(u32::try_from(times(5, 20)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the example: tests/run --services"]
async fn nobody_notices_a_restart_of_the_users_in_memory() {
    let outcome = asked("examples/users").run().await;
    println!("{} answers, {:?}", outcome.answered, outcome.restarts);
    outcome.assert_nobody_noticed();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the example: tests/run --services"]
async fn nobody_notices_a_restart_of_the_users_in_a_database() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let outcome = asked("rest_api").env("STATE_DIRECTORY", directory.path().display().to_string()).run().await;
    println!("{} answers, {:?}", outcome.answered, outcome.restarts);
    outcome.assert_nobody_noticed();
}
