//! One attempt of a delivery, from its claim to the record of how it ended.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;

use super::{
    Inner,
    answer::Answer,
    content::Content,
    failure::Failure,
    message::{self, Sending},
};
use crate::{
    metrics::seconds,
    model::{
        access,
        delivery::{Delivery, DeliveryError, DeliveryOutcome, DeliveryState},
        id::RunId,
        run::Run,
    },
    store::{DeliveryAttempt, DeliveryClaim, SettleError},
    worker::handoff::Place,
};

/// Starts an attempt as a task of its own; it keeps its place until the receiver has answered.
pub(super) fn start(courier: &Arc<Inner>, claim: DeliveryClaim, place: Place) {
    let work = carry_out(Arc::clone(courier), claim, place);
    courier.tasks.spawn_on(work, &courier.parts.runtime);
}

async fn carry_out(courier: Arc<Inner>, claim: DeliveryClaim, mut place: Place) {
    let id = claim.run.id;
    let started_at = courier.parts.clock.now();
    let began = Instant::now();
    let dialled = Arc::new(OnceLock::new());
    let sent = tokio::select! {
        biased;
        () = courier.cut.cancelled() => None,
        sent = AssertUnwindSafe(send(&courier, &claim, &dialled)).catch_unwind() => Some(sent),
    };
    match sent {
        None => {
            if let Err(error) = courier.parts.store.release_delivery(claim).await {
                tracing::warn!(run_id = %id, %error, "a delivery could not be given back");
            }
        }
        Some(sent) => {
            let answered = sent.unwrap_or_else(|_panic| Err(Failure::internal("it panicked")));
            let (outcome, address, detail, excerpt) = match answered {
                Ok(answer) => (
                    answer.outcome(),
                    answer.address,
                    String::new(),
                    answer.excerpt,
                ),
                Err(failure) => {
                    let failed = DeliveryOutcome::Failed(failure.error);
                    (failed, None, failure.detail, String::new())
                }
            };
            let attempt = DeliveryAttempt {
                outcome,
                started_at,
                took: began.elapsed(),
                address: address.or_else(|| dialled.get().copied()),
                detail,
                excerpt,
                chance: fastrand::f64(),
            };
            place.note(outcome);
            // The next one may go out while this one is recorded, unless too many wait for that.
            let _recording = match courier.recording.try_acquire() {
                Ok(permit) => {
                    drop(place);
                    permit
                }
                Err(_) => return settle(&courier, claim, attempt).await,
            };
            settle(&courier, claim, attempt).await;
        }
    }
}

/// Signs, and sends within `webhook.timeout`: that is the receiver's time, of which ours takes nothing.
async fn send(
    courier: &Inner,
    claim: &DeliveryClaim,
    dialled: &Arc<OnceLock<SocketAddr>>,
) -> Result<Answer, Failure> {
    let parts = &courier.parts;
    let spool = parts.store.spool();
    let url = response_url(courier, claim.run.id);
    let content = Content::of(claim, spool, url.as_deref()).await?;
    let way = courier.way.load_full();
    let secrets = (way.secrets)(&claim.run.policy.route);
    let from = (spool, &parts.clock);
    let (signatures, now) = way.signer.sign(claim, &content, &secrets, from).await?;
    let loop_id = &parts.store.identity().loop_id;
    let sending = Sending {
        loop_id,
        now,
        is_traced: parts.metrics.traces.is_on(),
    };
    let headers = message::headers(claim, &content, &signatures, sending);
    let body = content.to_send(spool);
    let deadline = Instant::now() + way.timeout;
    let posting = way.receiver.post(&claim.endpoint, headers, body, dialled);
    let response = tokio::time::timeout_at(deadline, posting)
        .await
        .map_err(|_elapsed| Failure::timeout())??;
    Ok(Answer::read(response, now, deadline).await)
}

/// Where the receiver of a thin delivery finds the response: below the public prefix, with the run's token.
fn response_url(courier: &Inner, run: RunId) -> Option<String> {
    let links = &courier.parts.links;
    if links.public_prefix.is_empty() {
        return None;
    }
    let token = access::token(&courier.parts.store.identity().key, run);
    let (base, prefix) = (&links.public_url, &links.public_prefix);
    Some(format!("{base}{prefix}/runs/{run}/response?token={token}"))
}

async fn settle(courier: &Inner, claim: DeliveryClaim, attempt: DeliveryAttempt) {
    let id = claim.run.id;
    let (outcome, detail, took) = (attempt.outcome, attempt.detail.clone(), attempt.took);
    courier
        .parts
        .metrics
        .delivery_attempts
        .with_label_values(&[outcome_name(outcome)])
        .inc();
    let number = claim.run.delivery.as_ref().map_or(1, |it| it.attempts + 1);
    let traces = &courier.parts.metrics.traces;
    traces.delivery(&claim.run, &attempt.entry(number, None));
    match courier.parts.store.settle_delivery(claim, attempt).await {
        Ok(run) => tell(courier, &run, outcome, &detail, took),
        Err(error @ (SettleError::Fenced | SettleError::WrongState | SettleError::Closed)) => {
            tracing::warn!(run_id = %id, %error, "a delivery's outcome could not be recorded");
        }
    }
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
