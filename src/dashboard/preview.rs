//! The beginning of a response, as text if it is that, else in hexadecimal digits.

use std::fmt::Write;

use axum::{body::Body, response::Response};
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;

/// Bytes that are shown of a text, and of anything else.
const TEXT: usize = 16 * 1024;
const BINARY: usize = 512;

/// What is shown of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preview {
    pub(super) text: String,
    pub(super) is_text: bool,
    /// Whether there is more.
    pub(super) is_cut: bool,
}

/// Reads as much of a response's body as is shown.
pub(super) async fn of(response: Response) -> Preview {
    let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
    let (start, is_cut) = beginning(response.into_body()).await;
    if !is_encoded && let Some(text) = text(&start, is_cut) {
        let text = text.to_owned();
        return Preview {
            text,
            is_text: true,
            is_cut,
        };
    }
    Preview {
        text: dump(&start[..start.len().min(BINARY)]),
        is_text: false,
        is_cut: is_cut || start.len() > BINARY,
    }
}

async fn beginning(mut body: Body) -> (Vec<u8>, bool) {
    let mut start = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let room = TEXT - start.len();
        start.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return (start, true);
        }
    }
    (start, false)
}

/// The text that these bytes are; of one that is cut, the last character may be missing.
fn text(bytes: &[u8], is_cut: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_plain).then_some(text)
}

/// Sixteen bytes a line: place, digits, characters.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        };
        let characters: String = bytes.iter().map(shown).collect();
        // A string takes everything.
        let _ = writeln!(
            text,
            "{:06x}  {:<47}  {characters}",
            line * 16,
            digits.join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn preview(body: impl Into<Body>) -> Preview {
        of(Response::new(body.into())).await
    }

    #[tokio::test]
    async fn a_text_is_shown_and_a_long_one_is_cut_between_characters() {
        let short = preview("<script>é").await;
        assert_eq!(
            (&*short.text, short.is_text, short.is_cut),
            ("<script>é", true, false)
        );
        let long = preview(format!("x{}", "é".repeat(TEXT))).await;
        assert!(long.is_text && long.is_cut);
        assert_eq!(long.text.len(), TEXT - 1);
    }

    #[tokio::test]
    async fn what_is_no_text_is_shown_in_digits() {
        for body in [vec![0, 1, 2], vec![0xff; 1000], b"a\x1b[31m".to_vec()] {
            let len = body.len();
            let shown = preview(body).await;
            assert!(!shown.is_text);
            assert_eq!(shown.is_cut, len > BINARY);
            assert!(shown.text.starts_with("000000  "));
        }
        assert_eq!(dump(b"AB\n"), format!("000000  {:<47}  AB.\n", "41 42 0a"));
    }
}
