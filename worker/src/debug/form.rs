//! The form in which a profile is asked for: bytes for `go tool pprof`, a picture, or a text.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use gin_shared::flame::{self, quantity};
use gin_shared::pprof::Profile;

use crate::profile::ProfileError;
use crate::{BoxError, Result, ResultExt};

/// Functions of a text.
const TOP: usize = 40;
/// The picture has a script, and needs nothing from anywhere.
const PICTURE: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The form of an answer.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Title of the picture and of the text.
    pub(super) title: String,
    pub(super) shape: Shape,
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Bytes,
    Picture,
    Text,
}

impl Form {
    /// The head of the answer.
    pub(super) fn head(&self) -> HeaderMap {
        let (kind, more) = match self.shape {
            Shape::Bytes => {
                ("application/octet-stream", (header::CONTENT_DISPOSITION, "attachment; filename=\"profile\""))
            }
            Shape::Picture => ("image/svg+xml", (header::CONTENT_SECURITY_POLICY, PICTURE)),
            Shape::Text => ("text/plain; charset=utf-8", (header::CONTENT_SECURITY_POLICY, "default-src 'none'")),
        };
        let all = [(header::CONTENT_TYPE, kind), more, (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        let all = all.into_iter().chain([(header::CACHE_CONTROL, "no-store")]);
        all.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    /// Answers with a profile that is there.
    ///
    /// # Errors
    /// 500 if it cannot be written.
    pub(super) async fn now(self, profile: Profile) -> Result<Response> {
        let head = self.head();
        let written = self.written(profile).await.internal()?;
        Ok((head, written).into_response())
    }

    /// Answers with a profile that is being taken: the head goes out at once, and the body when it is done. So no time-out counts meanwhile.
    /// If the profile fails, the body has no end.
    pub(super) fn later(
        self,
        profile: impl Future<Output = Result<Profile, ProfileError>> + Send + 'static,
    ) -> Response {
        let head = self.head();
        let body = stream::once(async move {
            let written = match profile.await {
                Ok(profile) => self.written(profile).await,
                Err(error) => Err(error.into()),
            };
            written.inspect_err(|error| tracing::warn!("a profile that had begun was not sent: {error}"))
        });
        (head, Body::from_stream(body)).into_response()
    }

    /// Writes it on a thread that may be blocked: a large profile takes a while.
    async fn written(self, profile: Profile) -> Result<Vec<u8>, BoxError> {
        Ok(tokio::task::spawn_blocking(move || self.write(&profile)).await?)
    }

    fn write(&self, profile: &Profile) -> Vec<u8> {
        let kind = profile.kinds.iter().position(|(what, _)| *what == profile.default_kind).unwrap_or_default();
        let unit = profile.kinds.get(kind).map_or("", |(_, unit)| unit);
        match self.shape {
            Shape::Bytes => profile.encode(),
            Shape::Picture => flame::svg(&self.title, unit, &profile.folded(kind)).into_bytes(),
            Shape::Text => self.top(profile, kind, unit).into_bytes(),
        }
    }

    /// The functions with the greatest values.
    fn top(&self, profile: &Profile, kind: usize, unit: &str) -> String {
        let values = profile.samples.iter().filter_map(|sample| sample.values.get(kind));
        let total = values.fold(0, |sum: i64, value| sum.saturating_add(*value));
        let share = |value: i64| 100.0 * value as f64 / total.max(1) as f64;
        let mut lines = vec![format!("{}: {}", self.title, quantity(total, unit))];
        lines.extend(profile.comments.iter().map(|comment| format!("# {comment}")));
        lines.push(format!("{:>16} {:>7} {:>16} {:>7}  function", "flat", "", "cumulative", ""));
        for row in profile.top(kind, TOP) {
            let (flat, cumulative) = (quantity(row.flat, unit), quantity(row.cumulative, unit));
            let (flat_share, share) = (share(row.flat), share(row.cumulative));
            lines.push(format!("{flat:>16} {flat_share:>6.2}% {cumulative:>16} {share:>6.2}%  {}", row.function));
        }
        lines.join("\n") + "\n"
    }
}
