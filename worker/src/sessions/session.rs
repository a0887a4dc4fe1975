//! The session of one client, as a handler takes it.

use std::fmt::{self, Display};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

use super::cookie::{self, Signed};
use super::record::{Change, Millis, Record};
use super::{Rules, Sessions, now};
use crate::api::Argument;
use crate::kept::id::Id;
use crate::{Connection, Error, Result, ResultExt};

/// Attempts to put changes into what other requests of the same client have written meanwhile.
const ATTEMPTS: u32 = 16;

/// Data that the service keeps of a client: the user who is logged in, and values by name. See [`crate::sessions`].
///
/// An extractor, for handlers and middleware. A copy is the same session. The first look at it asks the store; a request that only
/// takes it, and looks at nothing, asks nobody.
///
/// Changes are written when the handler has answered, before the client sees the answer. A session that says nothing is not begun.
///
/// Data that was looked at stays as it was: a stream or a WebSocket that goes on after the answer does not hear of a logout.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

struct Handle {
    sessions: Sessions,
    state: Mutex<State>,
}

/// The session as an extension of its request. Handlers take it by the extractor, which reads the cookie.
#[derive(Clone)]
pub(super) struct Slot(pub(super) Session);

#[derive(Default)]
struct State {
    claim: Claim,
    /// The session as it is in the store.
    stored: Option<(Id, Arc<Record>)>,
    /// The same with this request's changes.
    changed: Option<Record>,
    changes: Vec<Change>,
    /// True if it is to have a new id.
    rotates: bool,
    /// True if the client's cookie is to go.
    is_ended: bool,
    /// True if the cookie may be sent without encryption.
    is_insecure: bool,
    /// True once the answer is on its way.
    is_over: bool,
}

/// Claim of the client to a session.
#[derive(Default, Clone, Copy)]
enum Claim {
    /// Nobody has looked.
    #[default]
    Unread,
    /// To have this session, by a signature that nobody has checked yet.
    Of(Signed),
    /// The store was asked, or there was nothing to ask it.
    Looked,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Argument for Session {}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(Slot(session)) = parts.extensions.get::<Slot>().cloned() else {
            return Err(Error::internal(
                "the handler takes a session, and its server has none: register them by Server::sessions()",
            ));
        };
        session.claim(parts).await;
        Ok(session)
    }
}

impl Session {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self(Arc::new(Handle { sessions, state: Mutex::default() }))
    }

    /// The value of this name, if there is one.
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if the value is no `T`: one that another version of the service has written, say.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let state = self.looked().await?;
        let value = state.view().and_then(|record| record.values.get(name));
        value.map(T::deserialize).transpose().internal()
    }

    /// Sets a value, and begins the session if there is none.
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if the value cannot be JSON, or the request is answered already.
    pub async fn insert(&self, name: &str, value: impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value).internal()?;
        let mut state = self.changing().await?;
        if state.view().and_then(|record| record.values.get(name)) != Some(&value) {
            state.change(Change::Set(name.to_owned(), value));
        }
        Ok(())
    }

    /// Removes a value. Returns the one that was there.
    ///
    /// # Errors
    /// As [`Self::get`]; 500 if the request is answered already.
    pub async fn remove<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let mut state = self.changing().await?;
        let Some(value) = state.view().and_then(|record| record.values.get(name)).cloned() else { return Ok(None) };
        state.change(Change::Remove(name.to_owned()));
        T::deserialize(value).map(Some).internal()
    }

    /// Removes all values. The user stays logged in.
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if the request is answered already.
    pub async fn clear(&self) -> Result<()> {
        let mut state = self.changing().await?;
        if state.view().is_some_and(|record| !record.values.is_empty()) {
            state.change(Change::Clear);
        }
        Ok(())
    }

    /// The user who is logged in, as [`Self::login`] was told.
    ///
    /// # Errors
    /// 503 if the store does not answer.
    pub async fn user(&self) -> Result<Option<String>> {
        Ok(self.looked().await?.view().and_then(|record| record.user.clone()))
    }

    /// Logs a user in, whose password was right: by a number, a name, or whatever else tells users apart. The session gets a new id, so
    /// nobody who knows the old one has it, and its time begins anew. Values that were set before are kept, unless they are another user's.
    ///
    /// Beyond `sessions.per_user` sessions the user's oldest one ends.
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if the request is answered already.
    pub async fn login(&self, user: impl Display) -> Result<()> {
        let user = user.to_string();
        let mut state = self.changing().await?;
        state.change(Change::LogIn { user, at: now() });
        state.rotates = true;
        Ok(())
    }

    /// Gives the session a new id: for a user who has just got more rights. [`Self::login`] does it by itself.
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if the request is answered already.
    pub async fn rotate(&self) -> Result<()> {
        self.changing().await?.rotates = true;
        Ok(())
    }

    /// Ends the session, in all workers at once, and takes the client's cookie away.
    ///
    /// # Errors
    /// 503 if the store does not answer: then the session lives, and the client should be told so. 500 if the request is answered already.
    pub async fn logout(&self) -> Result<()> {
        let mut state = self.changing().await?;
        if let Some((id, _)) = state.stored {
            self.0.sessions.end(&[id]).await?;
        }
        state.end();
        Ok(())
    }

    /// Ends all sessions of a user, in all workers: after a new password, say. If that is the user of this session, it ends, too; a
    /// [`Self::login`] after this call begins another one.
    ///
    /// # Errors
    /// As [`Self::logout`]; 409 if the user's sessions change again and again meanwhile, so that some may live.
    pub async fn logout_everywhere(&self, user: impl Display) -> Result<()> {
        let user = user.to_string();
        let mut state = self.changing().await?;
        self.0.sessions.end_all(&user).await?;
        if state.view().is_some_and(|record| record.user.as_ref() == Some(&user)) {
            state.end();
        }
        Ok(())
    }

    /// Notes which session the client says is its own. Nobody is asked yet.
    async fn claim(&self, parts: &Parts) {
        let mut state = self.state().await;
        if !matches!(state.claim, Claim::Unread) {
            return;
        }
        let rules = self.0.sessions.rules();
        state.claim = cookie::find(&parts.headers, &rules.cookie).map_or(Claim::Looked, Claim::Of);
        state.is_insecure = rules.is_debug
            && parts
                .extensions
                .get::<Connection>()
                .and_then(Connection::peer)
                .is_some_and(|peer| peer.ip().is_loopback());
    }

    /// The state. Mostly nobody else has it: a place in its queue would cost more than it.
    async fn state(&self) -> MutexGuard<'_, State> {
        match self.0.state.try_lock() {
            Ok(state) => state,
            Err(_) => self.0.state.lock().await,
        }
    }

    /// The state, once the store was asked.
    async fn looked(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state().await;
        if let Claim::Of(signed) = state.claim {
            let record = self.0.sessions.load(&signed, now()).await?;
            state.stored = record.map(|record| (signed.id, record));
            state.claim = Claim::Looked;
        }
        Ok(state)
    }

    /// The same for a change.
    async fn changing(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.looked().await?;
        if state.is_over {
            return Err(Error::internal("the session is changed after its request was answered, so nobody writes it"));
        }
        Ok(state)
    }

    /// True if there is nothing to write, and nothing to say to the client. From then on it takes no changes.
    pub(super) fn is_settled(&mut self) -> bool {
        if let Some(Handle { sessions, state }) = Arc::get_mut(&mut self.0) {
            // The handler and its request are gone.
            return state.get_mut().is_settled(sessions.rules());
        }
        // Else somebody is at it: a task that the handler has left behind.
        self.0.state.try_lock().is_ok_and(|mut state| state.is_settled(self.0.sessions.rules()))
    }

    /// Writes what has changed, and tells the client.
    pub(super) async fn finish(self, mut response: Response) -> Response {
        match self.0.save(response.status().is_server_error()).await {
            Ok(None) => response,
            Ok(Some(cookie)) => {
                let headers = response.headers_mut();
                headers.append(header::SET_COOKIE, cookie);
                // Whoever keeps this answer for others would give them the session.
                headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
                response
            }
            Err(error) => error.into_response(),
        }
    }
}

impl State {
    fn view(&self) -> Option<&Record> {
        self.changed.as_ref().or(self.stored.as_ref().map(|(_, record)| &**record))
    }

    fn change(&mut self, change: Change) {
        let mut record = self.changed.take().or_else(|| self.view().cloned()).unwrap_or_default();
        change.apply(&mut record);
        self.changed = Some(record);
        self.changes.push(change);
    }

    /// Forgets the session, which has ended.
    fn end(&mut self) {
        (self.stored, self.changed, self.rotates, self.is_ended) = (None, None, false, true);
        self.changes.clear();
    }

    /// The user who logs in by this request.
    fn logs_in(&self) -> Option<&str> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::LogIn { user, .. } => Some(user.as_str()),
            Change::Set(..) | Change::Remove(_) | Change::Clear => None,
        })
    }

    /// See [`Session::is_settled`].
    fn is_settled(&mut self, rules: &Rules) -> bool {
        let is_settled = self.changes.is_empty() && !self.rotates && !self.is_ended && self.due(rules).is_none();
        self.is_over = is_settled;
        is_settled
    }

    /// The new end of the session, if its use is to be noted.
    fn due(&self, rules: &Rules) -> Option<(Id, Millis)> {
        let (id, record) = self.stored.as_ref()?;
        Some((*id, rules.lifetime.due(record, now())?))
    }
}

impl Handle {
    /// Writes what has changed. `has_failed`: the request is answered with 5xx, and its changes do not count. Returns the cookie that the
    /// client is to have from now on.
    async fn save(&self, has_failed: bool) -> Result<Option<HeaderValue>> {
        let mut state = self.state.lock().await;
        state.is_over = true;
        if has_failed {
            state.changes.clear();
            state.rotates = false;
        }
        let cookie = if state.changes.is_empty() && !state.rotates {
            self.touch(&state).await;
            None
        } else {
            self.write(&mut state).await?
        };
        let removal = || cookie::removal(&self.sessions.rules().cookie, !state.is_insecure);
        Ok(cookie.or_else(|| state.is_ended.then(removal)))
    }

    /// Notes that the session is used. If that fails, it ends earlier: no reason to refuse the request.
    async fn touch(&self, state: &State) {
        if let Some((id, end)) = state.due(self.sessions.rules())
            && let Err(error) = self.sessions.touch(id, end).await
        {
            tracing::debug!("the use of a session is not noted: {error}");
        }
    }

    async fn write(&self, state: &mut State) -> Result<Option<HeaderValue>> {
        for _ in 0..ATTEMPTS {
            let Some((id, stored)) = state.stored.clone() else { return self.create(state).await };
            let (mut record, now) = (stored.changed(&state.changes), now());
            record.expires = self.sessions.rules().lifetime.end(record.created, now);
            let new = if state.rotates { Id::random()? } else { id };
            if self.sessions.update(id, new, &record).await? {
                self.limit(state, now).await?;
                return if state.rotates { self.cookie(state, new, &record, now).map(Some) } else { Ok(None) };
            }
            // Another request has changed it, or ended it. A session that has ended is not brought back, but a login begins another one.
            state.stored = self.sessions.read(id, now).await?.map(|record| (id, record));
            if state.stored.is_none() && state.logs_in().is_none() {
                return Ok(None);
            }
        }
        Err(Error::conflict("the session is being changed by too many requests at once").code("SESSION_BUSY"))
    }

    async fn create(&self, state: &State) -> Result<Option<HeaderValue>> {
        let (mut record, now) = (Record::default().changed(&state.changes), now());
        if record.is_empty() {
            return Ok(None);
        }
        if state.logs_in().is_none() {
            record.created = now;
        }
        record.expires = self.sessions.rules().lifetime.end(record.created, now);
        let id = self.sessions.create(&record).await?;
        self.limit(state, now).await?;
        self.cookie(state, id, &record, now).map(Some)
    }

    async fn limit(&self, state: &State, now: Millis) -> Result<()> {
        match state.logs_in() {
            Some(user) => self.sessions.limit(user, now).await,
            None => Ok(()),
        }
    }

    fn cookie(&self, state: &State, id: Id, record: &Record, now: Millis) -> Result<HeaderValue> {
        let rules = self.sessions.rules();
        let signed = self.sessions.opened()?.signer.sign(id);
        let max_age = rules.lifetime.max_age(record.created, now);
        Ok(cookie::set(&rules.cookie, &signed, max_age, !state.is_insecure))
    }
}
