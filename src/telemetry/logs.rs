//! Logs: for people on a terminal, else one JSON object a line, with the id of the trace it belongs to.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

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

use super::{spans, traces::Traces};
use crate::config::{LogFormat, LogSettings, value};

/// Who logs, which decides what a setting leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logger {
    /// A server: what happens, for people on a terminal, else for programs.
    Server,
    /// A command: what goes wrong, for people.
    Command,
}

/// Sends logs to standard error from here on, and spans to whoever takes traces.
pub(super) fn start(settings: &LogSettings, logger: Logger, traces: Option<&Traces>) {
    let default_filter = match logger {
        Logger::Server => "info",
        Logger::Command => "error",
    };
    let filter = value(&settings.log_level).unwrap_or_else(|| default_filter.to_owned());
    let is_for_people = match settings.log_format {
        LogFormat::Auto => logger == Logger::Command || io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    // Each layer has its filter: what is logged says nothing of what is traced.
    let wanted = EnvFilter::new(filter);
    let is_traced = |metadata: &Metadata<'_>| metadata.target().starts_with(spans::WORK);
    let events = wanted.and(filter_fn(move |metadata| !is_traced(metadata)));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines: BoxedLayer = if is_for_people {
        lines.with_ansi(io::stderr().is_terminal()).with_filter(events).boxed()
    } else {
        let format = Format::default().json().flatten_event(true);
        let format = WithTraceId(format.with_current_span(false).with_span_list(false));
        let lines = lines.event_format(format).fmt_fields(JsonFields::new());
        // Wanted at every level, for the trace's id.
        let spans = filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::WORK);
        TraceIds.and_then(lines).with_filter(spans.or(events)).boxed()
    };
    let mut layers = vec![lines];
    layers.extend(traces.map(sent));
    tracing_subscriber::registry().with(layers).init();
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Spans, for whoever takes traces.
fn sent(traces: &Traces) -> BoxedLayer {
    let filter = Targets::new()
        .with_target(spans::WORK, tracing::Level::INFO)
        .with_target(spans::REQUEST, tracing::Level::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer())
        // Spans find their parents by tracing's own.
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_filter(filter)
        .boxed()
}

/// The id of the trace that a span belongs to.
#[derive(Debug, Clone)]
struct TraceId(Box<str>);

/// Keeps the `trace_id` of each span for its lines, and for the spans below it.
struct TraceIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceIds {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parents =
            span.parent().and_then(|parent| parent.extensions().get::<TraceId>().cloned());
        if let Some(trace_id) = parents {
            span.extensions_mut().insert(trace_id);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let mut found = Found(None);
        values.record(&mut found);
        if let (Some(trace_id), Some(span)) = (found.0, context.span(id)) {
            span.extensions_mut().replace(trace_id);
        }
    }
}

struct Found(Option<TraceId>);

impl tracing::field::Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "trace_id" {
            self.0 = Some(TraceId(value.into()));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// One JSON object a line, with `trace_id` where the line belongs to a trace.
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
        // The line is one object, and the id is made of hexadecimal digits.
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"trace_id\":\"{trace_id}\",{rest}"),
            None => writer.write_str(&line),
        }
    }
}
