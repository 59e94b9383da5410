//! One attempt of a delivery, from its claim to the record of how it ended.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::time::Instant;

use super::{Inner, answer::Answer, failure::Failure, message};
use crate::{
    metrics::seconds,
    model::{
        delivery::{Delivery, DeliveryError, DeliveryOutcome, DeliveryState},
        exchange::Body,
        run::Run,
        signature::{Signatures, Signing},
        time::Timestamp,
    },
    store::{DeliveryAttempt, DeliveryClaim, SettleError},
    worker::handoff::Place,
};

/// Starts an attempt as a task of its own; it keeps its place until its end is recorded.
pub(super) fn start(courier: &Arc<Inner>, claim: DeliveryClaim, place: Place) {
    let work = carry_out(Arc::clone(courier), claim, place);
    courier.tasks.spawn_on(work, &courier.parts.runtime);
}

async fn carry_out(courier: Arc<Inner>, claim: DeliveryClaim, mut place: Place) {
    let id = claim.run.id;
    let started_at = courier.parts.clock.now();
    let began = Instant::now();
    let sent = tokio::select! {
        biased;
        () = courier.cut.cancelled() => None,
        sent = AssertUnwindSafe(send(&courier, &claim, started_at)).catch_unwind() => Some(sent),
    };
    match sent {
        None => {
            if let Err(error) = courier.parts.store.release_delivery(claim).await {
                tracing::warn!(run_id = %id, %error, "a delivery could not be given back");
            }
        }
        Some(sent) => {
            let answered = sent.unwrap_or_else(|_panic| Err(Failure::internal("it panicked")));
            place.note(settle(&courier, claim, answered, started_at, began.elapsed()).await);
        }
    }
    drop(place);
}

/// Signs and sends, within `webhook.timeout`.
async fn send(courier: &Inner, claim: &DeliveryClaim, now: Timestamp) -> Result<Answer, Failure> {
    let deadline = Instant::now() + courier.parts.settings.timeout;
    let sending = async {
        let signatures = sign(courier, claim, now).await?;
        let loop_id = &courier.parts.store.identity().loop_id;
        let headers = message::headers(claim, &signatures, loop_id, now);
        let body = message::body(&claim.response.body, courier.parts.store.spool());
        courier.receiver.post(&claim.endpoint, headers, body).await
    };
    let response = tokio::time::timeout_at(deadline, sending)
        .await
        .map_err(|_elapsed| Failure::timeout())??;
    Ok(Answer::read(response, now, deadline).await)
}

async fn sign(
    courier: &Inner,
    claim: &DeliveryClaim,
    now: Timestamp,
) -> Result<Signatures, Failure> {
    let secrets = (courier.parts.secrets)(&claim.run.policy.route);
    let mut signing = Signing::new(claim.run.id, now, &secrets, claim.secret.as_ref());
    if signing.is_empty() {
        return Ok(signing.finish());
    }
    match &claim.response.body {
        Body::Inline(bytes) => signing.update(bytes),
        body @ Body::Spooled { .. } => {
            let mut reader = courier.parts.store.spool().reader(body);
            while let Some(piece) = reader.next().await.map_err(Failure::internal)? {
                signing.update(&piece);
            }
        }
    }
    Ok(signing.finish())
}

async fn settle(
    courier: &Inner,
    claim: DeliveryClaim,
    answered: Result<Answer, Failure>,
    started_at: Timestamp,
    took: Duration,
) -> DeliveryOutcome {
    let id = claim.run.id;
    let (outcome, detail) = match answered {
        Ok(answer) => (answer.outcome(), String::new()),
        Err(failure) => (DeliveryOutcome::Failed(failure.error), failure.detail),
    };
    courier
        .parts
        .metrics
        .delivery_attempts
        .with_label_values(&[outcome_name(outcome)])
        .inc();
    let attempt = DeliveryAttempt {
        outcome,
        started_at,
        chance: fastrand::f64(),
        address: None,
        took,
        detail: detail.clone(),
        excerpt: String::new(),
    };
    match courier.parts.store.settle_delivery(claim, attempt).await {
        Ok(run) => tell(courier, &run, outcome, &detail, took),
        Err(error @ (SettleError::Fenced | SettleError::WrongState | SettleError::Closed)) => {
            tracing::warn!(run_id = %id, %error, "a delivery's outcome could not be recorded");
        }
    }
    outcome
}

/// One log line, and the lag of a delivered one.
fn tell(courier: &Inner, run: &Run, outcome: DeliveryOutcome, detail: &str, took: Duration) {
    let Some(delivery) = &run.delivery else {
        return;
    };
    if let (DeliveryState::Delivered, Some(ended)) = (delivery.state, run.finished_at) {
        let lag = courier.parts.clock.now().since(ended);
        courier.parts.metrics.delivery_lag.observe(seconds(lag));
    }
    match delivery.state {
        DeliveryState::Delivered => log_delivered(run, delivery, took),
        DeliveryState::Pending | DeliveryState::Dead => {
            log_undelivered(run, delivery, outcome, detail, took);
        }
    }
}

fn log_delivered(run: &Run, delivery: &Delivery, took: Duration) {
    tracing::info!(
        run_id = %run.id,
        host = delivery.host,
        status = delivery.last_status,
        attempt = delivery.attempts,
        duration_ms = millis(took),
        "delivered"
    );
}

fn log_undelivered(
    run: &Run,
    delivery: &Delivery,
    outcome: DeliveryOutcome,
    detail: &str,
    took: Duration,
) {
    tracing::warn!(
        run_id = %run.id,
        host = delivery.host,
        state = delivery.state.as_str(),
        outcome = outcome_name(outcome),
        status = delivery.last_status,
        error = detail,
        attempt = delivery.attempts,
        duration_ms = millis(took),
        next_attempt_at = delivery.next_attempt_at.map(tracing::field::display),
        "delivery attempt failed"
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The label of `delivery_attempts_total`.
fn outcome_name(outcome: DeliveryOutcome) -> &'static str {
    match outcome {
        DeliveryOutcome::Answered { status, .. } if (200..300).contains(&status) => "delivered",
        DeliveryOutcome::Answered { .. } => "rejected",
        DeliveryOutcome::Failed(error) => DeliveryError::as_str(error),
    }
}
