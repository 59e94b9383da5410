//! How pages say it: results, sizes, spans of time, links.

use url::form_urlencoded;

use crate::model::record::{Delivery, Record, span};

/// A word with the colour that goes with it (a class of the style sheet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) word: String,
    /// What else is to be said of it; empty if nothing.
    pub(super) note: String,
}

/// How a run stands: success and failure in those words.
pub(super) fn of_run(run: &Record) -> Badge {
    let class = match run.success {
        Some(true) => "good",
        Some(false) if run.state == "cancelled" => "off",
        Some(false) => "bad",
        None if run.state == "running" => "busy",
        None => "idle",
    };
    let note = match (&run.reason, run.success) {
        (Some(reason), _) => reason.replace('_', " "),
        (None, Some(false)) => run.state.clone(),
        (None, _) => String::new(),
    };
    Badge {
        class,
        word: run.ending().to_owned(),
        note,
    }
}

/// How a delivery stands.
pub(super) fn of_delivery(delivery: &Delivery) -> Badge {
    let class = match delivery.state.as_str() {
        "delivered" => "good",
        "dead" => "bad",
        _ => "busy",
    };
    let last = match (delivery.last_status, &delivery.last_error) {
        (Some(status), _) if delivery.state != "delivered" => status.to_string(),
        (None, Some(error)) => error.replace('_', " "),
        _ => String::new(),
    };
    Badge {
        class,
        word: delivery.state.clone(),
        note: last,
    }
}

/// How a run was asked for.
pub(super) fn mode(run: &Record) -> &'static str {
    if run.asynchronous {
        "async"
    } else {
        "sync + webhook"
    }
}

/// A span of time, or a dash.
pub(super) fn took(millis: Option<u64>) -> String {
    millis.map_or_else(|| "–".to_owned(), span)
}

/// Bytes as people read them: `340 B`, `1.5 KiB`, `2.0 MiB`.
pub(super) fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().iec().to_string()
}

/// A number with thin spaces between thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Pairs as a query.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_short() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
    }

    #[test]
    fn a_cancelled_run_is_a_failure_and_says_so() {
        let run = Record {
            state: "cancelled".to_owned(),
            success: Some(false),
            ..Record::default()
        };
        let badge = of_run(&run);
        assert_eq!(
            (badge.class, &*badge.word, &*badge.note),
            ("off", "failure", "cancelled")
        );
    }
}
