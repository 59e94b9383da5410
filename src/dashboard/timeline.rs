//! What happened to a run, in order.

use crate::model::{
    record::{Attempt, Record, span},
    time::Timestamp,
};

/// One thing that happened, or will.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) at: Option<Timestamp>,
    /// Its colour.
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// What the receiver answered.
    pub(super) answer: String,
}

/// All that is known.
pub(super) fn of(run: &Record) -> Vec<Event> {
    let how = if run.asynchronous {
        format!("asynchronous, as {}", run.dialect)
    } else {
        "synchronous call with a webhook".to_owned()
    };
    let mut events = vec![event(run.accepted_at, "idle", "Accepted", how)];
    events.extend(run.attempts_log.iter().map(attempt));
    if run.state == "running" {
        let title = format!("Attempt {}", run.attempts);
        events.push(event(None, "busy", title, "under way"));
    } else if run.state == "queued" {
        let waits = if run.attempts == 0 {
            "waits for its first attempt"
        } else {
            "waits for its next attempt"
        };
        events.push(event(None, "idle", "Queued", waits));
    }
    if let (Some(success), Some(_)) = (run.success, run.finished_at) {
        let class = if success { "good" } else { "bad" };
        let title = format!("Ended: {}", run.ending());
        let reason = run.reason.as_deref().unwrap_or(&run.state);
        let text = if success {
            String::new()
        } else {
            reason.replace('_', " ")
        };
        events.push(event(run.finished_at, class, title, text));
    }
    let Some(delivery) = &run.delivery else {
        return events;
    };
    events.extend(delivery.attempts_log.iter().map(told));
    match delivery.state.as_str() {
        "pending" => {
            let title = "Next delivery attempt";
            let to = format!("to {}", delivery.host);
            events.push(event(delivery.next_attempt_at, "busy", title, to));
        }
        "dead" => {
            let text = "no attempt is left; redeliver when the receiver works again";
            events.push(event(None, "bad", "Delivery dead", text));
        }
        _ => {}
    }
    events
}

fn event(
    at: Option<Timestamp>,
    class: &'static str,
    title: impl Into<String>,
    text: impl Into<String>,
) -> Event {
    Event {
        at,
        class,
        title: title.into(),
        text: text.into(),
        answer: String::new(),
    }
}

fn attempt(tried: &Attempt) -> Event {
    let outcome = tried
        .outcome
        .as_deref()
        .unwrap_or_default()
        .replace('_', " ");
    let (class, what) = match tried.status {
        Some(status) if status < 400 => ("good", format!("answered {status}")),
        Some(status) => ("bad", format!("answered {status}")),
        None => ("bad", outcome),
    };
    let title = format!("Attempt {}", tried.attempt);
    let text = format!("{what}, {}", span(tried.duration_ms));
    event(tried.started_at, class, title, text)
}

fn told(tried: &Attempt) -> Event {
    let detail = tried.detail.as_deref().filter(|detail| !detail.is_empty());
    let error = tried.error.as_deref().unwrap_or("no answer");
    let (class, what) = match tried.status {
        Some(status) if (200..300).contains(&status) => ("good", format!("answered {status}")),
        Some(status) => ("bad", format!("answered {status}")),
        None => ("bad", detail.unwrap_or(error).to_owned()),
    };
    let address = tried.address.as_ref();
    let address = address.map_or_else(String::new, |address| format!(", {address}"));
    let text = format!("{what}, {}{address}", span(tried.duration_ms));
    Event {
        answer: tried.answer.clone().unwrap_or_default(),
        ..event(
            tried.started_at,
            class,
            format!("Delivery attempt {}", tried.attempt),
            text,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Delivery;

    #[test]
    fn it_tells_acceptance_attempts_end_and_deliveries_in_order() {
        let run = Record {
            state: "failed".to_owned(),
            success: Some(false),
            reason: Some("upstream_status".to_owned()),
            finished_at: Some(Timestamp::from_millis(9)),
            attempts_log: vec![Attempt {
                attempt: 1,
                status: Some(503),
                ..Attempt::default()
            }],
            delivery: Some(Delivery {
                state: "dead".to_owned(),
                attempts_log: vec![Attempt {
                    attempt: 1,
                    detail: Some("127.0.0.1 is loopback".to_owned()),
                    ..Attempt::default()
                }],
                ..Delivery::default()
            }),
            ..Record::default()
        };
        let events = of(&run);
        let titles: Vec<_> = events.iter().map(|event| &*event.title).collect();
        assert_eq!(
            titles,
            [
                "Accepted",
                "Attempt 1",
                "Ended: failure",
                "Delivery attempt 1",
                "Delivery dead"
            ]
        );
        assert!(events[3].text.contains("loopback"));
    }

    #[test]
    fn what_is_not_over_says_what_it_waits_for() {
        let queued = Record {
            state: "queued".to_owned(),
            ..Record::default()
        };
        assert_eq!(of(&queued)[1].text, "waits for its first attempt");
        let running = Record {
            state: "running".to_owned(),
            attempts: 2,
            ..Record::default()
        };
        assert_eq!(of(&running)[1].title, "Attempt 2");
    }
}
