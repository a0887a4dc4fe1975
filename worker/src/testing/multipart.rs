//! A form with files, as its bytes go over the wire (RFC 7578).

use std::fmt::Write;

use bytes::Bytes;

/// Fields and files of a form, in their order.
///
/// ```
/// use gin_worker::testing::MultipartForm;
///
/// let form = MultipartForm::new().text("title", "A picture").file("picture", "a.png", "image/png", &b"\x89PNG"[..]);
/// # drop(form);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it is sent by `multipart`"]
pub struct MultipartForm(Vec<Part>);

#[derive(Debug, Clone)]
struct Part {
    name: String,
    /// Name and type.
    file: Option<(String, String)>,
    body: Bytes,
}

impl MultipartForm {
    /// Makes an empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        let value: String = value.into();
        self.0.push(Part { name: name.to_owned(), file: None, body: value.into() });
        self
    }

    /// Adds a file with its name, its type (`image/png`) and its bytes.
    pub fn file(mut self, name: &str, file_name: &str, kind: &str, body: impl Into<Bytes>) -> Self {
        let file = Some((file_name.to_owned(), kind.to_owned()));
        self.0.push(Part { name: name.to_owned(), file, body: body.into() });
        self
    }

    /// The `Content-Type`, and the body.
    pub(super) fn encode(&self) -> (String, Bytes) {
        let boundary = self.boundary();
        let mut body = Vec::new();
        for part in &self.0 {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n\r\n", part.head()).as_bytes());
            body.extend_from_slice(&part.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("multipart/form-data; boundary={boundary}"), body.into())
    }

    /// A text that stands in no part.
    fn boundary(&self) -> String {
        let is_free = |boundary: &String| !self.0.iter().any(|part| contains(&part.body, boundary.as_bytes()));
        let mut boundaries = (0_u64..).map(|number| format!("form-of-a-test-{number}"));
        boundaries.find(is_free).expect("a part has an end, and so not every number in it")
    }
}

impl Part {
    fn head(&self) -> String {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(&self.name));
        if let Some((name, kind)) = &self.file {
            let _ = write!(head, "; filename=\"{}\"\r\nContent-Type: {kind}", quoted(name));
        }
        head
    }
}

/// A name as browsers write it between quotes (HTML, section 4.10.21.8).
fn quoted(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_its_parts_between_boundaries() {
        let form = MultipartForm::new().text("a\"b", "1").file("f", "x.txt", "text/plain", "form-of-a-test-0");
        let (kind, body) = form.encode();
        assert_eq!(kind, "multipart/form-data; boundary=form-of-a-test-1");
        let expected = "--form-of-a-test-1\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n\
             --form-of-a-test-1\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\n\
             Content-Type: text/plain\r\n\r\nform-of-a-test-0\r\n--form-of-a-test-1--\r\n";
        assert_eq!(body, expected);
    }
}
