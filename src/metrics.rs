//! Every metric; its help text is its documentation. Label values come from the configuration or from fixed lists.

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use crate::model::{books::Books, delivery::DeliveryState, run::RunState, time::Timestamp};

mod minutes;
mod prepare;
mod spread;
mod traces;

pub use minutes::{Durations, Minute, Minutes};
pub use spread::Percentiles;
pub use traces::{Traces, TracesError};

/// Seconds from a millisecond to twelve hours.
const LONG: &[f64] = &[
    0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0,
];
/// Seconds of a request or a commit.
const SHORT: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];
/// Changes in one commit.
const SIZES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// The metrics of one process, in a registry of their own.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `runs_accepted_total{route,dialect}`
    pub runs_accepted: IntCounterVec,
    /// `runs_rejected_total{route,code}`
    pub runs_rejected: IntCounterVec,
    /// `runs_finished_total{route,state,reason}`
    pub runs_finished: IntCounterVec,
    /// `runs_running{route}`
    pub runs_running: IntGaugeVec,
    /// `run_queue_seconds{route}`
    pub run_queue: HistogramVec,
    /// `run_duration_seconds{route}`
    pub run_duration: HistogramVec,
    /// `run_attempts_total{route,outcome}`
    pub run_attempts: IntCounterVec,
    /// `requests_total{route,code_class}`
    pub requests: IntCounterVec,
    /// `request_duration_seconds{route}`
    pub request_duration: HistogramVec,
    /// `delivery_attempts_total{outcome}`
    pub delivery_attempts: IntCounterVec,
    /// `delivery_lag_seconds`
    pub delivery_lag: Histogram,
    /// `delivery_breakers_open`
    pub delivery_breakers_open: IntGauge,
    /// `delivery_receivers{state}`
    pub delivery_receivers: IntGaugeVec,
    /// `store_commit_seconds`
    pub store_commit: Histogram,
    /// `store_batch_size`
    pub store_batch: Histogram,
    /// `store_queue`
    pub store_queue: IntGauge,
    /// `store_writable`
    pub store_writable: IntGauge,
    /// `store_replicas`
    pub store_replicas: IntGauge,
    /// `store_heartbeat_timestamp_seconds`
    pub store_heartbeat: GaugeVec,
    /// `store_days{state}`
    pub store_days: IntGaugeVec,
    /// `store_adopted_total`
    pub store_adopted: IntCounter,
    /// `store_fenced_total`
    pub store_fenced: IntCounter,
    /// What ended in the last hour, for the admin API; no metric of Prometheus.
    pub minutes: Minutes,
    /// What runs and their attempts took, one by one; no metric either.
    pub traces: Traces,
    config_info: IntGaugeVec,
    config_loaded: Gauge,
    config_reload_ok: IntGauge,
    store_runs: IntGaugeVec,
    store_runs_accepted: IntGauge,
    store_deliveries: IntGaugeVec,
    store_bytes: IntGaugeVec,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// Never, unless two metrics share a name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let made = Build(&registry);
        let build = made.gauges(
            "build_info",
            "1, with the program's version as a label.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            runs_accepted: made.counters(
                "runs_accepted_total",
                "Runs answered 202.",
                &["route", "dialect"],
            )?,
            runs_rejected: made.counters(
                "runs_rejected_total",
                "Requests for a run that were refused, by problem code.",
                &["route", "code"],
            )?,
            runs_finished: made.counters(
                "runs_finished_total",
                "Runs that ended.",
                &["route", "state", "reason"],
            )?,
            runs_running: made.gauges("runs_running", "Attempts under way.", &["route"])?,
            run_queue: made.histograms(
                "run_queue_seconds",
                "From acceptance to the first attempt.",
                &["route"],
                LONG,
            )?,
            run_duration: made.histograms(
                "run_duration_seconds",
                "From the first attempt to the end.",
                &["route"],
                LONG,
            )?,
            run_attempts: made.counters(
                "run_attempts_total",
                "Attempts of runs that ended.",
                &["route", "outcome"],
            )?,
            requests: made.counters(
                "requests_total",
                "Pass-through requests.",
                &["route", "code_class"],
            )?,
            request_duration: made.histograms(
                "request_duration_seconds",
                "Pass-through requests, from head to last byte.",
                &["route"],
                SHORT,
            )?,
            delivery_attempts: made.counters(
                "delivery_attempts_total",
                "Attempts to tell a webhook.",
                &["outcome"],
            )?,
            delivery_lag: made.histogram(
                "delivery_lag_seconds",
                "From a run's end to its webhook's 2xx.",
                LONG,
            )?,
            delivery_breakers_open: made.gauge(
                "delivery_breakers_open",
                "Receivers whose circuit breaker holds deliveries back.",
            )?,
            delivery_receivers: made.gauges(
                "delivery_receivers",
                "Receivers that something waits for or goes to, or that failed last, by the state of their breaker.",
                &["state"],
            )?,
            store_commit: made.histogram(
                "store_commit_seconds",
                "One commit of the store, fsync included.",
                SHORT,
            )?,
            store_batch: made.histogram("store_batch_size", "Changes in one commit.", SIZES)?,
            store_queue: made.gauge("store_queue", "Changes that wait to be committed.")?,
            store_writable: made
                .gauge("store_writable", "1 while runs can be stored, otherwise 0.")?,
            store_replicas: made.gauge(
                "store_replicas",
                "Processes that share the store, as this one sees them.",
            )?,
            store_heartbeat: made.unset(
                "store_heartbeat_timestamp_seconds",
                "When this process last told the database that it lives; absent if the store is its own.",
            )?,
            store_days: made.gauges(
                "store_days",
                "Partitions of finished runs by state; none if the store is one process's own.",
                &["state"],
            )?,
            store_adopted: made.counter(
                "store_adopted_total",
                "Runs and deliveries that this process has taken over from a dead one.",
            )?,
            store_fenced: made.counter(
                "store_fenced_total",
                "Times that this process was taken for dead by another one.",
            )?,
            store_runs: made.gauges(
                "store_runs",
                "Runs in the store by state, removed ones included.",
                &["state"],
            )?,
            store_runs_accepted: made.gauge(
                "store_runs_accepted",
                "Runs ever accepted: the sum of store_runs.",
            )?,
            store_deliveries: made.gauges(
                "store_deliveries",
                "Deliveries in the store by state, removed ones included.",
                &["state"],
            )?,
            store_bytes: made.gauges("store_bytes", "The store's size on disk.", &["kind"])?,
            config_info: made.gauges(
                "config_info",
                "1, with the first digits of the SHA-256 of the configuration that holds.",
                &["hash"],
            )?,
            config_loaded: made.seconds(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration that holds was read.",
            )?,
            config_reload_ok: made.gauge(
                "config_last_reload_successful",
                "0 if the last reload was refused, otherwise 1.",
            )?,
            minutes: Minutes::default(),
            traces: Traces::default(),
            registry,
        };
        metrics.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        metrics.prepare();
        metrics.store_replicas.set(1);
        Ok(metrics)
    }

    /// A configuration holds from now on.
    pub fn config_loaded(&self, hash: &str, now: Timestamp) {
        self.config_info.reset();
        self.config_info.with_label_values(&[hash]).set(1);
        self.config_loaded
            .set(seconds(now.since(Timestamp::from_millis(0))));
        self.config_reload_ok.set(1);
    }

    /// A configuration was refused; the one before holds.
    pub fn config_refused(&self) {
        self.config_reload_ok.set(0);
    }

    /// Takes over what the store says of itself.
    pub fn keep_books(&self, books: &Books) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.store_runs_accepted.set(number(books.accepted));
        for state in RunState::ALL {
            self.store_runs
                .with_label_values(&[state.as_str()])
                .set(number(books.runs(state)));
        }
        for state in DeliveryState::ALL {
            self.store_deliveries
                .with_label_values(&[state.as_str()])
                .set(number(books.deliveries(state)));
        }
        for (kind, bytes) in &books.bytes {
            self.store_bytes
                .with_label_values(&[kind])
                .set(number(*bytes));
        }
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// `2xx` and so on; `other` outside 100 to 599.
pub const fn code_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// Seconds, as Prometheus wants them.
pub const fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

struct Build<'a>(&'a Registry);

impl Build<'_> {
    fn keep<C: Collector + Clone + 'static>(
        &self,
        metric: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let metric = metric?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::with_opts(
            Opts::new(name, help).namespace("raincheck"),
        ))
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(
            Opts::new(name, help).namespace("raincheck"),
            labels,
        ))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(
            Opts::new(name, help).namespace("raincheck"),
            labels,
        ))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::with_opts(
            Opts::new(name, help).namespace("raincheck"),
        ))
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.keep(Gauge::with_opts(
            Opts::new(name, help).namespace("raincheck"),
        ))
    }

    /// A gauge that is absent until it is set.
    fn unset(&self, name: &str, help: &str) -> prometheus::Result<GaugeVec> {
        let opts = Opts::new(name, help).namespace("raincheck");
        self.keep(GaugeVec::new(opts, &[]))
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help)
            .namespace("raincheck")
            .buckets(buckets.to_vec());
        self.keep(HistogramVec::new(opts, labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.keep(Histogram::with_opts(
            HistogramOpts::new(name, help)
                .namespace("raincheck")
                .buckets(buckets.to_vec()),
        ))
    }
}
