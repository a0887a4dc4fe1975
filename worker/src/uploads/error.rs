//! Reasons for which a file is not taken.

use std::io;

use axum::http::StatusCode;
use nix::errno::Errno;

use crate::AsStatus;

/// An upload that failed. `?` in a handler answers with the status and the code of the table.
///
/// | variant | status | code |
/// |---|---|---|
/// | `Malformed`, `TooManyParts`, `NotMultipart` | 400 | `UPLOAD_MALFORMED` |
/// | `TooLarge` | 413 | `FILE_TOO_LARGE` |
/// | `Type` | 415 | `FILE_TYPE` |
/// | `Quota`, `Full` | 507 | `NO_SPACE` |
/// | `TooManyUnderWay` | 429 | `TOO_MANY_UPLOADS` |
/// | `Aborted` | 400 | |
/// | `Io` | 500 | |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The form has no boundary or no end, or the head of a part is larger than 16 KiB.
    #[error("the form is malformed, or it has no end")]
    Malformed,
    /// The form has more than `uploads.files` files, or more than 100 parts beside them.
    #[error("the form has too many parts")]
    TooManyParts,
    /// The request's `Content-Type` is not `multipart/form-data`.
    #[error("the request is not a form of the type multipart/form-data")]
    NotMultipart,
    /// The file, the text or the whole form is larger.
    #[error("larger than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file's ending is not in `uploads.allow`, or its contents are not of that ending.
    #[error("files of this type are not taken: {name}{}", told(.found))]
    #[non_exhaustive]
    Type {
        /// The file's name, as the client has sent it.
        name: String,
        /// The media type of its contents, if that is known and is why.
        found: Option<&'static str>,
    },
    /// The files would be larger than `uploads.quota` together.
    #[error("all files together would be larger than uploads.quota")]
    Quota,
    /// The disk is full, or the quota of its user is.
    #[error("the disk of uploads.dir is full")]
    Full,
    /// The client has 64 uploads under way that can be resumed, or they and this one would take more than half of `uploads.quota`.
    #[error("too many uploads are under way: finish or remove one first")]
    TooManyUnderWay,
    /// The client has gone in the midst of the form, or was too slow.
    #[error("the form was not sent to its end")]
    Aborted,
    /// The directory of the files cannot be used.
    #[error("the directory of the uploads cannot be used")]
    Io(#[source] io::Error),
}

fn told(found: &Option<&'static str>) -> String {
    found.map(|kind| format!(" is {kind}")).unwrap_or_default()
}

impl UploadError {
    /// True if there is no room for the file.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, Self::Quota | Self::Full)
    }
}

impl AsStatus for UploadError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::TooManyParts | Self::NotMultipart | Self::Aborted => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Type { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Quota | Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::TooManyUnderWay => StatusCode::TOO_MANY_REQUESTS,
            Self::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Quota | Self::Full => "there is no space left".to_owned(),
            Self::Io(_) => "internal server error".to_owned(),
            _ => self.to_string(),
        }
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::Malformed | Self::TooManyParts | Self::NotMultipart => Some("UPLOAD_MALFORMED"),
            Self::TooLarge { .. } => Some("FILE_TOO_LARGE"),
            Self::Type { .. } => Some("FILE_TYPE"),
            Self::Quota | Self::Full => Some("NO_SPACE"),
            Self::TooManyUnderWay => Some("TOO_MANY_UPLOADS"),
            Self::Aborted | Self::Io(_) => None,
        }
    }
}

/// A full disk is told apart from all else.
impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<rustix::io::Errno> for UploadError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::from(io::Error::from(errno))
    }
}

impl From<Errno> for UploadError {
    fn from(errno: Errno) -> Self {
        Self::from(io::Error::from(errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn each_error_has_its_status_and_its_code() {
        let told = |error: UploadError| {
            let report = Error::from(error).report();
            (report.status.as_u16(), report.code)
        };
        let code = |text: &str| Some(text.to_owned());
        assert_eq!(told(UploadError::Malformed), (400, code("UPLOAD_MALFORMED")));
        assert_eq!(told(UploadError::TooManyParts), (400, code("UPLOAD_MALFORMED")));
        assert_eq!(told(UploadError::NotMultipart), (400, code("UPLOAD_MALFORMED")));
        assert_eq!(told(UploadError::TooLarge { limit: 1 }), (413, code("FILE_TOO_LARGE")));
        assert_eq!(told(UploadError::Quota), (507, code("NO_SPACE")));
        assert_eq!(told(UploadError::TooManyUnderWay), (429, code("TOO_MANY_UPLOADS")));
        assert_eq!(told(UploadError::Aborted), (400, None));
        for errno in [Errno::ENOSPC, Errno::EDQUOT] {
            assert_eq!(told(errno.into()), (507, code("NO_SPACE")));
        }
        assert_eq!(told(Errno::EACCES.into()), (500, None));
    }

    #[test]
    fn an_error_of_a_type_names_the_file_and_what_is_in_it() {
        let of = |found| UploadError::Type { name: "a.png".to_owned(), found }.to_string();
        assert_eq!(of(None), "files of this type are not taken: a.png");
        assert_eq!(of(Some("text/html")), "files of this type are not taken: a.png is text/html");
    }
}
