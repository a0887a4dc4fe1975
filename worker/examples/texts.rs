//! The texts of the documents' programs, in Chinese as the documents print them, and in English. A client's `Accept-Language` chooses:
//! Chinese, unless it names English and likes Chinese less.
//!
//! A handler takes [`Texts`] and says what it has to say. What the library refuses by itself (a token, a file, a path that is none) is said
//! by [`refused`], and [`told`] notes the language in the headers of all answers:
//!
//! ```ignore
//! Server::new(&config).middleware(texts::told).error_handler(texts::refused)
//! ```

#![allow(dead_code, reason = "each program has this file, and says some of it")]

use std::convert::Infallible;
use std::fmt::Display;

use gin_worker::api::Argument;
use gin_worker::axum::Json;
use gin_worker::axum::extract::{FromRequestParts, Request};
use gin_worker::axum::http::request::Parts;
use gin_worker::axum::http::{HeaderMap, HeaderValue, header};
use gin_worker::axum::middleware::Next;
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::middleware::Report;
use gin_worker::serde_json::{Value, json};

/// A language that the programs speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    Chinese,
    English,
}

macro_rules! texts {
    ($($name:ident $zh:literal $en:literal;)*) => {
        /// Something that a program says to its users.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Text {
            $($name,)*
        }

        impl Text {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            fn in_chinese(self) -> &'static str {
                match self { $(Self::$name => $zh,)* }
            }

            fn in_english(self) -> &'static str {
                match self { $(Self::$name => $en,)* }
            }
        }
    };
}

// `{}` stands for what `Texts::say_with` is given.
texts! {
    BadRequest "请求参数错误" "bad request";

    LoggedIn "登录成功" "logged in";
    LoggedOut "退出成功" "logged out";
    Refreshed "令牌已刷新" "refreshed";
    TheTokenIsMissing "缺少认证令牌" "the token is missing";
    TheTokenIsNotValid "无效的认证令牌" "the token is not valid";
    WrongUserNameOrPassword "用户名或密码错误" "wrong user name or password";
    TooManyLoginsTryAgainLater "登录尝试过多，请稍后再试" "too many logins, try again later";
    YouMayNotDoThat "权限不足" "you may not do that";
    ThisPagesOriginMayNotDoThat "不允许来自该来源的请求" "this page's origin may not do that";

    User "用户信息" "user";
    Users "管理员用户列表" "users";
    UserNIsDeleted "删除用户 {} 成功" "user {} is deleted";
    ThereIsNoSuchUser "用户不存在" "there is no such user";
    YouCannotDeleteYourself "不能删除自己" "you cannot delete yourself";

    ListOfUsers "获取用户列表成功" "list of users";
    DetailsOfTheUser "获取用户详情成功" "details of the user";
    TheUserIsCreated "用户创建成功" "the user is created";
    TheUserIsUpdated "用户更新成功" "the user is updated";
    TheUserIsDeleted "用户删除成功" "the user is deleted";
    TheEmailIsTaken "邮箱已存在" "the email is taken";
    TheUserIdIsNotValid "无效的用户ID" "the user id is not valid";

    Uploaded "文件上传成功" "uploaded";
    NFilesUploaded "成功上传 {} 个文件" "{} files uploaded";
    TheUploadHasFailed "文件上传失败" "the upload has failed";
    ThisTypeOfFileIsNotTaken "不支持的文件类型" "this type of file is not taken";
    TheFileIsLargerThanN "文件大小超过限制（{}）" "the file is larger than {}";
    TheFileIsTooLarge "文件大小超过限制" "the file is too large";
    NoFileWasChosen "没有选择文件" "no file was chosen";
    TheFormCannotBeRead "解析表单失败" "the form cannot be read";
    Files "获取文件列表成功" "files";
    ThereIsNoSuchFile "文件不存在" "there is no such file";
    TheFileIsDeleted "文件删除成功" "the file is deleted";
    ThereIsNoSpaceLeft "存储空间不足" "there is no space left";

    Sent "广播成功" "sent";

    ThereIsNothingHere "请求的资源不存在" "there is nothing here";
    ThisMethodIsNotAllowedHere "不支持的请求方法" "this method is not allowed here";
    ThisPageMayOpenNoWebSocketHere "不允许来自该来源的 WebSocket 连接" "this page's origin may not open a WebSocket here";
    TooManyRequestsTryAgainLater "请求过多，请稍后再试" "too many requests, try again later";
    TooManyRequestsAtOnceTryAgain "并发请求过多，请重试" "too many requests at once, try again";
    TheRequestHasTakenTooLong "请求处理超时" "the request has taken too long";
    TheBodyHasComeTooSlowly "请求体传输过慢" "the request's body has come too slowly";
    TheBodyIsTooLarge "请求体过大" "the request's body is too large";
    ThereIsNoSuchUpload "上传不存在" "there is no such upload";
    AnotherRequestWritesToThisUpload "另一个请求正在写入该上传" "another request writes to this upload";
    SomethingWentWrong "服务器内部错误" "internal server error";
    TheServiceIsAway "服务暂时不可用，请稍后再试" "the service is away, try again later";
    TheServerIsBusy "服务器繁忙，请稍后再试" "the server is busy, try again later";
}

/// The language of a client: an argument of handlers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Texts(Language);

impl Texts {
    /// In the language of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        Self(chosen(lines.flat_map(|line| line.split(','))))
    }

    /// In the language of a request that was refused.
    fn of_report(report: &Report) -> Self {
        Self(chosen(report.accept_language.iter().flat_map(|line| line.split(','))))
    }

    /// The text.
    pub fn say(self, text: Text) -> &'static str {
        match self.0 {
            Language::Chinese => text.in_chinese(),
            Language::English => text.in_english(),
        }
    }

    /// The text with this in its place of `{}`.
    pub fn say_with(self, text: Text, value: impl Display) -> String {
        self.say(text).replace("{}", &value.to_string())
    }

    /// The language as a header names it.
    pub fn language(self) -> &'static str {
        match self.0 {
            Language::Chinese => "zh",
            Language::English => "en",
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Texts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// Each route reads the language, and a client need not say it: it is in no description of a route.
impl Argument for Texts {}

/// The language that a client likes best (RFC 9110, section 12.5.4), of those that the programs speak. Of two that it likes as much, the
/// first.
fn chosen<'a>(liked: impl Iterator<Item = &'a str>) -> Language {
    let mut best = (0.0, Language::default());
    for (language, weight) in liked.filter_map(weighed) {
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// An entry of the header with its weight, if it is a language of ours.
fn weighed(entry: &str) -> Option<(Language, f32)> {
    let (tag, parameter) = entry.split_once(';').map_or((entry, None), |(tag, rest)| (tag, Some(rest)));
    let language = match tag.trim().split('-').next()?.to_ascii_lowercase().as_str() {
        "zh" | "*" => Language::Chinese,
        "en" => Language::English,
        _ => return None,
    };
    let weight = match parameter {
        Some(parameter) => parameter.trim().strip_prefix("q=")?.trim().parse().ok()?,
        None => 1.0,
    };
    (0.0..=1.0).contains(&weight).then_some((language, weight))
}

/// The text of what the library refuses so.
fn of_refusal(report: &Report) -> Option<Text> {
    match report.code.as_deref() {
        // Not an attempt to log in, whose code is the same.
        Some("RATE_LIMIT_EXCEEDED") if report.message == "too many requests" => {
            Some(Text::TooManyRequestsTryAgainLater)
        }
        Some(code) => of_code(code),
        None => of_status(report.status.as_u16(), &report.message),
    }
}

/// The text of a refusal of the library that has no code. Another one is a handler's, which has said it in the client's language.
fn of_status(status: u16, message: &str) -> Option<Text> {
    Some(match (status, message) {
        (404, "not found") => Text::ThereIsNothingHere,
        (404, "there is no such upload") => Text::ThereIsNoSuchUpload,
        (405, message) if message.ends_with(" is not allowed here") => Text::ThisMethodIsNotAllowedHere,
        (500, "internal server error") => Text::SomethingWentWrong,
        _ => return None,
    })
}

/// The text of what the library, or `routes::check`, refuses with this code.
fn of_code(code: &str) -> Option<Text> {
    Some(match code {
        "TOKEN_MISSING" => Text::TheTokenIsMissing,
        "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REUSED" => Text::TheTokenIsNotValid,
        WRONG_LOGIN => Text::WrongUserNameOrPassword,
        "FORBIDDEN" => Text::YouMayNotDoThat,
        "RATE_LIMIT_EXCEEDED" => Text::TooManyLoginsTryAgainLater,
        "CSRF" => Text::ThisPagesOriginMayNotDoThat,
        "ORIGIN_REFUSED" => Text::ThisPageMayOpenNoWebSocketHere,
        "LOGIN_BUSY" | "SESSION_BUSY" => Text::TooManyRequestsAtOnceTryAgain,
        "REQUEST_TIMEOUT" => Text::TheRequestHasTakenTooLong,
        "BODY_TIMEOUT" => Text::TheBodyHasComeTooSlowly,
        "BODY_TOO_LARGE" => Text::TheBodyIsTooLarge,
        "UPLOAD_LOCKED" => Text::AnotherRequestWritesToThisUpload,
        "AWAY" => Text::TheServiceIsAway,
        "BUSY" | "MEMORY" => Text::TheServerIsBusy,
        UPLOAD_MALFORMED => Text::TheUploadHasFailed,
        "FILE_TOO_LARGE" => Text::TheFileIsTooLarge,
        "FILE_TYPE" => Text::ThisTypeOfFileIsNotTaken,
        "NO_SPACE" => Text::ThereIsNoSpaceLeft,
        _ => return None,
    })
}

/// Code of a login that names no user, or not its password.
pub const WRONG_LOGIN: &str = "WRONG_LOGIN";
/// Code of a form that is no form, or not a whole one. Its own text becomes the details.
const UPLOAD_MALFORMED: &str = "UPLOAD_MALFORMED";

/// Says in the headers of an answer which language it has, and that another client gets another one: a middleware around all routes.
pub async fn told(texts: Texts, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("accept-language"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(texts.language()));
    }
    response
}

/// Says a refusal in the client's language, whoever has refused: the handler of a server's errors.
pub fn refused(report: Report) -> Response {
    let texts = Texts::of_report(&report);
    let language = [(header::VARY, "accept-language"), (header::CONTENT_LANGUAGE, texts.language())];
    (report.status, language, Json(body(&in_words(texts, report)))).into_response()
}

/// The same refusal with another text, if it is the library's.
fn in_words(texts: Texts, mut report: Report) -> Report {
    let Some(text) = of_refusal(&report) else { return report };
    if report.code.as_deref() == Some(UPLOAD_MALFORMED) && report.details.is_none() {
        report.details = Some(Value::String(report.message.clone()));
    }
    texts.say(text).clone_into(&mut report.message);
    report
}

/// Refusals that the documents print, without a code. Others keep theirs: a client that must ask for a new token, say, goes by it.
const PRINTED: [&str; 7] =
    ["TOKEN_MISSING", "TOKEN_INVALID", WRONG_LOGIN, "FORBIDDEN", UPLOAD_MALFORMED, "FILE_TOO_LARGE", "FILE_TYPE"];

/// A refusal as the library writes it, but for the code of one that the documents print.
fn body(report: &Report) -> Value {
    let mut body = json!({ "error": report.message });
    if let Some(details) = &report.details {
        body["details"] = details.clone();
    }
    if let Some(code) = report.code.as_deref().filter(|code| !PRINTED.contains(code)) {
        body["code"] = json!(code);
    }
    body
}

#[cfg(test)]
mod tests {
    use gin_worker::Error;
    use gin_worker::axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_client_gets_the_language_that_it_likes_best() {
        for (accepted, language) in [
            ("", Language::Chinese),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-US,en;q=0.9", Language::English),
            ("EN", Language::English),
            ("zh;q=0.8, en;q=0.801", Language::English),
            ("en;q=0.5, zh-TW;q=0.5", Language::English),
            ("fr, en;q=0.3", Language::English),
            ("fr", Language::Chinese),
            ("*", Language::Chinese),
            ("en;q=0", Language::Chinese),
            ("en;q=2, en;q=x, en;level=1", Language::Chinese),
            ("english", Language::Chinese),
        ] {
            assert_eq!(chosen(accepted.split(',')), language, "{accepted}");
        }
    }

    #[test]
    fn each_text_is_there_in_both_languages() {
        for text in Text::ALL {
            let (zh, en) = (text.in_chinese(), text.in_english());
            assert!(!zh.is_ascii() && en.is_ascii() && !en.is_empty(), "{text:?}");
            assert_eq!(zh.contains("{}"), en.contains("{}"), "{text:?}");
        }
        let texts = [Texts::default(), Texts(Language::English)];
        let deleted = texts.map(|texts| texts.say_with(Text::UserNIsDeleted, 7));
        assert_eq!(deleted, ["删除用户 7 成功", "user 7 is deleted"]);
    }

    /// The body of this refusal, to a client that reads English.
    fn in_english(error: &Error) -> Value {
        let mut report = error.report();
        report.accept_language = Some("fr, en;q=0.9".to_owned());
        let answer = refused(report.clone());
        assert_eq!(
            (answer.status(), &answer.headers()[header::CONTENT_LANGUAGE]),
            (error.status(), &"en".parse().unwrap())
        );
        body(&in_words(Texts::of_report(&report), report))
    }

    #[test]
    fn a_refusal_is_told_by_its_code() {
        let expired = in_english(&Error::unauthorized("expired").code("TOKEN_EXPIRED"));
        assert_eq!(expired, json!({ "error": "the token is not valid", "code": "TOKEN_EXPIRED" }));
        let cut = in_english(&Error::bad_request("the form has no end").code(UPLOAD_MALFORMED));
        assert_eq!(cut, json!({ "error": "the upload has failed", "details": "the form has no end" }));
        let missing = in_english(&Error::unauthorized("missing").code("TOKEN_MISSING"));
        assert_eq!(missing, json!({ "error": "the token is missing" }));
        let own = in_english(&Error::not_found("no such order").code("NO_ORDER"));
        assert_eq!(own, json!({ "error": "no such order", "code": "NO_ORDER" }));
    }

    #[test]
    fn a_limit_of_requests_is_none_of_logins() {
        let limited = |text: &str| {
            let error = Error::new(StatusCode::TOO_MANY_REQUESTS, text).code("RATE_LIMIT_EXCEEDED");
            of_refusal(&error.report())
        };
        assert_eq!(limited("too many requests"), Some(Text::TooManyRequestsTryAgainLater));
        assert_eq!(limited("too many attempts to log in"), Some(Text::TooManyLoginsTryAgainLater));
    }

    #[test]
    fn refusals_of_the_library_have_a_text_in_each_language() {
        let refusals = [
            Error::forbidden("this page's origin may not open a WebSocket here").code("ORIGIN_REFUSED"),
            Error::conflict("busy").code("LOGIN_BUSY"),
            Error::conflict("busy").code("SESSION_BUSY"),
            Error::new(StatusCode::LOCKED, "locked").code("UPLOAD_LOCKED"),
            Error::new(StatusCode::SERVICE_UNAVAILABLE, "no answer within 30s").code("REQUEST_TIMEOUT"),
            Error::not_found("not found"),
            Error::new(StatusCode::METHOD_NOT_ALLOWED, "PUT is not allowed here"),
            Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error"),
        ];
        for error in refusals {
            let text = of_refusal(&error.report());
            assert!(text.is_some(), "{error}");
            let told = in_words(Texts::default(), error.report());
            assert_eq!(Some(told.message.as_str()), text.map(Text::in_chinese), "{error}");
            let english = in_english(&error);
            assert_eq!(english["error"].as_str(), text.map(Text::in_english));
            assert_eq!(english["code"].as_str(), error.report().code.as_deref());
        }
        assert_eq!(of_refusal(&Error::not_found("there is no order").report()), None, "a handler has said it");
    }
}
