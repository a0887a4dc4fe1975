//! The chat. Who speaks is known by the login: a `user_id` in the URL is not believed.

use garde::Validate;
use gin_worker::auth::{RequireRole, User};
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Query, State};
use gin_worker::binding::ShouldBindJson;
use gin_worker::serde_json::{Value, json};
use gin_worker::websocket::{Message, Socket};
use gin_worker::{Result, ResultExt, Session, identity};
use serde::Deserialize;

use crate::hub::{Form, Hub, Member, Said};
use crate::people::name;
use crate::routes::{Admin, invalid};
use crate::texts::{Text, Texts};

#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    format: Form,
}

#[derive(Debug, Deserialize, Validate)]
pub struct Announcement {
    #[garde(length(chars, min = 1, max = 2000))]
    message: String,
}

/// Somebody comes in.
pub async fn join(State(hub): State<Hub>, user: User, session: Session, Query(asked): Query<Asked>) -> Result<Member> {
    Ok(Member { user_id: name(&session, &user).await?, seen: hub.end(), form: asked.format })
}

/// Serves a user from the beginning, or after another worker.
pub async fn serve(State(hub): State<Hub>, mut socket: Socket, member: Member) {
    let form = member.form;
    if form == Form::Json && socket.send(served_by()).await.is_err() {
        return;
    }
    hub.serve(socket, member, form).await;
}

/// For the page, which shows it: this worker.
fn served_by() -> Message {
    let generation = identity().map(|identity| identity.generation);
    Message::Text(json!({ "served_by": { "pid": std::process::id(), "generation": generation } }).to_string())
}

/// `POST /broadcast`: a message of the service to everybody.
pub async fn broadcast(
    _: RequireRole<Admin>,
    texts: Texts,
    State(hub): State<Hub>,
    ShouldBindJson(asked): ShouldBindJson<Announcement>,
) -> Result<Json<Value>> {
    let Announcement { message } = asked.map_err(|error| invalid(texts, error))?;
    let said = Said::new(None, &message);
    tokio::task::spawn_blocking(move || hub.say(&said)).await.internal()?.internal()?;
    Ok(Json(json!({ "message": texts.say(Text::Sent) })))
}
