//! `zuwai build`: the flags that people who know docker type.

pub mod flags;
pub mod output;
pub mod request;

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::info;
use tracing::level_filters::LevelFilter;
use zuwai_build::promised_file::PromisedFile;
use zuwai_build::{BuildError, BuildResult, CommandOutput, Surroundings};
use zuwai_oci::reference::Reference;

use crate::building::{self, Role};
use crate::check_command::{self, Call};
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::refuse;
use crate::failure::Failure;
use crate::logging::{self, Format};
use crate::pflag::{self, Parsed};
use crate::source;
use crate::surroundings;
use crate::terminal;
use crate::usage::Command;

/// What `zuwai build --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai build",
    arguments: "CONTEXT",
    about: "Builds an image from a Dockerfile. CONTEXT is a directory, or - for a Dockerfile on standard input.\n\
            Without -o and --push the image goes to an OCI layout below --root-dir, in images/.",
    subcommands: &[],
    flags: flags::BUILD,
};

/// The flag that says where a build keeps its files.
const ROOT_FLAG: &str = "--root-dir";

/// Runs `zuwai build`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let mut parsed = pflag::parse(COMMAND.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&COMMAND.help());
        return Ok(0);
    }
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    parsed.fill_from_environment(variable).map_err(|error| usage(error.into()))?;
    let [context] = parsed.positional.as_slice() else {
        return Err(usage(ProgramError::Arguments {
            command: COMMAND.name,
            expected: "one argument, the context",
            given: parsed.positional.clone(),
        }));
    };
    // What a check has no use for is taken without a word, as docker takes it.
    if let Some(call) = Call::of(&parsed).map_err(usage)? {
        return check_command::instead_of_build(call, &parsed, context, environment);
    }
    refuse(&parsed).map_err(usage)?;
    start_logging(&parsed);
    let start = Instant::now();
    building::put_right();
    let meaning = request::from_flags(&parsed, context, environment).map_err(usage)?;
    if let Role::Watched(code) = building::become_root(meaning.build.isolation) {
        return Ok(code);
    }
    // Standard output is for -q and -o -. A developer's machine may look like a container (a virtual machine made from an
    // image does), so that it takes --force to build in its place.
    let surroundings = Surroundings {
        command_output: CommandOutput::Stderr,
        container: None,
        ..surroundings::read(environment, &request::docker_config(environment))
    };
    let failed = |error| Failure::of_build(error, building::root_dir(&meaning.build, ROOT_FLAG));
    let about = About::promise(&parsed).map_err(failed)?;
    let result = building::build(&meaning.build, &surroundings, ROOT_FLAG)?;
    about.keep(&parsed, &result).map_err(failed)?;
    info!("{}", summary(&result, start.elapsed()));
    if let Some(layout) = &meaning.default_layout {
        tell_where(layout, &meaning.build.outputs.names);
    }
    if parsed.bool("quiet") {
        terminal::print(&format!("{}\n", result.digest));
    }
    Ok(0)
}

fn start_logging(parsed: &Parsed) {
    let level = if parsed.bool("quiet") || parsed.text("progress") == "quiet" {
        LevelFilter::ERROR
    } else if parsed.bool("debug") {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    logging::start(Format::Plain, false, level);
}

/// `--iidfile` and `--metadata-file`.
struct About {
    image_id: Option<PromisedFile>,
    metadata: Option<PromisedFile>,
}

impl About {
    /// Finds out before the build whether the files can be written after it.
    fn promise(parsed: &Parsed) -> Result<Self, BuildError> {
        let open = |flag| parsed.non_empty(flag).map(|path| PromisedFile::open(&source::absolute(path)));
        Ok(Self { image_id: open("iidfile").transpose()?, metadata: open("metadata-file").transpose()? })
    }

    /// Writes them, with docker's keys.
    fn keep(self, parsed: &Parsed, result: &BuildResult) -> Result<(), BuildError> {
        if let Some(file) = self.image_id {
            file.keep(&result.config_digest.to_string())?;
        }
        let Some(file) = self.metadata else { return Ok(()) };
        let mut document = serde_json::json!({
            "containerimage.config.digest": result.config_digest.to_string(),
            "containerimage.digest": result.digest.to_string(),
        });
        if !parsed.list("tag").is_empty() {
            document["image.name"] = parsed.list("tag").join(",").into();
        }
        file.keep(&format!("{document:#}\n"))
    }
}

/// What a build came to: what it is called from now on, its layers, and how large they are.
fn summary(result: &BuildResult, time: Duration) -> String {
    let size: u64 = result.layers.iter().map(|(_, size)| size).sum();
    let count = match result.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let layers: String =
        result.layers.iter().map(|(digest, size)| format!("\n  {digest} {}", megabytes(*size))).collect();
    format!("built {} in {:.1} s\n{count}, {}{layers}", result.digest, time.as_secs_f64(), megabytes(size))
}

/// A size as registries show it.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Says where an image is that was asked for without a place, and what to do with it.
pub fn tell_where(layout: &Path, names: &[Reference]) {
    let layout = layout.display();
    info!("the image is in the OCI layout {layout}");
    let (tag, name) = match names.first() {
        Some(name) => (format!(":{}", name.tag().unwrap_or("latest")), name.familiar()),
        None => (String::new(), "NAME:TAG".to_owned()),
    };
    info!("to load it: skopeo copy oci:{layout}{tag} containers-storage:{name} (or docker-daemon:{name})");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_every_layer() {
        let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let digest: zuwai_layer::Digest = digest.parse().unwrap();
        let result =
            BuildResult { digest, config_digest: digest, layers: vec![(digest, 32), (digest, 2_000_000)] };
        let expected =
            format!("built {digest} in 1.5 s\n2 layers, 2.0 MB\n  {digest} 32 bytes\n  {digest} 2.0 MB");
        assert_eq!(summary(&result, Duration::from_millis(1500)), expected);
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, expected) in [(0, "0 bytes"), (12_345, "12.3 kB"), (5_250_000, "5.2 MB")] {
            assert_eq!(megabytes(bytes), expected);
        }
    }
}
