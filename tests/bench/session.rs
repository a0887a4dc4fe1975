//! JSON hello for a client whose session is read, and without sessions. See `data` here.
//!
//! usage: `bench-session plain|sessions`; the environment says where it listens and where sessions are kept

use gin_worker::axum::Json;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Error, Result, Server, Session, StartError};

async fn hello() -> Json<Value> {
    Json(json!({ "message": "hello" }))
}

async fn hello_again(session: Session) -> Result<Json<Value>> {
    session.user().await?.ok_or_else(|| Error::unauthorized("nobody is logged in"))?;
    Ok(hello().await)
}

async fn login(session: Session) -> Result<Json<Value>> {
    session.login("ann").await?;
    Ok(hello().await)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let config = Config::<()>::load()?;
    let mut server: Server = Server::new(&config).get("/", hello);
    match std::env::args().nth(1).as_deref() {
        Some("plain") => {}
        Some("sessions") => server = server.sessions().get("/session", hello_again).post("/login", login),
        other => return Err(StartError::Routes(format!("plain or sessions, and not {other:?}"))),
    }
    server.run().await
}
