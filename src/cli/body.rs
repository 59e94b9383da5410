//! Prints a response: to a file or a pipe as it is, to a terminal as text; binary only where it is asked for.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use reqwest::Response;

use super::{Exit, Failure, Screen, http as client, plain};

/// So much of a body decides whether it is text.
const SAMPLE: usize = 8 * 1024;

/// Where a response goes, and how much of it. For commands that have `--json` too.
#[derive(Debug, Args)]
pub(super) struct To {
    /// Print the status and the headers too.
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Write the body to this file; `-` is stdout, binary or not.
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
}

/// Prints a response.
///
/// # Errors
/// It was cut off, cannot be written, or is binary and would go to a terminal.
pub(super) async fn print(
    response: Response,
    to: &To,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let shown = io::stdout().is_terminal();
    if to.include {
        let head = head(&response);
        let head = if shown { plain::text(&head) } else { head };
        screen.out.write_all(head.as_bytes())?;
    }
    match &to.output {
        Some(file) if file != Path::new("-") => {
            let unwritable = |error: io::Error| {
                Exit::Failed.because(format!("{} cannot be written: {error}", file.display()))
            };
            let mut file = File::create(file).map_err(unwritable)?;
            copy(response, |bytes| file.write_all(bytes).map_err(unwritable)).await
        }
        None if shown => {
            let mut text = Text::default();
            let out = &mut *screen.out;
            copy(response, |bytes| text.take(bytes, out)).await?;
            text.finish(out)
        }
        _ => {
            copy(response, |bytes| Ok(screen.out.write_all(bytes)?)).await?;
            Ok(screen.out.flush()?)
        }
    }
}

fn head(response: &Response) -> String {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("{:?} {} {reason}", response.version(), status.as_u16());
    head.truncate(head.trim_end().len());
    head.push('\n');
    for (name, value) in response.headers() {
        head.push_str(&format!(
            "{name}: {}\n",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    head.push('\n');
    head
}

async fn copy(
    mut response: Response,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => take(&chunk)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let cause = client::cause(&error);
                return Err(Exit::Network.because(format!("the response was cut off: {cause}")));
            }
        }
    }
}

/// A body on its way to a terminal.
#[derive(Default)]
struct Text {
    /// What has not been written yet: the sample, or the beginning of a character.
    kept: Vec<u8>,
    /// Whether it has turned out to be text.
    decided: bool,
    /// The last byte was a line's end, or nothing was written.
    ended: Option<bool>,
}

impl Text {
    fn take(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
        self.kept.extend_from_slice(bytes);
        if !self.decided && self.kept.len() < SAMPLE {
            return Ok(());
        }
        self.decide()?;
        let whole = whole_characters(&self.kept);
        let text: Vec<u8> = self.kept.drain(..whole).collect();
        self.write(&text, out)
    }

    fn finish(mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.decide()?;
        let rest = std::mem::take(&mut self.kept);
        self.write(&rest, out)?;
        // The next prompt stands on a line of its own.
        if self.ended == Some(false) {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }

    fn decide(&mut self) -> Result<(), Failure> {
        if self.decided || is_text(&self.kept) {
            self.decided = true;
            return Ok(());
        }
        Err(Exit::Failed.because(
            "the body is binary and would upset the terminal; write it to a file with --output FILE, or print it anyway with --output -",
        ))
    }

    fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(bytes);
        // Line ends of either kind are line ends.
        out.write_all(plain::text(&text.replace("\r\n", "\n")).as_bytes())?;
        if let Some(last) = bytes.last() {
            self.ended = Some(*last == b'\n');
        }
        Ok(())
    }
}

/// Text has no NUL and is UTF-8, but for a character that is cut off at the end.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
        && match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        }
}

/// How many bytes there are before a last character that is not whole yet. A `\r` waits for its `\n`.
fn whole_characters(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return bytes.len() - 1;
    }
    // A character has at most four bytes: the beginning of one is among the last three.
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => break,
        };
        if back + 1 < length {
            return bytes.len() - back - 1;
        }
        break;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(chunks: &[&[u8]]) -> Result<String, Failure> {
        let (mut text, mut out) = (Text::default(), Vec::new());
        for chunk in chunks {
            text.take(chunk, &mut out)?;
        }
        text.finish(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_is_shown_without_what_steers_and_ends_with_a_line() {
        assert_eq!(shown(&[b"{\"a\":1}"]).unwrap(), "{\"a\":1}\n");
        assert_eq!(shown(&[b"a\r", b"\nb\n"]).unwrap(), "a\nb\n");
        assert_eq!(
            shown(&[b"\x1b]0;title\x07"]).unwrap(),
            "\\u{1b}]0;title\\u{7}\n"
        );
        assert_eq!(shown(&[]).unwrap(), "");
    }

    #[test]
    fn binary_is_refused_with_the_way_out() {
        for binary in [&b"\x89PNG\r\n"[..], b"a\0b", b"\xff\xfe"] {
            let failure = shown(&[binary]).unwrap_err();
            assert_eq!(failure.exit, Exit::Failed);
            assert!(failure.message.contains("--output"), "{}", failure.message);
        }
    }

    #[test]
    fn what_turns_out_to_be_binary_late_is_replaced() {
        let long = "x".repeat(SAMPLE);
        let shown = shown(&[long.as_bytes(), b"\xff\0"]).unwrap();
        assert_eq!(shown, format!("{long}\u{fffd}\\u{{0}}\n"));
    }

    proptest! {
        #[test]
        fn characters_survive_wherever_chunks_are_cut(any in "[^\u{0}-\u{1f}\u{7f}-\u{9f}]{0,40}", size in 1..7_usize) {
            let long = format!("{}{any}", "ü".repeat(SAMPLE / 2));
            let chunks: Vec<_> = long.as_bytes().chunks(size).collect();
            prop_assert_eq!(shown(&chunks).unwrap(), format!("{}\n", plain::text(&long)));
        }

        #[test]
        fn no_bytes_make_it_panic(any: Vec<Vec<u8>>) {
            let chunks: Vec<_> = any.iter().map(Vec::as_slice).collect();
            let _ = shown(&chunks);
        }
    }
}
