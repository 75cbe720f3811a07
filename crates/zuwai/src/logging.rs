//! Log lines in logrus' three forms, which kaniko's users grep, and plain ones for `zuwai`.
//!
//! Lines go to standard error. Only this project's own events are logged: libraries below have their own words for
//! things, and some log what must stay secret. kaniko's `text` is logrus without colours, which is `key=value`; its
//! `color` is the well-known `INFO[0005] message`, coloured wherever it goes.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use zuwai_build::execute::STAGE_SPAN;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `time="..." level=info msg="..."`
    Text,
    /// `INFO[0005] message`, coloured.
    Color,
    /// One JSON object a line.
    Json,
    /// The message alone, with the level before it when it is not information.
    Plain,
}

/// What is wrong with how logging was asked for. The texts are kaniko's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// No such level.
    #[error("parsing log level: not a valid logrus Level: {0:?}")]
    Level(String),
    /// No such form.
    #[error("not a valid log format: {0:?}. Please specify one of (text, color, json)")]
    Format(String),
}

/// Reads a `--log-format`.
///
/// # Errors
/// When there is no such form.
pub fn parse_format(text: &str) -> Result<Format, LogError> {
    match text {
        "text" => Ok(Format::Text),
        "color" => Ok(Format::Color),
        "json" => Ok(Format::Json),
        other => Err(LogError::Format(other.to_owned())),
    }
}

/// Reads a `--verbosity`, by logrus' rules. `fatal` and `panic` leave only the error that ends the program.
///
/// # Errors
/// When there is no such level.
pub fn parse_level(text: &str) -> Result<LevelFilter, LogError> {
    match text.to_ascii_lowercase().as_str() {
        "panic" | "fatal" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(LogError::Level(text.to_owned())),
    }
}

/// Makes log lines of this program's events from here on, in the whole process.
pub fn start(format: Format, full_timestamps: bool, level: LevelFilter) {
    let lines = LogLines { format, full_timestamps, level, start: Instant::now() };
    let subscriber = tracing_subscriber::registry().with(lines);
    // Fails only when there is one already, which then goes on logging.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct LogLines {
    format: Format,
    full_timestamps: bool,
    level: LevelFilter,
    start: Instant,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let target = metadata.target();
        let own = target == "zuwai" || target.starts_with("zuwai_") || target.starts_with("zuwai::");
        own && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == STAGE_SPAN
            && let Some(span) = context.span(id)
        {
            let mut label = Label::default();
            attributes.record(&mut label);
            span.extensions_mut().insert(label);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Label(label)) = span.extensions().get() {
                fields.message.insert_str(0, &format!("[{label}] "));
            }
        }
        let moment = Moment { elapsed: self.start.elapsed(), now: Timestamp::now() };
        let line = line(self.format, self.full_timestamps, *event.metadata().level(), &fields, &moment);
        // A log that cannot be written is no reason to stop a build.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What tells the lines of a stage from those of the stages built beside it.
#[derive(Default)]
struct Label(String);

impl Visit for Label {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "label" {
            value.clone_into(&mut self.0);
        }
    }
}

/// When a line was logged.
struct Moment {
    elapsed: Duration,
    now: Timestamp,
}

impl Moment {
    /// RFC 3339 in whole seconds, logrus' default.
    fn timestamp(&self) -> String {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.others.push((field.name(), text)) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.push((field.name(), value.to_owned()));
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

fn line(format: Format, full_timestamps: bool, level: Level, fields: &Fields, moment: &Moment) -> String {
    let mut others = fields.others.clone();
    others.sort();
    // logrus drops one newline at the end.
    let message = fields.message.strip_suffix('\n').unwrap_or(&fields.message);
    let mut line = String::with_capacity(message.len() + 64);
    match format {
        Format::Color => {
            let color = match level {
                Level::TRACE | Level::DEBUG => 37,
                Level::INFO => 36,
                Level::WARN => 33,
                Level::ERROR => 31,
            };
            let name = level_name(level)[..4].to_ascii_uppercase();
            let time =
                if full_timestamps { moment.timestamp() } else { format!("{:04}", moment.elapsed.as_secs()) };
            let _ = write!(line, "\x1b[{color}m{name}\x1b[0m[{time}] {message:<44} ");
            for (key, value) in &others {
                let _ = write!(line, " \x1b[{color}m{key}\x1b[0m={}", quoted_if_needed(value));
            }
        }
        Format::Text => {
            let _ = write!(
                line,
                "time={:?} level={} msg={}",
                moment.timestamp(),
                level_name(level),
                quoted_if_needed(message)
            );
            for (key, value) in &others {
                let _ = write!(line, " {key}={}", quoted_if_needed(value));
            }
        }
        Format::Json => {
            let mut object: std::collections::BTreeMap<String, &str> = std::collections::BTreeMap::new();
            for (key, value) in &others {
                let reserved = matches!(*key, "level" | "msg" | "time");
                object.insert(if reserved { format!("fields.{key}") } else { (*key).to_owned() }, value);
            }
            let time = moment.timestamp();
            object.insert("level".to_owned(), level_name(level));
            object.insert("msg".to_owned(), message);
            object.insert("time".to_owned(), &time);
            let json = serde_json::to_string(&object).unwrap_or_default();
            // Go's encoder escapes what HTML would take for its own.
            line.push_str(&json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
        }
        Format::Plain => {
            if level != Level::INFO {
                let _ = write!(line, "{}: ", level_name(level));
            }
            line.push_str(message);
            for (key, value) in &others {
                let _ = write!(line, " {key}={}", quoted_if_needed(value));
            }
        }
    }
    line.push('\n');
    line
}

/// logrus quotes what has other characters than these.
fn quoted_if_needed(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(
        format: Format,
        full_timestamps: bool,
        message: &str,
        others: &[(&'static str, &str)],
    ) -> String {
        let fields = Fields {
            message: message.to_owned(),
            others: others.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        };
        let moment =
            Moment { elapsed: Duration::from_millis(5999), now: "2026-11-21T08:00:00.9Z".parse().unwrap() };
        [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR]
            .map(|level| line(format, full_timestamps, level, &fields, &moment))
            .concat()
    }

    #[test]
    fn color_is_logrus_with_forced_colours() {
        assert_eq!(
            lines(Format::Color, false, "Taking snapshot of full filesystem...", &[]),
            "\x1b[37mTRAC\x1b[0m[0005] Taking snapshot of full filesystem...        \n\
             \x1b[37mDEBU\x1b[0m[0005] Taking snapshot of full filesystem...        \n\
             \x1b[36mINFO\x1b[0m[0005] Taking snapshot of full filesystem...        \n\
             \x1b[33mWARN\x1b[0m[0005] Taking snapshot of full filesystem...        \n\
             \x1b[31mERRO\x1b[0m[0005] Taking snapshot of full filesystem...        \n"
        );
    }

    #[test]
    fn long_messages_keep_one_space_before_the_end() {
        let line = lines(Format::Color, false, "Skipping unpacking as no commands require it.", &[]);
        assert!(line.contains("\x1b[36mINFO\x1b[0m[0005] Skipping unpacking as no commands require it. \n"));
    }

    #[test]
    fn full_timestamps_are_rfc_3339() {
        let line = lines(Format::Color, true, "x", &[]);
        assert!(line.contains("\x1b[36mINFO\x1b[0m[2026-11-21T08:00:00Z] x"), "{line:?}");
    }

    #[test]
    fn text_is_logrus_without_colours() {
        let text =
            lines(Format::Text, false, "Retrieving image manifest ubuntu", &[("b", "x y"), ("a", "1")]);
        assert!(text.contains(
            "time=\"2026-11-21T08:00:00Z\" level=info msg=\"Retrieving image manifest ubuntu\" a=1 b=\"x y\"\n"
        ));
        assert!(text.contains("level=warning"));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let json = lines(Format::Json, false, "a <b> \"c\"\n", &[("level", "9"), ("stage", "0")]);
        assert!(json.contains(
            "{\"fields.level\":\"9\",\"level\":\"info\",\"msg\":\"a \\u003cb\\u003e \\\"c\\\"\",\"stage\":\"0\",\"time\":\"2026-11-21T08:00:00Z\"}\n"
        ), "{json}");
    }

    #[test]
    fn plain_names_only_unusual_levels() {
        let plain = lines(Format::Plain, false, "step", &[]);
        assert_eq!(plain, "trace: step\ndebug: step\nstep\nwarning: step\nerror: step\n");
    }

    #[test]
    fn levels_and_formats_are_kanikos() {
        assert_eq!(parse_level("Warning"), Ok(LevelFilter::WARN));
        assert_eq!(
            parse_level("loud").unwrap_err().to_string(),
            "parsing log level: not a valid logrus Level: \"loud\""
        );
        assert_eq!(
            parse_format("xml").unwrap_err().to_string(),
            "not a valid log format: \"xml\". Please specify one of (text, color, json)"
        );
    }
}
