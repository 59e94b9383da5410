//! Spans by the OpenTelemetry protocol (OTLP over HTTP), in batches, on a thread of their own.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};

use super::{Collector, Kind, Span, TracesError, Value};
use crate::model::trace::TraceContext;

/// How long the last spans may take at a stop.
const FLUSH: Duration = Duration::from_secs(2);

/// The way to a collector. Spans that it does not take in time are dropped: they hold nothing up.
#[derive(Debug)]
pub(super) struct Otlp {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Otlp {
    /// As the environment has it: endpoint, protocol (`http/protobuf`, `http/json`), headers, time-out, service name,
    /// batches.
    pub(super) fn of_environment() -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| TracesError(error.to_string()))?;
        let processor = BatchSpanProcessor::builder(exporter).build();
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("raincheck");
        }
        let mut otlp = Self {
            processor,
            scope: InstrumentationScope::builder("raincheck")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        };
        otlp.processor.set_resource(&resource.build());
        Ok(otlp)
    }
}

impl Collector for Otlp {
    fn take(&self, span: Span) {
        if !span.context.is_sampled {
            return;
        }
        let parent = span.parent.map_or(SpanId::INVALID, SpanId::from_bytes);
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(span.start.millis());
        let attributes = span.attributes.into_iter();
        self.processor.on_end(SpanData {
            span_context: context(&span.context, span.id),
            parent_span_id: parent,
            parent_span_is_remote: span.parent_is_remote,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
            },
            name: span.name.into(),
            start_time: start,
            end_time: start + span.took,
            attributes: attributes
                .map(|(key, value)| match value {
                    Value::Text(text) => KeyValue::new(key, text),
                    Value::Number(number) => KeyValue::new(key, number),
                })
                .collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.failed.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    fn flush(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

fn context(context: &TraceContext, id: [u8; 8]) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(id),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}
