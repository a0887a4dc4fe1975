//! A server with traces, over a real socket. Nothing is sampled, so nobody waits for a receiver.

use std::time::Duration;

use gin_shared::trace_context::Ratio;
use tokio::sync::mpsc;

use super::super::{carry, context};
use crate::testing::TestServer;
use crate::{Config, Server};

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn config() -> Config {
    let mut config = Config::<()>::default();
    config.tracing.is_on = true;
    config.tracing.sample_rate = Ratio::new(0.0);
    config
}

async fn trace() -> String {
    context().map(|context| context.trace.to_string()).unwrap_or_default()
}

async fn trace_of_a_task() -> String {
    tokio::spawn(carry(trace())).await.unwrap()
}

#[tokio::test]
async fn a_clients_trace_arrives_in_the_handler_and_in_its_tasks() {
    for server in [Server::new(&config()), Server::bare(&config())] {
        let app = TestServer::start(server.get("/", trace).get("/task", trace_of_a_task)).await;
        for path in ["/", "/task"] {
            let answer = app.get(path).header("traceparent", UNSAMPLED).send().await;
            answer.assert_status(200).assert_text("0af7651916cd43dd8448eb211c80319c");
        }
        let (one, other) = (app.get("/").send().await.text(), app.get("/").send().await.text());
        assert!(one.len() == 32 && one != other, "{one} {other}");
    }
}

#[tokio::test]
async fn a_background_task_has_a_trace_of_its_own() {
    let (told, mut heard) = mpsc::channel(1);
    let task = move |_| async move {
        let _ = told.send(trace().await).await;
    };
    let _app = TestServer::start(Server::new(&config()).background("mailer", Duration::from_secs(1), task)).await;
    assert_eq!(heard.recv().await.unwrap().len(), 32);
}
