//! A body as lines for a terminal: JSON indented, text escaped, anything else as a hex dump; long ones cut.

use serde::de::IgnoredAny;

/// Bytes of text, or of indented JSON, that are shown.
const TEXT: usize = 8 * 1024;
/// Bytes that are dumped.
const DUMPED: usize = 1024;
/// Levels of JSON that are indented.
const DEEPEST: usize = 32;

/// The lines of a body.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = String> {
    let (lines, whole) = match str::from_utf8(body) {
        Ok(text) if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
            let (indented, whole) = indented(text);
            (of_text(&indented), whole)
        }
        Ok(text) => {
            let shown = &text[..text.floor_char_boundary(TEXT)];
            (of_text(shown), shown.len() == text.len())
        }
        Err(_) => (dump(body), body.len() <= DUMPED),
    };
    let cut = (!whole).then(|| format!("… cut; the body has {} bytes", body.len()));
    lines.into_iter().chain(cut)
}

/// Text without anything that a terminal acts on: control characters, and those that turn the direction of writing.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        );
        if turns || (character.is_control() && character != '\t') {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn of_text(text: &str) -> Vec<String> {
    let end = text.strip_suffix('\n').unwrap_or(text);
    let lines = end.split('\n');
    lines
        .map(|line| escaped(line.strip_suffix('\r').unwrap_or(line)))
        .collect()
}

/// JSON with one value on a line, every byte of its tokens as it came; whether it is whole.
fn indented(json: &str) -> (String, bool) {
    let mut text = String::new();
    let (mut depth, mut in_string, mut escape) = (0_usize, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if text.len() > TEXT {
            return (text, false);
        }
        if in_string {
            text.push(character);
            in_string = escape || character != '"';
            escape = !escape && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                text.push(character);
                while characters
                    .next_if(|next| next.is_ascii_whitespace())
                    .is_some()
                {}
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(close);
                } else {
                    depth += 1;
                    begin_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                begin_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                begin_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                in_string = character == '"';
                text.push(character);
            }
        }
    }
    (text, true)
}

fn begin_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth.min(DEEPEST)));
}

/// Offset, sixteen bytes in hex, and what of them is printable ASCII.
fn dump(body: &[u8]) -> Vec<String> {
    let shown = &body[..body.len().min(DUMPED)];
    let rows = shown.chunks(16).enumerate();
    rows.map(|(row, bytes)| {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| {
            if (0x20..0x7f).contains(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        };
        let ascii: String = bytes.iter().map(printable).collect();
        format!("{:08x}  {:<47}  {ascii}", row * 16, hex.join(" "))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(body: &[u8]) -> String {
        lines(body).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn json_is_indented_and_its_tokens_stay_as_they_came() {
        let json = br#" {"b":1.50,"a":[ ],"b":{"c":"x\"}, \\"},"d":[1,{}]} "#;
        let expected = "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"b\": {\n    \"c\": \"x\\\"}, \\\\\"\n  },\n  \"d\": [\n    1,\n    {}\n  ]\n}";
        assert_eq!(shown(json), expected);
    }

    #[test]
    fn text_is_shown_line_by_line_and_bytes_as_a_dump() {
        assert_eq!(shown(b"one\r\ntwo\tthree\n"), "one\ntwo\tthree");
        assert_eq!(shown(b"no {json"), "no {json");
        let dumped = shown(b"\x00\xffabcdefghijklmno");
        let expected = "00000000  00 ff 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e  ..abcdefghijklmn\n\
                        00000010  6f                                               o";
        assert_eq!(dumped, expected);
    }

    #[test]
    fn long_bodies_are_cut_and_their_length_told() {
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        for body in ["x".repeat(1 << 20), deep, "[\"a\",2]".repeat(5000)] {
            let shown = shown(body.as_bytes());
            assert!(shown.len() < 2 * TEXT, "{}", shown.len());
            let told = format!("… cut; the body has {} bytes", body.len());
            assert!(shown.ends_with(&told));
        }
        let bytes = shown(&[0xff; 5000]);
        assert!(bytes.ends_with("… cut; the body has 5000 bytes"));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_drives_a_terminal(body: Vec<u8>) {
            for line in lines(&body) {
                prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{:?}", line);
            }
        }

        #[test]
        fn indented_json_is_the_same_json(text in "[\\[{\"a:1,\\\\ }\\]]{0,12}|\\{\"[a-c]\":\\[[0-9]{1,3},\"[^\"\\\\]{0,5}\"\\]\\}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                let (indented, whole) = indented(&text);
                prop_assert!(whole);
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&indented).unwrap(), value);
            }
        }
    }
}
