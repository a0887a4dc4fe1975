//! The chat. Who speaks is known by the login: a `user_id` in the URL is not believed. A logout closes the WebSockets of its user in all
//! workers: a page or a program of his that is still logged in comes back by itself.

use std::convert::Infallible;
use std::fmt::Display;

use garde::Validate;
use gin_worker::auth::{RequireRole, User};
use gin_worker::axum::Json;
use gin_worker::axum::extract::{FromRequestParts, Query, State};
use gin_worker::axum::http::request::Parts;
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

/// The place in the chat at which somebody comes in.
pub struct Place(u64);

impl FromRequestParts<Hub> for Place {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, hub: &Hub) -> Result<Self, Infallible> {
        Ok(Self(hub.end()))
    }
}

/// Somebody comes in. The place is taken before the login is looked at: if that ends behind the look, its line is behind the place.
pub async fn join(Place(seen): Place, user: User, session: Session, Query(asked): Query<Asked>) -> Result<Member> {
    let account = Some(user.id().to_owned());
    Ok(Member { user_id: name(&session, &user).await?, account, seen, form: asked.format })
}

/// Closes the WebSockets of a user, one of whose logins has ended before.
pub async fn send_away(hub: Hub, user: impl Display) -> Result {
    let user = user.to_string();
    tokio::task::spawn_blocking(move || hub.send_away(&user)).await.internal()?.internal()
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
