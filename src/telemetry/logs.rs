//! Logs: human-readable on a terminal, otherwise one JSON object per line, with the trace id.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use tara_export_telemetry::spans;
use tracing::{Event, Metadata, Subscriber, field::Field, span};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, Targets, filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, JsonFields, Writer},
    },
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::traces::Traces;
use crate::config::{LogFormat, LogSettings, value};

/// The kind of program that logs, which decides the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logger {
    /// A server: logs from level info on, human-readable only on a terminal.
    Server,
    /// A command: logs errors, human-readable.
    Command,
}

/// Starts sending logs to standard error, and spans to the trace exporter.
pub(super) fn start(settings: &LogSettings, logger: Logger, traces: Option<&Traces>) {
    let default_filter = match logger {
        Logger::Server => "info",
        Logger::Command => "error",
    };
    let filter = value(&settings.log_level).unwrap_or_else(|| default_filter.to_owned());
    let is_human_readable = match settings.log_format {
        LogFormat::Auto => logger == Logger::Command || io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    // Each layer has its own filter, so that the log level does not affect traces.
    let log_filter = EnvFilter::new(filter);
    let is_traced = |metadata: &Metadata<'_>| metadata.target().starts_with(spans::WORK);
    let events = log_filter.and(filter_fn(move |metadata| !is_traced(metadata)));
    let log_layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let log_layer: BoxedLayer = if is_human_readable {
        log_layer.with_ansi(io::stderr().is_terminal()).with_filter(events).boxed()
    } else {
        let format = Format::default().json().flatten_event(true);
        let format = WithTraceId(format.with_current_span(false).with_span_list(false));
        let log_layer = log_layer.event_format(format).fmt_fields(JsonFields::new());
        // Enabled at every log level, because the spans have the trace id.
        let spans = filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::WORK);
        TraceIds.and_then(log_layer).with_filter(spans.or(events)).boxed()
    };
    let mut layers = vec![log_layer];
    layers.extend(traces.map(trace_layer));
    tracing_subscriber::registry().with(layers).init();
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The layer that exports spans.
fn trace_layer(traces: &Traces) -> BoxedLayer {
    let filter = Targets::new()
        .with_target(spans::WORK, tracing::Level::INFO)
        .with_target(spans::REQUEST, tracing::Level::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer())
        // Parents of spans come from tracing.
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_filter(filter)
        .boxed()
}

/// The trace id of a span.
#[derive(Debug, Clone)]
struct TraceId(Box<str>);

/// Stores the `trace_id` of each span for its log lines and child spans.
struct TraceIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceIds {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let inherited =
            span.parent().and_then(|parent| parent.extensions().get::<TraceId>().cloned());
        if let Some(trace_id) = inherited {
            span.extensions_mut().insert(trace_id);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let mut visitor = TraceIdVisitor(None);
        values.record(&mut visitor);
        if let (Some(trace_id), Some(span)) = (visitor.0, context.span(id)) {
            span.extensions_mut().replace(trace_id);
        }
    }
}

struct TraceIdVisitor(Option<TraceId>);

impl tracing::field::Visit for TraceIdVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "trace_id" {
            self.0 = Some(TraceId(value.into()));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Formats one JSON object per line, with `trace_id` if the line belongs to a trace.
struct WithTraceId(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTraceId
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let span = context.lookup_current();
        let trace_id = span.and_then(|span| span.extensions().get::<TraceId>().cloned());
        let Some(TraceId(trace_id)) = trace_id else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // The line is one object, and the id consists of hexadecimal digits.
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"trace_id\":\"{trace_id}\",{rest}"),
            None => writer.write_str(&line),
        }
    }
}
