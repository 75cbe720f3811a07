//! Arguments that exist before the first FROM: the platform's, and the Dockerfile's own.

use std::collections::BTreeMap;

use zuwai_dockerfile::{Diagnostics, Dockerfile, Expander};
use zuwai_oci::platform::Platform;

/// Name and value of every argument that FROM lines see and that stages inherit by declaring it.
pub type Globals = BTreeMap<String, String>;

/// The platform arguments (each overridable by a build argument), then the Dockerfile's `ARG`s before FROM, each with
/// its build argument, else its default.
///
/// # Errors
/// When a default cannot be expanded.
pub fn globals(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
    target: Option<&str>,
    host: &Platform,
    platform: &Platform,
) -> Result<Globals, Diagnostics> {
    let mut globals = Globals::new();
    for (prefix, platform) in [("BUILD", host), ("TARGET", platform)] {
        for (name, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone()),
            ("OSVERSION", platform.os_version.clone()),
        ] {
            globals.insert(format!("{prefix}{name}"), value);
        }
    }
    // As typed with --target, else the last stage's name.
    let last =
        dockerfile.stages.last().and_then(|stage| stage.from.name.as_ref()).map(|name| name.text.as_str());
    globals.insert("TARGETSTAGE".to_owned(), target.or(last).unwrap_or("default").to_owned());
    for (name, value) in &mut globals {
        if let Some(given) = build_args.get(name) {
            value.clone_from(given);
        }
    }
    let expander = Expander::new(dockerfile.directives.escape);
    for declaration in dockerfile.meta_args.iter().flat_map(|meta| &meta.arg.args) {
        let name = declaration.key.text.clone();
        let value = match (build_args.get(&name), &declaration.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => expander.word(&default.text, &globals).map_err(|error| {
                super::stage::expansion_error(default.span, &error).in_source(&dockerfile.source)
            })?,
            (None, None) => continue,
        };
        globals.insert(name, value);
    }
    Ok(globals)
}
