//! An application's own errors as answers.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Behind, BoxError, Error, Inner, Result, in_words};

/// An application's own error that says its status, so that `?` makes an answer of it.
///
/// ```
/// use gin_worker::axum::http::StatusCode;
/// use gin_worker::{AsStatus, Error, Result};
///
/// #[derive(Debug, thiserror::Error)]
/// enum OrderError {
///     #[error("no such order")]
///     Missing,
///     #[error("cannot load order")]
///     Store(#[from] std::io::Error),
///     #[error(transparent)]
///     Other(#[from] Error),
/// }
///
/// impl AsStatus for OrderError {
///     fn status(&self) -> StatusCode {
///         match self {
///             Self::Missing => StatusCode::NOT_FOUND,
///             Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
///             Self::Other(error) => error.status(),
///         }
///     }
///
///     fn code(&self) -> Option<&str> {
///         matches!(self, Self::Missing).then_some("ORDER_MISSING")
///     }
/// }
///
/// fn find(id: u64) -> Result<String, OrderError> {
///     if id == 0 {
///         return Err(OrderError::Missing);
///     }
///     if id == 1 {
///         return Err(Error::conflict("this order is being changed").into());
///     }
///     Ok(std::fs::read_to_string(format!("orders/{id}"))?)
/// }
///
/// async fn order() -> Result<String> {
///     let order = find(0)?; // 404 {"error": "no such order", "code": "ORDER_MISSING"}
///     Ok(order)
/// }
///
/// let lost = Error::from(find(2).unwrap_err());
/// // The log has the rest, at ERROR: "cannot load order: No such file or directory (os error 2)".
/// assert_eq!((lost.status().as_u16(), lost.report().message.as_str()), (503, "service unavailable"));
/// assert_eq!(Error::from(find(1).unwrap_err()).report().message, "this order is being changed");
/// ```
///
/// A handler that returns the application's own error, and not [`Error`], needs `IntoResponse` for it, as axum does:
/// `Error::from(self).into_response()`.
///
/// Rust allows an application no `impl AsStatus` for a type of another crate. For such an error the handler says what it means:
/// [`ResultExt`], or `map_err`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which status it is answered with",
    label = "needs `impl gin_worker::AsStatus`, or `.internal()` of `gin_worker::ResultExt`",
    note = "for an error of your own: `impl gin_worker::AsStatus for {Self}`",
    note = "for any other one: `.internal()?` answers 500, `.answer(status, \"message\")?` what you say (`use gin_worker::ResultExt`)"
)]
pub trait AsStatus: std::error::Error + Send + Sync + 'static {
    /// Status of the answer.
    fn status(&self) -> StatusCode;

    /// The answer's text. Unless said otherwise it is the error's own below 500, and that of the status from 500 on: clients have no
    /// use for our insides.
    fn message(&self) -> String {
        let status = self.status();
        if status.is_server_error() { in_words(status) } else { self.to_string() }
    }

    /// More, for programs: the fields that failed, say.
    fn details(&self) -> Option<Value> {
        None
    }

    /// A word for programs, such as `RATE_LIMIT_EXCEEDED`.
    fn code(&self) -> Option<&str> {
        None
    }
}

impl<E: AsStatus> From<E> for Error {
    fn from(error: E) -> Self {
        let (status, message, details) = (error.status(), error.message(), error.details());
        let code = error.code().map(str::to_owned);
        Self(Box::new(Inner {
            status,
            message,
            details,
            code,
            retry_after: None,
            headers: HeaderMap::new(),
            behind: Behind::Same(Arc::new(error)),
        }))
    }
}

/// Says how an error is answered that has no status of its own ([`AsStatus`]): one of the standard library, of `anyhow`, a [`BoxError`],
/// a text.
///
/// ```
/// use gin_worker::axum::http::StatusCode;
/// use gin_worker::{BoxError, Result, ResultExt};
///
/// // Or `anyhow::Result<u16>`.
/// fn measure() -> Result<u16, BoxError> {
///     Ok(std::fs::read_to_string("temperature")?.trim().parse()?)
/// }
///
/// async fn temperature() -> Result<String> {
///     let now = measure().internal()?; // 500 {"error": "internal server error"}
///     Ok(now.to_string())
/// }
///
/// async fn forecast() -> Result<String> {
///     let now = measure().answer(StatusCode::BAD_GATEWAY, "the thermometer does not answer")?;
///     Ok((now + 1).to_string())
/// }
/// ```
pub trait ResultExt<T> {
    /// Answers an error with 500. The log has the error, at ERROR, and the client hears nothing of it.
    ///
    /// # Errors
    /// [`Error::internal`], for an error.
    fn internal(self) -> Result<T>;

    /// Answers an error with this status and text. The error is the answer's cause, for the log.
    ///
    /// # Errors
    /// [`Error::caused_by`], for an error.
    fn answer(self, status: StatusCode, message: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<BoxError>> ResultExt<T> for Result<T, E> {
    fn internal(self) -> Result<T> {
        self.map_err(Error::internal)
    }

    fn answer(self, status: StatusCode, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error::new(status, message).caused_by(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Domain {
        #[error("no such order")]
        Missing,
        #[error("cannot load order")]
        Store(#[source] io::Error),
        #[error(transparent)]
        Own(#[from] Error),
    }

    impl AsStatus for Domain {
        fn status(&self) -> StatusCode {
            match self {
                Self::Missing => StatusCode::NOT_FOUND,
                Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
                Self::Own(error) => error.status(),
            }
        }

        fn details(&self) -> Option<Value> {
            matches!(self, Self::Missing).then(|| Value::from("order"))
        }

        fn code(&self) -> Option<&str> {
            matches!(self, Self::Missing).then_some("MISSING")
        }
    }

    fn handler(found: Result<(), Domain>) -> Result {
        found?;
        Ok(())
    }

    /// As `anyhow::Error`: no error itself, but a box of one can be made of it.
    struct Any(BoxError);

    impl From<Any> for BoxError {
        fn from(any: Any) -> Self {
            any.0
        }
    }

    #[test]
    fn an_applications_error_says_its_status() {
        let report = handler(Err(Domain::Missing)).unwrap_err().report();
        assert_eq!((report.status, report.message.as_str()), (StatusCode::NOT_FOUND, "no such order"));
        assert_eq!((report.details, report.code.as_deref()), (Some(Value::from("order")), Some("MISSING")));
        let lost = handler(Err(Domain::Store(io::Error::other("refused")))).unwrap_err();
        assert_eq!(lost.report().message, "internal server error");
        assert!(lost.is::<Domain>() && lost.is::<io::Error>());
        assert_eq!(format!("{lost:?}"), "cannot load order\n  because: refused");
    }

    #[test]
    fn an_applications_error_may_hold_one_of_ours() {
        let refuse = || -> Result { Err(Error::conflict("taken")) };
        let find = || -> Result<(), Domain> { Ok(refuse()?) };
        let report = handler(find()).unwrap_err().report();
        assert_eq!((report.status, report.message.as_str()), (StatusCode::CONFLICT, "taken"));
    }

    #[test]
    fn a_status_is_asked_for_where_an_error_has_none() {
        let any = || -> Result<(), Any> { Err(Any("refused".into())) };
        let error = any().internal().unwrap_err();
        assert_eq!((error.status().as_u16(), error.to_string().as_str()), (500, "refused"));
        let error = any().answer(StatusCode::BAD_GATEWAY, "no answer").unwrap_err();
        assert_eq!(format!("{error:?}"), "no answer\n  because: refused");
    }
}
