//! Text from elsewhere as a terminal may show it: characters that would steer the terminal, or hide what they stand
//! beside, are spelled out.

use std::fmt::Write;

/// One line: line breaks and tabs are spelled out as well.
pub(super) fn line(text: &str) -> String {
    spelled(text, |_| false, char::escape_default)
}

/// Several lines: line breaks and tabs stay.
pub(super) fn text(text: &str) -> String {
    spelled(text, |c| matches!(c, '\n' | '\t'), char::escape_default)
}

/// JSON, which stays the same JSON.
pub(super) fn json(text: &str) -> String {
    spelled(
        text,
        |c| matches!(c, '\n' | '\t'),
        |c| {
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units);
            units.iter().fold(String::new(), |mut spelling, unit| {
                // A string takes everything.
                let _ = write!(spelling, "\\u{unit:04x}");
                spelling
            })
        },
    )
}

fn spelled<S: ToString>(
    text: &str,
    stays: impl Fn(char) -> bool,
    spelling: impl Fn(char) -> S,
) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) && !stays(c) {
            plain.push_str(&spelling(c).to_string());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Control characters, and those that turn the direction of writing or cannot be seen (Unicode's Cf, but for the
/// joiners that scripts and emoji need).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
        )
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        assert_eq!(
            line("a\x1b[2Jb\r\n\u{9b}c\u{202e}"),
            "a\\u{1b}[2Jb\\r\\n\\u{9b}c\\u{202e}"
        );
        assert_eq!(text("a\tb\r\nc\x07"), "a\tb\\r\nc\\u{7}");
        assert_eq!(line("Größe 🙂 شیء"), "Größe 🙂 شیء");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(any: String) {
            prop_assert!(!line(&any).chars().any(steers));
        }

        #[test]
        fn json_stays_the_same_json(any: String) {
            let written = serde_json::json!({ "text": format!("{any}\u{e0041}\u{9b}") }).to_string();
            let plain = json(&written);
            prop_assert!(!plain.chars().any(steers));
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(read(&plain), read(&written));
        }
    }
}
